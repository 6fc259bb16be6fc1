//! Rows that a decoder has read, as the canonical columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Date32Type;
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, Utc};
use stockflow_core::schema::{Basis, DeadLetter, action_schema, bar_schema};
use stockflow_core::transform::{Interval, IntervalUnit};

use super::BarRequest;

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) ts: DateTime<Utc>,
    pub(super) date: NaiveDate,
    /// Open, high, low, close, volume and adjusted close.
    pub(super) values: [Option<f64>; 6],
    pub(super) is_final: bool,
}

/// One corporate action.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) date: NaiveDate,
    pub(super) kind: &'static str,
    pub(super) value: Option<f64>,
    /// New shares for one old one.
    pub(super) ratio: Option<f64>,
}

pub(super) fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

/// The date of the bar in which `date` lies, and the first date after it.
pub(crate) fn period(date: NaiveDate, interval: Interval) -> (NaiveDate, NaiveDate) {
    let days = |from: NaiveDate, n| from.checked_add_days(Days::new(n)).unwrap_or(NaiveDate::MAX);
    match interval.unit() {
        IntervalUnit::Week => {
            let into = u64::from(date.weekday().num_days_from_monday());
            let monday = date.checked_sub_days(Days::new(into)).unwrap_or(date);
            (monday, days(monday, 7))
        }
        IntervalUnit::Month => {
            let first = date.with_day(1).unwrap_or(date);
            (first, first.checked_add_months(Months::new(interval.n())).unwrap_or(NaiveDate::MAX))
        }
        _ => (date, days(date, 1)),
    }
}

/// The rows whose `date` lies within, both ends included.
pub(crate) fn dated(
    table: &RecordBatch,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
) -> Result<RecordBatch, ArrowError> {
    let wrong = || ArrowError::SchemaError("rows without `date`".to_owned());
    let dates = table.column_by_name("date").and_then(|it| it.as_primitive_opt::<Date32Type>()).ok_or_else(wrong)?;
    let from = from.map_or(i32::MIN, Date32Type::from_naive_date);
    let to = to.map_or(i32::MAX, Date32Type::from_naive_date);
    let keep: BooleanArray = dates.iter().map(|date| Some(date.is_some_and(|it| (from..=to).contains(&it)))).collect();
    filter_record_batch(table, &keep)
}

/// A refused row.
pub(super) fn refused(
    provider: &str,
    request: &BarRequest,
    position: String,
    reason: String,
    payload: String,
) -> DeadLetter {
    DeadLetter {
        connector: provider.to_owned(),
        partition: request.symbol.clone(),
        position,
        symbol: Some(request.symbol.clone()),
        reason,
        payload,
    }
}

/// The wanted ones of these bars, in the order of time, each once: of two the later one in the reply stays.
pub(super) fn bars(
    rows: Vec<Row>,
    provider: &str,
    basis: Basis,
    currency: Option<&str>,
    request: &BarRequest,
) -> Result<RecordBatch, ArrowError> {
    let mut by_ts = std::collections::BTreeMap::new();
    for row in rows.into_iter().filter(|row| request.wants(row.date, row.is_final)) {
        by_ts.insert(row.ts, row);
    }
    let rows: Vec<Row> = by_ts.into_values().collect();
    let n = rows.len();
    let same = |text: Option<&str>| Arc::new(StringArray::from_iter(std::iter::repeat_n(text, n))) as ArrayRef;
    let number = |idx: usize| {
        let value = |row: &Row| row.values.get(idx).copied().flatten();
        Arc::new(Float64Array::from_iter(rows.iter().map(value))) as ArrayRef
    };
    let stamps = || TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts.timestamp_micros()));
    let interval = request.interval.to_string();
    RecordBatch::try_new(
        bar_schema(),
        vec![
            same(Some(&request.symbol)),
            same(Some(&interval)),
            Arc::new(stamps().with_timezone("UTC")),
            Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| Date32Type::from_naive_date(row.date)))),
            number(0),
            number(1),
            number(2),
            number(3),
            number(4),
            number(5),
            same(currency),
            same(Some(provider)),
            same((!request.interval.is_intraday()).then_some("regular")),
            same(Some(basis.as_str())),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.is_final)))),
            Arc::new(stamps().with_timezone("UTC")),
            Arc::new(TimestampMicrosecondArray::from_value(request.now.timestamp_micros(), n).with_timezone("UTC")),
        ],
    )
}

/// Corporate actions from the first wanted date on, up to now.
pub(super) fn actions(found: &[Action], request: &BarRequest) -> Result<RecordBatch, ArrowError> {
    let found: Vec<&Action> =
        found.iter().filter(|action| request.from.is_none_or(|from| from <= action.date)).collect();
    let n = found.len();
    let one = |action: &&Action| action.ratio.map(|_| 1.0);
    RecordBatch::try_new(
        action_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&request.symbol, n))),
            Arc::new(Date32Array::from_iter_values(found.iter().map(|it| Date32Type::from_naive_date(it.date)))),
            Arc::new(StringArray::from_iter_values(found.iter().map(|it| it.kind))),
            Arc::new(Float64Array::from_iter(found.iter().map(|it| it.value))),
            Arc::new(Float64Array::from_iter(found.iter().map(|it| it.ratio))),
            Arc::new(Float64Array::from_iter(found.iter().map(one))),
            Arc::new(StringArray::from_iter(std::iter::repeat_n(None::<&str>, n))),
            Arc::new(TimestampMicrosecondArray::from_value(request.now.timestamp_micros(), n).with_timezone("UTC")),
        ],
    )
}
