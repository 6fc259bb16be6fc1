//! Chaikin's oscillator: a fast less a slow exponential average of accumulation and distribution.
//! Source: TA-Lib `ADOSC`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::ad::{flow, sums};
use super::decay::{Decay, PASS};
use super::restored::restored;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "adosc", kind: StateKind::Recursive, keeps: "the sum and its two averages", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (fast, slow) = (Average::new(period(values, 0)), Average::new(period(values, 1)));
    Some(Box::new(Adosc { sum: 0.0, is_started: false, fast, slow }))
}

/// An exponential average that starts from the first value.
#[derive(Debug)]
struct Average {
    weight: f64,
    value: Decay,
}

impl Average {
    fn new(period: usize) -> Self {
        let period = period.max(1) as f64;
        let mut rest = (period - 1.0) / (period + 1.0);
        let weight = 1.0 - rest;
        if rest < 0.5 {
            rest = 1.0 - weight;
        }
        Self { weight, value: Decay::new(rest) }
    }
}

#[derive(Debug)]
struct Adosc {
    sum: f64,
    is_started: bool,
    fast: Average,
    slow: Average,
}

impl Rows for Adosc {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close, volume], [out]) = (inputs, outputs) else { return Err("it reads four series".into()) };
        let out = out.real();
        let mut i = 0;
        if !self.is_started && !out.is_empty() {
            self.sum += flow(high[0], low[0], close[0], volume[0]);
            // The weight is taken into account when a value is given out, so what is kept is that much larger.
            self.fast.value.start(self.sum / self.fast.weight);
            self.slow.value.start(self.sum / self.slow.weight);
            self.is_started = true;
            out[0] = 0.0;
            i = 1;
        }
        let bars = high[i..].chunks(PASS).zip(low[i..].chunks(PASS));
        let rest = close[i..].chunks(PASS).zip(volume[i..].chunks(PASS));
        for (((high, low), (close, volume)), out) in bars.zip(rest).zip(out[i..].chunks_mut(PASS)) {
            sums(&mut self.sum, [high, low, close, volume], out);
            let Self { fast, slow, .. } = self;
            fast.value.run_difference(fast.weight, &mut slow.value, slow.weight, out);
        }
        Ok(())
    }
}

impl Running for Adosc {
    fn reset(&mut self) {
        (self.sum, self.is_started) = (0.0, false);
        self.fast.value.start(0.0);
        self.slow.value.start(0.0);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([f64::from(u8::from(self.is_started)), self.sum]);
        self.fast.value.save(state);
        self.slow.value.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.is_started = saved.count(1)? == 1;
        self.sum = saved.number()?;
        self.fast.value.load(&mut saved)?;
        self.slow.value.load(&mut saved)?;
        saved.end()
    }
}
