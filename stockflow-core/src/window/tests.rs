//! The operator against DataFusion's own window operators, over random queries and rows.

#![allow(clippy::unwrap_used, clippy::panic)]

mod differential;
mod operator;

use std::cell::Cell;

use crate::indicator::{IndicatorCall, Value};

use super::run::Slot;

thread_local! {
    /// Whether `sma` is off by one, to see that it would be found.
    static PLANTED: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn is_planted(call: &IndicatorCall) -> bool {
    call.definition().name == "sma" && PLANTED.get()
}

pub(super) fn planted(call: &IndicatorCall) -> Slot {
    let period = match call.values() {
        [Value::Integer(period), ..] => period + 1,
        _ => 2,
    };
    let wrong = IndicatorCall::named("sma", &[Value::Integer(period)]).unwrap();
    Slot::Indicator { running: wrong.start().unwrap(), used: 0 }
}
