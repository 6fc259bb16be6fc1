//! Average directional movement index: Wilder's average of the directional movement index. Source: TA-Lib `ADX`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::decay::Decay;
use super::directional::{Directional, Gains, Ratio, Sums};
use super::dx::{index, indices};

pub(crate) static UNIT: Unit =
    Unit { name: "adx", kind: StateKind::Recursive, keeps: "the decaying sums, their average and the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0);
    Some(Box::new(Directional::new(period, Adx::new(period))))
}

/// The average of the index so far.
#[derive(Debug)]
pub(crate) struct Adx {
    period: usize,
    /// The weight of a new index.
    weight: f64,
    /// The sum of the first indices, which starts the average.
    sum: f64,
    /// Indices so far, up to the period.
    seen: usize,
    average: Decay,
    last: f64,
}

impl Adx {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        let weight = 1.0 / period as f64;
        Self { period, weight, sum: 0.0, seen: 0, average: Decay::new(1.0 - weight), last: 0.0 }
    }

    /// The average with one more index; NaN stands for a row without movement, which leaves it as it is.
    #[inline(always)]
    fn take(&mut self, index: f64) -> f64 {
        let is_any = !index.is_nan();
        if self.seen >= self.period {
            if is_any {
                self.last = self.average.step(self.weight * index);
            }
            return self.last;
        }
        if is_any {
            self.sum += index;
        }
        self.seen += 1;
        if self.seen == self.period {
            self.last = self.sum / self.period as f64;
            self.average.start(self.last);
        }
        self.last
    }
}

impl Ratio for Adx {
    const NEEDS: [bool; 3] = [true, true, true];

    fn reset(&mut self) {
        self.average.start(0.0);
        (self.sum, self.seen, self.last) = (0.0, 0, 0.0);
    }

    #[inline(always)]
    fn row(&mut self, plus: f64, minus: f64, range: f64) -> f64 {
        let (index, is_any) = index(plus, minus, range);
        self.take(if is_any { index } else { f64::NAN })
    }

    #[inline(always)]
    fn rows(&mut self, sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]) {
        let all = indices(sums, gains, out);
        if all && self.seen >= self.period {
            for out in &mut *out {
                *out *= self.weight;
            }
            self.average.run(out);
            self.last = out.last().copied().unwrap_or(self.last);
        } else {
            for out in out {
                *out = self.take(*out);
            }
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.sum, self.seen as f64, self.last]);
        self.average.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.sum = saved.number()?;
        self.seen = saved.count(self.period)?;
        self.last = saved.number()?;
        self.average.load(saved)
    }
}
