//! What a reply says of its symbol, as a row of the reference table.

use std::sync::Arc;

use arrow::array::{Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use stockflow_core::market::calendar::Calendar;
use stockflow_core::schema::symbol_schema;

use super::{ChartRequest, Facts};
use crate::yahoo::decode::time::{Zone, days};
use crate::yahoo::decode::{ReplyError, YAHOO, sub_unit};

/// Where Yahoo keeps symbols that are listed no more.
pub(super) const HUSKS: &str = "YHD";

/// More decimals than a price has are a slip.
const MOST_DECIMALS: i64 = 12;

/// One row of [`symbol_schema`]; none where nothing is told. Yahoo tells no earlier names: `renamed_…` are NULL.
pub(super) fn listing(facts: &Facts, zone: Zone, request: &ChartRequest) -> Result<RecordBatch, ReplyError> {
    if *facts == Facts::default() {
        return Ok(RecordBatch::new_empty(symbol_schema()));
    }
    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value]));
    let number = |value: Option<f64>| Arc::new(Float64Array::from(vec![value]));
    let date = |at| Arc::new(Date32Array::from(vec![at]));
    let quoted = facts.currency.as_deref();
    let part = quoted.and_then(sub_unit);
    let decimals = facts.price_hint.filter(|it| (0..=MOST_DECIMALS).contains(it)).and_then(|it| i32::try_from(it).ok());
    let tick = decimals.map(|decimals| 10.0_f64.powi(-decimals) * part.map_or(1.0, |(_, factor)| factor));
    let exchange = facts.exchange.as_deref();
    let delisted = facts.last_trade.filter(|_| exchange == Some(HUSKS));
    let as_of = TimestampMicrosecondArray::from(vec![request.as_of.timestamp_micros()]);
    RecordBatch::try_new(
        symbol_schema(),
        vec![
            text(Some(&request.symbol)),
            text(facts.name.as_deref()),
            text(facts.instrument.as_deref()),
            text(exchange),
            text(exchange.and_then(Calendar::of).map(Calendar::mic)),
            text(part.map(|(currency, _)| currency).or(quoted)),
            text(quoted.filter(|_| part.is_some())),
            number(part.map(|(_, factor)| factor)),
            text(facts.time_zone.as_deref()),
            number(tick),
            date(facts.first_trade.map(|at| days(zone.trading_date(at)))),
            text(None),
            text(None),
            date(None),
            date(delisted.map(|at| days(zone.date(at)))),
            text(Some(YAHOO)),
            Arc::new(as_of.with_timezone("UTC")),
        ],
    )
    .map_err(|error| ReplyError::Internal { reason: format!("symbols: {error}") })
}
