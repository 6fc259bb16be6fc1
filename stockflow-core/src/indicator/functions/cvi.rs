//! Chaikin's volatility: by how much the average range of the bars has changed, in percent. Source: TA-Lib `CVI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;
use super::smooth::Smooth;

pub(crate) static UNIT: Unit =
    Unit { name: "cvi", kind: StateKind::Recursive, keeps: "the average and its values of the last rows", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, lag) = (Smooth::exponential(period(values, 0)), period(values, 1).max(1));
    Some(Box::new(Cvi { average, lag, past: Vec::new() }))
}

#[derive(Debug)]
struct Cvi {
    average: Smooth,
    /// How many rows ago the value is that the average is compared with.
    lag: usize,
    /// The averages of the last `lag` rows or fewer, oldest first, and during a piece the new ones.
    past: Vec<f64>,
}

impl Running for Cvi {
    fn reset(&mut self) {
        self.average.reset();
        self.past.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let mut oldest = 0;
        for ((high, low), out) in high.iter().zip(*low).zip(out.real()) {
            *out = 0.0;
            let Some(average) = self.average.step(high - low) else { continue };
            if self.past.len() - oldest == self.lag {
                let before = self.past[oldest];
                *out = if before != 0.0 { 100.0 * ((average - before) / before) } else { 0.0 };
                oldest += 1;
            }
            self.past.push(average);
        }
        self.past.drain(..oldest);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.average.save(state);
        state.push(self.past.len() as f64);
        state.extend_from_slice(&self.past);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.average.load(&mut saved)?;
        let n = saved.count(self.lag)?;
        self.past.clear();
        self.past.extend_from_slice(saved.numbers(n)?);
        saved.end()
    }
}
