//! Random numbers that are the same for the same seed on any machine.

use std::ops::{Range, RangeInclusive};

/// SplitMix64.
pub(super) struct Random(u64);

/// A range of which a number can be taken.
pub(super) trait Span {
    type Number;

    fn take(self, random: &mut Random) -> Self::Number;
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn within<S: Span>(&mut self, range: S) -> S::Number {
        range.take(self)
    }

    pub(super) fn happens(&mut self, share: f64) -> bool {
        self.share() < share
    }

    pub(super) fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.within(0..list.len())]
    }

    /// Some of a list, each once.
    pub(super) fn some_of<T: Copy>(&mut self, list: &[T], count: usize) -> Vec<T> {
        let mut left = list.to_vec();
        (0..count).map(|_| left.swap_remove(self.within(0..left.len()))).collect()
    }
}

impl Span for Range<f64> {
    type Number = f64;

    fn take(self, random: &mut Random) -> f64 {
        self.start + random.share() * (self.end - self.start)
    }
}

impl Span for Range<usize> {
    type Number = usize;

    fn take(self, random: &mut Random) -> usize {
        self.start + (random.share() * (self.end - self.start) as f64) as usize
    }
}

impl Span for RangeInclusive<usize> {
    type Number = usize;

    fn take(self, random: &mut Random) -> usize {
        random.within(*self.start()..self.end() + 1)
    }
}
