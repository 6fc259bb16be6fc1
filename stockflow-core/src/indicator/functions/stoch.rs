//! Stochastic: where the close is between the lows and highs of the last rows, averaged once and twice. Source: TA-Lib
//! `STOCH`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Saved, Unit, period};
use super::average::{Average, Link};
use super::decay::PASS;
use super::ma::{average, kind};
use super::past::room;
use super::restored::restored;
use super::stretch::{Stretch, above};

pub(crate) static UNIT: Unit = Unit {
    name: "stoch",
    kind: StateKind::Recursive,
    keeps: "the highs and lows of the window and what the chosen averages keep",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Stoch::new(values)?))
}

#[derive(Debug)]
pub(crate) struct Stoch {
    stretch: Stretch,
    slow_k: Link,
    slow_d: Link,
    scratch: Vec<f64>,
}

impl Stoch {
    /// From the parameters: the window, and period and kind of both averages.
    pub(crate) fn new(values: &[Value]) -> Option<Self> {
        let window = period(values, 0).max(1);
        let slow_k = Link::new(average(kind(values, 2)?, period(values, 1))?, window - 1);
        let slow_d = Link::new(average(kind(values, 4)?, period(values, 3))?, slow_k.lookback());
        Some(Self { stretch: Stretch::new(window), slow_k, slow_d, scratch: Vec::new() })
    }

    pub(crate) fn reset(&mut self) {
        self.stretch.reset();
        self.slow_k.reset();
        self.slow_d.reset();
    }

    /// Both lines at these rows, at most [`PASS`].
    pub(crate) fn run(&mut self, high: &[f64], low: &[f64], close: &[f64], k: &mut [f64], d: &mut [f64]) {
        let fast = room(&mut self.scratch, close.len());
        self.stretch.run(high, low, close, fast, above);
        self.slow_k.run(fast, k);
        self.slow_d.run(k, d);
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        self.stretch.save(state);
        self.slow_k.save(state);
        self.slow_d.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.stretch.load(saved)?;
        self.slow_k.load(saved)?;
        self.slow_d.load(saved)
    }
}

impl Running for Stoch {
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
