//! Kaufman's adaptive moving average: the straighter the way of the last rows, the faster it follows. Source: TA-Lib
//! `KAMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged, Same};
use super::past::{Past, room};
use super::rolling::Total;

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
                    let step = (rows[at] - rows[at - 1]).abs();
                    way.step(period, step == 0.0, step);
                }
                if at == period {
                    average.start(rows[at - 1]);
                    let weight = share(way.length.value(), rows[at] - rows[0]);
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
            let steps = fresh.iter().zip(before).zip(leaving.iter().zip(gone));
            for (weight, ((row, before), (leaving, gone))) in weights.iter_mut().zip(steps) {
                *weight = (row - before).abs() - (gone - leaving).abs();
            }
            way.run(period, fresh, before, weights);
            for (weight, (row, leaving)) in weights.iter_mut().zip(fresh.iter().zip(leaving)) {
                *weight = share(*weight, row - leaving);
            }
            average.run(fresh, weights, out);
        });
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.way.length.save(state);
        state.push(self.way.idle as f64);
        self.average.save(state);
        self.past.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.way.length.load(saved)?;
        self.way.idle = saved.count(self.period)?;
        self.average.load(saved)?;
        self.past.load(saved)
    }
}

/// How far the rows of the window went up and down.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    length: Total,
    /// Rows in a row that did not move, at most the period.
    idle: usize,
}

impl Way {
    /// A row by which the way changes so much.
    fn step(&mut self, period: usize, is_idle: bool, change: f64) -> f64 {
        self.idle = if is_idle { (self.idle + 1).min(period) } else { 0 };
        if self.idle == period {
            // What rounding has left of a window in which nothing moves would count for a way.
            self.length = Total::default();
            return 0.0;
        }
        self.length.step(change)
    }

    /// Takes the change at each of these rows and leaves the way there.
    fn run(&mut self, period: usize, rows: &[f64], before: &[f64], changes: &mut [f64]) {
        // Rows that all move are the rule and are found out many at once.
        let is_any_idle = rows.iter().zip(before).fold(false, |any, (row, before)| any | (row == before));
        let mut idle = if is_any_idle { self.idle } else { 0 };
        let mut longest = 0;
        let (rows, before) = if is_any_idle { (rows, before) } else { (&[][..], &[][..]) };
        for (row, before) in rows.iter().zip(before).take(changes.len()) {
            idle = if row == before { idle + 1 } else { 0 };
            longest = longest.max(idle);
        }
        if longest < period {
            self.length.run(changes);
            self.idle = idle;
            return;
        }
        for (change, (row, before)) in changes.iter_mut().zip(rows.iter().zip(before)) {
            *change = self.step(period, row == before, *change);
        }
    }
}

/// The weight of a row that is this far from the window's start, to which the way is so long.
#[inline(always)]
fn share(length: f64, distance: f64) -> f64 {
    let straightness = distance.abs() / length;
    // Nothing moved, or rounding made the way shorter than the distance: as straight as can be.
    let straightness = if straightness < 1.0 { straightness } else { 1.0 };
    let straightness = if length > 0.0 { straightness } else { 1.0 };
    let weight = straightness * SPREAD + SLOWEST;
    weight * weight
}

/// Rows that are blended at a time.
const FOUR: usize = 4;

/// `value += weight * (row - value)` with a weight for each row, four rows at a time.
///
/// What the rows of a four leave of the value before them is worked out apart from it, so that the processor waits for
/// a value once in four rows. Where a four starts depends on the number of rows alone.
#[derive(Debug, Clone, Copy, Default)]
struct Blend {
    /// The value before the four.
    base: f64,
    /// What the rows of the four leave of it and add.
    rest: f64,
    gained: f64,
    /// Rows of the four so far.
    at: usize,
}

impl Blend {
    fn start(&mut self, value: f64) {
        *self = Self { base: value, ..Self::default() };
    }

    #[inline(always)]
    fn step(&mut self, row: f64, weight: f64) -> f64 {
        let (rest, gain) = (1.0 - weight, weight * row);
        (self.rest, self.gained) =
            if self.at == 0 { (rest, gain) } else { (rest * self.rest, rest * self.gained + gain) };
        let value = self.rest * self.base + self.gained;
        self.at += 1;
        if self.at >= FOUR {
            self.start(value);
        }
        value
    }

    fn run(&mut self, rows: &[f64], weights: &[f64], out: &mut [f64]) {
        let n_head = ((FOUR - self.at) % FOUR).min(out.len());
        let (row_fours, row_tail) = rows[n_head..].as_chunks::<FOUR>();
        let (weight_fours, weight_tail) = weights[n_head..].as_chunks::<FOUR>();
        let (head, out) = out.split_at_mut(n_head);
        let (out_fours, out_tail) = out.as_chunks_mut::<FOUR>();
        for (out, (row, weight)) in head.iter_mut().zip(rows.iter().zip(weights)) {
            *out = self.step(*row, *weight);
        }
        let mut base = self.base;
        for (out, (rows, weights)) in out_fours.iter_mut().zip(row_fours.iter().zip(weight_fours)) {
            let rests = [1.0 - weights[0], 1.0 - weights[1], 1.0 - weights[2], 1.0 - weights[3]];
            let first = weights[0] * rows[0];
            let second = rests[1] * first + weights[1] * rows[1];
            let third = rests[2] * second + weights[2] * rows[2];
            let fourth = rests[3] * third + weights[3] * rows[3];
            let two = rests[1] * rests[0];
            let three = rests[2] * two;
            let last = (rests[3] * three) * base + fourth;
            *out = [rests[0] * base + first, two * base + second, three * base + third, last];
            base = last;
        }
        self.base = base;
        for (out, (row, weight)) in out_tail.iter_mut().zip(row_tail.iter().zip(weight_tail)) {
            *out = self.step(*row, *weight);
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.base, self.rest, self.gained, self.at as f64]);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        let (base, rest, gained) = (saved.number()?, saved.number()?, saved.number()?);
        *self = Self { base, rest, gained, at: saved.count(FOUR - 1)? };
        Ok(())
    }
}
