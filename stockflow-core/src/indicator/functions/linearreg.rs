//! Linear regression: the end of the straight line through the last rows. Source: TA-Lib `LINEARREG`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::regression::{Reading, Regression};

pub(crate) static UNIT: Unit = Unit {
    name: "linearreg",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the window",
    start: Regression::<End>::start,
};

#[derive(Debug)]
struct End;

impl Reading for End {
    #[inline(always)]
    fn read(slope: f64, intercept: f64, period: f64) -> f64 {
        intercept + slope * (period - 1.0)
    }
}
