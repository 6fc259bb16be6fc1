//! Triple exponential moving average: an exponential one less its lag, which two more tell. Source: TA-Lib `TEMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged};
use super::cascade::Cascade;

pub(crate) static UNIT: Unit =
    Unit { name: "tema", kind: StateKind::Recursive, keeps: "the three averages so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(Box::new(Tema::new(period(values, 0))))))
}

#[derive(Debug)]
pub(crate) struct Tema {
    averages: Cascade<3>,
}

impl Tema {
    pub(crate) fn new(period: usize) -> Self {
        Self { averages: Cascade::new(period) }
    }
}

impl Average for Tema {
    fn lookback(&self) -> usize {
        self.averages.lookback()
    }

    fn reset(&mut self) {
        self.averages.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let [first, second, third] = self.averages.factors();
        let weights = [3.0 * first, 3.0 * second, third];
        self.averages
            .run(input, out, |[first, second, third]| weights[2] * third + (weights[0] * first - weights[1] * second));
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.averages.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.averages.load(saved)
    }
}
