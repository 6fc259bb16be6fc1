//! Regression: the straight line through the last rows with the least squares. Source: the part that TA-Lib's
//! `LINEARREG`, `LINEARREG_ANGLE`, `LINEARREG_INTERCEPT`, `LINEARREG_SLOPE` and `TSF` share.

use std::fmt;
use std::marker::PhantomData;

use super::super::definition::Value;
use super::super::running::{Out, Running, period};
use super::past::Past;
use super::restored::restored;

/// What is read from a line.
pub(crate) trait Reading: fmt::Debug + Send + 'static {
    /// The line rises by `slope` a row from `intercept` at the first of `period` rows.
    fn read(slope: f64, intercept: f64, period: f64) -> f64;
}

/// The sums that make the line through the last rows.
#[derive(Debug)]
pub(crate) struct Regression<R> {
    past: Past<1>,
    sums: Sums,
    reading: PhantomData<R>,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    period: usize,
    plain: f64,
    /// Each row times the number of rows after it.
    weighted: f64,
    absolute: f64,
    /// Rows until the sums are made anew.
    left: usize,
}

/// Windows after which the sums are made anew.
const RENEWAL: usize = 32;
/// So much greater than all that stays must a leaving row be to take its digits along.
const GREATER: f64 = 100.0;

impl Sums {
    fn new(period: usize) -> Self {
        Self { period, plain: 0.0, weighted: 0.0, absolute: 0.0, left: RENEWAL * period }
    }

    /// Takes in rows of the first window, of which there were `before`.
    fn fill(&mut self, before: usize, rows: &[f64]) {
        for (k, row) in rows.iter().enumerate() {
            self.plain += row;
            self.weighted += (self.period - 1 - before - k) as f64 * row;
            self.absolute += row.abs();
        }
    }

    /// The window has moved on by one row.
    #[inline(always)]
    fn step(&mut self, left: f64, window: &[f64], row: f64) {
        let weight = self.period as f64 * left;
        self.weighted = self.weighted + self.plain - weight;
        self.plain = self.plain - left + row;
        self.absolute = self.absolute - left.abs() + row.abs();
        self.left -= 1;
        if self.left == 0 || weight.abs() > GREATER * self.absolute {
            *self = Self::new(self.period);
            self.fill(0, window);
        }
    }

    #[inline(always)]
    fn read<R: Reading>(&self) -> f64 {
        let n = self.period as f64;
        let places = n * (n - 1.0) * 0.5;
        let squares = n * (n - 1.0) * (2.0 * n - 1.0) / 6.0;
        let slope = (n * self.weighted - places * self.plain) / (places * places - n * squares);
        R::read(slope, (self.plain - slope * places) / n, n)
    }
}

impl<R: Reading> Regression<R> {
    /// From the parameter: the period.
    pub(crate) fn start(values: &[Value]) -> Option<Box<dyn Running>> {
        let period = period(values, 0).max(2);
        Some(Box::new(Self { past: Past::new(period), sums: Sums::new(period), reading: PhantomData::<R> }))
    }
}

impl<R: Reading> Running for Regression<R> {
    fn reset(&mut self) {
        self.past.reset();
        self.sums = Sums::new(self.sums.period);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        let (out, period, sums) = (out.real(), self.sums.period, &mut self.sums);
        self.past.feed([input], |known, [rows], new| {
            let out = &mut out[new];
            let mut at = known;
            if known < period {
                at = period.min(rows.len());
                sums.fill(known, &rows[known..at]);
                if at == period {
                    out[at - known - 1] = sums.read::<R>();
                }
            }
            let windows = rows.windows(period + 1).skip(at.saturating_sub(period));
            for (out, window) in out[at - known..].iter_mut().zip(windows) {
                if let ([left, window @ ..], [.., row]) = (window, window) {
                    sums.step(*left, window, *row);
                }
                *out = sums.read::<R>();
            }
        });
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        let Sums { plain, weighted, absolute, left, .. } = self.sums;
        state.extend([plain, weighted, absolute, left as f64]);
        self.past.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.sums.plain = saved.number()?;
        self.sums.weighted = saved.number()?;
        self.sums.absolute = saved.number()?;
        self.sums.left = saved.count(RENEWAL * self.sums.period)?.max(1);
        self.past.load(&mut saved)?;
        saved.end()
    }
}
