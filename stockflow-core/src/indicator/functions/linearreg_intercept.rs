//! Start of the straight line through the last rows. Source: TA-Lib `LINEARREG_INTERCEPT`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::regression::{Reading, Regression};

pub(crate) static UNIT: Unit = Unit {
    name: "linearreg_intercept",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the window",
    start: Regression::<Start>::start,
};

#[derive(Debug)]
struct Start;

impl Reading for Start {
    #[inline(always)]
    fn read(_: f64, intercept: f64, _: f64) -> f64 {
        intercept
    }
}
