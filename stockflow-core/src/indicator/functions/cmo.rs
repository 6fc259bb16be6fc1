//! Chande momentum oscillator: the rises less the falls as a part of all moves, in percent. Source: TA-Lib `CMO`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::strength::Strength;

pub(crate) static UNIT: Unit = Unit {
    name: "cmo",
    kind: StateKind::Recursive,
    keeps: "the averages of net rises and moves, and the last row",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Strength::<true>::new(period(values, 0))))
}
