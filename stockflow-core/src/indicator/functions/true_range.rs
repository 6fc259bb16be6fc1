//! True range: how far the price went in a bar, counted from the close before it. Source: TA-Lib `TRANGE`.

use std::hint::select_unpredictable;

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "trange", kind: StateKind::Window, keeps: "the close of the last bar", start };

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(TrueRange { close: None }))
}

/// The range of one bar, given the close before it.
#[inline(always)]
pub(crate) fn true_range(high: f64, low: f64, close: f64) -> f64 {
    greater((close - low).abs(), greater((close - high).abs(), high - low))
}

/// The greater of two numbers: one instruction, unlike `f64::max`, which heeds NaN, and never a branch, which prices
/// make unpredictable.
#[inline(always)]
pub(crate) fn greater(a: f64, b: f64) -> f64 {
    select_unpredictable(a > b, a, b)
}

/// The lesser of two numbers.
#[inline(always)]
pub(crate) fn lesser(a: f64, b: f64) -> f64 {
    select_unpredictable(a < b, a, b)
}

#[derive(Debug)]
struct TrueRange {
    close: Option<f64>,
}

impl Running for TrueRange {
    fn reset(&mut self) {
        self.close = None;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [out]) = (inputs, outputs) else { return Err("it reads three series".into()) };
        let out = out.real();
        if let ([first_high, ..], [first_low, ..], [first_close, ..], [first_out, ..]) =
            (*high, *low, *close, &mut *out)
        {
            *first_out = true_range(*first_high, *first_low, self.close.unwrap_or(*first_close));
            for (((out, high), low), close) in out[1..].iter_mut().zip(&high[1..]).zip(&low[1..]).zip(*close) {
                *out = true_range(*high, *low, *close);
            }
        }
        self.close = close.last().copied().or(self.close);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([f64::from(u8::from(self.close.is_some())), self.close.unwrap_or(0.0)]);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let (is_any, close) = (saved.count(1)? == 1, saved.number()?);
        self.close = is_any.then_some(close);
        saved.end()
    }
}
