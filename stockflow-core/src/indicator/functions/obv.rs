//! On balance volume: the volume of all rising bars less that of all falling ones. Source: TA-Lib `OBV`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::ad::accumulate;
use super::decay::PASS;
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "obv", kind: StateKind::Recursive, keeps: "the sum and the last price", start };

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Obv { sum: 0.0, last: None }))
}

/// The volume with the sign of the price's move.
#[inline(always)]
fn signed(price: f64, before: f64, volume: f64) -> f64 {
    // Chosen, not branched on: which way a price goes cannot be predicted.
    let rise = if price > before { volume } else { 0.0 };
    let fall = if price < before { volume } else { 0.0 };
    rise - fall
}

#[derive(Debug)]
struct Obv {
    sum: f64,
    last: Option<f64>,
}

impl Running for Obv {
    fn reset(&mut self) {
        (self.sum, self.last) = (0.0, None);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([price, volume], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let out = out.real();
        let mut last = self.last;
        for ((price, volume), out) in price.chunks(PASS).zip(volume.chunks(PASS)).zip(out.chunks_mut(PASS)) {
            // The first bar of a series counts as a rising one.
            out[0] = signed(price[0], last.unwrap_or(f64::NEG_INFINITY), volume[0]);
            let rows = price[1..].iter().zip(price).zip(&volume[1..]);
            for (out, ((price, before), volume)) in out[1..].iter_mut().zip(rows) {
                *out = signed(*price, *before, *volume);
            }
            accumulate(&mut self.sum, out);
            last = price.last().copied();
        }
        self.last = price.last().copied().or(self.last);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.sum, f64::from(u8::from(self.last.is_some())), self.last.unwrap_or(0.0)]);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.sum = saved.number()?;
        let is_any = saved.count(1)? == 1;
        self.last = is_any.then_some(saved.number()?);
        saved.end()
    }
}
