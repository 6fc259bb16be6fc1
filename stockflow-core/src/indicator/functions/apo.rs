//! Absolute price oscillator: a fast average less a slow one. Source: TA-Lib `APO`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::oscillator::Oscillator;

pub(crate) static UNIT: Unit = Unit {
    name: "apo",
    kind: StateKind::Recursive,
    keeps: "what the two chosen averages keep",
    start: Oscillator::<false>::start,
};
