//! Hull moving average: a weighted average of twice a fast weighted one less a slow one. Source: TA-Lib `HMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged, Link, Same};
use super::past::room;
use super::wma::wma;

pub(crate) static UNIT: Unit =
    Unit { name: "hma", kind: StateKind::Window, keeps: "the sums and the rows of its three windows", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(hma(period(values, 0)))))
}

pub(crate) fn hma(period: usize) -> Box<dyn Average> {
    if period <= 1 {
        return Box::new(Same);
    }
    let slow = wma(period);
    let smooth = Link::new(wma(period.isqrt()), slow.lookback());
    Box::new(Hma { fast: wma(period / 2), slow, smooth, scratch: Default::default() })
}

#[derive(Debug)]
struct Hma {
    fast: Box<dyn Average>,
    slow: Box<dyn Average>,
    smooth: Link,
    scratch: [Vec<f64>; 2],
}

impl Average for Hma {
    fn lookback(&self) -> usize {
        self.smooth.lookback()
    }

    fn reset(&mut self) {
        self.fast.reset();
        self.slow.reset();
        self.smooth.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let [fast, slow] = self.scratch.each_mut().map(|it| room(it, input.len()));
        self.fast.run(input, fast);
        self.slow.run(input, slow);
        for (fast, slow) in fast.iter_mut().zip(slow) {
            *fast = 2.0 * *fast - *slow;
        }
        self.smooth.run(fast, out);
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.fast.save(state);
        self.slow.save(state);
        self.smooth.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.fast.load(saved)?;
        self.slow.load(saved)?;
        self.smooth.load(saved)
    }
}
