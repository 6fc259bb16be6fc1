//! Strength: the part of the rises in all moves of a series, by Wilder's averages. Source: what TA-Lib's `RSI` and
//! `CMO` share.
//!
//! Only the ratio of two averages counts, so that both are kept without their common factor.

use super::super::running::{Out, Running, Saved};
use super::decay::{Decay, PASS};
use super::past::room;
use super::restored::restored;

/// The rises (`NET`: the rises less the falls) over all moves, in percent.
#[derive(Debug)]
pub(crate) struct Strength<const NET: bool> {
    period: usize,
    /// Rows so far, at most one more than the period.
    seen: usize,
    last: f64,
    /// The sums of the first moves, which start the averages.
    first_rises: f64,
    first_moves: f64,
    rises: Decay,
    moves: Decay,
    scratch: Vec<f64>,
}

impl<const NET: bool> Strength<NET> {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        let average = Decay::new((period - 1) as f64 / period as f64);
        Self {
            period,
            seen: 0,
            last: 0.0,
            first_rises: 0.0,
            first_moves: 0.0,
            rises: average.clone(),
            moves: average,
            scratch: Vec::new(),
        }
    }

    pub(crate) fn lookback(&self) -> usize {
        self.period
    }

    pub(crate) fn reset(&mut self) {
        (self.seen, self.last, self.first_rises, self.first_moves) = (0, 0.0, 0.0, 0.0);
        self.rises.start(0.0);
        self.moves.start(0.0);
    }

    #[inline(always)]
    fn rise(change: f64) -> f64 {
        if NET || change > 0.0 { change } else { 0.0 }
    }

    #[inline(always)]
    fn ratio(rises: f64, moves: f64) -> f64 {
        let share = 100.0 * (rises / moves);
        let nothing = if NET { 0.0 } else { 50.0 };
        if moves > 0.0 { share } else { nothing }
    }

    /// The values at these rows, at most [`PASS`].
    pub(crate) fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let filling = (self.period + 1 - self.seen).min(input.len());
        for (row, out) in input[..filling].iter().zip(&mut *out) {
            if self.seen > 0 {
                self.first_rises += Self::rise(row - self.last);
                self.first_moves += (row - self.last).abs();
            }
            self.last = *row;
            self.seen += 1;
            if self.seen > self.period {
                self.rises.start(self.first_rises);
                self.moves.start(self.first_moves);
                *out = Self::ratio(self.first_rises, self.first_moves);
            }
        }
        let (input, out) = (&input[filling..], &mut out[filling..]);
        let [first, rest @ ..] = input else { return };
        let moves = room(&mut self.scratch, input.len());
        (out[0], moves[0]) = (Self::rise(first - self.last), (first - self.last).abs());
        for ((rise, mov), (row, before)) in out[1..].iter_mut().zip(&mut moves[1..]).zip(rest.iter().zip(input)) {
            let change = row - before;
            (*rise, *mov) = (Self::rise(change), change.abs());
        }
        self.last = *rest.last().unwrap_or(first);
        self.rises.run(out);
        self.moves.run(moves);
        for (out, moves) in out.iter_mut().zip(moves) {
            *out = Self::ratio(*out, *moves);
        }
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.last, self.first_rises, self.first_moves]);
        self.rises.save(state);
        self.moves.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(self.period + 1)?;
        self.last = saved.number()?;
        self.first_rises = saved.number()?;
        self.first_moves = saved.number()?;
        self.rises.load(saved)?;
        self.moves.load(saved)
    }
}

impl<const NET: bool> Running for Strength<NET> {
    fn reset(&mut self) {
        self.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        for (input, out) in input.chunks(PASS).zip(out.real().chunks_mut(PASS)) {
            self.run(input, out);
        }
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.load(&mut saved)?;
        saved.end()
    }
}
