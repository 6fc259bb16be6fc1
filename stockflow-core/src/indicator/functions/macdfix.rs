//! MACD with the fixed weights 0.15 and 0.075 for the two averages. Source: TA-Lib `MACDFIX`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::macd::Macd;
use super::stage::Stage;

pub(crate) static UNIT: Unit =
    Unit { name: "macdfix", kind: StateKind::Recursive, keeps: "the three averages so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let fast = Stage::with_rest(12, 1.0 - 0.15);
    let slow = Stage::with_rest(26, 1.0 - 0.075);
    Some(Box::new(Macd::new(fast, slow, Stage::new(period(values, 0)))))
}
