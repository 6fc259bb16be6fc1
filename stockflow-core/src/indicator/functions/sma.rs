//! Simple moving average: the mean of the last `timeperiod` rows, by a running sum. Source: TA-Lib `SMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged};
use super::rolling::RollingSum;

pub(crate) static UNIT: Unit =
    Unit { name: "sma", kind: StateKind::Window, keeps: "the sum and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(Box::new(Sma::new(period(values, 0))))))
}

/// The mean of the last rows.
#[derive(Debug, Clone)]
pub(crate) struct Sma {
    period: usize,
    weight: f64,
    sum: RollingSum,
}

impl Sma {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self { period, weight: 1.0 / period as f64, sum: RollingSum::new(period) }
    }
}

impl Average for Sma {
    fn lookback(&self) -> usize {
        self.period - 1
    }

    fn reset(&mut self) {
        self.sum.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        self.sum.run(input, out);
        for out in out {
            *out *= self.weight;
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.sum.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.sum.load(saved)
    }
}
