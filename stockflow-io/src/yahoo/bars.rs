//! One symbol's bars and actions: its requests, and their replies made one.

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Days, Duration, NaiveDate, NaiveTime, Utc};
use stockflow_core::schema::{Basis, DeadLetter, action_schema, bar_schema, symbol_schema};
use stockflow_core::transform::Interval;
use stockflow_core::{Error, ErrorClass, Origin};

use super::CONNECTOR;
use super::decode::{
    self, Asked, ChartRequest, ReplyClass, ReplyError, chart, chart_symbols, undo_splits, undo_splits_of_actions,
};
use super::request::{reply, url};
use super::units::in_main_units;
use super::window::{Part, Window, earliest, windows};
use crate::http::Fetch;
use crate::provider::rows::dated;
use crate::provider::{BarRequest, Failure, FailureKind, Found};

/// Seconds of 1 January 1900: before any bar that Yahoo has.
const BEGINNING: i64 = -2_208_988_800;

/// The range of time in which the wanted trading dates lie.
fn range(asking: &BarRequest) -> Window {
    // A trading date begins up to fourteen hours before its midnight in UTC, and may end after the next one.
    let start = asking.from.map(|from| midnight(from.checked_sub_days(Days::new(1)).unwrap_or(from)));
    let end = asking.to.and_then(|to| to.checked_add_days(Days::new(2))).map_or(asking.now, midnight);
    let beginning = DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default();
    Window { start: start.unwrap_or(beginning).max(beginning), end: end.min(asking.now) }
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

/// Asks for a symbol's bars and actions: the tables found, in this order.
pub(crate) async fn ask(fetch: &dyn Fetch, asking: &BarRequest) -> Result<Found, Failure> {
    let range = range(asking);
    let parts = windows(asking.interval, range, asking.now);
    let Some((first, last)) = parts.first().zip(parts.last()) else {
        let kept = earliest(asking.interval, asking.now).map(|it| it.date_naive().to_string()).unwrap_or_default();
        let reason = format!(
            "Yahoo keeps bars of {} from {kept} on only; ask for later ones or a longer interval",
            asking.interval
        );
        return Err(Failure::new(FailureKind::Unsupported, reason));
    };
    let mut found: Vec<RecordBatch> = Vec::new();
    let (mut rejects, mut nothing) = (Vec::new(), None);
    let mut actions = vec![RecordBatch::new_empty(action_schema())];
    let mut symbols = RecordBatch::new_empty(symbol_schema());
    for part in &parts {
        match chart_of(fetch, asking, asking.interval, part.asked).await {
            Ok(chart) => {
                found.push(taken(asking, part, last, &chart).map_err(unreadable)?);
                symbols = chart.symbols;
                rejects.extend(chart.rejects.into_iter().filter(|it| is_of_action(it) || is_taken(it, part, last)));
                actions.push(chart.actions);
            }
            Err(failure) if failure.kind == FailureKind::Nothing => nothing = Some(failure),
            Err(other) => return Err(other),
        }
    }
    // Prices are adjusted for every split up to now, whatever was asked for; intraday replies need not tell them.
    if asking.interval != Interval::DAY || last.asked.end < asking.now {
        let since = Window { start: first.asked.start, end: asking.now };
        match chart_of(fetch, asking, Interval::DAY, since).await {
            Ok(chart) => {
                rejects.retain(|it| !is_of_action(it));
                rejects.extend(chart.rejects.into_iter().filter(is_of_action));
                actions = vec![chart.actions];
            }
            Err(failure) if failure.kind == FailureKind::Nothing => {}
            Err(other) => return Err(other),
        }
    }
    if asking.basis == Basis::Raw && rejects.iter().any(is_of_split) {
        let reason = "a split in the reply cannot be read, so that prices as traded cannot be told";
        return Err(Failure::new(FailureKind::Unavailable, reason));
    }
    if found.iter().chain(&actions).all(|it| it.num_rows() == 0)
        && rejects.is_empty()
        && let Some(nothing) = nothing
    {
        return Err(nothing);
    }
    made_one(asking, &found, &actions, symbols, rejects).map_err(unreadable)
}

fn unreadable(error: ArrowError) -> Failure {
    Failure::new(FailureKind::Unavailable, format!("its replies cannot be put together: {error}"))
}

/// The bars of a reply that are this part's, and had begun by the moment up to which is read: an intent that is read on a
/// later day gives what it would have given.
fn taken(asking: &BarRequest, part: &Part, last: &Part, chart: &decode::Chart) -> Result<RecordBatch, ArrowError> {
    if !asking.interval.is_intraday() {
        return dated(&chart.bars, None, Some(chart.facts.date(asking.now)));
    }
    let stamps = chart.bars.column_by_name("ts").and_then(|it| it.as_primitive_opt::<TimestampMicrosecondType>());
    let stamps = stamps.ok_or_else(|| ArrowError::SchemaError("bars without `ts`".to_owned()))?;
    let end =
        if part == last { asking.now.timestamp_micros().saturating_add(1) } else { part.taken.end.timestamp_micros() };
    let within = part.taken.start.timestamp_micros()..end;
    let keep: BooleanArray = stamps.iter().map(|ts| Some(ts.is_some_and(|ts| within.contains(&ts)))).collect();
    filter_record_batch(&chart.bars, &keep)
}

/// Whether a refused row, whose position ends in its stamp, is this part's; one without a stamp may be anybody's.
fn is_taken(reject: &DeadLetter, part: &Part, last: &Part) -> bool {
    let stamp = reject.position.rsplit_once('@').and_then(|(_, stamp)| stamp.parse().ok());
    let at = stamp.and_then(|stamp| DateTime::from_timestamp(stamp, 0));
    at.is_none_or(|at| part.taken.start <= at && (at < part.taken.end || part == last))
}

fn is_of_action(reject: &DeadLetter) -> bool {
    reject.partition.starts_with("actions/")
}

fn is_of_split(reject: &DeadLetter) -> bool {
    is_of_action(reject) && reject.position.starts_with("splits")
}

fn made_one(
    asking: &BarRequest,
    found: &[RecordBatch],
    actions: &[RecordBatch],
    symbols: RecordBatch,
    rejects: Vec<DeadLetter>,
) -> Result<Found, ArrowError> {
    let actions = concat_batches(&action_schema(), actions)?;
    let bars = concat_batches(&bar_schema(), found)?;
    let bars = wanted(asking, &bars)?;
    let bars = if asking.basis == Basis::Raw { undo_splits(&bars, &actions)? } else { bars };
    let bars = if asking.sub_units { bars } else { in_main_units(&bars)? };
    let actions = undo_splits_of_actions(&actions, &actions)?;
    // The request begins a day before the first wanted date. Today's may come before the open; what an intent of an earlier
    // day could not know comes with the next one.
    let actions = dated(&actions, asking.from, asking.now.date_naive().succ_opt())?;
    Ok(Found { bars, actions, symbols, rejects })
}

/// The bars of the wanted dates, finished ones unless others are wanted.
fn wanted(asking: &BarRequest, bars: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let wrong = || ArrowError::SchemaError("bars without `date` or `is_final`".to_owned());
    let dates = bars.column_by_name("date").and_then(|it| it.as_primitive_opt::<Date32Type>()).ok_or_else(wrong)?;
    let finals = bars.column_by_name("is_final").and_then(|it| it.as_boolean_opt()).ok_or_else(wrong)?;
    let days = |date: Option<NaiveDate>| date.map(arrow::datatypes::Date32Type::from_naive_date);
    let (first, last) = (days(asking.from), days(asking.to));
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
    asking: &BarRequest,
    interval: Interval,
    window: Window,
) -> Result<decode::Chart, Failure> {
    // Yahoo adjusts prices before the open of a split's day, and stamps the split with the open: without a day more it is missing.
    // And an intent may be read on a later day than its own: Yahoo has adjusted for every split up to the present.
    let is_last = window.end >= asking.now;
    let after = if is_last { asking.present.max(window.end) + Duration::days(1) } else { window.end };
    let (begin, end) = (window.start.timestamp().to_string(), after.timestamp().to_string());
    let interval_text = interval.to_string();
    let parameters = [
        ("interval", interval_text.as_str()),
        ("period1", &begin),
        ("period2", &end),
        ("events", "div,splits,capitalGains"),
        ("includePrePost", if asking.pre_post { "true" } else { "false" }),
        ("includeAdjustedClose", "true"),
    ];
    let url = url(&["v8", "finance", "chart", &asking.spelling], &parameters)
        .map_err(|_| Failure::new(FailureKind::Unknown, format!("`{}` makes no URL", asking.spelling)))?;
    let asked = Asked::new(&asking.symbol, &asking.spelling);
    let reply =
        reply(fetch, &asked, url, asking.patience).await.map_err(|error| Failure::of_fetch(CONNECTOR, error))?;
    let symbol = asking.symbol.as_str();
    let asked = ChartRequest::new(symbol, interval, asking.now).between(window.start, window.end);
    chart(&reply, &asked)
        .map_err(|error| Failure { symbols: chart_symbols(&reply, &asked).ok(), ..refused(symbol, &error) })
}

/// What a reply without data means.
fn refused(symbol: &str, error: &ReplyError) -> Failure {
    let kind = match error {
        ReplyError::NoData { .. } => FailureKind::Nothing,
        ReplyError::NotFound { .. } => FailureKind::Unknown,
        ReplyError::RateLimited { .. } => {
            let origin = Origin::new(CONNECTOR).symbol(symbol);
            return Failure::of_all(
                FailureKind::Throttled,
                Error::refused(origin, ErrorClass::Transient, error.to_string()),
            );
        }
        // Of one symbol, as far as one reply tells.
        ReplyError::UnknownEndpoint { .. } | ReplyError::Blocked { .. } => FailureKind::Unavailable,
        ReplyError::TooOld { .. } | ReplyError::Granularity { .. } => FailureKind::Unsupported,
        other if other.class() == ReplyClass::Fatal => {
            let origin = Origin::new(CONNECTOR).symbol(symbol);
            let error = Error::refused(origin, ErrorClass::Config, other.to_string());
            return Failure::of_all(FailureKind::Refused, error);
        }
        _ => FailureKind::Unavailable,
    };
    Failure::new(kind, error.to_string())
}
