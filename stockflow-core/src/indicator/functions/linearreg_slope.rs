//! Slope of the straight line through the last rows. Source: TA-Lib `LINEARREG_SLOPE`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::regression::{Reading, Regression};

pub(crate) static UNIT: Unit = Unit {
    name: "linearreg_slope",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the window",
    start: Regression::<Slope>::start,
};

#[derive(Debug)]
struct Slope;

impl Reading for Slope {
    #[inline(always)]
    fn read(slope: f64, _: f64, _: f64) -> f64 {
        slope
    }
}
