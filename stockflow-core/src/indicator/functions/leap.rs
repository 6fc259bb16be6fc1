//! Leap: a value that loses a part of itself with each row and gains the row's own, two rows at a time. Source: the
//! recursion of Wilder's and exponential averages in TA-Lib.
//!
//! What [`decay`](super::decay) is to rows that lie ready, this is to rows that are made on the way: few instructions a
//! row, so that the processor sees far enough ahead to fetch the next bars from memory meanwhile. Where a pair starts
//! depends on the number of rows alone, which is why a split into pieces changes no bit.

use super::super::running::Saved;

/// Rows that are made at a time.
pub(crate) const TILE: usize = 128;

/// `value = factor * value + gain`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leap {
    /// What is left of a value after one row and after two.
    factor: f64,
    square: f64,
    /// The value before the pair.
    base: f64,
    /// What the first row of the pair has added, if it was there.
    gain: f64,
    is_half: bool,
}

impl Leap {
    pub(crate) fn new(factor: f64) -> Self {
        Self { factor, square: factor * factor, base: 0.0, gain: 0.0, is_half: false }
    }

    /// Starts from a value.
    #[inline(always)]
    pub(crate) fn start(&mut self, value: f64) {
        (self.base, self.gain, self.is_half) = (value, 0.0, false);
    }

    /// What it started from, as long as there was no step.
    pub(crate) fn base(&self) -> f64 {
        self.base
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn step(&mut self, gain: f64) -> f64 {
        if self.is_half {
            let value = self.second(gain);
            self.start(value);
            value
        } else {
            (self.gain, self.is_half) = (gain, true);
            self.factor.mul_add(self.base, gain)
        }
    }

    /// The value of a pair's second row.
    #[inline(always)]
    fn second(&self, gain: f64) -> f64 {
        self.square.mul_add(self.base, self.factor.mul_add(self.gain, gain))
    }

    /// Whether the next row is the first of a pair.
    #[inline(always)]
    pub(crate) fn is_even(&self) -> bool {
        !self.is_half
    }

    /// Both rows of a pair.
    #[inline(always)]
    pub(crate) fn pair(&mut self, [first, second]: [f64; 2]) -> [f64; 2] {
        let value = self.factor.mul_add(self.base, first);
        self.gain = first;
        self.start(self.second(second));
        [value, self.base]
    }

    /// Many rows: takes what each one adds, and hands the value of each to `give`.
    #[inline(always)]
    pub(crate) fn run(&mut self, gains: &[f64], out: &mut [f64], mut give: impl FnMut(usize, f64) -> f64) {
        let n = gains.len().min(out.len());
        let (gains, out) = (&gains[..n], &mut out[..n]);
        let head = usize::from(self.is_half).min(n);
        for i in 0..head {
            out[i] = give(i, self.step(gains[i]));
        }
        let mut leap = *self;
        let (pairs, tail) = gains[head..].as_chunks::<2>();
        let (places, rest) = out[head..].as_chunks_mut::<2>();
        for (k, (pair, place)) in pairs.iter().zip(places).enumerate() {
            let [first, second] = leap.pair(*pair);
            *place = [give(head + 2 * k, first), give(head + 2 * k + 1, second)];
        }
        for (gain, out) in tail.iter().zip(rest) {
            *out = give(n - 1, leap.step(*gain));
        }
        *self = leap;
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.base, self.gain, f64::from(u8::from(self.is_half))]);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.base = saved.number()?;
        self.gain = saved.number()?;
        self.is_half = saved.count(1)? == 1;
        Ok(())
    }
}
