//! T3: Tillson's average, a weighted sum of exponential ones run six times over each other. Source: TA-Lib `T3`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period, real};
use super::average::{Average, Averaged, Same};
use super::cascade::Cascade;

pub(crate) static UNIT: Unit = Unit { name: "t3", kind: StateKind::Recursive, keeps: "the six averages so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(t3(period(values, 0), real(values, 1)))))
}

pub(crate) fn t3(period: usize, factor: f64) -> Box<dyn Average> {
    if period == 1 {
        return Box::new(Same);
    }
    let square = factor * factor;
    let sixth = -(square * factor);
    let fifth = 3.0 * (square - sixth);
    let fourth = -6.0 * square - 3.0 * (factor - sixth);
    let third = 1.0 + 3.0 * factor - sixth + 3.0 * square;
    Box::new(T3 { averages: Cascade::new(period), weights: [third, fourth, fifth, sixth] })
}

#[derive(Debug)]
struct T3 {
    averages: Cascade<6>,
    /// Of the third to the sixth average.
    weights: [f64; 4],
}

impl Average for T3 {
    fn lookback(&self) -> usize {
        self.averages.lookback()
    }

    fn reset(&mut self) {
        self.averages.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let factors = self.averages.factors();
        let [w3, w4, w5, w6]: [f64; 4] = std::array::from_fn(|k| self.weights[k] * factors[k + 2]);
        self.averages.run(input, out, |[_, _, third, fourth, fifth, sixth]| {
            w3 * third + (w4 * fourth + (w6 * sixth + w5 * fifth))
        });
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.averages.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.averages.load(saved)
    }
}
