//! Rolling sum: the sum of the last rows, four rows at a time. Source: the running sums of TA-Lib's `SMA` and `SUM`.
//!
//! Row by row, each sum waits for the one before it. Within a block of four, the changes are summed apart from the sum
//! at the block's start, so that the processor waits once a block. Where a block starts depends on the number of rows
//! alone, which is why a split into pieces changes no bit.

use super::super::running::Saved;
use super::past::Past;

/// Rows a block.
const BLOCK: usize = 4;

/// The sum of the last `period` rows.
#[derive(Debug, Clone)]
pub(crate) struct RollingSum {
    period: usize,
    past: Past<1>,
    total: Total,
}

impl RollingSum {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self { period, past: Past::new(period), total: Total::default() }
    }

    pub(crate) fn reset(&mut self) {
        self.past.reset();
        self.total = Total::default();
    }

    /// The sums of the windows that end at each row; of all rows until then while the window is not full.
    pub(crate) fn run(&mut self, input: &[f64], out: &mut [f64]) {
        if self.period == 1 {
            out.copy_from_slice(input);
            return;
        }
        let (period, total) = (self.period, &mut self.total);
        self.past.feed([input], |known, [rows], new| {
            let (out, fresh) = (&mut out[new], &rows[known..]);
            let filling = (period - known).min(fresh.len());
            let (first, out_full) = out.split_at_mut(filling);
            first.copy_from_slice(&fresh[..filling]);
            let leaving = &rows[(known + filling).saturating_sub(period)..];
            for ((out, new), old) in out_full.iter_mut().zip(&fresh[filling..]).zip(leaving) {
                *out = new - old;
            }
            total.run(out);
        });
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        self.total.save(state);
        self.past.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.total.load(saved)?;
        self.past.load(saved)
    }
}

/// The total of all changes so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Total {
    /// The total before the block.
    base: f64,
    /// What the rows of the block have added.
    part: f64,
    /// Rows of the block so far.
    at: usize,
}

impl Total {
    /// Goes on from a total.
    pub(crate) fn start(value: f64) -> Self {
        Self { base: value, part: 0.0, at: 0 }
    }

    /// The total so far.
    pub(crate) fn value(&self) -> f64 {
        if self.at == 0 { self.base } else { self.base + self.part }
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn step(&mut self, change: f64) -> f64 {
        self.part = if self.at == 0 { change } else { self.part + change };
        let value = self.base + self.part;
        self.at += 1;
        if self.at >= BLOCK {
            *self = Self::start(value);
        }
        value
    }

    /// Takes the change at each row and leaves the total there.
    #[inline]
    pub(crate) fn run(&mut self, rows: &mut [f64]) {
        let n_head = ((BLOCK - self.at) % BLOCK).min(rows.len());
        let (head, rest) = rows.split_at_mut(n_head);
        let (blocks, tail) = rest.as_chunks_mut::<BLOCK>();
        for row in head {
            *row = self.step(*row);
        }
        let mut base = self.base;
        for block in blocks {
            let [first, second, third, fourth] = *block;
            let two = first + second;
            let three = two + third;
            let four = three + fourth;
            *block = [base + first, base + two, base + three, base + four];
            base += four;
        }
        self.base = base;
        for row in tail {
            *row = self.step(*row);
        }
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.base, self.part, self.at as f64]);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        let (base, part) = (saved.number()?, saved.number()?);
        *self = Self { base, part, at: saved.count(BLOCK - 1)? };
        Ok(())
    }
}
