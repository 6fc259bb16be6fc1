//! Oscillator: how far a fast average is from a slow one. Source: what TA-Lib's `APO`, `PPO` and `PVO` share.

use super::super::definition::Value;
use super::super::running::{Out, Running, period};
use super::average::Average;
use super::decay::PASS;
use super::ma::{average, kind};
use super::past::room;
use super::restored::restored;

/// Two averages of one kind.
#[derive(Debug)]
pub(crate) struct Oscillator<const PERCENT: bool> {
    fast: Box<dyn Average>,
    slow: Box<dyn Average>,
    /// Zeros in a row that empty the window of the slow average, if it has one.
    window: Option<usize>,
    /// Zeros in a row up to the last row, at most those.
    zeros: usize,
    scratch: Vec<f64>,
}

impl<const PERCENT: bool> Oscillator<PERCENT> {
    /// From the parameters: two periods and the kind.
    pub(crate) fn start(values: &[Value]) -> Option<Box<dyn Running>> {
        let (one, other, kind) = (period(values, 0), period(values, 1), kind(values, 2)?);
        let (fast, slow) = (average(kind, one.min(other))?, average(kind, one.max(other))?);
        let window = kind.is_windowed().then(|| slow.lookback() + 1);
        Some(Box::new(Self { fast, slow, window, zeros: 0, scratch: Vec::new() }))
    }
}

/// A slow average so small is none.
const NOTHING: f64 = 1e-14;

impl<const PERCENT: bool> Running for Oscillator<PERCENT> {
    fn reset(&mut self) {
        self.fast.reset();
        self.slow.reset();
        self.zeros = 0;
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            let slow = room(&mut self.scratch, input.len());
            self.fast.run(input, out);
            self.slow.run(input, slow);
            if !PERCENT {
                for (out, slow) in out.iter_mut().zip(slow) {
                    *out -= *slow;
                }
                continue;
            }
            for (out, slow) in out.iter_mut().zip(slow) {
                *out = if slow.abs() < NOTHING { 0.0 } else { (*out - *slow) / *slow * 100.0 };
            }
            if let Some(window) = self.window {
                // Rounding leaves something in the sums of a window that holds nothing.
                for (out, row) in out.iter_mut().zip(input) {
                    self.zeros = if *row == 0.0 { (self.zeros + 1).min(window) } else { 0 };
                    *out = if self.zeros == window { 0.0 } else { *out };
                }
            }
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.zeros as f64);
        self.fast.save(state);
        self.slow.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.zeros = saved.count(self.window.unwrap_or(0))?;
        self.fast.load(&mut saved)?;
        self.slow.load(&mut saved)?;
        saved.end()
    }
}
