//! Moving average convergence/divergence: the difference of two exponential averages, an average of that, and how far
//! the two are apart. Source: TA-Lib `MACD`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::average::{Average, Link};
use super::decay::PASS;
use super::ema::Ema;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "macd", kind: StateKind::Recursive, keeps: "the three averages so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (one, other, signal) = (period(values, 0), period(values, 1), period(values, 2));
    let (fast, slow) = (one.min(other), one.max(other));
    Some(Box::new(Macd::new(Box::new(Ema::new(fast)), Box::new(Ema::new(slow)), Box::new(Ema::new(signal)))))
}

/// Three averages, the third over the difference of the others.
#[derive(Debug)]
pub(crate) struct Macd {
    fast: Link,
    slow: Link,
    signal: Link,
}

impl Macd {
    /// Both averages begin so late that they have their first values at the same row.
    pub(crate) fn new(fast: Box<dyn Average>, slow: Box<dyn Average>, signal: Box<dyn Average>) -> Self {
        let lookback = fast.lookback().max(slow.lookback());
        let late = |average: Box<dyn Average>| {
            let cold = lookback - average.lookback();
            Link::new(average, cold)
        };
        Self { fast: late(fast), slow: late(slow), signal: Link::new(signal, lookback) }
    }
}

impl Running for Macd {
    fn reset(&mut self) {
        self.fast.reset();
        self.slow.reset();
        self.signal.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [macd, signal, hist]) = (inputs, outputs) else {
            return Err("it reads one series and gives three".into());
        };
        let (macds, signals, hists) = (macd.real(), signal.real(), hist.real());
        let outs = macds.chunks_mut(PASS).zip(signals.chunks_mut(PASS)).zip(hists.chunks_mut(PASS));
        for (input, ((macd, signal), hist)) in input.chunks(PASS).zip(outs) {
            self.fast.run(input, macd);
            // Where the signal goes there is room for the slow average until it is used up.
            self.slow.run(input, signal);
            for (macd, slow) in macd.iter_mut().zip(&*signal) {
                *macd -= slow;
            }
            self.signal.run(macd, signal);
            for ((hist, macd), signal) in hist.iter_mut().zip(macd).zip(signal) {
                *hist = *macd - *signal;
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.fast.save(state);
        self.slow.save(state);
        self.signal.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.fast.load(&mut saved)?;
        self.slow.load(&mut saved)?;
        self.signal.load(&mut saved)?;
        saved.end()
    }
}
