//! Stage: one of several exponential averages that go along the rows together, four rows at a time. Source: the
//! averages within TA-Lib's `DEMA`, `TEMA`, `TRIX`, `T3` and `MACD`.
//!
//! Row by row, each value waits for the one before it; in fours, it waits once in four rows, and the stages of a loop
//! wait at the same time. The fours begin once all stages have started, so that where they begin depends on the number
//! of rows alone.

use super::super::running::Saved;

/// Rows that are taken at a time.
pub(crate) const FOUR: usize = 4;

/// An exponential average over the weight of a row, which starts from the mean of the first rows.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    period: usize,
    rests: Rests,
    /// The weight of a row.
    weight: f64,
    /// Rows so far, at most the period, and their sum.
    seen: usize,
    sum: f64,
    /// The value before the four, and what the rows of the four have added.
    base: f64,
    gained: f64,
}

/// What 1, 2, … rows leave of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rests([f64; FOUR]);

impl Rests {
    fn new(rest: f64) -> Self {
        let square = rest * rest;
        Self([rest, square, square * rest, square * square])
    }

    /// The values at four rows, after which the base is the last one.
    #[inline(always)]
    pub(crate) fn four(self, base: &mut f64, rows: [f64; FOUR]) -> [f64; FOUR] {
        let [one, two, three, four] = self.0;
        let second = one * rows[0] + rows[1];
        let third = one * second + rows[2];
        let fourth = one * third + rows[3];
        let before = *base;
        let values = [one * before + rows[0], two * before + second, three * before + third, four * before + fourth];
        *base = values[FOUR - 1];
        values
    }
}

impl Stage {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self::with_rest(period, (period - 1) as f64 / (period + 1) as f64)
    }

    /// Starts from the mean of `period` rows and keeps `rest` of itself with each row.
    pub(crate) fn with_rest(period: usize, rest: f64) -> Self {
        let period = period.max(1);
        let weight = 1.0 - rest;
        Self { period, rests: Rests::new(rest), weight, seen: 0, sum: 0.0, base: 0.0, gained: 0.0 }
    }

    /// What its values lack as a factor.
    pub(crate) fn weight(&self) -> f64 {
        self.weight
    }

    /// Rows before the first value.
    pub(crate) fn lookback(&self) -> usize {
        self.period - 1
    }

    pub(crate) fn reset(&mut self) {
        (self.seen, self.sum, self.base, self.gained) = (0, 0.0, 0.0, 0.0);
    }

    /// A row while not all stages have started: the value, if it has started itself.
    pub(crate) fn early(&mut self, row: f64) -> Option<f64> {
        if self.seen < self.period {
            self.sum += row;
            self.seen += 1;
            if self.seen < self.period {
                return None;
            }
            self.base = self.sum / self.period as f64 / self.weight;
        } else {
            self.base = self.rests.0[0] * self.base + row;
        }
        Some(self.base)
    }

    /// A row that stands alone, at this place of the four.
    #[inline(always)]
    pub(crate) fn step(&mut self, at: usize, row: f64) -> f64 {
        let at = at % FOUR;
        self.gained = if at == 0 { row } else { self.rests.0[0] * self.gained + row };
        let value = self.rests.0[at] * self.base + self.gained;
        if at + 1 == FOUR {
            self.base = value;
        }
        value
    }

    pub(crate) fn rests(&self) -> Rests {
        self.rests
    }

    /// The value before the four.
    pub(crate) fn base(&self) -> f64 {
        self.base
    }

    /// Goes on from a value, at the start of a four.
    pub(crate) fn set_base(&mut self, base: f64) {
        self.base = base;
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.sum, self.base, self.gained]);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(self.period)?;
        self.sum = saved.number()?;
        self.base = saved.number()?;
        self.gained = saved.number()?;
        Ok(())
    }
}
