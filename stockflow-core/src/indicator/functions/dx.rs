//! Directional movement index: by how much one direction outweighs the other, in percent. Source: TA-Lib `DX`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Saved, Unit, period};
use super::directional::{Directional, Gains, Ratio, Sums};

pub(crate) static UNIT: Unit =
    Unit { name: "dx", kind: StateKind::Recursive, keeps: "the decaying sums, the last bar and the last value", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Directional::new(period(values, 0), Dx { last: 0.0 })))
}

/// The index, and whether it means anything: not without movement.
///
/// The true range cancels out of the quotient of two shares of it, so that one division is left of three.
#[inline(always)]
pub(crate) fn index(plus: f64, minus: f64, range: f64) -> (f64, bool) {
    let both = plus + minus;
    let is_any = range > 0.0 && 100.0 * both >= 1e-14 * range;
    (100.0 * ((minus - plus).abs() / both), is_any)
}

/// The indices of many rows, NaN where one means nothing; whether all of them mean something.
#[inline(always)]
pub(crate) fn indices(sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]) -> bool {
    let Gains { plus, minus, range } = gains;
    sums.range.run(range);
    sums.plus.run(plus);
    sums.minus.run(minus);
    let mut all = true;
    for (((out, plus), minus), range) in out.iter_mut().zip(plus).zip(minus).zip(range) {
        let (index, is_any) = index(*plus, *minus, *range);
        *out = if is_any { index } else { f64::NAN };
        all &= is_any;
    }
    all
}

#[derive(Debug)]
struct Dx {
    last: f64,
}

impl Ratio for Dx {
    const NEEDS: [bool; 3] = [true, true, true];

    fn reset(&mut self) {
        self.last = 0.0;
    }

    #[inline(always)]
    fn row(&mut self, plus: f64, minus: f64, range: f64) -> f64 {
        let (index, is_any) = index(plus, minus, range);
        self.last = if is_any { index } else { self.last };
        self.last
    }

    #[inline(always)]
    fn rows(&mut self, sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]) {
        let all = indices(sums, gains, out);
        if all {
            self.last = out.last().copied().unwrap_or(self.last);
            return;
        }
        for out in out {
            // A row without a meaning of its own repeats the one before.
            self.last = if out.is_nan() { self.last } else { *out };
            *out = self.last;
        }
    }

    fn save(&self, state: &mut Vec<f64>) {
        state.push(self.last);
    }

    fn load(&mut self, saved: &mut Saved<'_>) -> Result<(), String> {
        self.last = saved.number()?;
        Ok(())
    }
}
