//! Parabolic stop and reverse: a stop that follows the price faster and faster until the price crosses it.
//! Source: TA-Lib `SAR`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, real};
use super::parabolic::{Parabolic, Side};

pub(crate) static UNIT: Unit =
    Unit { name: "sar", kind: StateKind::Recursive, keeps: "the stop, its speed, the extreme and the last bar", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let most = real(values, 1);
    let first = real(values, 0).min(most);
    let side = Side { first, more: first, most };
    Some(Box::new(Parabolic::new(0.0, 0.0, side, side, 1.0)))
}
