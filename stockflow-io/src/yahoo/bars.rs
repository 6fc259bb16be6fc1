//! One symbol's bars and actions: its requests, and their replies made one.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::Date32Type;
use arrow::error::ArrowError;
use chrono::{DateTime, NaiveDate, Utc};
use stockflow_core::schema::{DeadLetter, action_schema, bar_schema};
use stockflow_core::transform::Interval;
use stockflow_core::{Error, ErrorClass, Origin};
use url::Url;

use super::decode::{self, Asked, ChartRequest, ReplyClass, ReplyError, chart, undo_splits, undo_splits_of_actions};
use super::source::CONNECTOR;
use super::units::in_main_units;
use super::window::{Window, earliest, windows};
use crate::http::{Fetch, FetchError, Request, accept_json};

/// Seconds of 1 January 1900: before any bar that Yahoo has.
const BEGINNING: i64 = -2_208_988_800;

/// What is wanted of a symbol.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) asked: Asked,
    pub(super) interval: Interval,
    pub(super) range: Window,
    /// The first and the last trading date that are wanted.
    pub(super) dates: (Option<NaiveDate>, Option<NaiveDate>),
    pub(super) now: DateTime<Utc>,
    pub(super) unfinished: bool,
    pub(super) pre_post: bool,
    pub(super) sub_units: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bars: RecordBatch,
    pub(super) actions: RecordBatch,
    pub(super) rejects: Vec<DeadLetter>,
}

/// Why there is nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The symbol is known and has no bars in the range.
    Nothing(String),
    /// This symbol cannot be had.
    Symbol(String),
    /// No symbol can be had at the moment, or until somebody changes something.
    Source(Error),
}

/// Asks for a symbol's bars and actions.
pub(super) async fn ask(fetch: &dyn Fetch, asking: &Asking) -> Result<Found, Failure> {
    let beginning = DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default();
    let range = Window { start: asking.range.start.max(beginning), end: asking.range.end };
    let parts = windows(asking.interval, range, asking.now);
    if parts.is_empty() {
        let kept = earliest(asking.interval, asking.now).map(|it| it.date_naive().to_string()).unwrap_or_default();
        return Err(Failure::Symbol(format!(
            "Yahoo keeps bars of {} from {kept} on only; ask for later ones or a longer interval",
            asking.interval
        )));
    }
    let mut found: Vec<RecordBatch> = Vec::new();
    let (mut rejects, mut nothing) = (Vec::new(), None);
    let mut actions = vec![RecordBatch::new_empty(action_schema())];
    for part in &parts {
        match chart_of(fetch, asking, asking.interval, *part).await {
            Ok(chart) => {
                found.push(chart.bars);
                rejects.extend(chart.rejects);
                actions.push(chart.actions);
            }
            Err(Failure::Nothing(reason)) => nothing = Some(reason),
            Err(other) => return Err(other),
        }
    }
    // Prices are adjusted for every split up to now, whatever was asked for; intraday replies need not tell them.
    if asking.interval != Interval::DAY || parts.last().is_some_and(|it| it.end < asking.now) {
        let since = Window { start: parts.first().map_or(range.start, |it| it.start), end: asking.now };
        match chart_of(fetch, asking, Interval::DAY, since).await {
            Ok(chart) => actions = vec![chart.actions],
            Err(Failure::Nothing(_)) => {}
            Err(other) => return Err(other),
        }
    }
    if found.iter().all(|it| it.num_rows() == 0)
        && let Some(reason) = nothing
    {
        return Err(Failure::Nothing(reason));
    }
    made_one(asking, &found, &actions, rejects)
        .map_err(|error| Failure::Symbol(format!("its replies cannot be put together: {error}")))
}

fn made_one(
    asking: &Asking,
    found: &[RecordBatch],
    actions: &[RecordBatch],
    rejects: Vec<DeadLetter>,
) -> Result<Found, ArrowError> {
    let actions = concat_batches(&action_schema(), actions)?;
    let bars = concat_batches(&bar_schema(), found)?;
    let bars = undo_splits(&wanted(asking, &bars)?, &actions)?;
    let bars = if asking.sub_units { bars } else { in_main_units(&bars)? };
    Ok(Found { bars, actions: undo_splits_of_actions(&actions, &actions)?, rejects })
}

/// The bars of the wanted dates, finished ones unless others are wanted.
fn wanted(asking: &Asking, bars: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let wrong = || ArrowError::SchemaError("bars without `date` or `is_final`".to_owned());
    let dates = bars.column_by_name("date").and_then(|it| it.as_primitive_opt::<Date32Type>()).ok_or_else(wrong)?;
    let finals = bars.column_by_name("is_final").and_then(|it| it.as_boolean_opt()).ok_or_else(wrong)?;
    let days = |date: Option<NaiveDate>| date.map(arrow::datatypes::Date32Type::from_naive_date);
    let (first, last) = (days(asking.dates.0), days(asking.dates.1));
    let keep: BooleanArray = dates
        .iter()
        .zip(finals)
        .map(|(date, is_final)| {
            let within =
                date.is_some_and(|it| first.is_none_or(|first| it >= first) && last.is_none_or(|last| it <= last));
            Some(within && (asking.unfinished || is_final == Some(true)))
        })
        .collect();
    filter_record_batch(bars, &keep)
}

async fn chart_of(
    fetch: &dyn Fetch,
    asking: &Asking,
    interval: Interval,
    window: Window,
) -> Result<decode::Chart, Failure> {
    let symbol = asking.asked.symbol.as_str();
    let url = url(&asking.asked.yahoo, interval, window, asking.pre_post)
        .map_err(|error| Failure::Symbol(format!("`{}` makes no URL: {error}", asking.asked.yahoo)))?;
    let request = Request::new(url).with_symbol(symbol).with_judge(accept_json);
    let reply = fetch.get(&request).await.map_err(failed)?;
    let asked = ChartRequest::new(symbol, interval, asking.now).between(window.start, window.end);
    chart(&decode::Reply::from(&reply), &asked).map_err(|error| refused(symbol, &error))
}

fn url(symbol: &str, interval: Interval, window: Window, pre_post: bool) -> Result<Url, url::ParseError> {
    let mut url = Url::parse("https://query1.finance.yahoo.com/v8/finance/chart/")?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push(symbol);
    }
    url.query_pairs_mut()
        .append_pair("interval", &interval.to_string())
        .append_pair("period1", &window.start.timestamp().to_string())
        .append_pair("period2", &window.end.timestamp().to_string())
        .append_pair("events", "div,splits,capitalGains")
        .append_pair("includePrePost", if pre_post { "true" } else { "false" })
        .append_pair("includeAdjustedClose", "true");
    Ok(url)
}

/// What no reply means for the symbol and for the source.
fn failed(error: FetchError) -> Failure {
    match error {
        FetchError::Throttled { .. }
        | FetchError::Exhausted { .. }
        | FetchError::Session { .. }
        | FetchError::Option { .. }
        | FetchError::Recording { .. }
        | FetchError::Unauthorized { .. } => Failure::Source(error.into_error(CONNECTOR)),
        other => Failure::Symbol(other.to_string()),
    }
}

/// What a reply without bars means.
fn refused(symbol: &str, error: &ReplyError) -> Failure {
    if let ReplyError::NoData { .. } = error {
        return Failure::Nothing(error.to_string());
    }
    match error.class() {
        ReplyClass::Fatal => Failure::Source(Error::refused(
            Origin::new(CONNECTOR).symbol(symbol),
            ErrorClass::Config,
            error.to_string(),
        )),
        ReplyClass::Final | ReplyClass::Retry | ReplyClass::RefreshCrumb => Failure::Symbol(error.to_string()),
    }
}
