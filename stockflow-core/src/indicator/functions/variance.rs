//! Variance: the mean squared distance of the last rows from their mean. Source: the part that TA-Lib's `VAR`,
//! `STDDEV` and `BBANDS` share.
//!
//! Sums of rows and of their squares, both less a shift near the mean. Where these lose digits, and from time to time
//! anyway, they are made anew around the mean of the window.

use super::super::running::Saved;
use super::past::Past;

/// Windows after which the sums are made anew.
const RENEWAL: usize = 32;
/// A variance that is a smaller part of the squares than this has lost too many digits.
const WORN: f64 = 0.000001;
/// A variance that is a smaller part of the squares around the mean than this is none.
const NOTHING: f64 = 0.000000000001;

/// The variance of the last `period` rows.
#[derive(Debug)]
pub(crate) struct Variance {
    past: Past<1>,
    sums: Sums,
}

#[derive(Debug, Clone, Copy)]
struct Sums {
    period: usize,
    /// One over the period.
    share: f64,
    shift: f64,
    plain: f64,
    squares: f64,
    /// The greatest sum of squares since they were made anew.
    peak: f64,
    /// Rows until they are made anew.
    left: usize,
}

impl Variance {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        Self { past: Past::new(period), sums: Sums::new(period) }
    }

    pub(crate) fn reset(&mut self) {
        self.past.reset();
        self.sums = Sums::new(self.sums.period);
    }

    /// The variances of the windows that end at each row; anything before the window is full.
    pub(crate) fn run(&mut self, input: &[f64], out: &mut [f64]) {
        let sums = &mut self.sums;
        self.past.feed([input], |known, [rows], new| sums.run(known, rows, &mut out[new]));
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        let Sums { shift, plain, squares, peak, left, .. } = self.sums;
        state.extend([shift, plain, squares, peak, left as f64]);
        self.past.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.sums.shift = saved.number()?;
        self.sums.plain = saved.number()?;
        self.sums.squares = saved.number()?;
        self.sums.peak = saved.number()?;
        self.sums.left = saved.count(RENEWAL * self.sums.period)?.max(1);
        self.past.load(saved)
    }
}

impl Sums {
    fn new(period: usize) -> Self {
        let share = 1.0 / period as f64;
        Self { period, share, shift: 0.0, plain: 0.0, squares: 0.0, peak: 0.0, left: RENEWAL * period }
    }

    fn run(&mut self, known: usize, rows: &[f64], out: &mut [f64]) {
        let period = self.period;
        let mut at = known;
        if known < period {
            if let ([first, ..], 0) = (rows, known) {
                self.shift = *first;
            }
            at = period.min(rows.len());
            self.add(&rows[known..at]);
            self.peak = self.squares;
            if at == period {
                out[at - known - 1] = self.value(&rows[..at]);
            }
        }
        if at == rows.len() {
            return;
        }
        while at < rows.len() {
            // What changes with each row is kept out of reach of the rare renewal, so that it stays in registers.
            let n = (self.left - 1).min(rows.len() - at);
            let moves = rows[at..at + n].iter().zip(&rows[at - period..]);
            let Self { share, shift, mut plain, mut squares, mut peak, .. } = *self;
            let mut done = 0;
            let mut is_worn = false;
            for (out, (row, old)) in out[at - known..].iter_mut().zip(moves) {
                let (row, old) = (row - shift, old - shift);
                plain += row - old;
                squares += row * row - old * old;
                peak = if squares > peak { squares } else { peak };
                let mean = plain * share;
                let variance = squares * share - mean * mean;
                *out = variance;
                done += 1;
                if variance < WORN * (peak * share) {
                    is_worn = true;
                    break;
                }
            }
            *self = Self { plain, squares, peak, left: self.left - done, ..*self };
            at += done;
            if is_worn {
                out[at - known - 1] = self.renew(&rows[at - period..at]);
            } else if at < rows.len() {
                out[at - known] = self.renew(&rows[at + 1 - period..=at]);
                at += 1;
            }
        }
    }

    fn add(&mut self, rows: &[f64]) {
        for row in rows {
            let row = row - self.shift;
            self.plain += row;
            self.squares += row * row;
        }
    }

    #[inline(always)]
    fn spread(&self) -> f64 {
        let mean = self.plain * self.share;
        self.squares * self.share - mean * mean
    }

    /// The variance of a full window, whose sums are in.
    #[inline(always)]
    fn value(&mut self, window: &[f64]) -> f64 {
        self.peak = if self.squares > self.peak { self.squares } else { self.peak };
        let variance = self.spread();
        self.left -= 1;
        if variance < WORN * (self.peak * self.share) || self.left == 0 { self.renew(window) } else { variance }
    }

    #[cold]
    #[inline(never)]
    fn renew(&mut self, window: &[f64]) -> f64 {
        self.left = RENEWAL * self.period;
        self.around(window.iter().sum::<f64>() * self.share, window);
        let mut variance = self.spread();
        if let (true, Some(last)) = (variance < WORN * (self.squares * self.share), window.last()) {
            // The mean is so far from all rows, by rounding, that one of them is nearer.
            self.around(*last, window);
            variance = self.spread();
        }
        self.peak = self.squares;
        if variance < NOTHING * (self.squares * self.share) { 0.0 } else { variance }
    }

    fn around(&mut self, shift: f64, window: &[f64]) {
        (self.shift, self.plain, self.squares) = (shift, 0.0, 0.0);
        self.add(window);
    }
}
