//! Double exponential moving average: an exponential one less its lag, which a second one tells. Source: TA-Lib `DEMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged};
use super::cascade::Cascade;

pub(crate) static UNIT: Unit =
    Unit { name: "dema", kind: StateKind::Recursive, keeps: "the two averages so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(Box::new(Dema::new(period(values, 0))))))
}

#[derive(Debug)]
pub(crate) struct Dema {
    averages: Cascade<2>,
}

impl Dema {
    pub(crate) fn new(period: usize) -> Self {
        Self { averages: Cascade::new(period) }
    }
}

impl Average for Dema {
    fn lookback(&self) -> usize {
        self.averages.lookback()
    }

    fn reset(&mut self) {
        self.averages.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let [first, second] = self.averages.factors();
        let weights = [2.0 * first, second];
        self.averages.run(input, out, |[first, second]| weights[0] * first - weights[1] * second);
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.averages.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.averages.load(saved)
    }
}
