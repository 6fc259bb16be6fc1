//! Parabolic stop and reverse with parameters of its own for either direction; the stop of a downward trend is given
//! as a negative number. Source: TA-Lib `SAREXT`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, real};
use super::parabolic::{Parabolic, Side};

pub(crate) static UNIT: Unit = Unit {
    name: "sarext",
    kind: StateKind::Recursive,
    keeps: "the stop, its speed, the extreme and the last bar",
    start,
};

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let side = |at| {
        let most = real(values, at + 2);
        Side { first: real(values, at).min(most), more: real(values, at + 1).min(most), most }
    };
    Some(Box::new(Parabolic::new(real(values, 0), real(values, 1), side(2), side(5), -1.0)))
}
