//! Minus directional indicator: the downward movement as a percentage of the true range. Source: TA-Lib `MINUS_DI`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::plus_di::start;

pub(crate) static UNIT: Unit = Unit {
    name: "minus_di",
    kind: StateKind::Recursive,
    keeps: "the decaying sums and the last bar",
    start: start::<false>,
};
