//! Minus directional indicator: the downward movement as a percentage of the true range. Source: TA-Lib `MINUS_DI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::directional::{Directional, Gains, Ratio, Sums};
use super::plus_di::share;

pub(crate) static UNIT: Unit =
    Unit { name: "minus_di", kind: StateKind::Recursive, keeps: "the decaying sums and the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let period = period(values, 0);
    // TA-Lib gives a fraction instead of a percentage where nothing is smoothed.
    let whole = if period <= 1 { 1.0 } else { 100.0 };
    Some(Box::new(Directional::new(period, Share { whole })))
}

#[derive(Debug)]
struct Share {
    whole: f64,
}

impl Ratio for Share {
    const NEEDS: [bool; 3] = [false, true, true];

    #[inline(always)]
    fn row(&mut self, _: f64, minus: f64, range: f64) -> f64 {
        share(self.whole, minus, range)
    }

    #[inline(always)]
    fn rows(&mut self, sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]) {
        let whole = self.whole;
        sums.range.run(gains.range);
        sums.minus.run(gains.minus);
        for ((out, minus), range) in out.iter_mut().zip(gains.minus).zip(gains.range) {
            *out = share(whole, *minus, *range);
        }
    }
}
