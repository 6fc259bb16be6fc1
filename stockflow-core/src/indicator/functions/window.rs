//! Functions that can see their last rows only: their state is those rows, and TA-Lib runs over them and the new ones.
//!
//! Which functions these are is established by a test over the whole catalogue: over the last `lookback + 1` rows alone
//! each gives the value that it gives over the whole series.

use std::sync::Arc;

use super::super::definition::Value;
use super::super::kernel::Kernel;
use super::super::running::{Out, Running, Saved};

/// Their names, in alphabetical order.
pub(crate) static WINDOWED: &[&str] = &["wma"];

/// Outputs that are row numbers, which count from the first row of the series.
const ROW_NUMBERS: &[&str] = &["maxindex", "minindex", "minmaxindex"];

/// A kernel over the last rows it can see and the new ones.
#[derive(Debug)]
pub(crate) struct Windowed {
    name: String,
    kernel: Arc<dyn Kernel>,
    values: Vec<Value>,
    lookback: usize,
    /// Rows before the tail.
    before: usize,
    /// The last `lookback` rows or fewer of each input.
    tails: Vec<Vec<f64>>,
}

impl Windowed {
    pub(crate) fn new(name: &str, kernel: Arc<dyn Kernel>, values: &[Value], n_inputs: usize) -> Option<Self> {
        let lookback = kernel.lookback(values).ok()?;
        Some(Self {
            name: name.to_string(),
            kernel,
            values: values.to_vec(),
            lookback,
            before: 0,
            tails: vec![Vec::new(); n_inputs],
        })
    }

    fn n_tail(&self) -> usize {
        self.tails.first().map_or(0, Vec::len)
    }
}

impl Running for Windowed {
    fn reset(&mut self) {
        self.before = 0;
        self.tails.iter_mut().for_each(Vec::clear);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let n = inputs.first().map_or(0, |it| it.len());
        let n_tail = self.n_tail();
        let total = n_tail + n;
        if total > self.lookback {
            if n_tail == 0 {
                self.kernel.run(&self.values, inputs, outputs)?;
            } else {
                // The values of the tail were given before; only those of the new rows are copied out.
                let joined: Vec<Vec<f64>> =
                    self.tails.iter().zip(inputs).map(|(tail, input)| [tail.as_slice(), input].concat()).collect();
                let slices: Vec<&[f64]> = joined.iter().map(Vec::as_slice).collect();
                let mut whole: Vec<(Vec<f64>, Vec<i32>)> = outputs
                    .iter()
                    .map(|out| match out {
                        Out::Real(_) => (vec![f64::NAN; total], Vec::new()),
                        Out::Integer(_) => (Vec::new(), vec![0; total]),
                    })
                    .collect();
                let mut places: Vec<Out<'_>> = whole
                    .iter_mut()
                    .zip(&*outputs)
                    .map(|((reals, integers), out)| match out {
                        Out::Real(_) => Out::Real(reals),
                        Out::Integer(_) => Out::Integer(integers),
                    })
                    .collect();
                self.kernel.run(&self.values, &slices, &mut places)?;
                for (out, (reals, integers)) in outputs.iter_mut().zip(&whole) {
                    match out {
                        Out::Real(out) => out.copy_from_slice(&reals[n_tail..]),
                        Out::Integer(out) => out.copy_from_slice(&integers[n_tail..]),
                    }
                }
            }
            if self.before > 0 && ROW_NUMBERS.contains(&self.name.as_str()) {
                let before = i32::try_from(self.before).map_err(|_| "too many rows for a row number".to_string())?;
                outputs.iter_mut().for_each(|out| out.integer().iter_mut().for_each(|it| *it += before));
            }
        }
        for (tail, input) in self.tails.iter_mut().zip(inputs) {
            super::sma::keep_last(tail, input, self.lookback);
        }
        self.before += total - self.n_tail();
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.before as f64);
        self.tails.iter().for_each(|tail| state.extend_from_slice(tail));
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = Saved::new(state);
        self.before = saved.count(1 << 53)?;
        let n = (state.len() - 1) / self.tails.len().max(1);
        if n > self.lookback {
            return Err(format!("{n} rows where {} can be seen", self.lookback));
        }
        for tail in &mut self.tails {
            tail.clear();
            tail.extend_from_slice(saved.numbers(n)?);
        }
        saved.end()
    }
}
