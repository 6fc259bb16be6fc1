//! Zero-lag exponential moving average: an exponential one over rows that lead by half the period. Source: TA-Lib
//! `ZLEMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged};
use super::ema::Ema;
use super::past::{Past, room};

pub(crate) static UNIT: Unit =
    Unit { name: "zlema", kind: StateKind::Recursive, keeps: "the average so far and the rows of the lag", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(Box::new(Zlema::new(period(values, 0))))))
}

#[derive(Debug)]
pub(crate) struct Zlema {
    lag: usize,
    past: Past<1>,
    average: Ema,
    scratch: Vec<f64>,
}

impl Zlema {
    pub(crate) fn new(period: usize) -> Self {
        let lag = (period.max(1) - 1) / 2;
        Self { lag, past: Past::new(lag), average: Ema::new(period), scratch: Vec::new() }
    }
}

impl Average for Zlema {
    fn lookback(&self) -> usize {
        self.lag + self.average.lookback()
    }

    fn reset(&mut self) {
        self.past.reset();
        self.average.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let (lag, average) = (self.lag, &mut self.average);
        let leading = room(&mut self.scratch, input.len());
        let skipped = (lag - self.past.known()).min(input.len());
        self.past.feed([input], |known, [rows], new| {
            let skipped = (lag - known).min(rows.len() - known);
            let fresh = &rows[known + skipped..];
            for ((leading, row), lagged) in leading[new].iter_mut().skip(skipped).zip(fresh).zip(rows) {
                *leading = 2.0 * row - lagged;
            }
        });
        average.run(&leading[skipped..], &mut out[skipped..]);
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.past.save(state);
        self.average.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.past.load(saved)?;
        self.average.load(saved)
    }
}
