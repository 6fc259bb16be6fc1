//! Average directional movement rating: the mean of the average directional movement index and that of some rows ago.
//! Source: TA-Lib `ADXR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::adx::Adx;
use super::directional::Directional;
use super::restored::restored;

pub(crate) static UNIT: Unit = Unit {
    name: "adxr",
    kind: StateKind::Recursive,
    keeps: "the index with its decaying sums, and its values of the last rows",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0).max(1);
    Some(Box::new(Adxr { lag: period - 1, index: Directional::new(period, Adx::new(period)), past: Vec::new() }))
}

#[derive(Debug)]
struct Adxr {
    /// How many rows ago the other value is from.
    lag: usize,
    index: Directional<Adx>,
    /// The values of the last `lag` rows or fewer, oldest first.
    past: Vec<f64>,
}

impl Running for Adxr {
    fn reset(&mut self) {
        self.index.reset();
        self.past.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        self.index.update(inputs, outputs)?;
        let [out] = outputs else { return Err("it gives one series".into()) };
        let out = out.real();
        let n_past = self.past.len();
        self.past.extend_from_slice(out);
        let missing = self.lag.saturating_sub(n_past).min(out.len());
        for (out, past) in out[missing..].iter_mut().zip(&self.past) {
            *out = (*out + past) / 2.0;
        }
        let surplus = self.past.len().saturating_sub(self.lag);
        self.past.drain(..surplus);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.past.len() as f64);
        state.extend_from_slice(&self.past);
        self.index.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        let n = saved.count(self.lag)?;
        self.past.clear();
        self.past.extend_from_slice(saved.numbers(n)?);
        self.index.load(&state[n + 1..])
    }
}
