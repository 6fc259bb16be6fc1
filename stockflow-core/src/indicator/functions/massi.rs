//! Mass index: the range of the bars relative to its own average, summed over the last rows. Source: TA-Lib `MASSI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;
use super::smooth::Smooth;

pub(crate) static UNIT: Unit = Unit {
    name: "massi",
    kind: StateKind::Recursive,
    keeps: "two averages, and the sum and the quotients of the window",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let (average, window) = (Smooth::exponential(period(values, 0)), period(values, 1).max(1));
    Some(Box::new(Massi { once: average.clone(), twice: average, window, sum: 0.0, ratios: Vec::new() }))
}

#[derive(Debug)]
struct Massi {
    once: Smooth,
    twice: Smooth,
    window: usize,
    /// The sum of the quotients that the next window still holds.
    sum: f64,
    /// Those quotients, oldest first, and during a piece the new ones.
    ratios: Vec<f64>,
}

impl Running for Massi {
    fn reset(&mut self) {
        self.once.reset();
        self.twice.reset();
        self.sum = 0.0;
        self.ratios.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low], [out]) = (inputs, outputs) else { return Err("it reads two series".into()) };
        let mut oldest = 0;
        for ((high, low), out) in high.iter().zip(*low).zip(out.real()) {
            *out = 0.0;
            let Some(once) = self.once.step(high - low) else { continue };
            let Some(twice) = self.twice.step(once) else { continue };
            let ratio = if twice == 0.0 { 1.0 } else { once / twice };
            self.ratios.push(ratio);
            self.sum += ratio;
            *out = self.sum;
            if self.ratios.len() - oldest == self.window {
                self.sum -= self.ratios[oldest];
                oldest += 1;
            }
        }
        self.ratios.drain(..oldest);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.once.save(state);
        self.twice.save(state);
        state.extend([self.sum, self.ratios.len() as f64]);
        state.extend_from_slice(&self.ratios);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.once.load(&mut saved)?;
        self.twice.load(&mut saved)?;
        self.sum = saved.number()?;
        let n = saved.count(self.window - 1)?;
        self.ratios.clear();
        self.ratios.extend_from_slice(saved.numbers(n)?);
        saved.end()
    }
}
