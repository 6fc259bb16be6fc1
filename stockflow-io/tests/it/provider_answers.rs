//! What providers say instead of bars, and what comes of it: throttling in any dress, premium endpoints, ranges without data.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Float64Type};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{Pipeline, RunOptions, SinkStep};
use stockflow_core::schema::Basis;
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::transform::Interval;
use stockflow_io::http::{Backoff, Fetch, HttpClient, Limit, Replayer};
use stockflow_io::provider::{
    AlphaVantage, ApiKey, BarRequest, Chain, FailureKind, Found, On, Provider, Spellings, Stooq, Yahoo,
};
use stockflow_io::yahoo::decode::Asked;
use stockflow_io::yahoo::{Endpoint, YahooCompany, YahooSession, YahooSource};

use crate::http::{fast, options};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn now() -> DateTime<Utc> {
    "2024-02-10T00:00:00Z".parse().unwrap()
}

fn request(symbol: &str) -> BarRequest {
    let (from, to) = (Some(day("2024-01-02")), Some(day("2024-01-08")));
    BarRequest { from, to, ..BarRequest::new(symbol, Interval::DAY, now()) }
}

/// A client that would wait a minute for a throttling host.
fn fetch(server: &Server) -> Arc<dyn Fetch> {
    let mut options = options(server, fast());
    options.deadline = Duration::from_secs(2);
    Arc::new(YahooSession::new(HttpClient::new(options).unwrap()))
}

fn key() -> ApiKey {
    ApiKey::new("very-secret")
}

fn answer(status: u16, content_type: &str, body: &str) -> Trouble {
    let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
    Trouble::Answer { status, headers, body: body.to_owned() }
}

/// Yahoo's ways of asking for fewer requests but for 429.
fn throttling() -> Vec<Trouble> {
    let error = json!({ "code": "Too Many Requests", "description": "Rate limited. Try after a while." });
    let finance = json!({ "finance": { "result": null, "error": error } }).to_string();
    let chart = json!({ "chart": { "result": null, "error": error } }).to_string();
    [200, 403, 404]
        .into_iter()
        .flat_map(|status| {
            [
                answer(status, "text/plain", "Edge: Too Many Requests"),
                answer(status, "application/json", &finance),
                answer(status, "application/json", &chart),
            ]
        })
        .collect()
}

#[tokio::test]
async fn yahoo_asking_for_fewer_requests_is_waited_for_whatever_the_status() {
    for trouble in throttling() {
        let server = Server::start(Script::default().with("/v8", When::First(2), trouble.clone())).await;
        let found = Yahoo::new(fetch(&server)).bars(&request("AAPL")).await;
        assert_eq!(found.map(|it| it.bars.num_rows()).map_err(|it| it.reason), Ok(5), "{trouble:?}");
        let server = Server::start(Script::default().with("/v7", When::First(2), trouble.clone())).await;
        let quotes = MemorySink::new(WriteMode::Merge);
        let pipeline = Pipeline::builder("quotes")
            .source(YahooCompany::new(fetch(&server), Endpoint::Quote, [Asked::same("AAPL")]))
            .sink(SinkStep::new("quotes", quotes.clone()).relation("quotes"))
            .store(CheckpointStore::in_memory())
            .build()
            .unwrap();
        let report = pipeline.run(RunOptions::default()).await.unwrap();
        assert_eq!(report.left_out().count(), 0, "{trouble:?}");
        assert_eq!(quotes.read().unwrap().map(|it| it.num_rows()), Some(1), "{trouble:?}");
    }
}

#[tokio::test]
async fn yahoo_that_only_asks_for_fewer_requests_is_throttled_and_the_symbol_is_not_unknown() {
    for trouble in throttling() {
        let server = Server::start(Script::default().with("/v8", When::Always, trouble.clone())).await;
        let mut options = options(&server, fast());
        options.limits.values_mut().for_each(|limit| limit.patience = Duration::from_millis(100));
        let failure = Yahoo::new(Arc::new(HttpClient::new(options).unwrap())).bars(&request("AAPL")).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Throttled, "{trouble:?}: {}", failure.reason);
    }
}

#[tokio::test]
async fn a_batch_waits_once_for_a_provider_that_throttles_if_there_is_another() {
    let server = Server::start(Script::default().with("/v8", When::Always, Trouble::too_many())).await;
    let pause = Backoff::new(Duration::from_millis(50), Duration::from_millis(400));
    let client = HttpClient::new(options(&server, Limit { pause, ..fast() })).unwrap();
    let fetch: Arc<dyn Fetch> = Arc::new(YahooSession::new(client));
    let chain = Chain::new(Arc::new(Yahoo::new(Arc::clone(&fetch))))
        .on([On::Throttled])
        .then(Arc::new(Stooq::new(fetch, key())))
        .with_basis(Basis::Split)
        .with_patience(Duration::from_millis(500));
    let symbols = (0..120).map(|n| Asked::same(format!("S{n}")));
    let source =
        YahooSource::over(chain, symbols).between(Some(day("2024-01-02")), Some(day("2024-01-08"))).with_now(now());
    let bars = MemorySink::new(WriteMode::Merge);
    let pipeline = Pipeline::builder("fallback")
        .source(source)
        .sink(SinkStep::new("bars", bars.clone()).relation("bars"))
        .store(CheckpointStore::in_memory())
        .build()
        .unwrap();
    let began = Instant::now();
    let report = pipeline.run(RunOptions::default()).await.unwrap();
    // Three epochs, each of which would wait a minute; eight turns of sixteen symbols, each of which would wait half a second.
    assert!(began.elapsed() < Duration::from_millis(3500), "{:?}", began.elapsed());
    assert_eq!(report.left_out().count(), 0);
    let batch = bars.read().unwrap().unwrap();
    assert_eq!(batch.num_rows(), 120 * 5);
    let providers = batch.column_by_name("provider").unwrap().as_string::<i32>().clone();
    assert!(providers.iter().all(|it| it == Some("stooq")));
    let n_tried = server.count("/v8");
    assert!(n_tried < 60, "Yahoo was asked {n_tried} times");
}

#[tokio::test]
async fn a_provider_that_is_well_again_is_asked_again() {
    let server = Server::start(Script::default().with("/v8", When::First(3), Trouble::too_many())).await;
    let fetch = fetch(&server);
    let chain = Chain::new(Arc::new(Yahoo::new(Arc::clone(&fetch))))
        .then(Arc::new(Stooq::new(fetch, key())))
        .with_basis(Basis::Split)
        .with_patience(Duration::ZERO);
    let mut providers = Vec::new();
    for symbol in 0..20 {
        let symbol = format!("S{symbol}");
        providers.push(chain.bars(&Asked::same(&symbol), &request(&symbol), None, None).await.unwrap().provider);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(providers.first().map(String::as_str), Some("stooq"));
    assert_eq!(providers.last().map(String::as_str), Some("yahoo"), "{providers:?}");
}

#[tokio::test]
async fn alpha_vantages_words_are_told_apart() {
    let premium = "https://www.alphavantage.co/premium/";
    let unlock =
        format!("You may subscribe to any of the premium plans at {premium} to instantly unlock all premium endpoints");
    let cases = [
        ("Information", format!("Thank you for using Alpha Vantage! This is a premium endpoint. {unlock}"), FailureKind::Refused),
        ("Information", format!("Thank you for using Alpha Vantage! The outputsize=full parameter value is a premium feature for the TIME_SERIES_DAILY endpoint. {unlock}"), FailureKind::Refused),
        ("Information", "The **demo** API key is for demo purposes only. Please claim your free API key.".to_owned(), FailureKind::Refused),
        ("Error Message", "the parameter apikey is invalid or missing. Please claim your free API key.".to_owned(), FailureKind::Refused),
        ("Information", format!("Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly (1 request per second). {unlock} and lift the free key rate limit (25 requests per day)"), FailureKind::Throttled),
        ("Information", format!("We have detected your API key as very-secret and our standard API rate limit is 25 requests per day. Please visit {premium}"), FailureKind::Throttled),
        ("Note", format!("Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls per day. Please visit {premium}"), FailureKind::Throttled),
        ("Error Message", "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/documentation/) for TIME_SERIES_DAILY.".to_owned(), FailureKind::Unknown),
        ("Information", "Something that nobody has heard yet.".to_owned(), FailureKind::Unavailable),
    ];
    for (member, words, kind) in cases {
        let body = json!({ member: words }).to_string();
        let script = Script::default().with("/query", When::Always, answer(200, "application/json", &body));
        let server = Server::start(script).await;
        let mut options = options(&server, fast());
        options.limits.values_mut().for_each(|limit| limit.patience = Duration::from_millis(50));
        let provider = AlphaVantage::new(Arc::new(HttpClient::new(options).unwrap()), key());
        let failure = provider.bars(&request("IBM")).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{words}: {}", failure.reason);
        assert!(!failure.reason.contains("very-secret"), "{}", failure.reason);
    }
}

#[tokio::test]
async fn alpha_vantages_months_before_the_listing_and_to_come_are_no_failure() {
    let server = Server::start(Script::default()).await;
    let provider = AlphaVantage::new(fetch(&server), key());
    let now = Utc::now();
    let next_year = now.date_naive() + chrono::Months::new(12);
    let hours = |symbol: &str, from: &str, to: Option<NaiveDate>, now: DateTime<Utc>| BarRequest {
        from: Some(day(from)),
        to,
        ..BarRequest::new(symbol, "60m".parse().unwrap(), now)
    };
    // It is listed in February 2024.
    let found = provider.bars(&hours("IBM", "2023-11-15", Some(day("2024-02-09")), now)).await.unwrap();
    assert_eq!(found.bars.num_rows(), 7);
    assert_eq!(server.count("/query"), 4);
    let unknown = provider.bars(&hours("NONE", "2024-01-02", Some(day("2024-02-09")), now)).await.unwrap_err();
    assert_eq!(unknown.kind, FailureKind::Unknown);
    let before = provider.bars(&hours("IBM", "2024-02-10", Some(day("2024-02-11")), now)).await.unwrap_err();
    assert_eq!(before.kind, FailureKind::Nothing);
    let this_month = now.date_naive().format("%Y-%m-01").to_string();
    let asked = server.count("/query");
    let _ = provider.bars(&hours("IBM", &this_month, Some(next_year), now)).await;
    assert_eq!(server.count("/query") - asked, 1, "months to come are not asked for");
}

#[tokio::test]
async fn stooqs_no_data_is_looked_into() {
    let server = Server::start(Script::default()).await;
    let stooq = Stooq::new(fetch(&server), key());
    let ask = async |symbol: &str, from: Option<&str>, to: Option<&str>| {
        let asked =
            BarRequest { from: from.map(day), to: to.map(day), spelling: stooq.spell(symbol), ..request(symbol) };
        let kind = stooq.bars(&asked).await.map(|it| it.bars.num_rows()).map_err(|it| it.kind);
        let n_asked = server.seen().len();
        (kind, n_asked)
    };
    // A weekend.
    assert_eq!(ask("AAPL", Some("2024-01-06"), Some("2024-01-07")).await, (Err(FailureKind::Nothing), 2));
    assert_eq!(ask("NONE", Some("2024-01-06"), Some("2024-01-07")).await, (Err(FailureKind::Unknown), 4));
    assert_eq!(ask("NONE", None, None).await, (Err(FailureKind::Unknown), 5));
    assert_eq!(ask("AAPL", Some("2024-01-02"), Some("2024-01-05")).await, (Ok(4), 6));
}

fn column<'a>(found: &'a Found, name: &str) -> &'a arrow::array::PrimitiveArray<Float64Type> {
    found.actions.column_by_name(name).unwrap().as_primitive::<Float64Type>()
}

/// A chart of one bar a date, with a dividend of `amount` on some.
fn chart(symbol: &str, dates: &[&str], dividends: &[(&str, f64)]) -> Value {
    let stamp = |date: &str| day(date).and_hms_opt(14, 30, 0).unwrap().and_utc().timestamp();
    let stamps: Vec<i64> = dates.iter().map(|date| stamp(date)).collect();
    let ones = vec![1.0; dates.len()];
    let dividends: serde_json::Map<String, Value> = dividends
        .iter()
        .map(|(date, amount)| (stamp(date).to_string(), json!({ "date": stamp(date), "amount": amount })))
        .collect();
    json!({ "chart": { "error": null, "result": [{
        "meta": { "symbol": symbol, "currency": "USD", "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d" },
        "timestamp": stamps,
        "events": { "dividends": dividends },
        "indicators": { "quote": [{ "open": ones, "high": ones, "low": ones, "close": ones, "volume": ones }] },
    }] } })
}

#[tokio::test]
async fn a_renamed_symbol_gives_each_bar_and_action_once() {
    let folder = tempfile::tempdir().unwrap();
    let dates = ["2022-06-07", "2022-06-08", "2022-06-09", "2022-06-10"];
    // Under both names there is everything; under the old one there is another company after a while.
    let everything = [("2022-06-07", 1.0), ("2022-06-10", 2.0)];
    for (symbol, dividends) in [("FB", vec![("2022-06-07", 1.0), ("2022-06-10", 9.0)]), ("META", everything.to_vec())] {
        let query = "interval=1d&period1=-2208988800&period2=1800000000&events=div%2Csplits%2CcapitalGains";
        let url = format!("https://query1.finance.yahoo.com/v8/finance/chart/{symbol}?{query}");
        let body = chart(symbol, &dates, &dividends);
        let recording = json!({ "request": { "url": url }, "response": { "status": 200, "bodyJson": body } });
        std::fs::write(folder.path().join(format!("{symbol}.json")), recording.to_string()).unwrap();
    }
    let table = "symbol,provider,spelling,from,to\nMETA,yahoo,FB,,2022-06-08\n";
    let chain = Chain::new(Arc::new(Yahoo::new(Arc::new(Replayer::open(folder.path()).unwrap()))))
        .with_spellings(Spellings::from_csv(table).unwrap());
    let asked = BarRequest::new("META", Interval::DAY, "2022-07-01T00:00:00Z".parse().unwrap());
    let found = chain.bars(&Asked::same("META"), &asked, None, None).await.unwrap().found;
    let dates_of = found.bars.column_by_name("date").unwrap().as_primitive::<Date32Type>();
    let told: Vec<String> = (0..dates_of.len()).map(|row| dates_of.value_as_date(row).unwrap().to_string()).collect();
    assert_eq!(told, dates);
    assert_eq!(column(&found, "value").values().to_vec(), [1.0, 2.0]);
    // Before the change the new name tells nothing.
    let before = BarRequest { to: Some(day("2022-06-07")), ..asked };
    let found = chain.bars(&Asked::same("META"), &before, None, None).await.unwrap().found;
    assert_eq!((found.bars.num_rows(), column(&found, "value").values().to_vec()), (1, vec![1.0]));
}
