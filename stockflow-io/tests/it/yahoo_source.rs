//! The Yahoo source in a pipeline, over replies that are written here: first load, next day, unknown symbols, splits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Float64Type};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Value, json};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{Builder, KillPoint, Pipeline, Probe, RunOptions, RunReport, SinkStep, Step};
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::WriteMode;
use stockflow_core::source::{EpochLimit, EpochPlan, Replay, Scan, Source};
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::KillOnce;
use stockflow_core::transform::Clean;
use stockflow_io::http::{HttpClient, Limit, Replayer};
use stockflow_io::yahoo::decode::Asked;
use stockflow_io::yahoo::{YahooSession, YahooSource};
use tempfile::TempDir;

use crate::http::{fast, options};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

/// 14:30 UTC: New York opens in winter.
fn open(date: &str) -> i64 {
    date.parse::<NaiveDate>().unwrap().and_hms_opt(14, 30, 0).unwrap().and_utc().timestamp()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A reply with a bar a day: date and close.
fn chart(symbol: &str, currency: &str, bars: &[(&str, f64)], events: &Value) -> Value {
    let stamps: Vec<i64> = bars.iter().map(|(date, _)| open(date)).collect();
    let closes: Vec<f64> = bars.iter().map(|(_, close)| *close).collect();
    let volumes = vec![1000.0; bars.len()];
    json!({ "chart": { "error": null, "result": [{
        "meta": {
            "currency": currency, "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY",
            "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d",
            "regularMarketTime": stamps.last().map(|it| it + 6 * 3600 + 1800),
            "currentTradingPeriod": { "regular": {
                "timezone": "EST", "gmtoffset": -18000, "start": stamps.last(), "end": stamps.last().map(|it| it + 6 * 3600 + 1800),
            } },
        },
        "timestamp": stamps,
        "events": events,
        "indicators": {
            "quote": [{ "open": closes, "high": closes, "low": closes, "close": closes, "volume": volumes }],
            "adjclose": [{ "adjclose": closes }],
        },
    }] } })
}

fn record(folder: &Path, symbol: &str, period1: i64, period2: DateTime<Utc>, status: u16, body: &Value) {
    let query = format!(
        "interval=1d&period1={period1}&period2={}&events=div%2Csplits%2CcapitalGains&includePrePost=false&includeAdjustedClose=true",
        // A day more than there is, for splits of today.
        period2.timestamp() + 86_400
    );
    let recording = json!({
        "request": { "url": format!("https://query1.finance.yahoo.com/v8/finance/chart/{symbol}?{query}") },
        "response": { "status": status, "headers": { "content-type": "application/json" }, "bodyJson": body },
    });
    std::fs::write(folder.join(format!("{symbol}-{period1}.json")), recording.to_string()).unwrap();
}

struct World {
    replies: TempDir,
    bars: MemorySink,
    actions: MemorySink,
    symbols: MemorySink,
    store: CheckpointStore,
}

impl World {
    fn new() -> Self {
        Self {
            replies: tempfile::tempdir().unwrap(),
            bars: MemorySink::new(WriteMode::Merge),
            actions: MemorySink::new(WriteMode::Merge),
            symbols: MemorySink::new(WriteMode::Merge),
            store: CheckpointStore::in_memory(),
        }
    }

    async fn run(&self, symbols: &[&str], from: Option<&str>, now: &str) -> RunReport {
        let source = self.source(symbols, now).between(from.map(|it| it.parse().unwrap()), None);
        let symbols = SinkStep::new("symbols", self.symbols.clone()).relation("symbols").since_now();
        let pipeline = self.pipeline().source(source).sink(symbols).build().unwrap();
        pipeline.run(RunOptions::default()).await.unwrap()
    }

    fn source(&self, symbols: &[&str], now: &str) -> YahooSource {
        let replayer = Arc::new(Replayer::open(self.replies.path()).unwrap());
        YahooSource::new(replayer, symbols.iter().map(|it| Asked::same(*it))).with_now(at(now))
    }

    fn pipeline(&self) -> Builder {
        Pipeline::builder("yahoo")
            .step(Step::new("clean", Clean::default()).input("bars"))
            .history("clean", Arc::new(self.bars.clone()))
            .sink(SinkStep::new("bars", self.bars.clone()).relation("clean"))
            .sink(SinkStep::new("actions", self.actions.clone()).relation("actions"))
            .store(self.store.clone())
    }

    /// The table of symbols, as it is printed.
    fn symbols(&self, columns: &[&str]) -> Vec<String> {
        let Some(batch) = self.symbols.read().unwrap() else { return Vec::new() };
        let cell = |name: &str, row: usize| {
            arrow::util::display::array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
        };
        let row = |row| columns.iter().map(|name| cell(name, row)).collect::<Vec<_>>().join(" ");
        (0..batch.num_rows()).map(row).collect()
    }

    /// Symbol and date to close.
    fn closes(&self) -> BTreeMap<String, f64> {
        let Some(batch) = self.bars.read().unwrap() else { return BTreeMap::new() };
        let text = |name: &str, row: usize| {
            arrow::util::display::array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
        };
        let closes = batch.column_by_name("close").unwrap().as_primitive::<Float64Type>();
        (0..batch.num_rows())
            .map(|row| {
                (format!("{} {} {}", text("symbol", row), text("date", row), text("currency", row)), closes.value(row))
            })
            .collect()
    }
}

const BEGINNING: i64 = -2_208_988_800;

#[tokio::test]
async fn a_first_load_and_the_next_day() {
    let world = World::new();
    let folder = world.replies.path();
    let evening = "2024-01-04T23:00:00Z";
    let first = [("2024-01-02", 10.0), ("2024-01-03", 11.0), ("2024-01-04", 12.0)];
    record(folder, "AAA", BEGINNING, at(evening), 200, &chart("AAA", "USD", &first, &Value::Null));
    let gone = json!({ "chart": { "result": null, "error": { "code": "Not Found", "description": "No data found, symbol may be delisted" } } });
    record(folder, "GONE", BEGINNING, at(evening), 404, &gone);
    let report = world.run(&["AAA", "GONE"], None, evening).await;
    let left_out: Vec<String> = report.left_out().map(|it| format!("{}: {}", it.partition, it.reason)).collect();
    assert_eq!(left_out.len(), 1, "{left_out:?}");
    assert!(left_out[0].starts_with("GONE: ") && left_out[0].contains("may be delisted"), "{left_out:?}");
    assert_eq!(world.closes().len(), 3);

    // The next evening seven days are asked for again: one bar is corrected, one wobbles, one is new.
    let next = "2024-01-05T23:00:00Z";
    let again = [("2024-01-02", 10.0), ("2024-01-03", 11.5), ("2024-01-04", 12.000_000_1), ("2024-01-05", 13.0)];
    let since = at("2023-12-27T00:00:00Z");
    record(folder, "AAA", since.timestamp(), at(next), 200, &chart("AAA", "USD", &again, &Value::Null));
    let report = world.run(&["AAA"], None, next).await;
    assert_eq!((report.epochs.len(), report.epochs[0].changed, report.epochs[0].unchanged), (1, Some(2), Some(2)));
    let expected = [("02", 10.0), ("03", 11.5), ("04", 12.0), ("05", 13.0)];
    let expected: BTreeMap<String, f64> =
        expected.into_iter().map(|(day, close)| (format!("AAA 2024-01-{day} USD"), close)).collect();
    assert_eq!(world.closes(), expected);
    assert!(world.run(&["AAA"], None, next).await.up_to_date, "nothing is asked for twice at one moment");
}

#[tokio::test]
async fn prices_come_as_traded_and_in_the_currency_itself() {
    let world = World::new();
    let folder = world.replies.path();
    let evening = "2024-01-05T23:00:00Z";
    let split = json!({ "splits": { "1": { "date": open("2024-01-04"), "numerator": 4, "denominator": 1 } },
        "dividends": { "2": { "date": open("2024-01-03"), "amount": 0.5 } } });
    let bars = [("2024-01-02", 100.0), ("2024-01-03", 101.0), ("2024-01-04", 102.0)];
    record(folder, "SPL", BEGINNING, at(evening), 200, &chart("SPL", "GBp", &bars, &split));
    let report = world.run(&["SPL"], None, evening).await;
    let told = report.epochs[0].notes.iter().find(|it| it.kind == "prices in GBp converted to GBP");
    let told = told.map(|it| (it.step.as_str(), it.symbol.as_deref(), it.rows, it.text.as_str()));
    assert_eq!(told, Some(("yahoo", Some("SPL"), 3, "1 GBp is 0.01 GBP")));
    let unit = ["symbol", "exchange", "calendar", "currency", "sub_unit", "sub_unit_factor", "time_zone"];
    assert_eq!(world.symbols(&unit), ["SPL NMS XNYS GBP GBp 0.01 America/New_York"]);
    let expected = [("02", 4.0), ("03", 4.04), ("04", 1.02)];
    for ((key, close), (day, wanted)) in world.closes().into_iter().zip(expected) {
        assert_eq!(key, format!("SPL 2024-01-{day} GBP"));
        assert!((close - wanted).abs() < 1e-12, "{key}: {close}");
    }
    let actions = world.actions.read().unwrap().unwrap();
    assert_eq!(actions.num_rows(), 2);
    let values = actions.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    assert!(values.iter().flatten().all(|it| it == 2.0), "the dividend as it was paid: {values:?}");
}

#[tokio::test]
async fn an_earlier_start_is_fetched_though_the_symbol_is_up_to_date() {
    let world = World::new();
    let folder = world.replies.path();
    let evening = "2024-01-05T23:00:00Z";
    // A day before the first date: trading dates begin before their midnight in UTC.
    record(
        folder,
        "AAA",
        at("2024-01-03T00:00:00Z").timestamp(),
        at(evening),
        200,
        &chart("AAA", "USD", &[("2024-01-03", 9.0), ("2024-01-04", 12.0)], &Value::Null),
    );
    world.run(&["AAA"], Some("2024-01-04"), evening).await;
    assert_eq!(world.closes().into_keys().collect::<Vec<_>>(), ["AAA 2024-01-04 USD"]);
    record(
        folder,
        "AAA",
        at("2024-01-01T00:00:00Z").timestamp(),
        at(evening),
        200,
        &chart("AAA", "USD", &[("2024-01-02", 10.0), ("2024-01-03", 11.0), ("2024-01-04", 12.0)], &Value::Null),
    );
    world.run(&["AAA"], Some("2024-01-02"), evening).await;
    assert_eq!(world.closes().len(), 3);
}

#[tokio::test]
async fn a_delisted_symbol_is_left_out_and_described() {
    let world = World::new();
    let evening = "2024-01-05T23:00:00Z";
    let husk = json!({ "chart": { "error": null, "result": [{
        "meta": {
            "symbol": "OLD", "exchangeName": "YHD", "instrumentType": "MUTUALFUND", "regularMarketTime": 1_561_759_658,
            "exchangeTimezoneName": "America/New_York",
        },
        "indicators": { "quote": [{}] },
    }] } });
    record(world.replies.path(), "OLD", BEGINNING, at(evening), 200, &husk);
    for _ in 0..2 {
        let report = world.run(&["OLD"], None, evening).await;
        let left_out: Vec<&str> = report.left_out().map(|it| it.reason.as_str()).collect();
        assert!(left_out.len() == 1 && left_out[0].contains("husk"), "{left_out:?}");
        assert_eq!(world.symbols(&["symbol", "exchange", "delisted_on"]), ["OLD YHD 2019-06-28"]);
    }
    assert!(world.closes().is_empty());
}

/// The source as it was before it told of symbols.
#[derive(Debug)]
struct Older(YahooSource);

#[async_trait]
impl Source for Older {
    fn relations(&self) -> Vec<RelationSchema> {
        self.0.relations().into_iter().filter(|it| it.name != "symbols").collect()
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> stockflow_core::Result<Option<EpochPlan>> {
        self.0.plan(from, limit).await
    }

    async fn scan(&self, plan: &EpochPlan) -> stockflow_core::Result<Scan> {
        let mut scan = self.0.scan(plan).await?;
        scan.relations.remove("symbols");
        Ok(scan)
    }

    async fn commit(&self, upto: &Checkpoint) -> stockflow_core::Result<()> {
        self.0.commit(upto).await
    }

    fn replay(&self) -> Replay {
        self.0.replay()
    }

    fn definition(&self) -> Value {
        self.0.definition()
    }
}

#[tokio::test]
async fn a_store_from_before_there_were_symbols_goes_on() {
    let world = World::new();
    let folder = world.replies.path();
    let evening = "2024-01-04T23:00:00Z";
    let bars = [("2024-01-02", 10.0), ("2024-01-03", 11.0), ("2024-01-04", 12.0)];
    record(folder, "AAA", BEGINNING, at(evening), 200, &chart("AAA", "USD", &bars, &Value::Null));
    // One epoch is committed and one is open, its input sealed.
    let older = |symbol: &str, now: &str| world.pipeline().source(Older(world.source(&[symbol], now))).build().unwrap();
    older("AAA", evening).run(RunOptions::default()).await.unwrap();
    record(folder, "BBB", BEGINNING, at(evening), 200, &chart("BBB", "USD", &bars, &Value::Null));
    let probe = Arc::new(KillOnce::new(KillPoint::AfterRead));
    let options = RunOptions { probe: Some(Arc::clone(&probe) as Arc<dyn Probe>), ..RunOptions::default() };
    assert!(older("BBB", evening).run(options).await.is_err() && probe.has_struck());

    let report = world.run(&["AAA", "BBB"], None, evening).await;
    assert_eq!((report.epochs.len(), report.epochs[0].resumed), (1, true));
    assert_eq!((world.closes().len(), world.symbols(&["symbol"]).len()), (6, 0));
    let next = "2024-01-05T23:00:00Z";
    let since = at("2023-12-27T00:00:00Z").timestamp();
    record(folder, "AAA", since, at(next), 200, &chart("AAA", "USD", &bars, &Value::Null));
    world.run(&["AAA"], None, next).await;
    assert_eq!(world.symbols(&["symbol", "currency"]), ["AAA USD"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_symbols_arrive_once_each_although_a_third_of_the_requests_is_throttled() {
    let throttled = Trouble::too_many();
    let server = Server::start(Script::default().with("/v8", When::Every(3), throttled)).await;
    let client = HttpClient::new(options(&server, Limit { per_second: 8000.0, ..fast() })).unwrap();
    let symbols = (0..1000).map(|n| format!("S{n}")).chain(["NONE".to_owned()]);
    let source = YahooSource::new(Arc::new(YahooSession::new(client)), symbols.map(Asked::same))
        .between(Some("2024-01-02".parse().unwrap()), Some("2024-01-12".parse().unwrap()))
        .with_now(at("2024-01-20T00:00:00Z"));
    let bars = MemorySink::new(WriteMode::Append);
    let pipeline = Pipeline::builder("thousand")
        .source(source)
        .sink(SinkStep::new("bars", bars.clone()).relation("bars"))
        .store(CheckpointStore::in_memory())
        .build()
        .unwrap();
    let report = pipeline.run(RunOptions::default()).await.unwrap();
    let left_out: Vec<&str> = report.left_out().map(|it| it.partition.as_str()).collect();
    assert_eq!((report.epochs.len(), left_out), (21, vec!["NONE"]));
    let batch = bars.read().unwrap().unwrap();
    let (symbols, dates) = (batch.column_by_name("symbol").unwrap(), batch.column_by_name("date").unwrap());
    let dates = dates.as_primitive::<Date32Type>().values().iter();
    let mut seen: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    symbols
        .as_string::<i32>()
        .iter()
        .flatten()
        .zip(dates)
        .for_each(|(symbol, &date)| seen.entry(symbol).or_default().push(date));
    assert_eq!(seen.len(), 1000);
    for (symbol, dates) in &mut seen {
        dates.sort_unstable();
        // The weekdays of 2 to 12 January.
        assert_eq!(
            dates.iter().map(|date| date - 19723).collect::<Vec<_>>(),
            [1, 2, 3, 4, 7, 8, 9, 10, 11],
            "{symbol}"
        );
    }
    let seen = server.seen();
    // Bars, and actions up to now, of each; of the unknown one the bars.
    let n_refused = seen.iter().filter(|seen| !seen.is_good).count();
    assert!(n_refused > 600 && seen.len() == 2000 + n_refused, "{n_refused} of {}", seen.len());
}

#[tokio::test]
async fn an_intent_that_is_read_days_later_knows_the_splits_since() {
    let world = World::new();
    let folder = world.replies.path();
    let (evening, later) = ("2024-01-03T23:00:00Z", "2024-01-09T15:00:00Z");
    // The intent is written, and nothing is read before the process ends.
    let probe = Arc::new(KillOnce::new(KillPoint::AfterIntent));
    let options = RunOptions { probe: Some(Arc::clone(&probe) as Arc<dyn Probe>), ..RunOptions::default() };
    let pipeline = world.pipeline().source(world.source(&["AAA"], evening)).build().unwrap();
    assert!(pipeline.run(options).await.is_err() && probe.has_struck());
    // Since then every share has become four, and Yahoo has adjusted all of its prices.
    let split = json!({ "splits": { "1": { "date": open("2024-01-08"), "numerator": 4, "denominator": 1 } } });
    let days = [("2024-01-02", 25.0), ("2024-01-03", 26.0), ("2024-01-04", 27.0), ("2024-01-08", 28.0)];
    record(folder, "AAA", BEGINNING, at(later), 200, &chart("AAA", "USD", &days, &split));
    // It is finished, and ends before the next one.
    let probe = Arc::new(KillOnce::new(KillPoint::AfterPlan));
    let options = RunOptions { probe: Some(Arc::clone(&probe) as Arc<dyn Probe>), ..RunOptions::default() };
    let pipeline = world.pipeline().source(world.source(&["AAA"], later)).build().unwrap();
    assert!(pipeline.run(options).await.is_err() && probe.has_struck());
    let expected = [("AAA 2024-01-02 USD", 100.0), ("AAA 2024-01-03 USD", 104.0)];
    assert_eq!(world.closes(), expected.map(|(key, close)| (key.to_owned(), close)).into());
    // What that day could not know comes with the next epoch.
    assert_eq!(world.actions.read().unwrap().map_or(0, |it| it.num_rows()), 0);
    let since = at("2023-12-26T00:00:00Z").timestamp();
    record(folder, "AAA", since, at(later), 200, &chart("AAA", "USD", &days, &split));
    world.pipeline().source(world.source(&["AAA"], later)).build().unwrap().run(RunOptions::default()).await.unwrap();
    assert_eq!(world.closes().get("AAA 2024-01-04 USD"), Some(&108.0));
    assert_eq!(world.actions.read().unwrap().map_or(0, |it| it.num_rows()), 1);
}
