//! Accumulation and distribution: the volume of all bars, each weighted by where in its range it closed.
//! Source: TA-Lib `AD`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::decay::PASS;
use super::restored::restored;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit = Unit { name: "ad", kind: StateKind::Recursive, keeps: "the sum", start };

fn start(_: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Ad { sum: 0.0 }))
}

/// What one bar adds: its volume, from whole at the high to wholly negative at the low.
#[inline(always)]
pub(crate) fn flow(high: f64, low: f64, close: f64, volume: f64) -> f64 {
    let range = high - low;
    // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
    let flow = (close - low - (high - close)) / range * volume;
    if range > 0.0 { flow } else { 0.0 }
}

/// Makes sums of what some rows add.
#[inline(always)]
pub(crate) fn accumulate(sum: &mut f64, rows: &mut [f64]) {
    let mut total = *sum;
    for row in rows {
        total += *row;
        *row = total;
    }
    *sum = total;
}

/// What each bar adds, and the sums of that, over as many rows as `out` has.
#[inline(always)]
pub(crate) fn sums(sum: &mut f64, bars: [&[f64]; 4], out: &mut [f64]) {
    let [high, low, close, volume] = bars;
    for ((((out, high), low), close), volume) in out.iter_mut().zip(high).zip(low).zip(close).zip(volume) {
        *out = flow(*high, *low, *close, *volume);
    }
    accumulate(sum, out);
}

#[derive(Debug)]
struct Ad {
    sum: f64,
}

impl Rows for Ad {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close, volume], [out]) = (inputs, outputs) else { return Err("it reads four series".into()) };
        let bars = high.chunks(PASS).zip(low.chunks(PASS));
        let rest = close.chunks(PASS).zip(volume.chunks(PASS));
        let outs = out.real().chunks_mut(PASS);
        for (((high, low), (close, volume)), out) in bars.zip(rest).zip(outs) {
            sums(&mut self.sum, [high, low, close, volume], out);
        }
        Ok(())
    }
}

impl Running for Ad {
    fn reset(&mut self) {
        self.sum = 0.0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.sum);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.sum = saved.number()?;
        saved.end()
    }
}
