//! Fast stochastic: where the close is between the lows and highs of the last rows, and an average of that. Source:
//! TA-Lib `STOCHF`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Saved, Unit, period};
use super::average::{Average, Link};
use super::decay::PASS;
use super::ma::{average, kind};
use super::restored::restored;
use super::stretch::{Stretch, above};

pub(crate) static UNIT: Unit = Unit {
    name: "stochf",
    kind: StateKind::Recursive,
    keeps: "the highs and lows of the window and what the chosen average keeps",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Stochf::new(period(values, 0), average(kind(values, 2)?, period(values, 1))?)))
}

#[derive(Debug)]
pub(crate) struct Stochf {
    stretch: Stretch,
    average: Link,
}

impl Stochf {
    pub(crate) fn new(window: usize, average: Box<dyn Average>) -> Self {
        Self { stretch: Stretch::new(window), average: Link::new(average, window.max(1) - 1) }
    }

    pub(crate) fn reset(&mut self) {
        self.stretch.reset();
        self.average.reset();
    }

    /// Both lines at these rows, at most [`PASS`].
    pub(crate) fn run(&mut self, high: &[f64], low: &[f64], close: &[f64], k: &mut [f64], d: &mut [f64]) {
        self.stretch.run(high, low, close, k, above);
        self.average.run(k, d);
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        self.stretch.save(state);
        self.average.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.stretch.load(saved)?;
        self.average.load(saved)
    }
}

impl Running for Stochf {
    fn reset(&mut self) {
        self.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [k, d]) = (inputs, outputs) else {
            return Err("it reads three series and gives two".into());
        };
        let bars = high.chunks(PASS).zip(low.chunks(PASS)).zip(close.chunks(PASS));
        let lines = k.real().chunks_mut(PASS).zip(d.real().chunks_mut(PASS));
        for ((k, d), ((high, low), close)) in lines.zip(bars) {
            self.run(high, low, close, k, d);
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
