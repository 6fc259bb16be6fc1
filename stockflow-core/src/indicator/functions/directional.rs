//! Directional movement: how far the highs rose and the lows fell beyond the bar before, decaying sums of both and of
//! the true range. Source: the part that TA-Lib's `PLUS_DM`, `MINUS_DM`, `PLUS_DI`, `MINUS_DI`, `DX` and `ADX` share.

use super::super::running::{Out, Running};
use super::decay::{Decay, PASS};
use super::restored::{MOST_ROWS, restored};
use super::true_range::true_range;
use super::wide::{Rows, update};

/// What is made of the sums of one row.
pub(crate) trait Ratio: std::fmt::Debug + Send {
    /// Whether the sum of upward movement is needed, of downward movement, of the true range.
    const NEEDS: [bool; 3];

    fn reset(&mut self) {}

    /// One row.
    fn row(&mut self, plus: f64, minus: f64, range: f64) -> f64;

    /// Many rows: the sums, and what each row adds to them; the same values as row by row.
    fn rows(&mut self, sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]);

    fn save(&self, _: &mut Vec<f64>) {}

    fn load(&mut self, _: &mut super::super::running::Saved<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// The sums so far.
#[derive(Debug)]
pub(crate) struct Directional<R> {
    period: usize,
    sums: Sums,
    high: f64,
    low: f64,
    close: f64,
    /// Rows so far, up to the one with which the sums begin to decay.
    seen: usize,
    ratio: R,
}

/// The three sums; those that are not needed stay as they are.
#[derive(Debug, Clone)]
pub(crate) struct Sums {
    pub(crate) plus: Decay,
    pub(crate) minus: Decay,
    pub(crate) range: Decay,
}

/// What some rows add to the three sums, which may be written over.
#[derive(Debug)]
pub(crate) struct Gains<'a> {
    pub(crate) plus: &'a mut [f64],
    pub(crate) minus: &'a mut [f64],
    pub(crate) range: &'a mut [f64],
}

/// What one bar adds to the sums of upward and of downward movement.
#[inline(always)]
fn movement(high: f64, low: f64, high_before: f64, low_before: f64) -> (f64, f64) {
    let (up, down) = (high - high_before, low_before - low);
    let plus = if up > down { up } else { 0.0 };
    let minus = if down > up { down } else { 0.0 };
    (if plus > 0.0 { plus } else { 0.0 }, if minus > 0.0 { minus } else { 0.0 })
}

impl<R: Ratio> Directional<R> {
    pub(crate) fn new(period: usize, ratio: R) -> Self {
        let period = period.max(1);
        let decay = Decay::new(1.0 - 1.0 / period as f64);
        let sums = Sums { plus: decay.clone(), minus: decay.clone(), range: decay };
        Self { period, sums, high: 0.0, low: 0.0, close: 0.0, seen: 0, ratio }
    }

    #[inline(always)]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        let (plus, minus) = movement(high, low, self.high, self.low);
        let range = true_range(high, low, self.close);
        (self.high, self.low, self.close) = (high, low, close);
        let [needs_plus, needs_minus, needs_range] = R::NEEDS;
        let seen = self.seen;
        self.seen = (seen + 1).min(self.period);
        // The first rows are summed without decay; the very first has nothing to be compared with.
        let add = |sum: &mut Decay, gain: f64, needed: bool| {
            if !needed {
                0.0
            } else if seen >= self.period {
                sum.step(gain)
            } else {
                let value = if seen == 0 { 0.0 } else { sum.base() + gain };
                sum.start(value);
                value
            }
        };
        let plus = add(&mut self.sums.plus, plus, needs_plus);
        let minus = add(&mut self.sums.minus, minus, needs_minus);
        let range = add(&mut self.sums.range, range, needs_range);
        // Ratios begin with the first decayed sums.
        if seen >= self.period || !needs_range { self.ratio.row(plus, minus, range) } else { 0.0 }
    }

    #[inline(always)]
    fn run(&mut self, high: &[f64], low: &[f64], close: &[f64], out: &mut [f64]) {
        let n = high.len().min(low.len()).min(close.len()).min(out.len());
        let mut i = 0;
        // The first row is compared with one of an earlier piece.
        while i < n && (i == 0 || self.seen < self.period) {
            out[i] = self.step(high[i], low[i], close[i]);
            i += 1;
        }
        while i < n {
            let end = n.min(i + PASS);
            let (now, before) = (i..end, i - 1..end - 1);
            let before = [&high[before.clone()], &low[before.clone()], &close[before]];
            self.pass(&high[now.clone()], &low[now.clone()], before, &mut out[now]);
            i = end;
        }
        if n > 0 {
            (self.high, self.low, self.close) = (high[n - 1], low[n - 1], close[n - 1]);
        }
    }

    /// At most [`PASS`] rows, given the high, low and close before each.
    #[inline(always)]
    fn pass(&mut self, high: &[f64], low: &[f64], before: [&[f64]; 3], out: &mut [f64]) {
        let n = out.len().min(PASS);
        let [needs_plus, needs_minus, needs_range] = R::NEEDS;
        let ([mut plus, mut minus, mut range], [high_before, low_before, close_before]) = ([[0.0; PASS]; 3], before);
        let bars = high.iter().zip(low).zip(high_before).zip(low_before);
        for ((plus, minus), (((high, low), high_before), low_before)) in plus.iter_mut().zip(&mut minus).zip(bars) {
            let (up, down) = movement(*high, *low, *high_before, *low_before);
            if needs_plus {
                *plus = up;
            }
            if needs_minus {
                *minus = down;
            }
        }
        if needs_range {
            for (((range, high), low), close_before) in range.iter_mut().zip(high).zip(low).zip(close_before) {
                *range = true_range(*high, *low, *close_before);
            }
        }
        let gains = Gains { plus: &mut plus[..n], minus: &mut minus[..n], range: &mut range[..n] };
        self.ratio.rows(&mut self.sums, gains, out);
    }
}

impl<R: Ratio> Rows for Directional<R> {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        // Without the true range there is no close: the low stands in for it, and nobody looks.
        let (high, low, close) = match inputs {
            [high, low, close] => (high, low, close),
            [high, low] => (high, low, low),
            _ => return Err("it reads two or three series".into()),
        };
        let [out] = outputs else { return Err("it gives one series".into()) };
        self.run(high, low, close, out.real());
        Ok(())
    }
}

impl<R: Ratio> Running for Directional<R> {
    fn reset(&mut self) {
        for sum in [&mut self.sums.plus, &mut self.sums.minus, &mut self.sums.range] {
            sum.start(0.0);
        }
        (self.high, self.low, self.close, self.seen) = (0.0, 0.0, 0.0, 0);
        self.ratio.reset();
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.high, self.low, self.close]);
        for sum in [&self.sums.plus, &self.sums.minus, &self.sums.range] {
            sum.save(state);
        }
        self.ratio.save(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.seen = saved.count(MOST_ROWS)?.min(self.period);
        self.high = saved.number()?;
        self.low = saved.number()?;
        self.close = saved.number()?;
        for sum in [&mut self.sums.plus, &mut self.sums.minus, &mut self.sums.range] {
            sum.load(&mut saved)?;
        }
        self.ratio.load(&mut saved)?;
        saved.end()
    }
}
