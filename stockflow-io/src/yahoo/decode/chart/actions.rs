//! Dividends, splits and capital gains of a chart.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use chrono::NaiveDate;
use serde_json::Value;

use super::facts::Facts;
use super::{ChartRequest, Zone};
use crate::yahoo::decode::currency::sub_unit;
use crate::yahoo::decode::json::text;
use crate::yahoo::decode::number::{Number, whole};
use crate::yahoo::decode::time::{days, instant};
use crate::yahoo::decode::{ReplyError, YAHOO};
use stockflow_core::schema::{DeadLetter, action_schema};

/// Yahoo's name and ours.
pub(super) const KINDS: [(&str, &str); 3] =
    [("dividends", "dividend"), ("splits", "split"), ("capitalGains", "capital_gain")];

/// The members of an event that has an amount.
pub(super) const AMOUNT: [&str; 3] = ["date", "amount", "currency"];

/// The members of a split.
pub(super) const RATIO: [&str; 4] = ["date", "numerator", "denominator", "splitRatio"];

/// What an event is worth.
#[derive(Debug, Clone, PartialEq)]
enum Worth {
    Amount { value: f64, currency: Option<String> },
    Ratio { numerator: f64, denominator: f64 },
}

/// The events as a table, one row a date and kind.
///
/// The date is that of the event's own `date`, not of its key: with monthly bars the key is the first of the month. The same
/// event twice is one; two different ones of a kind on one date are added up (amounts) or multiplied (splits). An amount
/// without a currency is in that of the prices, unless that is a sub-unit: then it may be pounds or pence, and the currency is NULL.
pub(super) fn actions(
    events: Option<&Value>,
    facts: &Facts,
    request: &ChartRequest,
    zone: Zone,
    rejects: &mut Vec<DeadLetter>,
) -> Result<RecordBatch, ReplyError> {
    let mut found: BTreeMap<(NaiveDate, &'static str), Vec<Worth>> = BTreeMap::new();
    for (key, kind) in KINDS {
        for (place, event) in entries(events.and_then(|events| events.get(key))) {
            match read(kind, &place, event, facts, zone) {
                Ok((date, worth)) => {
                    let same_day = found.entry((date, kind)).or_default();
                    if !same_day.contains(&worth) {
                        same_day.push(worth);
                    }
                }
                Err(reason) => rejects.push(DeadLetter {
                    connector: YAHOO.into(),
                    partition: format!("actions/{}", request.symbol),
                    position: format!("{key}/{place}"),
                    symbol: Some(request.symbol.clone()),
                    reason,
                    payload: event.to_string(),
                }),
            }
        }
    }
    let rows: Vec<_> = found.into_iter().filter_map(|(key, worths)| Some((key, together(worths)?))).collect();
    table(&rows, request)
}

/// The events under their keys; a list is taken as well.
fn entries(events: Option<&Value>) -> Vec<(String, &Value)> {
    match events {
        Some(Value::Object(map)) => map.iter().map(|(key, event)| (key.clone(), event)).collect(),
        Some(Value::Array(list)) => list.iter().enumerate().map(|(idx, event)| (idx.to_string(), event)).collect(),
        Some(Value::Null) | None => Vec::new(),
        Some(other) => vec![("all".into(), other)],
    }
}

fn read(kind: &str, key: &str, event: &Value, facts: &Facts, zone: Zone) -> Result<(NaiveDate, Worth), String> {
    if !event.is_object() {
        return Err("the event is no object".into());
    }
    let seconds = whole(event.get("date")).or_else(|| key.parse().ok()).ok_or("no readable `date`")?;
    let at = instant(seconds).ok_or_else(|| format!("date {seconds} is not within the years 1800 to 2199"))?;
    let worth = if kind == "split" { ratio(event)? } else { amount(event, facts)? };
    Ok((zone.trading_date(at), worth))
}

fn amount(event: &Value, facts: &Facts) -> Result<Worth, String> {
    let Number::Is(value) = Number::of(event.get("amount")) else { return Err("no readable `amount`".into()) };
    let of_prices = facts.currency.as_deref().filter(|code| sub_unit(code).is_none());
    let currency = text(event.get("currency")).or(of_prices).map(str::to_owned);
    Ok(Worth::Amount { value, currency })
}

fn ratio(event: &Value) -> Result<Worth, String> {
    let part = |key| Number::of(event.get(key)).ok();
    let told = part("numerator").zip(part("denominator"));
    let written = || {
        let (numerator, denominator) = text(event.get("splitRatio"))?.split_once([':', '/'])?;
        numerator.trim().parse().ok().zip(denominator.trim().parse().ok())
    };
    let (numerator, denominator) = told.or_else(written).ok_or("no readable ratio")?;
    let is_sound = |part: f64| part.is_finite() && part > 0.0;
    if is_sound(numerator) && is_sound(denominator) {
        Ok(Worth::Ratio { numerator, denominator })
    } else {
        Err(format!("a split of {numerator}:{denominator} is none"))
    }
}

/// Several events of a kind on one date as one.
fn together(worths: Vec<Worth>) -> Option<Worth> {
    worths.into_iter().reduce(|sum, next| match (sum, next) {
        (Worth::Amount { value: a, currency }, Worth::Amount { value: b, currency: other }) if currency == other => {
            Worth::Amount { value: a + b, currency }
        }
        (Worth::Ratio { numerator: a, denominator: b }, Worth::Ratio { numerator, denominator }) => {
            Worth::Ratio { numerator: a * numerator, denominator: b * denominator }
        }
        // Two currencies cannot be added: the first stands.
        (first, _) => first,
    })
}

fn table(rows: &[((NaiveDate, &'static str), Worth)], request: &ChartRequest) -> Result<RecordBatch, ReplyError> {
    let n = rows.len();
    let number =
        |pick: fn(&Worth) -> Option<f64>| Arc::new(Float64Array::from_iter(rows.iter().map(|(_, worth)| pick(worth))));
    let currency = |worth: &Worth| match worth {
        Worth::Amount { currency, .. } => currency.clone(),
        Worth::Ratio { .. } => None,
    };
    let as_of = vec![request.as_of.timestamp_micros(); n];
    RecordBatch::try_new(
        action_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&request.symbol, n))),
            Arc::new(Date32Array::from_iter_values(rows.iter().map(|((date, _), _)| days(*date)))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|((_, kind), _)| kind))),
            number(|worth| match worth {
                Worth::Amount { value, .. } => Some(*value),
                Worth::Ratio { .. } => None,
            }),
            number(|worth| match worth {
                Worth::Ratio { numerator, .. } => Some(*numerator),
                Worth::Amount { .. } => None,
            }),
            number(|worth| match worth {
                Worth::Ratio { denominator, .. } => Some(*denominator),
                Worth::Amount { .. } => None,
            }),
            Arc::new(StringArray::from_iter(rows.iter().map(|(_, worth)| currency(worth)))),
            Arc::new(TimestampMicrosecondArray::from(as_of).with_timezone("UTC")),
        ],
    )
    .map_err(|error| ReplyError::Internal { reason: format!("actions: {error}") })
}
