//! Percent B: where a row is between the lower Bollinger band, 0, and the upper one, 1. Source: TA-Lib `PERCENTB`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::bbands::{Read, Reading};

pub(crate) static UNIT: Unit = Unit {
    name: "percentb",
    kind: StateKind::Recursive,
    keeps: "the sums and the rows of the window, and what the chosen average keeps",
    start: Read::<Place>::start,
};

#[derive(Debug)]
struct Place;

impl Reading for Place {
    #[inline(always)]
    fn read(row: f64, upper: f64, _: f64, lower: f64) -> f64 {
        // Divided before anyone asks whether that is allowed: so the compiler divides several rows at once.
        let place = (row - lower) / (upper - lower);
        if upper == lower { 0.5 } else { place }
    }
}
