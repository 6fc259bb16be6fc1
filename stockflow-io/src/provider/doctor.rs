//! One request an endpoint: does it answer, can it be read, and which fields have come or gone.

mod known;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use serde_json::Value;
use stockflow_core::transform::Interval;
use url::Url;

use super::{ApiKey, BarRequest, judge_alpha_vantage, judge_stooq};
use crate::http::{Fetch, Judge, Reply, Request};
use crate::yahoo::decode::{self, ChartRequest, Reads, SymbolRequest};
use crate::yahoo::judge_yahoo;

/// What one endpoint's reply was like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// The endpoint.
    pub endpoint: &'static str,
    /// Whether it answered and the reply could be read.
    pub ok: bool,
    /// Rows read.
    pub rows: usize,
    /// Fields that the decoder reads and that no object of the reply has, as in `meta.currency`.
    pub missing: Vec<String>,
    /// Fields that are there, are not read, and are in no reply that was recorded.
    pub new: Vec<String>,
    /// What went wrong, without secrets.
    pub reason: Option<String>,
}

/// The providers whose endpoints can be examined.
pub const EXAMINABLE: [&str; 3] = ["yahoo", "stooq", "alpha_vantage"];

struct Endpoint {
    name: &'static str,
    url: String,
    judge: Judge,
    fields: Fields,
    rows: fn(&Reply, DateTime<Utc>) -> Result<usize, String>,
}

/// Which fields are looked for, and which are nothing new.
enum Fields {
    /// Of JSON: what a decoder of Yahoo's reads, and what else has been seen.
    Yahoo(Reads, &'static [&'static str]),
    /// Of the first member of the JSON object whose name begins so, all of which are read.
    Series(&'static str, &'static [&'static str]),
    /// Of the header of CSV, all of which are read.
    Header(&'static [&'static str]),
}

/// Asks each endpoint of a provider once, for one well-known symbol; nothing if the provider is none of [`EXAMINABLE`].
pub async fn examine(
    provider: &str,
    fetch: &Arc<dyn Fetch>,
    key: Option<&ApiKey>,
    now: DateTime<Utc>,
) -> Vec<Examined> {
    let endpoints = match provider {
        "yahoo" => yahoo(now),
        "stooq" => stooq(key, now),
        "alpha_vantage" => alpha_vantage(key),
        _ => Vec::new(),
    };
    let mut found = Vec::new();
    for endpoint in endpoints {
        found.push(one(&endpoint, fetch.as_ref(), now).await);
    }
    found
}

async fn one(endpoint: &Endpoint, fetch: &dyn Fetch, now: DateTime<Utc>) -> Examined {
    let mut examined =
        Examined { endpoint: endpoint.name, ok: false, rows: 0, missing: Vec::new(), new: Vec::new(), reason: None };
    let url = match Url::parse(&endpoint.url) {
        Ok(url) => url,
        Err(error) => return Examined { reason: Some(error.to_string()), ..examined },
    };
    let reply = match fetch.get(&Request::new(url).with_judge(endpoint.judge)).await {
        Ok(reply) => reply,
        Err(error) => return Examined { reason: Some(error.to_string()), ..examined },
    };
    (examined.missing, examined.new) = endpoint.fields.compare(&reply);
    match (endpoint.rows)(&reply, now) {
        Ok(0) => examined.reason = Some("the reply can be read and holds nothing".to_owned()),
        Ok(rows) => (examined.ok, examined.rows) = (true, rows),
        Err(reason) => examined.reason = Some(reason),
    }
    examined
}

impl Fields {
    /// What is missing and what is new.
    fn compare(&self, reply: &Reply) -> (Vec<String>, Vec<String>) {
        let body = || serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
        let (known, there): (&[&str], BTreeSet<String>) = match self {
            Self::Yahoo(reads, seen) => return compare(reads, seen, &body()),
            Self::Header(known) => {
                let text = String::from_utf8_lossy(&reply.body);
                let header = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default();
                (known, header.split(',').map(|it| it.trim().to_owned()).collect())
            }
            Self::Series(name, known) => {
                let body = body();
                let series = body.as_object().and_then(|it| it.iter().find(|(key, _)| key.starts_with(name)));
                let rows = series.and_then(|(_, rows)| rows.as_object()).into_iter().flat_map(|it| it.values());
                (known, rows.filter_map(Value::as_object).flat_map(|row| row.keys().cloned()).collect())
            }
        };
        let missing = known.iter().filter(|it| !there.contains(**it)).map(|it| (*it).to_owned()).collect();
        let new = there.into_iter().filter(|it| !known.contains(&it.as_str())).collect();
        (missing, new)
    }
}

/// Members that are read and missing, and members that are neither read nor have been seen. Where an object is missing or new,
/// it is named, and not all that is in it.
fn compare(reads: &Reads, seen: &[&str], body: &Value) -> (Vec<String>, Vec<String>) {
    let Some(found) = reads.at.iter().try_fold(body, |value, key| value.get(key)) else {
        return (Vec::new(), Vec::new());
    };
    let mut there = BTreeSet::new();
    members(found, "", reads, seen, &mut there);
    let is_below = |member: &str, above: &str| {
        member.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut missing = BTreeSet::new();
    for member in reads.members.iter().filter(|it| !there.contains(*it)) {
        if !reads.optional.iter().any(|it| is_below(member, it)) {
            missing.insert(topmost(member, |above| there.contains(above)));
        }
    }
    let is_read = |member: &str| reads.members.iter().any(|read| is_below(read, member));
    let is_known = |member: &str| is_read(member) || seen.contains(&member);
    let new = there.iter().filter(|it| !is_known(it)).map(|it| topmost(it, is_known)).collect::<BTreeSet<_>>();
    (missing.into_iter().collect(), new.into_iter().collect())
}

/// The member itself, or the highest object above it that does not hold.
fn topmost(member: &str, holds: impl Fn(&str) -> bool) -> String {
    let ends = member.match_indices('.').map(|(end, _)| end);
    let above = ends.filter_map(|end| member.get(..end)).find(|above| !holds(above));
    above.unwrap_or(member).to_owned()
}

/// All members of an object and of those below it. What is read as a whole, or is known and not read, is not looked into.
fn members(value: &Value, parent: &str, reads: &Reads, seen: &[&str], into: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|it| members(it, parent, reads, seen, into)),
        Value::Object(object) => {
            for (key, value) in object {
                // The key of an event is its time.
                if key.parse::<i64>().is_ok() {
                    members(value, parent, reads, seen, into);
                    continue;
                }
                let member = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
                let is_whole = reads.members.contains(&member)
                    && !reads.members.iter().any(|it| it.starts_with(&format!("{member}.")));
                if !is_whole && !seen.contains(&member.as_str()) {
                    members(value, &member, reads, seen, into);
                }
                into.insert(member);
            }
        }
        _ => {}
    }
}

fn yahoo(now: DateTime<Utc>) -> Vec<Endpoint> {
    let (end, start) = (now.timestamp(), now.timestamp() - 400 * 86_400);
    let base = "https://query1.finance.yahoo.com";
    let chart = format!(
        "{base}/v8/finance/chart/AAPL?interval=1d&period1={start}&period2={end}&events=div%2Csplits%2CcapitalGains&includePrePost=false&includeAdjustedClose=true"
    );
    vec![
        Endpoint {
            name: "chart",
            url: chart,
            judge: judge_yahoo,
            fields: Fields::Yahoo(Reads::of_chart(), &known::CHART),
            rows: |reply, now| {
                let asked = ChartRequest::new("AAPL", Interval::DAY, now);
                let chart = decode::chart(&reply.into(), &asked).map_err(|error| error.to_string())?;
                Ok(chart.bars.num_rows())
            },
        },
        Endpoint {
            name: "quote",
            url: format!("{base}/v7/finance/quote?symbols=AAPL"),
            judge: judge_yahoo,
            fields: Fields::Yahoo(Reads::of_quote(), &known::QUOTE),
            rows: |reply, now| {
                let asked = SymbolRequest::new(["AAPL"], now);
                decode::quote(&reply.into(), &asked).map(|it| it.quotes.num_rows()).map_err(|error| error.to_string())
            },
        },
        Endpoint {
            name: "holders",
            url: format!(
                "{base}/v10/finance/quoteSummary/AAPL?modules={}&formatted=false",
                decode::HOLDER_MODULES.join("%2C")
            ),
            judge: judge_yahoo,
            fields: Fields::Yahoo(Reads::of_holders(), &known::HOLDERS),
            rows: |reply, now| {
                let asked = SymbolRequest::new(["AAPL"], now);
                decode::holders(&reply.into(), &asked)
                    .map(|it| it.breakdown.num_rows())
                    .map_err(|error| error.to_string())
            },
        },
        Endpoint {
            name: "insights",
            url: format!("{base}/ws/insights/v3/finance/insights?symbols=AAPL"),
            judge: judge_yahoo,
            fields: Fields::Yahoo(Reads::of_insights(), &known::INSIGHTS),
            rows: |reply, now| {
                let asked = SymbolRequest::new(["AAPL"], now);
                decode::insights(&reply.into(), &asked)
                    .map(|it| it.summary.num_rows())
                    .map_err(|error| error.to_string())
            },
        },
        Endpoint {
            name: "search",
            url: format!("{base}/v1/finance/search?q=apple&quotesCount=25&newsCount=0"),
            judge: judge_yahoo,
            fields: Fields::Yahoo(Reads::of_search(), &known::SEARCH),
            rows: |reply, now| {
                decode::search(&reply.into(), now).map(|it| it.hits.num_rows()).map_err(|error| error.to_string())
            },
        },
    ]
}

fn stooq(key: Option<&ApiKey>, now: DateTime<Utc>) -> Vec<Endpoint> {
    let to = now.date_naive();
    let from = to.checked_sub_days(Days::new(30)).unwrap_or(to);
    vec![Endpoint {
        name: "daily",
        url: format!(
            "https://stooq.com/q/d/l/?s=aapl.us&i=d&d1={}&d2={}&apikey={}",
            from.format("%Y%m%d"),
            to.format("%Y%m%d"),
            escaped(key)
        ),
        judge: judge_stooq,
        fields: Fields::Header(&["Close", "Date", "High", "Low", "Open", "Volume"]),
        rows: |reply, now| {
            let asked = BarRequest { spelling: "aapl.us".to_owned(), ..BarRequest::new("AAPL", Interval::DAY, now) };
            let found = super::stooq(reply, &asked, stockflow_core::schema::Basis::Split);
            found.map(|it| it.bars.num_rows()).map_err(|failure| failure.reason)
        },
    }]
}

fn alpha_vantage(key: Option<&ApiKey>) -> Vec<Endpoint> {
    let url = |function: &str, more: &str| {
        format!("https://www.alphavantage.co/query?function={function}&symbol=IBM{more}&apikey={}", escaped(key))
    };
    let daily = |reply: &Reply, now: DateTime<Utc>| {
        let found = super::alpha_vantage(reply, &BarRequest::new("IBM", Interval::DAY, now));
        found.map(|it| it.bars.num_rows()).map_err(|failure| failure.reason)
    };
    vec![
        Endpoint {
            name: "daily",
            url: url("TIME_SERIES_DAILY", "&outputsize=compact"),
            judge: judge_alpha_vantage,
            fields: Fields::Series("Time Series", &["1. open", "2. high", "3. low", "4. close", "5. volume"]),
            rows: daily,
        },
        Endpoint {
            name: "daily_adjusted",
            url: url("TIME_SERIES_DAILY_ADJUSTED", "&outputsize=compact"),
            judge: judge_alpha_vantage,
            fields: Fields::Series(
                "Time Series",
                &[
                    "1. open",
                    "2. high",
                    "3. low",
                    "4. close",
                    "5. adjusted close",
                    "6. volume",
                    "7. dividend amount",
                    "8. split coefficient",
                ],
            ),
            rows: daily,
        },
        Endpoint {
            name: "intraday",
            url: url("TIME_SERIES_INTRADAY", "&interval=60min&outputsize=compact&adjusted=false"),
            judge: judge_alpha_vantage,
            fields: Fields::Series("Time Series", &["1. open", "2. high", "3. low", "4. close", "5. volume"]),
            rows: |reply, now| {
                let interval = Interval::new(60, stockflow_core::transform::IntervalUnit::Minute);
                let interval = interval.map_err(|error| error.to_string())?;
                let found = super::alpha_vantage(reply, &BarRequest::new("IBM", interval, now));
                found.map(|it| it.bars.num_rows()).map_err(|failure| failure.reason)
            },
        },
    ]
}

/// The key as it stands in a query.
fn escaped(key: Option<&ApiKey>) -> String {
    let key = key.map(ApiKey::reveal).unwrap_or_default();
    url::form_urlencoded::byte_serialize(key.as_bytes()).collect()
}
