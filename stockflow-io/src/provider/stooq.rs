//! Stooq: `q/d/l/`, CSV or a refusal in words, all with status 200.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use chrono::NaiveDate;
use stockflow_core::schema::{Basis, action_schema, symbol_schema};
use stockflow_core::transform::{Interval, IntervalUnit};
use url::Url;

use super::rows::{self, Row, midnight, period};
use super::{ApiKey, BarRequest, Failure, FailureKind, Found, Provider};
use crate::http::{Fetch, Reply, Request, Verdict, accept_text};

const STOOQ: &str = "stooq";

/// Daily, weekly and monthly bars of Stooq.
///
/// Prices are in the currency of the exchange, which Stooq does not tell: `currency` is NULL. It tells no corporate actions.
/// A symbol without a dot is taken for a US one: `AAPL` is asked for as `aapl.us`.
///
/// Stooq says "No data" of a symbol that it does not know and of dates without bars alike. Where that is the answer for some
/// dates, it is asked for the symbol's months of all times: if there are any, there is nothing on the dates, else the symbol is
/// unknown. That costs a request.
///
/// # Source
///
/// Stooq's CSV download, whose adjustment depends on the market: state the basis with [`Stooq::on`]. Not tried live.
#[derive(Debug, Clone)]
pub struct Stooq {
    fetch: Arc<dyn Fetch>,
    key: ApiKey,
    basis: [Basis; 1],
}

impl Stooq {
    /// Asks with this key; prices count as adjusted for splits.
    pub fn new(fetch: Arc<dyn Fetch>, key: ApiKey) -> Self {
        Self { fetch, key, basis: [Basis::Split] }
    }

    /// States the price basis.
    #[must_use]
    pub fn on(mut self, basis: Basis) -> Self {
        self.basis = [basis];
        self
    }
}

fn code(interval: Interval) -> Option<&'static str> {
    match (interval.n(), interval.unit()) {
        (1, IntervalUnit::Day) => Some("d"),
        (1, IntervalUnit::Week) => Some("w"),
        (1, IntervalUnit::Month) => Some("m"),
        _ => None,
    }
}

#[async_trait]
impl Provider for Stooq {
    fn name(&self) -> &str {
        STOOQ
    }

    fn bases(&self) -> &[Basis] {
        &self.basis
    }

    fn has(&self, interval: Interval) -> bool {
        code(interval).is_some()
    }

    fn spell(&self, symbol: &str) -> String {
        let symbol = symbol.to_ascii_lowercase();
        if symbol.contains('.') || symbol.starts_with('^') { symbol } else { format!("{symbol}.us") }
    }

    async fn bars(&self, request: &BarRequest) -> Result<Found, Failure> {
        let Some(code) = code(request.interval) else {
            return Err(Failure::new(FailureKind::Unsupported, format!("Stooq has no bars of {}", request.interval)));
        };
        // A week or month must come whole, whatever day the range begins with.
        let from = request.from.map(|from| period(from, request.interval).0);
        let today = request.now.date_naive();
        let reply = self.reply(request, code, from, request.to.unwrap_or(today)).await?;
        let [basis] = self.basis;
        let found = stooq(&reply, request, basis);
        let is_part = from.is_some() || request.to.is_some_and(|to| to < today);
        match found {
            Err(unknown) if unknown.kind == FailureKind::Unknown && is_part => {
                let all = BarRequest { from: None, to: None, unfinished: true, ..request.clone() };
                let reply = self.reply(&all, "m", None, today).await?;
                stooq(&reply, &all, basis)?;
                Err(nothing())
            }
            found => found,
        }
    }
}

impl Stooq {
    async fn reply(
        &self,
        request: &BarRequest,
        code: &str,
        from: Option<NaiveDate>,
        to: NaiveDate,
    ) -> Result<Reply, Failure> {
        let mut url = Url::parse("https://stooq.com/q/d/l/")
            .map_err(|error| Failure::new(FailureKind::Unsupported, error.to_string()))?;
        let day = |date: NaiveDate| date.format("%Y%m%d").to_string();
        url.query_pairs_mut()
            .append_pair("s", &request.spelling)
            .append_pair("i", code)
            .append_pair("d1", &from.map_or_else(|| "19000101".to_owned(), day))
            .append_pair("d2", &day(to))
            .append_pair("apikey", self.key.reveal());
        let ask =
            Request::new(url).with_symbol(&request.symbol).with_judge(judge_stooq).with_patience(request.patience);
        self.fetch.get(&ask).await.map_err(|error| Failure::of_fetch(STOOQ, error))
    }
}

fn nothing() -> Failure {
    Failure::new(FailureKind::Nothing, "Stooq has no bars on these dates")
}

/// What a reply of Stooq's with status 200 is worth.
pub fn judge_stooq(reply: &Reply) -> Verdict {
    let text = String::from_utf8_lossy(&reply.body);
    let head = text.trim_start();
    if head.starts_with("Exceeded the daily hits limit") {
        Verdict::Exhausted("exceeded the daily hits limit".to_owned())
    } else if head.starts_with("Get your apikey") || (head.starts_with('<') && head.contains("apikey")) {
        Verdict::Unauthorized("Stooq asks for an API key".to_owned())
    } else {
        accept_text(reply)
    }
}

/// The bars in a reply; weeks are dated by their Monday, months by their first.
///
/// # Nulls
///
/// An empty cell is NULL, and so is a volume that is not given. A cell that is no number refuses its row.
///
/// # Errors
///
/// `Unknown` for "No data", which is said of dates without bars as well (see [`Stooq`]), `Unavailable` if it is no CSV with the columns `Date, Open, High, Low, Close`.
pub fn stooq(reply: &Reply, request: &BarRequest, basis: Basis) -> Result<Found, Failure> {
    if !reply.is_success() {
        return Err(Failure::of_status(STOOQ, &request.symbol, reply.status));
    }
    let text = String::from_utf8_lossy(&reply.body);
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header = lines.next().map(|(_, line)| line.trim().to_ascii_lowercase()).unwrap_or_default();
    if header.starts_with("no data") {
        let reason = format!("Stooq has no data of `{}`", request.spelling);
        return Err(Failure::new(FailureKind::Unknown, reason));
    }
    let names: Vec<&str> = header.split(',').collect();
    let column = |name: &str| names.iter().position(|it| *it == name);
    let columns = ["open", "high", "low", "close", "volume"].map(column);
    let (Some(date), true) = (column("date"), columns.iter().take(4).all(Option::is_some)) else {
        return Err(Failure::new(
            FailureKind::Unavailable,
            "Stooq's reply has not the columns Date, Open, High, Low, Close",
        ));
    };
    let (mut found, mut rejects) = (Vec::new(), Vec::new());
    for (line_idx, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        match row(line, date, columns, request) {
            Ok(row) => found.push(row),
            Err(reason) => {
                let position = format!("line {}", line_idx + 1);
                rejects.push(rows::refused(STOOQ, request, position, reason, line.to_owned()));
            }
        }
    }
    let bars = rows::bars(found, STOOQ, basis, None, request)
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

fn row(line: &str, date: usize, columns: [Option<usize>; 5], request: &BarRequest) -> Result<Row, String> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let text = cells.get(date).copied().unwrap_or_default();
    let day: NaiveDate = text.parse().map_err(|_| format!("`{text}` is no date"))?;
    let mut values = [None; 6];
    for (value, column) in values.iter_mut().zip(columns) {
        let cell = column.and_then(|at| cells.get(at)).copied().unwrap_or_default();
        if !cell.is_empty() {
            let number = cell.parse::<f64>().ok().filter(|it| it.is_finite());
            *value = Some(number.ok_or_else(|| format!("`{cell}` is no number"))?);
        }
    }
    if values.iter().take(4).all(Option::is_none) {
        return Err("a row without prices".to_owned());
    }
    let (first, after) = period(day, request.interval);
    Ok(Row { ts: midnight(first), date: first, values, is_final: after <= request.now.date_naive() })
}
