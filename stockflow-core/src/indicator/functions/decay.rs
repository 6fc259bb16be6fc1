//! Decay: a value that loses a part of itself with each row and gains the row's own, four rows at a time.
//! Source: the recursion of Wilder's and exponential averages in TA-Lib.
//!
//! Row by row, each value waits for the one before it. Within a block of four rows, what the rows add is summed apart
//! from what the value at the block's start has left, so that the processor waits once a block. Where a block starts
//! depends on the number of rows alone, which is why a split into pieces changes no bit.

use super::super::running::Saved;

/// Rows a block.
const BLOCK: usize = 4;

/// Rows that are worked on at a time, so that what is between two passes over them stays in the nearest cache.
pub(crate) const PASS: usize = 256;

/// `value = factor * value + gain`.
#[derive(Debug, Clone)]
pub(crate) struct Decay {
    /// What is left of a value after 1, 2, … rows.
    powers: [f64; BLOCK],
    /// The value before the block.
    base: f64,
    /// What the rows of the block have added.
    gained: f64,
    /// Rows of the block so far.
    at: usize,
}

impl Decay {
    pub(crate) fn new(factor: f64) -> Self {
        let mut powers = [factor; BLOCK];
        for k in 1..BLOCK {
            powers[k] = powers[k - 1] * factor;
        }
        Self { powers, base: 0.0, gained: 0.0, at: 0 }
    }

    /// Starts from a value.
    pub(crate) fn start(&mut self, value: f64) {
        self.base = value;
        self.gained = 0.0;
        self.at = 0;
    }

    /// What it started from, as long as there was no step.
    pub(crate) fn base(&self) -> f64 {
        self.base
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn step(&mut self, gain: f64) -> f64 {
        let at = self.at % BLOCK;
        self.gained = if at == 0 { gain } else { self.powers[0] * self.gained + gain };
        let value = self.powers[at] * self.base + self.gained;
        if at + 1 == BLOCK {
            self.start(value);
        } else {
            self.at = at + 1;
        }
        value
    }

    /// Many rows: takes what each one adds and leaves the value there.
    #[inline]
    pub(crate) fn run(&mut self, rows: &mut [f64]) {
        let (head, blocks, tail) = self.split(rows);
        for row in head {
            *row = self.step(*row);
        }
        let (powers, mut base) = (self.powers, self.base);
        for block in blocks {
            *block = values(&powers, &mut base, *block);
        }
        self.base = base;
        for row in tail {
            *row = self.step(*row);
        }
    }

    /// Takes what each row adds to two values and leaves the weighted first less the weighted second there.
    ///
    /// Side by side, because each of the two waits for its own block before only. Both are at the same row.
    #[inline]
    pub(crate) fn run_difference(&mut self, weight: f64, other: &mut Self, other_weight: f64, rows: &mut [f64]) {
        let (head, blocks, tail) = self.split(rows);
        for row in head {
            *row = weight * self.step(*row) - other_weight * other.step(*row);
        }
        let (powers, mut base) = (self.powers, self.base);
        let (other_powers, mut other_base) = (other.powers, other.base);
        for block in blocks {
            let ours = values(&powers, &mut base, *block);
            let others = values(&other_powers, &mut other_base, *block);
            *block = std::array::from_fn(|k| weight * ours[k] - other_weight * others[k]);
        }
        (self.base, other.base) = (base, other_base);
        for row in tail {
            *row = weight * self.step(*row) - other_weight * other.step(*row);
        }
    }

    /// The rows up to the next block, whole blocks, and the rest.
    fn split<'a>(&self, rows: &'a mut [f64]) -> (&'a mut [f64], &'a mut [[f64; BLOCK]], &'a mut [f64]) {
        let n_head = ((BLOCK - self.at % BLOCK) % BLOCK).min(rows.len());
        let (head, rest) = rows.split_at_mut(n_head);
        let (blocks, tail) = rest.as_chunks_mut::<BLOCK>();
        (head, blocks, tail)
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.base, self.gained, self.at as f64]);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.base = saved.number()?;
        self.gained = saved.number()?;
        self.at = saved.count(BLOCK - 1)?;
        Ok(())
    }
}

/// The values of a block, given the one before it, which becomes the last one, and what each row adds.
#[inline(always)]
fn values(powers: &[f64; BLOCK], base: &mut f64, gains: [f64; BLOCK]) -> [f64; BLOCK] {
    let g2 = powers[0] * gains[0] + gains[1];
    let g3 = powers[0] * g2 + gains[2];
    let g4 = powers[0] * g3 + gains[3];
    let last = powers[3] * *base + g4;
    let values = [powers[0] * *base + gains[0], powers[1] * *base + g2, powers[2] * *base + g3, last];
    *base = last;
    values
}
