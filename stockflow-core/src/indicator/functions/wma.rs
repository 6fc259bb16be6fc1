//! Weighted moving average: the newest row counts `timeperiod` times, the oldest once. Source: TA-Lib `WMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::average::{Average, Averaged, Same};
use super::past::{Past, room};
use super::rolling::Total;

pub(crate) static UNIT: Unit =
    Unit { name: "wma", kind: StateKind::Window, keeps: "the sums and the rows of the window", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(wma(period(values, 0)))))
}

pub(crate) fn wma(period: usize) -> Box<dyn Average> {
    if period <= 1 { Box::new(Same) } else { Box::new(Wma::new(period)) }
}

/// Windows after which the sums are made anew from the rows, so that their errors do not add up.
const RENEWAL: usize = 32;

#[derive(Debug)]
struct Wma {
    period: usize,
    factor: f64,
    past: Past<1>,
    sums: Sums,
    /// Rows until the sums are made anew.
    left: usize,
    scratch: Vec<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    plain: Total,
    weighted: Total,
}

impl Sums {
    /// Takes in rows of the first window, of which there were `before`.
    fn fill(&mut self, before: usize, rows: &[f64]) {
        let (mut plain, mut weighted) = (self.plain.value(), self.weighted.value());
        for (k, row) in rows.iter().enumerate() {
            plain += row;
            weighted += row * (before + k + 1) as f64;
        }
        *self = Self { plain: Total::start(plain), weighted: Total::start(weighted) };
    }

    /// The weighted sums after these rows, which replace as many that are `period` rows older.
    fn run(&mut self, period: usize, rows: &[f64], old: &[f64], sums: &mut [f64], out: &mut [f64]) {
        let before = self.plain.value();
        for (sum, (row, old)) in sums.iter_mut().zip(rows.iter().zip(old)) {
            *sum = row - old;
        }
        self.plain.run(sums);
        // A row's weight falls by one with each row that comes: the plain sum before it goes off.
        let weight = period as f64;
        let ([first, out_rest @ ..], [row, rest @ ..]) = (&mut *out, rows) else { return };
        *first = weight * row - before;
        for ((out, row), before) in out_rest.iter_mut().zip(rest).zip(sums) {
            *out = weight * row - *before;
        }
        self.weighted.run(out);
    }
}

impl Wma {
    fn new(period: usize) -> Self {
        Self {
            period,
            factor: 2.0 / (period as f64 * (period + 1) as f64),
            past: Past::new(period),
            sums: Sums::default(),
            left: RENEWAL * period,
            scratch: Vec::new(),
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
        let (period, sums, left) = (self.period, &mut self.sums, &mut self.left);
        let scratch = room(&mut self.scratch, input.len());
        self.past.feed([input], |known, [rows], new| {
            let out = &mut out[new];
            let mut at = known;
            if known < period {
                at = period.min(rows.len());
                sums.fill(known, &rows[known..at]);
                if at == period {
                    out[at - known - 1] = sums.weighted.value();
                }
            }
            while at < rows.len() {
                let n = (*left - 1).min(rows.len() - at);
                let (fresh, old) = (&rows[at..at + n], &rows[at - period..]);
                sums.run(period, fresh, old, &mut scratch[..n], &mut out[at - known..at - known + n]);
                *left -= n;
                at += n;
                if at < rows.len() {
                    *sums = Sums::default();
                    sums.fill(0, &rows[at + 1 - period..=at]);
                    out[at - known] = sums.weighted.value();
                    *left = RENEWAL * period;
                    at += 1;
                }
            }
        });
        for out in out {
            *out *= self.factor;
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.left as f64);
        self.sums.plain.save(state);
        self.sums.weighted.save(state);
        self.past.save(state);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.left = saved.count(RENEWAL * self.period)?.max(1);
        self.sums.plain.load(saved)?;
        self.sums.weighted.load(saved)?;
        self.past.load(saved)
    }
}
