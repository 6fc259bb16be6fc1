//! Bollinger band width: how far the bands are apart, in percent of the average. Source: TA-Lib `BBW`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::bbands::{Read, Reading};

pub(crate) static UNIT: Unit = Unit {
    name: "bbw",
    kind: StateKind::Recursive,
    keeps: "the sums and the rows of the window, and what the chosen average keeps",
    start: Read::<Width>::start,
};

#[derive(Debug)]
struct Width;

impl Reading for Width {
    #[inline(always)]
    fn read(_: f64, upper: f64, middle: f64, lower: f64) -> f64 {
        // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
        let width = (upper - lower) / middle * 100.0;
        if middle == 0.0 { 0.0 } else { width }
    }
}
