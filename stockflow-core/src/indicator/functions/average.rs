//! Average: a moving average of any kind as a part of another function. Source: TA-Lib's moving-average types.

use super::super::running::{Out, Running, Saved};
use super::decay::PASS;
use super::restored::restored;

/// A moving average going through one series.
pub(crate) trait Average: std::fmt::Debug + Send {
    /// Rows before the first value.
    fn lookback(&self) -> usize;

    /// Forgets everything.
    fn reset(&mut self);

    /// The averages at these rows, at most [`PASS`]; anything within the lookback.
    fn run(&mut self, input: &[f64], out: &mut [f64]);

    /// The same, but for a factor that all values still lack, which it returns.
    fn run_raw(&mut self, input: &[f64], out: &mut [f64]) -> f64 {
        self.run(input, out);
        1.0
    }

    fn save(&self, state: &mut Vec<f64>);

    /// Takes its part of a saved state.
    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String>;
}

/// An average as a function of its own.
#[derive(Debug)]
pub(crate) struct Averaged(pub(crate) Box<dyn Average>);

impl Running for Averaged {
    fn reset(&mut self) {
        self.0.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            self.0.run(input, out);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.0.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.0.load(&mut saved)?;
        saved.end()
    }
}

/// An average over what another stage gives, whose first rows are no values yet.
#[derive(Debug)]
pub(crate) struct Link {
    average: Box<dyn Average>,
    /// Rows that the stage before needs for its first value.
    cold: usize,
    /// How many of them are still to come.
    left: usize,
}

impl Link {
    pub(crate) fn new(average: Box<dyn Average>, cold: usize) -> Self {
        Self { average, cold, left: cold }
    }
}

impl Average for Link {
    fn lookback(&self) -> usize {
        self.cold + self.average.lookback()
    }

    fn reset(&mut self) {
        self.left = self.cold;
        self.average.reset();
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let skipped = self.left.min(input.len());
        self.left -= skipped;
        self.average.run(&input[skipped..], &mut out[skipped..]);
    }

    fn run_raw(&mut self, input: &[f64], out: &mut [f64]) -> f64 {
        let skipped = self.left.min(input.len());
        self.left -= skipped;
        self.average.run_raw(&input[skipped..], &mut out[skipped..])
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.left as f64);
        self.average.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.left = saved.count(self.cold)?;
        self.average.load(saved)
    }
}

/// The series itself, which an average over one row is.
#[derive(Debug)]
pub(crate) struct Same;

impl Average for Same {
    fn lookback(&self) -> usize {
        0
    }

    fn reset(&mut self) {}

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        out.copy_from_slice(input);
    }

    fn save(&self, _: &mut Vec<f64>) {}

    fn load(&mut self, _: &mut Saved<'_>) -> Result<(), String> {
        Ok(())
    }
}
