//! Alpha Vantage: `query?function=TIME_SERIES_…`, JSON or a complaint in JSON, all with status 200.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use async_trait::async_trait;
use chrono::{Datelike, Days, Duration, NaiveDate, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde_json::Value;
use stockflow_core::schema::{Basis, action_schema, bar_schema, symbol_schema};
use stockflow_core::transform::{Interval, IntervalUnit};
use url::Url;

use super::rows::{self, Action, Row, midnight};
use super::{ApiKey, BarRequest, Failure, FailureKind, Found, Provider};
use crate::http::{Fetch, Reply, Request, Verdict, accept_json};

const ALPHA_VANTAGE: &str = "alpha_vantage";

/// A reply of kind `compact` holds 100 bars: at least so many days.
const COMPACT_DAYS: u64 = 130;

/// Bars of Alpha Vantage as traded; daily ones with dividends and splits.
///
/// It tells no currency: `currency` is NULL. Intraday bars are asked for by month; without a first date, the last 30 days.
/// Months of which it says that it does not know the symbol, as of those before the listing, are empty if others are not.
/// Keys that are free get the last hundred days only, and no bars within the day.
///
/// # Source
///
/// Alpha Vantage's `TIME_SERIES_DAILY_ADJUSTED`, `TIME_SERIES_DAILY` and `TIME_SERIES_INTRADAY`. Not tried live.
#[derive(Debug, Clone)]
pub struct AlphaVantage {
    fetch: Arc<dyn Fetch>,
    key: ApiKey,
    adjusted: bool,
}

impl AlphaVantage {
    /// Asks with this key, daily bars from the adjusted endpoint, which needs a paid key.
    pub fn new(fetch: Arc<dyn Fetch>, key: ApiKey) -> Self {
        Self { fetch, key, adjusted: true }
    }

    /// Asks the endpoint of a free key: no adjusted close, no actions.
    #[must_use]
    pub fn without_actions(mut self) -> Self {
        self.adjusted = false;
        self
    }

    async fn ask(&self, request: &BarRequest, parameters: &[(&str, &str)]) -> Result<Found, Failure> {
        let mut url = Url::parse("https://www.alphavantage.co/query")
            .map_err(|error| Failure::new(FailureKind::Unsupported, error.to_string()))?;
        url.query_pairs_mut()
            .extend_pairs(parameters)
            .append_pair("symbol", &request.spelling)
            .append_pair("apikey", self.key.reveal());
        let ask = Request::new(url).with_symbol(&request.symbol).with_judge(judge_alpha_vantage);
        let ask = ask.with_patience(request.patience);
        let reply = self.fetch.get(&ask).await.map_err(|error| Failure::of_fetch(ALPHA_VANTAGE, error))?;
        alpha_vantage(&reply, request)
    }

    async fn intraday(&self, request: &BarRequest, minutes: &str) -> Result<Found, Failure> {
        let extended = if request.pre_post { "true" } else { "false" };
        let common = [
            ("function", "TIME_SERIES_INTRADAY"),
            ("interval", minutes),
            ("outputsize", "full"),
            ("adjusted", "false"),
            ("extended_hours", extended),
        ];
        let Some(from) = request.from else { return self.ask(request, &common).await };
        // A month that has not begun is none to Alpha Vantage.
        let today = request.now.date_naive();
        let last = request.to.map_or(today, |to| to.min(today));
        let (mut bars, mut rejects) = (Vec::new(), Vec::new());
        let (mut is_known, mut unknown) = (false, None);
        let mut month = from.with_day(1).unwrap_or(from);
        while month <= last {
            let text = month.format("%Y-%m").to_string();
            let mut parameters = common.to_vec();
            parameters.push(("month", &text));
            match self.ask(request, &parameters).await {
                Ok(found) => {
                    is_known = true;
                    bars.push(found.bars);
                    rejects.extend(found.rejects);
                }
                Err(failure) if failure.kind == FailureKind::Nothing => is_known = true,
                Err(failure) if failure.kind == FailureKind::Unknown => unknown = Some(failure),
                Err(failure) => return Err(failure),
            }
            month = month.checked_add_months(chrono::Months::new(1)).unwrap_or(NaiveDate::MAX);
        }
        if let Some(unknown) = unknown.filter(|_| !is_known) {
            return Err(unknown);
        }
        let bars = concat_batches(&bar_schema(), &bars)
            .map_err(|error| Failure::new(FailureKind::Unavailable, error.to_string()))?;
        if bars.num_rows() == 0 && rejects.is_empty() {
            return Err(nothing());
        }
        Ok(Found {
            bars,
            actions: RecordBatch::new_empty(action_schema()),
            symbols: RecordBatch::new_empty(symbol_schema()),
            rejects,
        })
    }
}

fn nothing() -> Failure {
    Failure::new(FailureKind::Nothing, "Alpha Vantage has no bars on these dates")
}

fn minutes(interval: Interval) -> Option<&'static str> {
    match interval.seconds().filter(|_| interval.is_intraday()) {
        Some(60) => Some("1min"),
        Some(300) => Some("5min"),
        Some(900) => Some("15min"),
        Some(1800) => Some("30min"),
        Some(3600) => Some("60min"),
        _ => None,
    }
}

#[async_trait]
impl Provider for AlphaVantage {
    fn name(&self) -> &str {
        ALPHA_VANTAGE
    }

    fn bases(&self) -> &[Basis] {
        &[Basis::Raw]
    }

    fn has(&self, interval: Interval) -> bool {
        minutes(interval).is_some() || (interval.n(), interval.unit()) == (1, IntervalUnit::Day)
    }

    async fn bars(&self, request: &BarRequest) -> Result<Found, Failure> {
        if let Some(minutes) = minutes(request.interval) {
            return self.intraday(request, minutes).await;
        }
        if !self.has(request.interval) {
            let reason = format!("Alpha Vantage has no bars of {}", request.interval);
            return Err(Failure::new(FailureKind::Unsupported, reason));
        }
        // By the clock of the server, whatever time the pipeline takes for now.
        let recent = Utc::now().date_naive().checked_sub_days(Days::new(COMPACT_DAYS));
        let is_recent = request.from.zip(recent).is_some_and(|(from, recent)| recent <= from);
        let function = if self.adjusted { "TIME_SERIES_DAILY_ADJUSTED" } else { "TIME_SERIES_DAILY" };
        let size = if is_recent { "compact" } else { "full" };
        self.ask(request, &[("function", function), ("outputsize", size)]).await
    }
}

/// What a reply of Alpha Vantage's with status 200 is worth.
///
/// It answers in words under `Note`, `Information` or `Error Message`. The words decide: those about the rate end in "unlock
/// all premium endpoints" as well.
pub fn judge_alpha_vantage(reply: &Reply) -> Verdict {
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |member: &&str| body.get(*member).and_then(Value::as_str);
    let Some(words) = ["Note", "Information", "Error Message"].iter().find_map(text) else {
        return accept_json(reply);
    };
    let lower = words.to_lowercase();
    let says = |any: &[&str]| any.iter().any(|it| lower.contains(it));
    let words = words.to_owned();
    if says(&["call frequency", "per minute", "per second", "sparingly", "too many requests"]) {
        Verdict::Throttled(words)
    } else if says(&["per day", "daily rate limit", "daily limit", "rate limit", "quota"]) {
        Verdict::Exhausted(words)
    } else if says(&["premium", "apikey", "api key", "demo purposes"]) {
        Verdict::Unauthorized(words)
    } else if body.get("Note").is_some() {
        Verdict::Throttled(words)
    } else if says(&["invalid api call", "invalid input"]) || body.get("Error Message").is_some() {
        accept_json(reply)
    } else {
        Verdict::Malformed(format!("words instead of bars: {words}"))
    }
}

/// The words of a reply to a question about nothing: a symbol that is not known, a month before its listing.
fn refusal(body: &Value) -> Option<&str> {
    ["Error Message", "Information"].into_iter().find_map(|member| body.get(member)?.as_str())
}

/// The bars in a reply, and the dividends and splits where it tells them.
///
/// Stamps of intraday bars are read on the clock that the reply names, US Eastern if it names none.
///
/// # Nulls
///
/// A member that is missing is NULL; one that is no number refuses its row.
///
/// # Errors
///
/// `Unknown` for an `Error Message`, `Unavailable` if there is no time series in it.
pub fn alpha_vantage(reply: &Reply, request: &BarRequest) -> Result<Found, Failure> {
    if !reply.is_success() {
        return Err(Failure::of_status(ALPHA_VANTAGE, &request.symbol, reply.status));
    }
    let unreadable = |reason: String| Failure::new(FailureKind::Unavailable, reason);
    let body: Value = serde_json::from_slice(&reply.body).map_err(|error| unreadable(format!("no JSON: {error}")))?;
    if let Some(words) = refusal(&body) {
        let reason = format!("Alpha Vantage does not know `{}`: {words}", request.spelling);
        return Err(Failure::new(FailureKind::Unknown, reason));
    }
    let members = body.as_object();
    let series = members.and_then(|it| it.iter().find(|(name, _)| name.starts_with("Time Series")));
    let Some(series) = series.and_then(|(_, series)| series.as_object()) else {
        return Err(unreadable("Alpha Vantage's reply has no time series".to_owned()));
    };
    let meta = body.get("Meta Data").and_then(Value::as_object);
    let zone = meta.and_then(|it| it.iter().find(|(name, _)| name.ends_with("Time Zone")));
    let zone = zone.and_then(|(_, zone)| zone.as_str()?.parse().ok()).unwrap_or(Tz::US__Eastern);
    let (mut found, mut actions, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
    for (stamp, cells) in series {
        match row(stamp, cells, zone, request) {
            Ok((row, more)) => {
                found.push(row);
                actions.extend(more);
            }
            Err(reason) => {
                rejects.push(rows::refused(ALPHA_VANTAGE, request, stamp.clone(), reason, cells.to_string()));
            }
        }
    }
    let internal = |error: arrow::error::ArrowError| unreadable(error.to_string());
    let bars = rows::bars(found, ALPHA_VANTAGE, Basis::Raw, None, request).map_err(internal)?;
    let actions = rows::actions(&actions, request).map_err(internal)?;
    if bars.num_rows() == 0 && actions.num_rows() == 0 && rejects.is_empty() {
        return Err(nothing());
    }
    Ok(Found { bars, actions, symbols: RecordBatch::new_empty(symbol_schema()), rejects })
}

fn row(stamp: &str, cells: &Value, zone: Tz, request: &BarRequest) -> Result<(Row, Vec<Action>), String> {
    // `5. volume` and `6. volume` are the same: the number depends on the endpoint.
    let cell = |name: &str| {
        cells.as_object()?.iter().find_map(|(key, value)| (key.split_once(". ")?.1 == name).then_some(value))
    };
    let number = |name: &str| match cell(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_str().map_or_else(|| value.as_f64(), |text| text.trim().parse().ok());
            number.filter(|it: &f64| it.is_finite()).map(Some).ok_or_else(|| format!("`{name}` is no number: {value}"))
        }
    };
    let values = [
        number("open")?,
        number("high")?,
        number("low")?,
        number("close")?,
        number("volume")?,
        number("adjusted close")?,
    ];
    if values.iter().take(4).all(Option::is_none) {
        return Err("a row without prices".to_owned());
    }
    let wrong = || format!("`{stamp}` is no point in time");
    if request.interval.is_intraday() {
        let local = NaiveDateTime::parse_from_str(stamp, "%Y-%m-%d %H:%M:%S").map_err(|_| wrong())?;
        let ts = zone.from_local_datetime(&local).earliest().ok_or_else(wrong)?.to_utc();
        let width = Duration::seconds(request.interval.seconds().unwrap_or_default());
        return Ok((Row { ts, date: local.date(), values, is_final: ts + width <= request.now }, Vec::new()));
    }
    let date: NaiveDate = stamp.parse().map_err(|_| wrong())?;
    let is_final = date < request.now.date_naive();
    let mut actions = Vec::new();
    if let Some(paid) = number("dividend amount")?.filter(|it| *it != 0.0) {
        actions.push(Action { date, kind: "dividend", value: Some(paid), ratio: None });
    }
    if let Some(ratio) = number("split coefficient")?.filter(|it| *it != 1.0 && *it > 0.0) {
        actions.push(Action { date, kind: "split", value: None, ratio: Some(ratio) });
    }
    Ok((Row { ts: midnight(date), date, values, is_final }, actions))
}
