//! Aroon: how recent the lowest low and the highest high of the last rows are, in percent. Source: TA-Lib `AROON`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Saved, Unit, period};
use super::extreme::Extremes;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "aroon", kind: StateKind::Window, keeps: "the highs and lows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Aroon::new(period(values, 0))))
}

/// The highs and lows of the window.
#[derive(Debug)]
pub(crate) struct Aroon {
    period: usize,
    highs: Extremes,
    lows: Extremes,
}

impl Aroon {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self { period, highs: Extremes::new(period + 1), lows: Extremes::new(period + 1) }
    }

    pub(crate) fn reset(&mut self) {
        self.highs.reset();
        self.lows.reset();
    }

    /// How many rows ago the lowest low and the highest high were.
    pub(crate) fn ages(&mut self, high: &[f64], low: &[f64], down: &mut [f64], up: &mut [f64]) {
        self.lows.run(low, -1.0, down);
        self.highs.run(high, 1.0, up);
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.push(self.highs.tail().len() as f64);
        state.extend_from_slice(self.highs.tail());
        state.extend_from_slice(self.lows.tail());
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        let n = saved.count(self.period)?;
        self.highs.load(saved.numbers(n)?)?;
        self.lows.load(saved.numbers(n)?)
    }
}

impl Running for Aroon {
    fn reset(&mut self) {
        self.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [down, up]) = (inputs, outputs) else { return Err("it reads two series, gives two".into()) };
        let (down, up) = (down.real(), up.real());
        self.ages(high, low, down, up);
        let (period, factor) = (self.period as f64, 100.0 / self.period as f64);
        for age in down.iter_mut().chain(up) {
            *age = factor * (period - *age);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.load(&mut saved)?;
        saved.end()
    }
}
