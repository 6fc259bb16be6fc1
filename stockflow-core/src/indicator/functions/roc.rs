//! Rate of change: a row over the one some rows before, in percent above it. Source: TA-Lib `ROC`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::change::{Change, Compare};

pub(crate) static UNIT: Unit =
    Unit { name: "roc", kind: StateKind::Window, keeps: "the rows of the window", start: Change::<Roc>::start };

#[derive(Debug)]
struct Roc;

impl Compare for Roc {
    #[inline(always)]
    fn compare(row: f64, earlier: f64) -> f64 {
        let change = (row / earlier - 1.0) * 100.0;
        if earlier == 0.0 { 0.0 } else { change }
    }
}
