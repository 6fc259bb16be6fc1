//! Percentage price oscillator: how far a fast average is above a slow one, in percent. Source: TA-Lib `PPO`.

use super::super::definition::StateKind;
use super::super::running::Unit;
use super::oscillator::Oscillator;

pub(crate) static UNIT: Unit = Unit {
    name: "ppo",
    kind: StateKind::Recursive,
    keeps: "what the two chosen averages keep",
    start: Oscillator::<true>::start,
};
