//! Triangular moving average: the simple average of a simple average, each over half the rows. Source: TA-Lib `TRIMA`.
//!
//! TA-Lib moves the weighted sum along by two partial sums, whose errors add up from row to row; two averages in a row
//! are the same weights without that.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged};
use super::past::room;
use super::rolling::RollingSum;

pub(crate) static UNIT: Unit =
    Unit { name: "trima", kind: StateKind::Window, keeps: "the sums and the rows of its two windows", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(Box::new(Trima::new(period(values, 0))))))
}

/// A sum of sums.
#[derive(Debug)]
pub(crate) struct Trima {
    period: usize,
    weight: f64,
    inner: RollingSum,
    outer: RollingSum,
    /// Rows that the inner sum still needs.
    left: usize,
    scratch: Vec<f64>,
}

impl Trima {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        let (inner, outer) = (period / 2 + 1, period.div_ceil(2));
        Self {
            period,
            weight: 1.0 / (inner as f64 * outer as f64),
            inner: RollingSum::new(inner),
            outer: RollingSum::new(outer),
            left: inner - 1,
            scratch: Vec::new(),
        }
    }
}

impl Average for Trima {
    fn lookback(&self) -> usize {
        self.period - 1
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.outer.reset();
        self.left = self.period / 2;
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let sums = room(&mut self.scratch, input.len());
        self.inner.run(input, sums);
        let skipped = self.left.min(input.len());
        self.left -= skipped;
        let out = &mut out[skipped..];
        self.outer.run(&sums[skipped..], out);
        for out in out {
            *out *= self.weight;
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.left as f64);
        self.inner.save(state);
        self.outer.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.left = saved.count(self.period / 2)?;
        self.inner.load(saved)?;
        self.outer.load(saved)
    }
}
