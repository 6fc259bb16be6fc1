//! Relative strength index: the part of the rises in all moves, in percent. Source: TA-Lib `RSI`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::strength::Strength;

pub(crate) static UNIT: Unit =
    Unit { name: "rsi", kind: StateKind::Recursive, keeps: "the averages of rises and moves, and the last row", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Rsi::new(period(values, 0))))
}

pub(crate) type Rsi = Strength<false>;
