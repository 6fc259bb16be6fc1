//! Plus directional indicator: the upward movement as a percentage of the true range. Source: TA-Lib `PLUS_DI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::directional::{Directional, Gains, Ratio, Sums};

pub(crate) static UNIT: Unit = Unit {
    name: "plus_di",
    kind: StateKind::Recursive,
    keeps: "the decaying sums and the last bar",
    start: start::<true>,
};

/// Either of the two indicators: the upward one, or the downward.
pub(crate) fn start<const UP: bool>(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0);
    // TA-Lib gives a fraction instead of a percentage where nothing is smoothed.
    let whole = if period <= 1 { 1.0 } else { 100.0 };
    Some(Box::new(Directional::new(period, Share::<UP> { whole })))
}

#[derive(Debug)]
struct Share<const UP: bool> {
    whole: f64,
}

impl<const UP: bool> Ratio for Share<UP> {
    const NEEDS: [bool; 3] = [UP, !UP, true];

    #[inline(always)]
    fn row(&mut self, plus: f64, minus: f64, range: f64) -> f64 {
        share(self.whole, if UP { plus } else { minus }, range)
    }

    #[inline(always)]
    fn rows(&mut self, sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]) {
        let whole = self.whole;
        sums.range.run(gains.range);
        let (sum, gains_of) = if UP { (&mut sums.plus, gains.plus) } else { (&mut sums.minus, gains.minus) };
        sum.run(gains_of);
        for ((out, movement), range) in out.iter_mut().zip(gains_of).zip(gains.range) {
            *out = share(whole, *movement, *range);
        }
    }
}

/// The part of the whole range that the movement makes up.
#[inline(always)]
pub(crate) fn share(whole: f64, movement: f64, range: f64) -> f64 {
    // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
    let share = whole * (movement / range);
    if range > 0.0 { share } else { 0.0 }
}
