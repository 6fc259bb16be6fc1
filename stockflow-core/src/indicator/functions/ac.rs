//! Accelerator oscillator: the awesome oscillator less its own simple average. Source: TA-Lib `AC`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::ao::Ao;
use super::restored::restored;

pub(crate) static UNIT: Unit = Unit {
    name: "ac",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the oscillator's windows, and those of its average",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (oscillator, signal) = (Ao::new(period(values, 0), period(values, 1)), period(values, 2).max(1));
    Some(Box::new(Ac { oscillator, signal, sum: 0.0, past: Vec::new() }))
}

#[derive(Debug)]
struct Ac {
    oscillator: Ao,
    signal: usize,
    sum: f64,
    /// The oscillator's values that the next window still holds, oldest first, and during a piece the new ones.
    past: Vec<f64>,
}

impl Running for Ac {
    fn reset(&mut self) {
        self.oscillator.reset();
        self.sum = 0.0;
        self.past.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let mut oldest = 0;
        for ((high, low), out) in high.iter().zip(*low).zip(out.real()) {
            *out = 0.0;
            let Some(value) = self.oscillator.step(*high, *low) else { continue };
            self.past.push(value);
            self.sum += value;
            *out = value - self.sum / self.signal as f64;
            if self.past.len() - oldest == self.signal {
                self.sum -= self.past[oldest];
                oldest += 1;
            }
        }
        self.past.drain(..oldest);
        self.oscillator.end_piece();
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.oscillator.save(state);
        state.extend([self.sum, self.past.len() as f64]);
        state.extend_from_slice(&self.past);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.oscillator.load(&mut saved)?;
        self.sum = saved.number()?;
        let n = saved.count(self.signal - 1)?;
        self.past.clear();
        self.past.extend_from_slice(saved.numbers(n)?);
        saved.end()
    }
}
