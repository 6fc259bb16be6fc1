//! Momentum: a row less the one some rows before. Source: TA-Lib `MOM`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::change::{Change, Compare};

pub(crate) static UNIT: Unit =
    Unit { name: "mom", kind: StateKind::Window, keeps: "the rows of the window", start: Change::<Mom>::start };

#[derive(Debug)]
struct Mom;

impl Compare for Mom {
    #[inline(always)]
    fn compare(row: f64, earlier: f64) -> f64 {
        row - earlier
    }
}
