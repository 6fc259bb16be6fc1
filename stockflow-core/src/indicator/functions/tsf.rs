//! Time series forecast: where the straight line through the last rows is one row on. Source: TA-Lib `TSF`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::regression::{Reading, Regression};

pub(crate) static UNIT: Unit = Unit {
    name: "tsf",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the window",
    start: Regression::<Next>::start,
};

#[derive(Debug)]
struct Next;

impl Reading for Next {
    #[inline(always)]
    fn read(slope: f64, intercept: f64, period: f64) -> f64 {
        intercept + slope * period
    }
}
