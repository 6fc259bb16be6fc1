//! Prices: `v8/finance/chart`, from a reply to bars, corporate actions and facts.
//!
//! Yahoo's prices and volumes are adjusted for all splits up to now: the `basis` is `split`; [`undo_splits`](super::undo_splits)
//! makes `raw` of it. Dividend amounts come adjusted for splits as well, mostly.
//!
//! How a row becomes a bar: its stamp is read, its date found on the exchange's clock (`rows`); rows of the same bar are made one
//! (`merge`); what is still forming is flagged (`finality`); what has no prices is listed as missing.

mod actions;
mod facts;
mod finality;
mod listing;
mod merge;
mod rows;
mod session;
mod spacing;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc, Weekday};
use serde_json::Value;

use super::error::open;
use super::json::{first, items};
use super::time::{Zone, days, midnight_micros};
use super::{NoData, NotFound, Reply, ReplyError, YAHOO};
use stockflow_core::schema::{DeadLetter, bar_schema};
use stockflow_core::transform::Interval;

pub use facts::{Facts, Period};
use finality::Finality;
use listing::listing;
use rows::{Row, Rows};
use session::Sessions;

/// What a reply of the chart endpoint answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartRequest {
    /// Our name of the symbol: what the tables say.
    pub symbol: String,
    /// The interval asked for.
    pub interval: Interval,
    /// `period1`, if one was sent.
    pub start: Option<DateTime<Utc>>,
    /// `period2`, if one was sent.
    pub end: Option<DateTime<Utc>>,
    /// Whether a bar stamped exactly `end` is dropped; Yahoo sends it.
    pub is_end_exclusive: bool,
    /// When the reply came: the `as_of` column, and the time by which a bar is finished or not.
    pub as_of: DateTime<Utc>,
}

impl ChartRequest {
    /// A request without limits.
    pub fn new(symbol: impl Into<String>, interval: Interval, as_of: DateTime<Utc>) -> Self {
        Self { symbol: symbol.into(), interval, start: None, end: None, is_end_exclusive: false, as_of }
    }

    /// The same from `start` up to `end`, without a bar stamped `end`.
    #[must_use]
    pub fn between(mut self, start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        self.start = Some(start);
        self.end = Some(end);
        self.is_end_exclusive = true;
        self
    }
}

/// A bar that should be there and has no prices. Yahoo may fill it in later: read it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Missing {
    /// The trading date, for weeks and months the first day.
    pub date: NaiveDate,
    /// Yahoo's stamp.
    pub source_ts: DateTime<Utc>,
    /// The row of the reply.
    pub row: usize,
}

/// A decoded reply of the chart endpoint.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Bars of [`bar_schema`], one a `ts`, in its order; basis `split`, provider `yahoo`. Prices, volume and `adj_close` may be
    /// NULL, but at least one price is there. `is_final` is false for the bar that is still forming, for the latest price that
    /// Yahoo appends as a row, and for a week or month that is not over.
    pub bars: RecordBatch,
    /// Corporate actions of [`action_schema`](stockflow_core::schema::action_schema), in the order of their dates; amounts as Yahoo has
    /// them, adjusted for later splits.
    pub actions: RecordBatch,
    /// The symbol's row of [`symbol_schema`](stockflow_core::schema::symbol_schema); none if the reply says nothing of it.
    pub symbols: RecordBatch,
    /// Finished bars without prices.
    pub missing: Vec<Missing>,
    /// How many rows were a second one for the same bar.
    pub n_duplicates: usize,
    /// What the reply says of the symbol.
    pub facts: Facts,
    /// Rows and events that could not be read.
    pub rejects: Vec<DeadLetter>,
}

/// The bars, actions and facts in a reply.
///
/// `ts` of a day and more is `date` at 00:00 UTC; weeks are dated by their Monday, months and quarters by the first of the month
/// of Yahoo's stamp. `date` is the local date by `exchangeTimezoneName`. The extra row of a running week or month is merged into
/// its bar, which is then not final.
///
/// # Nulls
///
/// A cell that is null, missing or `{}` is NULL. A price or volume that is no number refuses its row; an `adj_close` that is
/// none, or infinite, is NULL.
///
/// # Errors
///
/// [`ReplyError::Granularity`] if the bars are of another width, or are not told to be of this one and do not lie so; [`ReplyError::NoData`] or [`ReplyError::NotFound`] if the reply
/// holds no bar, no action, nothing missing and nothing refused (its facts: [`chart_facts`], [`chart_symbols`]); the reply's own
/// failures.
///
/// # Performance
///
/// O(n log n) in the rows for sorting; O(n) when they come sorted.
pub fn chart(reply: &Reply, request: &ChartRequest) -> Result<Chart, ReplyError> {
    let root = open(reply, "chart")?;
    let result = only_result(reply, &root)?;
    let meta = result.get("meta").unwrap_or(&Value::Null);
    let facts = Facts::of(meta);
    check_granularity(result, &facts, request)?;

    let zone = Zone::of(meta);
    let sessions = Sessions::of(meta, zone);
    let mut rejects = Vec::new();
    let Rows { mut rows } = Rows::read(result, request, zone, facts.last_trade, &mut rejects);
    rows.retain(|row| !(request.is_end_exclusive && Some(row.at) == request.end));
    // By date first: a mended slip of the clock can overtake a later stamp.
    let is_intraday = request.interval.is_intraday();
    rows.sort_by_key(|row| ((!is_intraday).then_some(row.date), row.at));
    let finality = Finality::new(&facts, request, zone, &sessions);
    let live = finality.mark(&mut rows);
    let n_before = rows.len();
    let rows = merge::merge(rows, request.interval, live);
    let n_duplicates = n_before - rows.len();

    let (priced, empty): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(Row::has_price);
    let missing = empty.iter().filter(|row| row.is_final).map(Row::missing).collect::<Vec<_>>();
    let actions = actions::actions(result.get("events"), &facts, request, zone, &mut rejects)?;
    if priced.is_empty() && missing.is_empty() && actions.num_rows() == 0 && rejects.is_empty() {
        return Err(no_bars(&facts, request, zone));
    }
    let bars = bars(&priced, &facts, request, &sessions)?;
    let symbols = listing(&facts, zone, request)?;
    Ok(Chart { bars, actions, symbols, missing, n_duplicates, facts, rejects })
}

/// The members of a result that are read.
pub(super) fn members() -> impl Iterator<Item = String> {
    let of =
        |parent: &'static str, names: &'static [&'static str]| names.iter().map(move |it| format!("{parent}.{it}"));
    let events = actions::KINDS.into_iter().flat_map(|(key, kind)| {
        let worth = if kind == "split" { actions::RATIO.as_slice() } else { actions::AMOUNT.as_slice() };
        worth.iter().map(move |it| format!("events.{key}.{it}"))
    });
    std::iter::once("timestamp".to_owned())
        .chain(of("meta", &facts::META))
        .chain(of("indicators.quote", &rows::VALUES))
        .chain(std::iter::once("indicators.adjclose.adjclose".to_owned()))
        .chain(events)
}

/// What a reply says of its symbol, bars or not.
///
/// # Errors
///
/// The reply's own failures.
pub fn chart_facts(reply: &Reply) -> Result<Facts, ReplyError> {
    meta(reply).map(|meta| Facts::of(&meta))
}

/// The row of [`Chart::symbols`], bars or not.
///
/// # Errors
///
/// The reply's own failures.
pub fn chart_symbols(reply: &Reply, request: &ChartRequest) -> Result<RecordBatch, ReplyError> {
    let meta = meta(reply)?;
    listing(&Facts::of(&meta), Zone::of(&meta), request)
}

fn meta(reply: &Reply) -> Result<Value, ReplyError> {
    let root = open(reply, "chart")?;
    match only_result(reply, &root)?.get("meta") {
        Some(meta) => Ok(meta.clone()),
        None => Err(ReplyError::malformed(reply, "no `meta` in it")),
    }
}

fn only_result<'a>(reply: &Reply, root: &'a Value) -> Result<&'a Value, ReplyError> {
    let result = root.get("result");
    match (result.and_then(first), result) {
        (Some(only @ Value::Object(_)), _) => Ok(only),
        (None, Some(Value::Array(_))) => Err(ReplyError::NotFound {
            kind: NotFound::UnknownOrDelisted,
            reason: "Yahoo gives neither a result nor a reason".into(),
        }),
        _ => Err(ReplyError::malformed(reply, "`chart.result` is no list of one object")),
    }
}

/// `range=max` gives quarters whatever was asked, 30 minutes have come as 60: refuse, or they would be stored as what they are not.
///
/// Where the reply does not tell the width, the distances between its bars must show it.
fn check_granularity(result: &Value, facts: &Facts, request: &ChartRequest) -> Result<(), ReplyError> {
    let stamps = items(result.get("timestamp"));
    let got = match &facts.granularity {
        _ if stamps.is_empty() => return Ok(()),
        Some(got) if got.parse().ok() == Some(request.interval) => return Ok(()),
        Some(got) => got.clone(),
        None => match spacing::told(stamps, request.interval) {
            None => return Ok(()),
            Some(distance) => format!("bars of an untold width, {distance} apart"),
        },
    };
    Err(ReplyError::Granularity { asked: request.interval.to_string(), got })
}

/// A symbol untraded for so long is retired.
const RETIRED: Days = Days::new(30);

/// Why a good reply holds nothing.
fn no_bars(facts: &Facts, request: &ChartRequest, zone: Zone) -> ReplyError {
    let name = facts.symbol.as_deref().unwrap_or(&request.symbol);
    if facts.exchange.as_deref() == Some(listing::HUSKS) {
        let reason = format!("Yahoo keeps `{name}` only as a husk (exchange {})", listing::HUSKS);
        return ReplyError::NotFound { kind: NotFound::Delisted, reason };
    }
    let no_data = |kind, reason| ReplyError::NoData { kind, reason };
    if let (Some(listed), Some(end)) = (facts.first_trade, request.end)
        && end <= listed
    {
        return no_data(NoData::NotYetListed, format!("`{name}` has traded since {}", zone.date(listed)));
    }
    if is_closed(facts, request, zone) {
        return no_data(NoData::Closed, format!("the exchange of `{name}` does not trade on these days or hours"));
    }
    if facts.first_trade.is_none() && is_short_lived(facts) {
        return no_data(NoData::NoHistory, format!("Yahoo allows `{name}` the last days only"));
    }
    let recent = request.as_of.checked_sub_days(RETIRED);
    match facts.last_trade {
        Some(last) if recent.is_some_and(|recent| last < recent) => {
            no_data(NoData::Retired, format!("`{name}` last traded on {}", zone.date(last)))
        }
        _ => no_data(NoData::NoTrading, format!("Yahoo knows `{name}` and has no trades of it")),
    }
}

/// Whether the range holds no regular trading hours: a weekend, a night.
fn is_closed(facts: &Facts, request: &ChartRequest, zone: Zone) -> bool {
    let (Some(start), Some(end)) = (request.start, request.end) else { return false };
    let (start, end) = (zone.local(start), zone.local(end));
    let n_days = end.date().signed_duration_since(start.date()).num_days();
    if facts.instrument.as_deref() == Some("CRYPTOCURRENCY") || start >= end || n_days > 4 {
        return false;
    }
    let hours = facts.regular.filter(|period| !period.is_all_day());
    start.date().iter_days().take_while(|day| *day <= end.date()).all(|day| {
        let is_weekend = matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
        let is_outside = hours.is_some_and(|period| {
            let on_that_day = |at| day.and_time(zone.local(at).time());
            end <= on_that_day(period.start) || on_that_day(period.end) <= start
        });
        is_weekend || is_outside || end == day.and_time(NaiveTime::MIN)
    })
}

/// Whether Yahoo allows no more than the last days of it.
fn is_short_lived(facts: &Facts) -> bool {
    !facts.valid_ranges.is_empty() && facts.valid_ranges.iter().all(|range| matches!(range.as_str(), "1d" | "5d"))
}

fn bars(rows: &[Row], facts: &Facts, request: &ChartRequest, sessions: &Sessions) -> Result<RecordBatch, ReplyError> {
    let n = rows.len();
    let is_intraday = request.interval.is_intraday();
    let same = |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, n))) as ArrayRef;
    let number = |value: fn(&Row) -> Option<f64>| Arc::new(Float64Array::from_iter(rows.iter().map(value))) as ArrayRef;
    let micros = |values: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
    let ts = |row: &Row| if is_intraday { row.at.timestamp_micros() } else { midnight_micros(row.date) };
    // A bar of a day and more is the regular session's.
    let session = |row: &Row| if is_intraday { sessions.name(row.at) } else { Some("regular") };
    let currency = std::iter::repeat_n(facts.currency.as_deref(), n);
    RecordBatch::try_new(
        bar_schema(),
        vec![
            same(&request.symbol),
            same(&request.interval.to_string()),
            micros(rows.iter().map(ts).collect()),
            Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| days(row.date)))),
            number(|row| row.open),
            number(|row| row.high),
            number(|row| row.low),
            number(|row| row.close),
            number(|row| row.volume),
            number(|row| row.adj_close),
            Arc::new(StringArray::from_iter(currency)),
            same(YAHOO),
            Arc::new(StringArray::from_iter(rows.iter().map(session))),
            same("split"),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.is_final)))),
            micros(rows.iter().map(|row| row.at.timestamp_micros()).collect()),
            micros(vec![request.as_of.timestamp_micros(); n]),
        ],
    )
    .map_err(|error| ReplyError::Internal { reason: format!("bars: {error}") })
}

#[cfg(test)]
mod tests;
