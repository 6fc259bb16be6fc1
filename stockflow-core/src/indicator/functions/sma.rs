//! Simple moving average: the mean of the last `timeperiod` rows, by a running sum. Source: TA-Lib `SMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Saved, Unit, period};

pub(crate) static UNIT: Unit =
    Unit { name: "sma", kind: StateKind::Window, keeps: "the sum and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Sma::new(period(values, 0))))
}

/// The running sum over the last rows.
#[derive(Debug, Clone)]
pub(crate) struct Sma {
    period: usize,
    sum: f64,
    /// The last `period - 1` rows or fewer, oldest first.
    tail: Vec<f64>,
}

impl Sma {
    pub(crate) fn new(period: usize) -> Self {
        Self { period: period.max(1), sum: 0.0, tail: Vec::with_capacity(period) }
    }

    /// The means of the windows that end at each row; before the window is full, anything.
    pub(crate) fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let (period, n) = (self.period, input.len());
        let mut sum = self.sum;
        // The window begins in the rows of earlier pieces as long as those reach.
        let missing = (period - 1).saturating_sub(self.tail.len()).min(n);
        for (value, out) in input[..missing].iter().zip(&mut *out) {
            sum += value;
            *out = f64::NAN;
        }
        let from_tail = self.tail.len().min(n - missing);
        let skip = (self.tail.len() + missing).saturating_sub(period - 1);
        debug_assert_eq!(skip, 0);
        let divisor = period as f64;
        for i in 0..from_tail {
            sum += input[missing + i];
            out[missing + i] = sum / divisor;
            sum -= self.tail[i];
        }
        let done = missing + from_tail;
        for i in done..n {
            sum += input[i];
            out[i] = sum / divisor;
            sum -= input[i + 1 - period];
        }
        self.sum = sum;
        keep_last(&mut self.tail, input, period - 1);
    }
}

/// Keeps the last `most` rows of those before and these.
pub(crate) fn keep_last(tail: &mut Vec<f64>, input: &[f64], most: usize) {
    if input.len() >= most {
        tail.clear();
        tail.extend_from_slice(&input[input.len() - most..]);
    } else {
        let surplus = (tail.len() + input.len()).saturating_sub(most);
        tail.drain(..surplus);
        tail.extend_from_slice(input);
    }
}

impl Running for Sma {
    fn reset(&mut self) {
        self.sum = 0.0;
        self.tail.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series and gives one".into()) };
        self.run(input, out.real());
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.sum);
        state.extend_from_slice(&self.tail);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = Saved::new(state);
        self.sum = saved.number()?;
        let n = state.len() - 1;
        if n >= self.period {
            return Err(format!("{n} rows for a period of {}", self.period));
        }
        self.tail.clear();
        self.tail.extend_from_slice(saved.numbers(n)?);
        saved.end()
    }
}
