//! Decay: a value that loses a part of itself with each row and gains the row's own, eight rows at a time.
//! Source: the recursion of Wilder's and exponential averages in TA-Lib.
//!
//! Row by row, each value waits for the one before it. Within a block of eight rows, what the rows add is summed apart
//! from what the value at the block's start has left, so that the processor waits once a block. Where a block starts
//! depends on the number of rows alone, which is why a split into pieces changes no bit.

use super::super::running::Saved;

/// Rows a block.
const BLOCK: usize = 8;

/// Rows of a block's halves, which are summed up each for itself first.
const HALF: usize = BLOCK / 2;

/// Rows that are worked on at a time, so that what is between two passes over them stays in the nearest cache.
///
/// Twice as many would put the places of passes 4096 bytes apart, which processors take for the same place at first.
pub(crate) const PASS: usize = 256;

/// `value = factor * value + gain`.
#[derive(Debug, Clone)]
pub(crate) struct Decay {
    /// What is left of a value after 1, 2, … rows.
    powers: [f64; BLOCK],
    /// The value before the block.
    base: f64,
    /// What the rows of the block's first half have added.
    half: f64,
    /// What the rows of the half have added.
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
        Self { powers, base: 0.0, half: 0.0, gained: 0.0, at: 0 }
    }

    /// Starts from a value.
    pub(crate) fn start(&mut self, value: f64) {
        self.base = value;
        self.half = 0.0;
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
        self.gained = if at.is_multiple_of(HALF) { gain } else { self.powers[0] * self.gained + gain };
        let mut all = self.gained;
        if at >= HALF {
            all += self.powers[at - HALF] * self.half;
        } else if at + 1 == HALF {
            self.half = all;
        }
        let value = self.powers[at] * self.base + all;
        if at + 1 == BLOCK {
            self.start(value);
        } else {
            self.at = at + 1;
        }
        value
    }

    /// Many rows: takes what each one adds and leaves the value there.
    #[inline(always)]
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
    #[inline(always)]
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

    /// The same with what the rows add in a place of its own.
    #[inline(always)]
    pub(crate) fn run_from(&mut self, gains: &[f64], out: &mut [f64]) {
        let n_head = ((BLOCK - self.at % BLOCK) % BLOCK).min(out.len()).min(gains.len());
        let (head_gains, gains) = gains.split_at(n_head);
        let (gain_blocks, gain_tail) = gains.as_chunks::<BLOCK>();
        let (head, blocks, tail) = self.split(out);
        for (out, gain) in head.iter_mut().zip(head_gains) {
            *out = self.step(*gain);
        }
        let (powers, mut base) = (self.powers, self.base);
        for (block, gains) in blocks.iter_mut().zip(gain_blocks) {
            *block = values(&powers, &mut base, *gains);
        }
        self.base = base;
        for (out, gain) in tail.iter_mut().zip(gain_tail) {
            *out = self.step(*gain);
        }
    }

    /// The rows up to the next block, whole blocks, and the rest.
    #[inline(always)]
    fn split<'a>(&self, rows: &'a mut [f64]) -> (&'a mut [f64], &'a mut [[f64; BLOCK]], &'a mut [f64]) {
        let n_head = ((BLOCK - self.at % BLOCK) % BLOCK).min(rows.len());
        let (head, rest) = rows.split_at_mut(n_head);
        let (blocks, tail) = rest.as_chunks_mut::<BLOCK>();
        (head, blocks, tail)
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.base, self.half, self.gained, self.at as f64]);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.base = saved.number()?;
        self.half = saved.number()?;
        self.gained = saved.number()?;
        self.at = saved.count(BLOCK - 1)?;
        Ok(())
    }
}

/// The values of a block, given the one before it, which becomes the last one, and what each row adds.
#[inline(always)]
fn values(powers: &[f64; BLOCK], base: &mut f64, gains: [f64; BLOCK]) -> [f64; BLOCK] {
    let mut values = gains;
    for k in 1..HALF {
        values[k] += powers[0] * values[k - 1];
        values[HALF + k] += powers[0] * values[HALF + k - 1];
    }
    let half = values[HALF - 1];
    for (value, power) in values[HALF..].iter_mut().zip(powers) {
        *value += power * half;
    }
    for (value, power) in values.iter_mut().zip(powers) {
        *value += power * *base;
    }
    *base = values[BLOCK - 1];
    values
}
