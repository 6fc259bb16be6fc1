//! Percentage volume oscillator: how far a fast average of the volume is above a slow one, in percent. Source: TA-Lib
//! `PVO`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::oscillator::Oscillator;

pub(crate) static UNIT: Unit = Unit {
    name: "pvo",
    kind: StateKind::Recursive,
    keeps: "what the two chosen averages keep",
    start: Oscillator::<true>::start,
};
