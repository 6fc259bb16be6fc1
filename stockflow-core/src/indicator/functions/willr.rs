//! Williams' %R: how far the close is below the highest high of the last rows, in negative percent. Source: TA-Lib
//! `WILLR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::decay::PASS;
use super::restored::restored;
use super::stretch::{Stretch, is_flat};

pub(crate) static UNIT: Unit =
    Unit { name: "willr", kind: StateKind::Window, keeps: "the highs and lows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Willr { stretch: Stretch::new(period(values, 0)) }))
}

#[derive(Debug)]
struct Willr {
    stretch: Stretch,
}

/// How far the close is below the highest; one outside of high and low is put on the edge.
#[inline(always)]
fn below(highest: f64, lowest: f64, close: f64) -> f64 {
    let share = (highest - close) / (highest - lowest) * -100.0;
    let share = if share > 0.0 { 0.0 } else { share };
    let share = if share < -100.0 { -100.0 } else { share };
    if is_flat(highest, lowest) { 0.0 } else { share }
}

impl Running for Willr {
    fn reset(&mut self) {
        self.stretch.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [out]) = (inputs, outputs) else {
            return Err("it reads three series and gives one".into());
        };
        let bars = high.chunks(PASS).zip(low.chunks(PASS)).zip(close.chunks(PASS));
        for (out, ((high, low), close)) in out.real().chunks_mut(PASS).zip(bars) {
            self.stretch.run(high, low, close, out, below);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.stretch.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.stretch.load(&mut saved)?;
        saved.end()
    }
}
