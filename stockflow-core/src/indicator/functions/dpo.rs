//! Detrended price oscillator: the price of half a window ago less the window's mean. Source: TA-Lib `DPO`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Unit, period};
use super::restored::restored;

pub(crate) static UNIT: Unit =
    Unit { name: "dpo", kind: StateKind::Window, keeps: "the sum and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Dpo { period: period(values, 0).max(1), sum: 0.0, rows: Vec::new() }))
}

#[derive(Debug)]
struct Dpo {
    period: usize,
    sum: f64,
    /// The rows that can still be seen, oldest first, and during a piece the new ones.
    rows: Vec<f64>,
}

impl Dpo {
    /// How many rows ago the price is.
    fn shift(&self) -> usize {
        self.period / 2 + 1
    }

    /// Rows that can still be seen: for short windows the price is older than they are.
    fn seen(&self) -> usize {
        (self.period - 1).max(self.shift())
    }
}

impl Running for Dpo {
    fn reset(&mut self) {
        self.sum = 0.0;
        self.rows.clear();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([input], [out]) = (inputs, outputs) else { return Err("it reads one series".into()) };
        let (seen, shift) = (self.seen(), self.shift());
        for (row, out) in input.iter().zip(out.real()) {
            self.rows.push(*row);
            let n = self.rows.len();
            let first_full = seen + 1;
            // The sum begins with the rows of the first window that is given out.
            if n + self.period > first_full {
                self.sum += row;
            }
            *out = 0.0;
            if n >= first_full {
                *out = self.rows[n - 1 - shift] - self.sum / self.period as f64;
                self.sum -= self.rows[n - self.period];
            }
        }
        let surplus = self.rows.len().saturating_sub(seen);
        self.rows.drain(..surplus);
        Ok(())
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.sum);
        state.extend_from_slice(&self.rows);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.sum = saved.number()?;
        let n = state.len() - 1;
        if n > self.seen() {
            return Err(format!("{n} rows where {} can be seen", self.seen()));
        }
        self.rows.clear();
        self.rows.extend_from_slice(saved.numbers(n)?);
        saved.end()
    }
}
