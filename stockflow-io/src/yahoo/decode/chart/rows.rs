//! The rows of a chart: arrays side by side, read across.

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use serde_json::{Map, Value};

use super::{ChartRequest, Missing};
use crate::yahoo::decode::YAHOO;
use crate::yahoo::decode::json::{at, first, items};
use crate::yahoo::decode::number::{Number, whole};
use crate::yahoo::decode::time::{Zone, instant};
use stockflow_core::schema::DeadLetter;
use stockflow_core::transform::{Interval, IntervalUnit};

/// The columns that a row must be able to say something about.
pub(super) const VALUES: [&str; 5] = ["open", "high", "low", "close", "volume"];

/// One row of the reply.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) row_idx: usize,
    /// Yahoo's stamp.
    pub(super) at: DateTime<Utc>,
    /// The trading date; for weeks and months their first day.
    pub(super) date: NaiveDate,
    pub(super) open: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) low: Option<f64>,
    pub(super) close: Option<f64>,
    pub(super) volume: Option<f64>,
    pub(super) adj_close: Option<f64>,
    pub(super) is_final: bool,
}

impl Row {
    pub(super) fn has_price(&self) -> bool {
        self.open.or(self.high).or(self.low).or(self.close).is_some()
    }

    /// Whether it says no more than a latest price: one price, nothing traded.
    pub(super) fn is_flat(&self) -> bool {
        self.volume.unwrap_or(0.0) == 0.0 && self.open == self.close && self.high == self.low && self.open == self.high
    }

    pub(super) fn missing(&self) -> Missing {
        Missing { date: self.date, source_ts: self.at, row: self.row_idx }
    }
}

/// All rows in the order of the reply.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
}

/// The arrays of a reply.
#[derive(Debug)]
struct Columns<'a> {
    timestamp: &'a [Value],
    values: [&'a [Value]; 5],
    adj_close: &'a [Value],
}

impl<'a> Columns<'a> {
    fn of(result: &'a Value) -> Self {
        let group = |key| at(result, &["indicators", key]).and_then(first);
        let quote = group("quote");
        Self {
            timestamp: items(result.get("timestamp")),
            values: VALUES.map(|name| items(quote.and_then(|quote| quote.get(name)))),
            adj_close: items(group("adjclose").and_then(|group| group.get("adjclose"))),
        }
    }

    fn n_rows(&self) -> usize {
        self.values.iter().map(|column| column.len()).fold(self.timestamp.len(), usize::max)
    }

    /// Whether the row says nothing at all.
    fn is_empty(&self, row_idx: usize) -> bool {
        self.values.iter().all(|column| Number::of(column.get(row_idx)) == Number::Empty)
    }

    /// The row as JSON.
    fn payload(&self, row_idx: usize) -> String {
        let names = ["timestamp"].into_iter().chain(VALUES).chain(["adjclose"]);
        let columns = [self.timestamp].into_iter().chain(self.values).chain([self.adj_close]);
        let cell = |(name, column): (&str, &[Value])| Some((name.to_owned(), column.get(row_idx)?.clone()));
        Value::Object(names.zip(columns).filter_map(cell).collect::<Map<_, _>>()).to_string()
    }
}

impl Rows {
    /// Reads every row; one that cannot be read is refused.
    ///
    /// A row stamped `last_trade` is that of the running day: its stamp is a trade's and not a slipped midnight.
    pub(super) fn read(
        result: &Value,
        request: &ChartRequest,
        zone: Zone,
        last_trade: Option<DateTime<Utc>>,
        rejects: &mut Vec<DeadLetter>,
    ) -> Self {
        let interval = request.interval;
        let date_of = |at: DateTime<Utc>| {
            let is_exact = interval.is_intraday() || Some(at) == last_trade;
            first_day(if is_exact { zone.date(at) } else { zone.trading_date(at) }, interval)
        };
        let columns = Columns::of(result);
        let mut rows = Vec::with_capacity(columns.timestamp.len());
        for row_idx in 0..columns.n_rows() {
            match read_row(&columns, row_idx, date_of) {
                Ok(row) => rows.push(row),
                // Nothing at no time: nothing is lost.
                Err(_) if columns.is_empty(row_idx) => {}
                Err(reason) => rejects.push(refused(&columns, row_idx, request, reason)),
            }
        }
        Self { rows }
    }
}

fn refused(columns: &Columns<'_>, row_idx: usize, request: &ChartRequest, reason: String) -> DeadLetter {
    let stamp = whole(columns.timestamp.get(row_idx)).map(|stamp| format!("@{stamp}")).unwrap_or_default();
    DeadLetter {
        connector: YAHOO.into(),
        partition: format!("bars/{}/{}", request.symbol, request.interval),
        position: format!("{row_idx}{stamp}"),
        symbol: Some(request.symbol.clone()),
        reason,
        payload: columns.payload(row_idx),
    }
}

fn read_row(
    columns: &Columns<'_>,
    row_idx: usize,
    date_of: impl Fn(DateTime<Utc>) -> NaiveDate,
) -> Result<Row, String> {
    let stamp = columns.timestamp.get(row_idx).filter(|stamp| !stamp.is_null()).ok_or("no timestamp")?;
    let seconds = whole(Some(stamp)).ok_or("the timestamp is no whole number of seconds")?;
    let at = instant(seconds).ok_or_else(|| format!("timestamp {seconds} is not within the years 1800 to 2199"))?;
    let mut cells = [None; 5];
    for ((cell, column), name) in cells.iter_mut().zip(columns.values).zip(VALUES) {
        *cell = match Number::of(column.get(row_idx)) {
            Number::Is(number) => Some(number),
            Number::Empty => None,
            Number::Infinite => return Err(format!("{name} is infinite")),
            Number::Bad => return Err(format!("{name} is no number")),
        };
    }
    let [open, high, low, close, volume] = cells;
    let adj_close = Number::of(columns.adj_close.get(row_idx)).ok();
    Ok(Row { row_idx, at, date: date_of(at), open, high, low, close, volume, adj_close, is_final: true })
}

/// The date that stands for a bar: a week's Monday, a month's first, else the day itself.
pub(super) fn first_day(date: NaiveDate, interval: Interval) -> NaiveDate {
    match interval.unit() {
        IntervalUnit::Week => {
            let past = Days::new(u64::from(date.weekday().num_days_from_monday()));
            date.checked_sub_days(past).unwrap_or(date)
        }
        IntervalUnit::Month | IntervalUnit::Year => date.with_day(1).unwrap_or(date),
        _ => date,
    }
}
