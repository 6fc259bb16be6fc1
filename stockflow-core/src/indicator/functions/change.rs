//! Change: what a row is against the one some rows before. Source: what TA-Lib's `MOM` and `ROC` share.

use std::fmt;
use std::marker::PhantomData;

use super::super::definition::Value;
use super::super::running::{Out, Running, period};
use super::past::Past;
use super::restored::restored;

/// How a row is compared with an earlier one.
pub(crate) trait Compare: fmt::Debug + Send + 'static {
    fn compare(row: f64, earlier: f64) -> f64;
}

/// The rows that will be compared with.
#[derive(Debug)]
pub(crate) struct Change<C> {
    period: usize,
    past: Past<1>,
    compare: PhantomData<C>,
}

impl<C: Compare> Change<C> {
    /// From the parameter: how many rows apart.
    pub(crate) fn start(values: &[Value]) -> Option<Box<dyn Running>> {
        let period = period(values, 0).max(1);
        Some(Box::new(Self { period, past: Past::new(period), compare: PhantomData }))
    }
}

impl<C: Compare> Running for Change<C> {
    fn reset(&mut self) {
        self.past.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        let (period, out) = (self.period, out.real());
        self.past.feed([input], |known, [rows], new| {
            let missing = (period - known).min(rows.len() - known);
            let pairs = rows[known + missing..].iter().zip(rows);
            for (out, (row, earlier)) in out[new][missing..].iter_mut().zip(pairs) {
                *out = C::compare(*row, *earlier);
            }
        });
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.past.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.past.load(&mut saved)?;
        saved.end()
    }
}
