//! Weighted moving average: the newest row counts `timeperiod` times, the oldest once. Source: TA-Lib `WMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged, Same};
use super::past::Past;

pub(crate) static UNIT: Unit =
    Unit { name: "wma", kind: StateKind::Window, keeps: "the sums and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(wma(period(values, 0)))))
}

pub(crate) fn wma(period: usize) -> Box<dyn Average> {
    if period <= 1 { Box::new(Same) } else { Box::new(Wma::new(period)) }
}

/// Windows after which the sums are made anew from the rows, so that their errors do not add up.
const RENEWAL: usize = 8;

#[derive(Debug)]
struct Wma {
    period: usize,
    factor: f64,
    past: Past<1>,
    sums: Sums,
    /// Rows until the sums are made anew.
    left: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    plain: f64,
    weighted: f64,
}

impl Wma {
    fn new(period: usize) -> Self {
        let factor = 2.0 / (period as f64 * (period + 1) as f64);
        Self { period, factor, past: Past::new(period), sums: Sums::default(), left: RENEWAL * period }
    }
}

impl Sums {
    /// Takes in rows of the first window, of which there were `before`.
    fn fill(&mut self, before: usize, rows: &[f64]) {
        for (k, row) in rows.iter().enumerate() {
            self.plain += row;
            self.weighted += row * (before + k + 1) as f64;
        }
    }
}

impl Average for Wma {
    fn lookback(&self) -> usize {
        self.period - 1
    }

    fn reset(&mut self) {
        self.past.reset();
        self.sums = Sums::default();
        self.left = RENEWAL * self.period;
    }

    fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let (period, factor, sums, left) = (self.period, self.factor, &mut self.sums, &mut self.left);
        let weight = period as f64;
        self.past.feed([input], |known, [rows], new| {
            let out = &mut out[new];
            let mut at = known;
            if known < period {
                at = period.min(rows.len());
                sums.fill(known, &rows[known..at]);
                if at == period {
                    out[at - known - 1] = sums.weighted * factor;
                    *left -= 1;
                }
            }
            while at < rows.len() {
                let n = (*left - 1).min(rows.len() - at);
                let fresh = rows[at..at + n].iter().zip(&rows[at - period..]);
                let Sums { mut plain, mut weighted } = *sums;
                for (out, (row, old)) in out[at - known..].iter_mut().zip(fresh) {
                    weighted += weight * row - plain;
                    plain += row - old;
                    *out = weighted * factor;
                }
                *sums = Sums { plain, weighted };
                *left -= n;
                at += n;
                if at < rows.len() {
                    *sums = Sums::default();
                    sums.fill(0, &rows[at + 1 - period..=at]);
                    out[at - known] = sums.weighted * factor;
                    *left = RENEWAL * period;
                    at += 1;
                }
            }
        });
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.left as f64, self.sums.plain, self.sums.weighted]);
        self.past.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.left = saved.count(RENEWAL * self.period)?.max(1);
        self.sums = Sums { plain: saved.number()?, weighted: saved.number()? };
        self.past.load(saved)?;
        if self.past.known() < self.period {
            self.left = RENEWAL * self.period;
        }
        Ok(())
    }
}
