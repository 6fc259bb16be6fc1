//! Average true range: Wilder's average of the true range. Source: TA-Lib `ATR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Out, Running, Saved, Unit, period};
use super::leap::{Leap, TILE};
use super::restored::{MOST_ROWS, restored};
use super::true_range::true_range;
use super::wide::{Rows, update};

pub(crate) static UNIT: Unit =
    Unit { name: "atr", kind: StateKind::Recursive, keeps: "the average and the close of the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Atr::<Plain>::new(period(values, 0))))
}

/// What is made of the average before it is given out.
pub(crate) trait Scale: std::fmt::Debug + Send {
    /// Whether there is anything to be made of it.
    const IS_SCALED: bool;

    /// The factor for a row with this close.
    fn factor(close: f64) -> f64;
}

/// The average as it is.
#[derive(Debug)]
pub(crate) struct Plain;

impl Scale for Plain {
    const IS_SCALED: bool = false;

    #[inline(always)]
    fn factor(_: f64) -> f64 {
        1.0
    }
}

/// The average so far.
#[derive(Debug)]
pub(crate) struct Atr<S> {
    period: usize,
    /// The weight of a new range.
    weight: f64,
    average: Leap,
    /// The sum of the first ranges, which starts the average.
    sum: f64,
    close: f64,
    /// Rows so far.
    seen: usize,
    scale: std::marker::PhantomData<S>,
}

impl<S: Scale> Atr<S> {
    pub(crate) fn new(period: usize) -> Self {
        let period = period.max(1);
        let rest = (period - 1) as f64 / period as f64;
        Self {
            period,
            weight: 1.0 - rest,
            average: Leap::new(rest),
            sum: 0.0,
            close: 0.0,
            seen: 0,
            scale: std::marker::PhantomData,
        }
    }

    pub(crate) fn keep(&self, state: &mut Vec<f64>) {
        state.extend([self.seen as f64, self.close, self.sum]);
        self.average.save(state);
    }

    /// Takes its part of a saved state.
    pub(crate) fn restore(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.seen = saved.count(MOST_ROWS)?.min(self.period + 1);
        self.close = saved.number()?;
        self.sum = saved.number()?;
        self.average.load(saved)
    }

    #[inline(always)]
    fn scaled(average: f64, close: f64) -> f64 {
        if S::IS_SCALED { average * S::factor(close) } else { average }
    }

    #[inline(always)]
    fn step(&mut self, high: f64, low: f64, close: f64) -> f64 {
        let range = true_range(high, low, self.close);
        self.close = close;
        if self.seen > self.period {
            return Self::scaled(self.average.step(self.weight * range), close);
        }
        if self.seen > 0 {
            self.sum += range;
        }
        if self.seen == self.period {
            self.average.start(self.sum / self.period as f64);
        }
        self.seen += 1;
        Self::scaled(self.average.base(), close)
    }

    #[inline(always)]
    pub(crate) fn run(&mut self, high: &[f64], low: &[f64], close: &[f64], out: &mut [f64]) {
        let n = high.len().min(low.len()).min(close.len()).min(out.len());
        let mut i = 0;
        // The first row's range needs the close of an earlier piece.
        while i < n && (i == 0 || self.seen <= self.period) {
            out[i] = self.step(high[i], low[i], close[i]);
            i += 1;
        }
        if i == n {
            return;
        }
        let before = close[i - 1..n - 1].chunks(TILE);
        let bars = high[i..n].chunks(TILE).zip(low[i..n].chunks(TILE)).zip(close[i..n].chunks(TILE)).zip(before);
        let (mut average, weight) = (self.average, self.weight);
        let (mut gains, mut factors) = ([0.0; TILE], [1.0; TILE]);
        for (out, (((high, low), close), before)) in out[i..n].chunks_mut(TILE).zip(bars) {
            for (((gain, high), low), before) in gains.iter_mut().zip(high).zip(low).zip(before) {
                *gain = weight * true_range(*high, *low, *before);
            }
            if S::IS_SCALED {
                for (factor, close) in factors.iter_mut().zip(close) {
                    *factor = S::factor(*close);
                }
            }
            average.run(&gains[..out.len()], out, |k, value| if S::IS_SCALED { value * factors[k] } else { value });
        }
        self.average = average;
        self.close = close[n - 1];
    }
}

impl<S: Scale> Rows for Atr<S> {
    #[inline(always)]
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        let ([high, low, close], [out]) = (inputs, outputs) else { return Err("it reads three series".into()) };
        self.run(high, low, close, out.real());
        Ok(())
    }
}

impl<S: Scale> Running for Atr<S> {
    fn reset(&mut self) {
        self.average.start(0.0);
        (self.sum, self.close, self.seen) = (0.0, 0.0, 0);
    }

    fn update(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        update(self, inputs, outputs)
    }

    fn save(&self, state: &mut Vec<f64>) {
        self.keep(state);
    }

    fn load(&mut self, state: &[f64]) -> Result<(), String> {
        let mut saved = restored(state)?;
        self.restore(&mut saved)?;
        saved.end()
    }
}
