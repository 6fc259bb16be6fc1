//! One request an endpoint: does it answer, can it be read, and which fields have come or gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Days, Utc};
use serde::Serialize;
use serde_json::Value;
use stockflow_core::transform::Interval;
use url::Url;

use super::{ApiKey, BarRequest, judge_alpha_vantage, judge_stooq};
use crate::http::{Fetch, Judge, Reply, Request, accept_json};
use crate::yahoo::decode::{self, ChartRequest, SymbolRequest};

/// What one endpoint's reply was like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// The endpoint.
    pub endpoint: &'static str,
    /// Whether it answered and the reply could be read.
    pub ok: bool,
    /// Rows read.
    pub rows: usize,
    /// Fields that the decoder looks for and that are not there.
    pub missing: Vec<String>,
    /// Fields that are there and that nobody here knows.
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
    /// Where in the JSON its fields are (a pointer), and which are looked for. For CSV: the header.
    at: &'static str,
    fields: &'static [&'static str],
    rows: fn(&Reply, DateTime<Utc>) -> Result<usize, String>,
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
    let known: BTreeSet<String> = endpoint.fields.iter().map(|it| (*it).to_owned()).collect();
    let there = fields(&reply, endpoint.at);
    examined.missing = known.difference(&there).cloned().collect();
    examined.new = there.difference(&known).cloned().collect();
    match (endpoint.rows)(&reply, now) {
        Ok(0) => examined.reason = Some("the reply can be read and holds nothing".to_owned()),
        Ok(rows) => (examined.ok, examined.rows) = (true, rows),
        Err(reason) => examined.reason = Some(reason),
    }
    examined
}

/// The fields of the object at this place, or the names in a header of CSV.
fn fields(reply: &Reply, at: &str) -> BTreeSet<String> {
    if at == "csv" {
        let text = String::from_utf8_lossy(&reply.body);
        return text.lines().next().unwrap_or_default().split(',').map(|it| it.trim().to_owned()).collect();
    }
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    // `*` at the end stands for the first member, whatever its name.
    let (at, is_any) = at.strip_suffix("/*").map_or((at, false), |at| (at, true));
    let object = body.pointer(at).and_then(Value::as_object);
    let object = if is_any { object.and_then(|it| it.values().next()?.as_object()) } else { object };
    object.map(|it| it.keys().cloned().collect()).unwrap_or_default()
}

fn yahoo(now: DateTime<Utc>) -> Vec<Endpoint> {
    let (end, start) = (now.timestamp(), now.timestamp() - 30 * 86_400);
    let base = "https://query1.finance.yahoo.com";
    let chart = format!(
        "{base}/v8/finance/chart/AAPL?interval=1d&period1={start}&period2={end}&events=div%2Csplits%2CcapitalGains&includePrePost=false&includeAdjustedClose=true"
    );
    vec![
        Endpoint {
            name: "chart",
            url: chart,
            judge: accept_json,
            at: "/chart/result/0/indicators/quote/0",
            fields: &["close", "high", "low", "open", "volume"],
            rows: |reply, now| {
                let asked = ChartRequest::new("AAPL", Interval::DAY, now);
                let chart = decode::chart(&reply.into(), &asked).map_err(|error| error.to_string())?;
                Ok(chart.bars.num_rows())
            },
        },
        Endpoint {
            name: "quote",
            url: format!("{base}/v7/finance/quote?symbols=AAPL"),
            judge: accept_json,
            at: "/quoteResponse/result/0",
            fields: &["currency", "exchange", "quoteType", "regularMarketPrice", "regularMarketTime", "symbol"],
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
            judge: accept_json,
            at: "/quoteSummary/result/0",
            fields: &decode::HOLDER_MODULES,
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
            judge: accept_json,
            at: "/finance/result/0",
            fields: &["companySnapshot", "events", "instrumentInfo", "recommendation", "reports", "sigDevs", "symbol"],
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
            judge: accept_json,
            at: "",
            fields: &["quotes"],
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
        at: "csv",
        fields: &["Close", "Date", "High", "Low", "Open", "Volume"],
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
            at: "/Time Series (Daily)/*",
            fields: &["1. open", "2. high", "3. low", "4. close", "5. volume"],
            rows: daily,
        },
        Endpoint {
            name: "daily_adjusted",
            url: url("TIME_SERIES_DAILY_ADJUSTED", "&outputsize=compact"),
            judge: judge_alpha_vantage,
            at: "/Time Series (Daily)/*",
            fields: &[
                "1. open",
                "2. high",
                "3. low",
                "4. close",
                "5. adjusted close",
                "6. volume",
                "7. dividend amount",
                "8. split coefficient",
            ],
            rows: daily,
        },
        Endpoint {
            name: "intraday",
            url: url("TIME_SERIES_INTRADAY", "&interval=60min&outputsize=compact&adjusted=false"),
            judge: judge_alpha_vantage,
            at: "/Time Series (60min)/*",
            fields: &["1. open", "2. high", "3. low", "4. close", "5. volume"],
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
