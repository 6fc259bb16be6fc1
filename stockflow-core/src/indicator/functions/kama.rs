//! Kaufman's adaptive moving average: the straighter the way of the last rows, the faster it follows. Source: TA-Lib
//! `KAMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged, Same};
use super::past::{Past, room};

pub(crate) static UNIT: Unit =
    Unit { name: "kama", kind: StateKind::Recursive, keeps: "the average so far and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(kama(period(values, 0)))))
}

pub(crate) fn kama(period: usize) -> Box<dyn Average> {
    if period <= 1 { Box::new(Same) } else { Box::new(Kama::new(period)) }
}

/// The weight of a new row where the way is anything but straight.
const SLOWEST: f64 = 2.0 / (30.0 + 1.0);
/// How much greater it is where the way is straight.
const SPREAD: f64 = 2.0 / (2.0 + 1.0) - SLOWEST;

#[derive(Debug)]
struct Kama {
    period: usize,
    /// The rows of the window and the two before it.
    past: Past<1>,
    way: Way,
    average: Blend,
    scratch: Vec<f64>,
}

impl Kama {
    fn new(period: usize) -> Self {
        Self {
            period,
            past: Past::new(period + 1),
            way: Way::default(),
            average: Blend::default(),
            scratch: Vec::new(),
        }
    }
}

impl Average for Kama {
    fn lookback(&self) -> usize {
        self.period
    }

    fn reset(&mut self) {
        self.past.reset();
        self.way = Way::default();
        self.average = Blend::default();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let (period, way, average) = (self.period, &mut self.way, &mut self.average);
        let weights = room(&mut self.scratch, input.len());
        self.past.feed([input], |known, [rows], new| {
            let (out, weights) = (&mut out[new.clone()], &mut weights[new]);
            let mut at = known;
            // The first window; its last row is the first with a value.
            while at < rows.len() && at <= period && known <= period {
                if at > 0 {
                    way.step(period, (rows[at] - rows[at - 1]).abs(), 0.0);
                }
                if at == period {
                    average.start(rows[at - 1]);
                    let weight = way.weight(rows[at] - rows[0]);
                    out[at - known] = average.step(rows[at], weight);
                }
                at += 1;
            }
            if at == rows.len() {
                return;
            }
            let (out, weights) = (&mut out[at - known..], &mut weights[at - known..]);
            let (fresh, before) = (&rows[at..], &rows[at - 1..]);
            let (leaving, gone) = (&rows[at - period..], &rows[at - period - 1..]);
            let mut moving = *way;
            let steps = fresh.iter().zip(before).zip(leaving.iter().zip(gone));
            for (weight, ((row, before), (leaving, gone))) in weights.iter_mut().zip(steps) {
                moving.step(period, (row - before).abs(), (gone - leaving).abs());
                *weight = moving.length;
            }
            *way = moving;
            for (weight, (row, leaving)) in weights.iter_mut().zip(fresh.iter().zip(leaving)) {
                *weight = (Way { length: *weight, idle: 0 }).weight(row - leaving);
            }
            average.run(fresh, weights, out);
        });
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.way.length, self.way.idle as f64]);
        self.average.save(state);
        self.past.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.way = Way { length: saved.number()?, idle: saved.count(self.period)? };
        self.average.load(saved)?;
        self.past.load(saved)
    }
}

/// How far the rows of the window went up and down.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    length: f64,
    /// Rows in a row that did not move, at most the period.
    idle: usize,
}

impl Way {
    #[inline(always)]
    fn step(&mut self, period: usize, entering: f64, leaving: f64) {
        let idle = if entering > 0.0 { 0 } else { self.idle + 1 };
        self.length += entering - leaving;
        self.idle = idle.min(period);
        // What rounding has left of a window in which nothing moves would count for a way.
        self.length = if idle >= period { 0.0 } else { self.length };
    }

    /// The weight of a row that is this far from the window's start.
    #[inline(always)]
    fn weight(&self, distance: f64) -> f64 {
        let straightness = distance.abs() / self.length;
        // Nothing moved, or rounding made the way shorter than the distance: as straight as can be.
        let straightness = if self.length > 0.0 && straightness < 1.0 { straightness } else { 1.0 };
        let weight = straightness * SPREAD + SLOWEST;
        weight * weight
    }
}

/// `value += weight * (row - value)` with a weight for each row, two rows at a time.
///
/// What the second row leaves of the value at the start is worked out apart from it, so that the processor waits for
/// a value once in two rows. Where such a pair starts depends on the number of rows alone.
#[derive(Debug, Clone, Copy, Default)]
struct Blend {
    /// The value before the pair.
    base: f64,
    /// What the pair's first row leaves of it and adds, if there was one.
    rest: f64,
    gained: f64,
    is_half: bool,
}

impl Blend {
    fn start(&mut self, value: f64) {
        *self = Self { base: value, ..Self::default() };
    }

    #[inline(always)]
    fn step(&mut self, row: f64, weight: f64) -> f64 {
        let (rest, gain) = (1.0 - weight, weight * row);
        if self.is_half {
            let value = (rest * self.rest) * self.base + (rest * self.gained + gain);
            self.start(value);
            value
        } else {
            *self = Self { base: self.base, rest, gained: gain, is_half: true };
            rest * self.base + gain
        }
    }

    fn run(&mut self, rows: &[f64], weights: &[f64], out: &mut [f64]) {
        let n_head = usize::from(self.is_half).min(out.len());
        let (row_pairs, row_tail) = rows[n_head..].as_chunks::<2>();
        let (weight_pairs, weight_tail) = weights[n_head..].as_chunks::<2>();
        let (head, out) = out.split_at_mut(n_head);
        let (out_pairs, out_tail) = out.as_chunks_mut::<2>();
        for (out, (row, weight)) in head.iter_mut().zip(rows.iter().zip(weights)) {
            *out = self.step(*row, *weight);
        }
        let mut base = self.base;
        for (out, (rows, weights)) in out_pairs.iter_mut().zip(row_pairs.iter().zip(weight_pairs)) {
            let rests = [1.0 - weights[0], 1.0 - weights[1]];
            let gains = [weights[0] * rows[0], weights[1] * rows[1]];
            let second = (rests[1] * rests[0]) * base + (rests[1] * gains[0] + gains[1]);
            *out = [rests[0] * base + gains[0], second];
            base = second;
        }
        self.base = base;
        for (out, (row, weight)) in out_tail.iter_mut().zip(row_tail.iter().zip(weight_tail)) {
            *out = self.step(*row, *weight);
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.base, self.rest, self.gained, f64::from(u8::from(self.is_half))]);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        let (base, rest, gained) = (saved.number()?, saved.number()?, saved.number()?);
        *self = Self { base, rest, gained, is_half: saved.count(1)? == 1 };
        Ok(())
    }
}
