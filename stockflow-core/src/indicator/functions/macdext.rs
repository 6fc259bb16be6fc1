//! MACD with averages of any kind. Source: TA-Lib `MACDEXT`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::average::{Average, Link};
use super::decay::PASS;
use super::ma::{average, kind};
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "macdext", kind: StateKind::Recursive, keeps: "what the three chosen averages keep", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let one = (period(values, 0), kind(values, 1)?);
    let other = (period(values, 2), kind(values, 3)?);
    let (fast, slow) = if other.0 < one.0 { (other, one) } else { (one, other) };
    let signal = average(kind(values, 5)?, period(values, 4))?;
    Some(Box::new(Macdext::new(average(fast.1, fast.0)?, average(slow.1, slow.0)?, signal)))
}

/// Three averages, the third over the difference of the others.
#[derive(Debug)]
struct Macdext {
    fast: Link,
    slow: Link,
    signal: Link,
}

impl Macdext {
    /// Both averages begin so late that they have their first values at the same row.
    fn new(fast: Box<dyn Average>, slow: Box<dyn Average>, signal: Box<dyn Average>) -> Self {
        let lookback = fast.lookback().max(slow.lookback());
        let late = |average: Box<dyn Average>| {
            let cold = lookback - average.lookback();
            Link::new(average, cold)
        };
        Self { fast: late(fast), slow: late(slow), signal: Link::new(signal, lookback) }
    }
}

impl Running for Macdext {
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
            let fast_factor = self.fast.run_raw(input, macd);
            // Where the signal goes there is room for the slow average until it is used up.
            let slow_factor = self.slow.run_raw(input, signal);
            for (macd, slow) in macd.iter_mut().zip(&*signal) {
                *macd = fast_factor * *macd - slow_factor * slow;
            }
            let factor = self.signal.run_raw(macd, signal);
            for ((hist, macd), signal) in hist.iter_mut().zip(macd).zip(signal) {
                *signal *= factor;
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
