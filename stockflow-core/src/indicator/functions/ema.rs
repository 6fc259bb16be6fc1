//! Exponential moving average: each row counts for a fixed part of what is left. Source: TA-Lib `EMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged};
use super::decay::Decay;

pub(crate) static UNIT: Unit = Unit { name: "ema", kind: StateKind::Recursive, keeps: "the average so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(Box::new(Ema::new(period(values, 0))))))
}

/// The average so far over the weight of a row, which starts from the mean of the first rows.
#[derive(Debug, Clone)]
pub(crate) struct Ema {
    period: usize,
    /// The weight of a new row.
    weight: f64,
    average: Decay,
    /// Rows so far, at most the period, and their sum.
    seen: usize,
    sum: f64,
}

impl Ema {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self::with_rest(period, (period - 1) as f64 / (period + 1) as f64)
    }

    /// Starts from the mean of `period` rows and keeps `rest` of itself with each row.
    pub(crate) fn with_rest(period: usize, rest: f64) -> Self {
        let period = period.max(1);
        Self { period, weight: 1.0 - rest, average: Decay::new(rest), seen: 0, sum: 0.0 }
    }
}

impl Average for Ema {
    fn lookback(&self) -> usize {
        self.period - 1
    }

    fn reset(&mut self) {
        (self.seen, self.sum) = (0, 0.0);
        self.average.start(0.0);
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let factor = self.run_raw(input, out);
        for out in out {
            *out *= factor;
        }
    }

    fn run_raw(&mut self, input: &[f64], out: &mut [f64]) -> f64 {
        let mut start = 0;
        if self.seen < self.period {
            start = (self.period - self.seen).min(input.len());
            self.seen += start;
            for row in &input[..start] {
                self.sum += row;
            }
            if self.seen == self.period && start > 0 {
                let mean = self.sum / self.period as f64 / self.weight;
                self.average.start(mean);
                out[start - 1] = mean;
            }
        }
        self.average.run_from(&input[start..], &mut out[start..]);
        self.weight
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.sum]);
        self.average.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(self.period)?;
        self.sum = saved.number()?;
        self.average.load(saved)
    }
}
