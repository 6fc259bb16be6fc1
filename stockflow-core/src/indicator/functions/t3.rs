//! T3: Tillson's average, a weighted sum of exponential ones run six times over each other. Source: TA-Lib `T3`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period, real};
use super::average::{Average, Averaged, Same};
use super::cascade::Cascade;
use super::past::room;

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
    Box::new(T3 { averages: Cascade::new(period), weights: [third, fourth, fifth, sixth], scratch: Default::default() })
}

#[derive(Debug)]
struct T3 {
    averages: Cascade<6>,
    /// Of the third to the sixth average.
    weights: [f64; 4],
    scratch: [Vec<f64>; 5],
}

impl Average for T3 {
    fn lookback(&self) -> usize {
        self.averages.lookback()
    }

    fn reset(&mut self) {
        self.averages.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let [first, second, third, fourth, fifth] = self.scratch.each_mut().map(|it| room(it, input.len()));
        self.averages.run(input, [first, second, &mut *third, &mut *fourth, &mut *fifth, &mut *out]);
        let [w3, w4, w5, w6] = self.weights;
        let averages = third.iter().zip(fourth).zip(fifth);
        for (out, ((third, fourth), fifth)) in out.iter_mut().zip(averages) {
            *out = w3 * third + (w4 * *fourth + (w6 * *out + w5 * *fifth));
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.averages.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.averages.load(saved)
    }
}
