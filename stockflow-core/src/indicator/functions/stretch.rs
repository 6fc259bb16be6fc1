//! Stretch: where the last close is between the lowest low and the highest high of the last rows, in percent. Source:
//! the fast line that TA-Lib's `STOCH`, `STOCHF` and `STOCHRSI` share.

use super::super::running::Saved;
use super::past::room;
use super::peak::{Greatest, Least, Peak};

/// The highest high and the lowest low of the last rows.
#[derive(Debug)]
pub(crate) struct Stretch {
    highs: Peak<Greatest>,
    lows: Peak<Least>,
    scratch: [Vec<f64>; 2],
}

impl Stretch {
    pub(crate) fn new(window: usize) -> Self {
        Self { highs: Peak::new(window), lows: Peak::new(window), scratch: Default::default() }
    }

    pub(crate) fn reset(&mut self) {
        self.highs.reset();
        self.lows.reset();
    }

    /// Calls `place(highest, lowest, close)` for the windows that end at these rows.
    #[inline(always)]
    pub(crate) fn run(
        &mut self,
        high: &[f64],
        low: &[f64],
        close: &[f64],
        out: &mut [f64],
        place: impl Fn(f64, f64, f64) -> f64,
    ) {
        let [highest, lowest] = self.scratch.each_mut().map(|it| room(it, close.len()));
        self.highs.run(high, highest);
        self.lows.run(low, lowest);
        for (((out, highest), lowest), close) in out.iter_mut().zip(highest).zip(lowest).zip(close) {
            *out = place(*highest, *lowest, *close);
        }
    }

    pub(crate) fn save(&self, state: &mut Vec<f64>) {
        self.highs.save(state);
        self.lows.save(state);
    }

    pub(crate) fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.highs.load(saved)?;
        self.lows.load(saved)
    }
}

/// Whether the highest and the lowest differ by rounding at most.
#[inline(always)]
pub(crate) fn is_flat(highest: f64, lowest: f64) -> bool {
    (highest - lowest).abs() <= 1e-14 * (highest.abs() + lowest.abs())
}

/// How far the close is above the lowest, in percent of the way to the highest.
#[inline(always)]
pub(crate) fn above(highest: f64, lowest: f64, close: f64) -> f64 {
    let share = (close - lowest) / (highest - lowest) * 100.0;
    if is_flat(highest, lowest) { 0.0 } else { share }
}
