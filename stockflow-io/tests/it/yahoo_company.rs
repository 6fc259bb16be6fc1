//! Holders, insights, quotes and found symbols in a pipeline, from a server on this machine that answers as Yahoo does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, Utc};
use stockflow_core::ErrorClass;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{Pipeline, RunOptions, RunReport, SinkStep};
use stockflow_core::sink::WriteMode;
use stockflow_core::source::{EpochLimit, Source};
use stockflow_core::store::CheckpointStore;
use stockflow_io::http::{Fetch, HttpClient};
use stockflow_io::yahoo::decode::Asked;
use stockflow_io::yahoo::{Endpoint, YahooCompany, YahooSession};

use crate::http::{fast, options};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

const EVENING: &str = "2024-07-01T21:00:00Z";

struct World {
    server: Server,
    fetch: Arc<dyn Fetch>,
    endpoint: Endpoint,
    sinks: BTreeMap<String, MemorySink>,
    store: CheckpointStore,
}

impl World {
    async fn new(endpoint: Endpoint, script: Script) -> Self {
        let server = Server::start(script).await;
        let mut options = options(&server, fast());
        options.deadline = Duration::from_secs(1);
        let fetch = Arc::new(YahooSession::new(HttpClient::new(options).unwrap()));
        let sink = |name: String| (name, MemorySink::new(WriteMode::Merge));
        let sinks = endpoint.relations().into_iter().map(|it| sink(it.name)).collect();
        Self { server, fetch, endpoint, sinks, store: CheckpointStore::in_memory() }
    }

    async fn run(&self, symbols: &[&str], now: &str) -> RunReport {
        let now: DateTime<Utc> = now.parse().unwrap();
        let source =
            YahooCompany::new(Arc::clone(&self.fetch), self.endpoint, symbols.iter().map(|it| Asked::same(*it)))
                .with_now(now);
        let mut pipeline = Pipeline::builder("company").source(source).store(self.store.clone());
        for (name, sink) in &self.sinks {
            pipeline = pipeline.sink(SinkStep::new(name, sink.clone()).relation(name));
        }
        pipeline.build().unwrap().run(RunOptions::default()).await.unwrap()
    }

    fn rows(&self, relation: &str) -> usize {
        self.sinks[relation].read().unwrap().map_or(0, |batch| batch.num_rows())
    }

    /// Some columns of a relation, row by row, in the order of the text.
    fn lines(&self, relation: &str, columns: &[&str]) -> Vec<String> {
        let Some(batch) = self.sinks[relation].read().unwrap() else { return Vec::new() };
        let places: Vec<usize> = columns.iter().map(|it| batch.schema().index_of(it).unwrap()).collect();
        let table = pretty_format_batches(&[batch.project(&places).unwrap()]).unwrap().to_string();
        let cells = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(", ");
        let mut lines: Vec<String> = table.lines().filter(|it| it.starts_with('|')).skip(1).map(cells).collect();
        lines.sort();
        lines
    }
}

fn left_out(report: &RunReport) -> Vec<String> {
    report.left_out().map(|it| format!("{}: {}", it.partition, it.reason)).collect()
}

fn json(status: u16, body: &str) -> Trouble {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Trouble::Answer { status, headers, body: body.to_owned() }
}

#[tokio::test]
async fn holders_come_with_one_crumb_for_all() {
    let world = World::new(Endpoint::Holders, Script::default()).await;
    let report = world.run(&["AAA", "NONE1", "BBB"], EVENING).await;
    assert_eq!(left_out(&report), ["NONE1: unknown symbol: Quote not found for ticker symbol: NONE1"]);
    let counts: Vec<usize> = Endpoint::Holders.relations().iter().map(|it| world.rows(&it.name)).collect();
    assert_eq!(counts, [2, 20, 20, 0, 2, 0, 2]);
    assert_eq!(
        world.lines("insider_transactions", &["symbol", "name", "date", "ordinal", "shares", "value", "as_of"]),
        ["AAA", "BBB"].map(|it| format!("{it}, DOE JANE, 2024-06-30, 0, 100.0, 1000.0, 2024-07-01T21:00:00Z"))
    );
    assert_eq!(world.lines("insider_purchases", &["symbol", "period", "buy_count", "sell_count"])[0], "AAA, 6m, 3, ");
    assert_eq!(world.server.count("/v1/test/getcrumb"), 1);
    assert_eq!(world.server.count("/v10/finance/quoteSummary/AAA"), 1);
}

#[tokio::test]
async fn quotes_are_read_again_by_each_run() {
    let world = World::new(Endpoint::Quote, Script::default()).await;
    let report = world.run(&["AAA", "NONE1", "BBB"], EVENING).await;
    assert_eq!(left_out(&report), ["NONE1: unknown symbol: Yahoo's reply does not mention it"]);
    let expected = |at: &str| ["AAA", "BBB"].map(|it| format!("{it}, USD, {it} Incorporated, {at}"));
    let columns = ["symbol", "currency", "short_name", "as_of"];
    assert_eq!(world.lines("quotes", &columns), expected("2024-07-01T21:00:00Z"));
    assert!(world.run(&["AAA", "BBB"], EVENING).await.up_to_date, "nothing is asked for twice at one moment");
    // A day later the crumb is worth nothing any more.
    world.server.expire_sessions();
    let report = world.run(&["AAA", "BBB"], "2024-07-02T21:00:00Z").await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(world.lines("quotes", &columns), expected("2024-07-02T21:00:00Z"));
    assert_eq!(world.server.count("/v1/test/getcrumb"), 2);
}

#[tokio::test]
async fn insights_and_searches_need_no_crumb() {
    let world = World::new(Endpoint::Insights, Script::default()).await;
    let report = world.run(&["AAA", "NONE1"], EVENING).await;
    assert_eq!(left_out(&report), ["NONE1: unknown symbol: Yahoo's reply does not mention it"]);
    assert_eq!(world.lines("insights", &["symbol", "rating", "rating_provider"]), ["AAA, BUY, Made Up Research"]);
    assert_eq!(world.server.count("/v1/test/getcrumb"), 0);

    let world = World::new(Endpoint::Search, Script::default()).await;
    let report = world.run(&["apple pie", "NONE1"], EVENING).await;
    assert!(report.is_complete(), "a search without hits is an answer: {report:?}");
    assert_eq!(world.lines("search", &["symbol", "short_name"]), ["APPLE PIE, APPLE PIE Incorporated"]);
    assert_eq!(world.server.count("/v1/test/getcrumb"), 0);
}

#[tokio::test]
async fn the_second_version_of_insights_serves_where_there_is_no_third() {
    let script = Script::default().with("/ws/insights/v3", When::Always, json(404, "{}"));
    let world = World::new(Endpoint::Insights, script).await;
    assert!(world.run(&["AAA"], EVENING).await.is_complete());
    assert_eq!(world.lines("insights", &["symbol", "rating"]), ["AAA, BUY"]);
    assert_eq!(world.server.count("/ws/insights/v2"), 1);
}

#[tokio::test]
async fn one_bad_symbol_or_row_does_not_hold_up_the_others() {
    let holders = r#"{"quoteSummary":{"error":null,"result":[{"fundOwnership":{"ownershipList":[
        {"organization":"Good","pctHeld":{"raw":0.5}}, {"pctHeld":{"raw":0.25}}]}}]}}"#;
    let script = Script::default().with("/v10/finance/quoteSummary/BUSY", When::Always, Trouble::page(503)).with(
        "/v10/finance/quoteSummary/ODD",
        When::Always,
        json(200, holders),
    );
    let world = World::new(Endpoint::Holders, script).await;
    let report = world.run(&["AAA", "BUSY", "ODD"], EVENING).await;
    let failed = left_out(&report);
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].starts_with("BUSY: ") && failed[0].contains("no reply after"), "{failed:?}");
    assert_eq!(report.dead_letters(), 1);
    let letter = &report.epochs[0].first_dead_letters[0];
    assert_eq!((letter.partition.as_str(), letter.position.as_str()), ("holders_funds/ODD", "1"));
    assert_eq!(letter.reason, "no readable `organization`");
    assert_eq!(world.rows("holders_funds"), 11);
    assert!(world.lines("holders_funds", &["symbol", "organization", "share"]).contains(&"ODD, Good, 0.5".to_owned()));
}

#[tokio::test]
async fn symbols_of_which_only_a_husk_is_left_are_left_out() {
    let husk =
        r#"{"quoteResponse":{"result":[{"symbol":"ADH","quoteType":"MUTUALFUND","exchange":"YHD"}],"error":null}}"#;
    let script = Script::default().with("/v7/finance/quote", When::Always, json(200, husk));
    let world = World::new(Endpoint::Quote, script).await;
    let report = world.run(&["ADH"], EVENING).await;
    assert_eq!(left_out(&report), ["ADH: delisted: Yahoo has no price of it any more"]);
}

#[tokio::test]
async fn without_a_crumb_the_source_fails_and_says_so() {
    let script = Script::default().with("/v1/test/getcrumb", When::Always, Trouble::html());
    let world = World::new(Endpoint::Quote, script).await;
    let source = YahooCompany::new(Arc::clone(&world.fetch), Endpoint::Quote, [Asked::same("AAA")]);
    let plan = source.plan(&Checkpoint::default(), &EpochLimit::default()).await.unwrap().unwrap();
    let error = source.scan(&plan).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.chain().iter().any(|it| it.contains("no session")), "{:?}", error.chain());
}
