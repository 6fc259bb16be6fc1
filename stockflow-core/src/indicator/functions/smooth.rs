//! Exponential step: an average that moves a part of the way to each new row, rounded as TA-Lib rounds it.
//! Source: the recursion of TA-Lib's exponential and Wilder's averages.

use super::super::running::Saved;

/// An average that starts from the mean of the first rows.
#[derive(Debug, Clone)]
pub(crate) struct Smooth {
    period: usize,
    /// What is left of the average, and the weight of a new row.
    rest: f64,
    weight: f64,
    /// The sum of the first rows, the average afterwards.
    value: f64,
    /// Rows so far, up to the period.
    seen: usize,
}

impl Smooth {
    /// An exponential average, whose weight is 2 / (period + 1).
    pub(crate) fn exponential(period: usize) -> Self {
        let n = period.max(1) as f64;
        let mut rest = (n - 1.0) / (n + 1.0);
        let weight = 1.0 - rest;
        if rest < 0.5 {
            rest = 1.0 - weight;
        }
        Self { period: period.max(1), rest, weight, value: 0.0, seen: 0 }
    }

    /// Wilder's average, whose weight is 1 / period.
    pub(crate) fn wilder(period: usize) -> Self {
        let n = period.max(1) as f64;
        let rest = (n - 1.0) / n;
        Self { period: period.max(1), rest, weight: 1.0 - rest, value: 0.0, seen: 0 }
    }

    pub(crate) fn reset(&mut self) {
        (self.value, self.seen) = (0.0, 0);
    }

    /// The average with one more row; `None` while there are too few.
    #[inline]
    pub(crate) fn step(&mut self, row: f64) -> Option<f64> {
        if self.seen >= self.period {
            // One rounding, as TA-Lib does.
            self.value = self.rest.mul_add(self.value, self.weight * row);
            return Some(self.value);
        }
        self.value += row;
        self.seen += 1;
        if self.seen < self.period {
            return None;
        }
        self.value /= self.period as f64;
        Some(self.value)
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.value]);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(self.period)?;
        self.value = saved.number()?;
        Ok(())
    }
}
