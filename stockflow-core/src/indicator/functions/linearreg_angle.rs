//! Angle of the straight line through the last rows, in degrees. Source: TA-Lib `LINEARREG_ANGLE`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::regression::{Reading, Regression};

pub(crate) static UNIT: Unit = Unit {
    name: "linearreg_angle",
    kind: StateKind::Window,
    keeps: "the sums and the rows of the window",
    start: Regression::<Angle>::start,
};

#[derive(Debug)]
struct Angle;

impl Reading for Angle {
    #[inline(always)]
    fn read(slope: f64, _: f64, _: f64) -> f64 {
        slope.atan() * (180.0 / std::f64::consts::PI)
    }
}
