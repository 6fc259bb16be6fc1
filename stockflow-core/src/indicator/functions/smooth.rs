//! Exponential step: an average that moves a part of the way to each new row, rounded as TA-Lib rounds it.
//! Source: the recursion of TA-Lib's exponential and Wilder's averages.

use super::super::running::Saved;
use super::leap::Leap;

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
    #[inline(always)]
    pub(crate) fn step(&mut self, row: f64) -> Option<f64> {
        if self.seen >= self.period {
            return Some(self.go(row));
        }
        self.value += row;
        self.seen += 1;
        if self.seen < self.period {
            return None;
        }
        self.value /= self.period as f64;
        Some(self.value)
    }

    /// The average with one more row, once there is one.
    #[inline(always)]
    pub(crate) fn go(&mut self, row: f64) -> f64 {
        // One rounding, as TA-Lib does.
        self.value = self.rest.mul_add(self.value, self.weight * row);
        self.value
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

/// An exponential average over many rows at a time, whose last bits are not TA-Lib's.
#[derive(Debug, Clone)]
pub(crate) struct Glide {
    period: usize,
    weight: f64,
    /// The sum of the first rows, which starts the average.
    sum: f64,
    /// Rows so far, up to the period.
    seen: usize,
    /// The average over its weight.
    value: Leap,
}

impl Glide {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        let rest = (period - 1) as f64 / (period + 1) as f64;
        Self { period, weight: 1.0 - rest, sum: 0.0, seen: 0, value: Leap::new(rest) }
    }

    pub(crate) fn reset(&mut self) {
        (self.sum, self.seen) = (0.0, 0);
        self.value.start(0.0);
    }

    /// The averages at these rows; returns how many of the rows come before the first average, where nothing is written.
    #[inline(always)]
    pub(crate) fn run(&mut self, rows: &[f64], out: &mut [f64]) -> usize {
        let cold = (self.period - self.seen).min(rows.len());
        for row in &rows[..cold] {
            self.sum += row;
        }
        self.seen += cold;
        let weight = self.weight;
        let is_first = cold > 0 && self.seen == self.period;
        if is_first {
            let mean = self.sum / self.period as f64;
            self.value.start(mean / weight);
            out[cold - 1] = mean;
        }
        self.value.run(&rows[cold..], &mut out[cold..], |_, value| weight * value);
        cold - usize::from(is_first)
    }

    /// Whether there is an average, and the next two rows are a pair.
    #[inline(always)]
    pub(crate) fn is_even(&self) -> bool {
        self.seen >= self.period && self.value.is_even()
    }

    /// The averages at both rows of a pair.
    #[inline(always)]
    pub(crate) fn pair(&mut self, rows: [f64; 2]) -> [f64; 2] {
        let [first, second] = self.value.pair(rows);
        [self.weight * first, self.weight * second]
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.sum]);
        self.value.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(self.period)?;
        self.sum = saved.number()?;
        self.value.load(saved)
    }
}
