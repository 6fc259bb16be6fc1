//! Accumulator: a function that keeps a few numbers and makes the next ones of those and the next bar.
//! Source: none, it is the frame of the units that name it.

use std::fmt;
use std::marker::PhantomData;

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit};
use super::restored::restored;
use super::wide::{Rows, update};

/// The arithmetic of one row: `I` series in, `K` numbers kept, one value out.
pub(crate) trait Step<const I: usize, const K: usize>: fmt::Debug + Send {
    /// The numbers before the first row.
    const START: [f64; K] = [0.0; K];

    /// The numbers and the value after this row; whether it is the first row of the series.
    fn step(kept: [f64; K], row: [f64; I], is_first: bool) -> ([f64; K], f64);
}

/// The unit of such a function.
pub(crate) const fn unit(
    name: &'static str,
    keeps: &'static str,
    start: fn(&[Value]) -> Option<Box<dyn Running>>,
) -> Unit {
    Unit { name, kind: StateKind::Recursive, keeps, start }
}

/// The numbers so far.
#[derive(Debug)]
pub(crate) struct Accumulator<S, const I: usize, const K: usize> {
    kept: [f64; K],
    is_started: bool,
    step: PhantomData<S>,
}

impl<S: Step<I, K> + 'static, const I: usize, const K: usize> Accumulator<S, I, K> {
    pub(crate) fn boxed() -> Box<dyn Running> {
        Box::new(Self { kept: S::START, is_started: false, step: PhantomData })
    }
}

impl<S: Step<I, K>, const I: usize, const K: usize> Rows for Accumulator<S, I, K> {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let [out] = outputs else { return Err("it gives one series".into()) };
        let inputs: [&[f64]; I] = inputs.try_into().map_err(|_| format!("it reads {I} series"))?;
        let out = out.real();
        let n = inputs.iter().fold(out.len(), |n, it| n.min(it.len()));
        let inputs = inputs.map(|it| &it[..n]);
        let mut kept = self.kept;
        for (i, out) in out[..n].iter_mut().enumerate() {
            (kept, *out) = S::step(kept, inputs.map(|it| it[i]), !self.is_started && i == 0);
        }
        self.kept = kept;
        self.is_started |= n > 0;
        Ok(())
    }
}

impl<S: Step<I, K>, const I: usize, const K: usize> Running for Accumulator<S, I, K> {
    fn reset(&mut self) {
        (self.kept, self.is_started) = (S::START, false);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(f64::from(u8::from(self.is_started)));
        state.extend_from_slice(&self.kept);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.is_started = saved.count(1)? == 1;
        self.kept.copy_from_slice(saved.numbers(K)?);
        saved.end()
    }
}
