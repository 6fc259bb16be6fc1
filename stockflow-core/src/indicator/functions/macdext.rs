//! MACD with averages of any kind. Source: TA-Lib `MACDEXT`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::ma::{average, kind};
use super::macd::Macd;

pub(crate) static UNIT: Unit =
    Unit { name: "macdext", kind: StateKind::Recursive, keeps: "what the three chosen averages keep", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    let one = (period(values, 0), kind(values, 1)?);
    let other = (period(values, 2), kind(values, 3)?);
    let (fast, slow) = if other.0 < one.0 { (other, one) } else { (one, other) };
    let signal = average(kind(values, 5)?, period(values, 4))?;
    Some(Box::new(Macd::new(average(fast.1, fast.0)?, average(slow.1, slow.0)?, signal)))
}
