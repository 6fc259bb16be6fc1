//! Wilder's moving average: an exponential one whose rows count for `1 / timeperiod`. Source: TA-Lib `RMA`.

use super::super::definition::{StateKind, Value};
use super::super::running::{Running, Unit, period};
use super::average::{Average, Averaged};
use super::ema::Ema;

pub(crate) static UNIT: Unit = Unit { name: "rma", kind: StateKind::Recursive, keeps: "the average so far", start };

fn start(values: &[Value]) -> Option<Box<dyn Running>> {
    Some(Box::new(Averaged(rma(period(values, 0)))))
}

pub(crate) fn rma(period: usize) -> Box<dyn Average> {
    let period = period.max(1);
    Box::new(Ema::with_rest(period, (period - 1) as f64 / period as f64))
}
