//! Plus directional movement: the decaying sum of upward movement. Source: TA-Lib `PLUS_DM`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::directional::{Directional, Gains, Ratio, Sums};

pub(crate) static UNIT: Unit =
    Unit { name: "plus_dm", kind: StateKind::Recursive, keeps: "the decaying sum and the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Directional::new(period(values, 0), Sum)))
}

#[derive(Debug)]
struct Sum;

impl Ratio for Sum {
    const NEEDS: [bool; 3] = [true, false, false];

    #[inline(always)]
    fn row(&mut self, plus: f64, _: f64, _: f64) -> f64 {
        plus
    }
    #[inline(always)]
    fn rows(&mut self, sums: &mut Sums, gains: Gains<'_>, out: &mut [f64]) {
        out.copy_from_slice(gains.plus);
        sums.plus.run(out);
    }
}
