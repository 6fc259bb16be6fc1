//! The chain of providers against a server that stands in for all of them, and misbehaves.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, NaiveDate, Utc};
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{Pipeline, RunOptions, SinkStep};
use stockflow_core::schema::Basis;
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::transform::Interval;
use stockflow_io::http::{Fetch, HttpClient};
use stockflow_io::provider::{
    AlphaVantage, ApiKey, BarRequest, Chain, FailureKind, Files, On, Provider, Served, Spellings, Stooq, Yahoo, examine,
};
use stockflow_io::yahoo::YahooSource;
use stockflow_io::yahoo::decode::Asked;

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
    BarRequest {
        from: Some(day("2024-01-02")),
        to: Some(day("2024-01-08")),
        ..BarRequest::new(symbol, Interval::DAY, now())
    }
}

fn fetch(server: &Server) -> Arc<dyn Fetch> {
    let mut options = options(server, fast());
    // Long replies take their time where much else is built and tested.
    options.deadline = Duration::from_secs(2);
    options.limits.values_mut().for_each(|limit| limit.patience = Duration::from_millis(300));
    Arc::new(HttpClient::new(options).unwrap())
}

fn key() -> ApiKey {
    ApiKey::new("very-secret")
}

/// Yahoo, then Stooq, on the basis that both have.
fn chain(server: &Server) -> Chain {
    let fetch = fetch(server);
    Chain::new(Arc::new(Yahoo::new(Arc::clone(&fetch))))
        .then(Arc::new(Stooq::new(fetch, key())))
        .with_basis(Basis::Split)
}

async fn ask(chain: &Chain, symbol: &str) -> Result<Served, stockflow_io::provider::Failure> {
    chain.bars(&Asked::same(symbol), &request(symbol), None, None).await
}

fn column(served: &Served, name: &str) -> Vec<String> {
    let column = served.found.bars.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().flatten().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_first_one_serves_as_long_as_it_answers() {
    let server = Server::start(Script::default()).await;
    let served = ask(&chain(&server), "AAPL").await.unwrap();
    assert_eq!((served.provider.as_str(), column(&served, "provider")), ("yahoo", vec!["yahoo".to_owned(); 5]));
    assert_eq!(server.count("/q/d/l/"), 0);
}

#[tokio::test]
async fn the_next_one_takes_the_whole_request() {
    let troubles = [Trouble::too_many(), Trouble::html(), Trouble::Close, Trouble::Truncated, Trouble::page(503)];
    for trouble in troubles {
        let server = Server::start(Script::default().with("/v8", When::Always, trouble.clone())).await;
        let served = ask(&chain(&server), "AAPL").await.unwrap();
        assert_eq!((served.provider.as_str(), served.found.bars.num_rows()), ("stooq", 5), "{trouble:?}");
        assert_eq!(column(&served, "provider"), vec!["stooq"; 5]);
        assert_eq!(column(&served, "basis"), vec!["split"; 5]);
    }
}

#[tokio::test]
async fn a_condition_that_does_not_hold_ends_the_chain() {
    let server = Server::start(Script::default().with("/v8", When::Always, Trouble::html())).await;
    let fetch = fetch(&server);
    let chain = Chain::new(Arc::new(Yahoo::new(Arc::clone(&fetch))))
        .on([On::Unknown, On::Throttled])
        .then(Arc::new(Stooq::new(fetch, key())))
        .with_basis(Basis::Split);
    assert_eq!(ask(&chain, "AAPL").await.unwrap_err().kind, FailureKind::Unavailable);
    assert_eq!(server.count("/q/d/l/"), 0);
}

#[tokio::test]
async fn another_basis_is_refused_with_the_reason() {
    let server = Server::start(Script::default().with("/v8", When::Always, Trouble::html())).await;
    let failure = ask(&chain(&server).with_basis(Basis::Raw), "AAPL").await.unwrap_err();
    assert!(failure.reason.contains("stooq: prices are wanted on basis `raw`, it has `split`"), "{}", failure.reason);
    assert_eq!(server.count("/q/d/l/"), 0);
}

#[tokio::test]
async fn refusals_of_stooq_are_what_they_say() {
    for (symbol, trouble, kind) in [
        ("NONE", None, FailureKind::Unknown),
        ("AAPL", Some(Trouble::hits_limit()), FailureKind::Throttled),
        ("AAPL", Some(Trouble::html()), FailureKind::Unavailable),
        ("AAPL", Some(Trouble::Close), FailureKind::Unavailable),
    ] {
        let script = trouble.map_or_else(Script::default, |it| Script::default().with("/q", When::Always, it));
        let server = Server::start(script).await;
        let stooq = Stooq::new(fetch(&server), key());
        let asked = BarRequest { spelling: stooq.spell(symbol), ..request(symbol) };
        let failure = stooq.bars(&asked).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.reason);
        assert!(!format!("{failure:?} {stooq:?}").contains("very-secret"));
    }
    let server = Server::start(Script::default()).await;
    let failure = Stooq::new(fetch(&server), ApiKey::new("")).bars(&request("AAPL")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Refused);
}

#[tokio::test]
async fn alpha_vantage_gives_bars_as_traded_and_complains_with_status_200() {
    let server = Server::start(Script::default()).await;
    let provider = AlphaVantage::new(fetch(&server), key());
    let found = provider.bars(&request("IBM")).await.unwrap();
    assert_eq!(found.bars.num_rows(), 5);
    assert!(found.rejects.is_empty());
    assert_eq!(provider.bars(&request("NONE")).await.unwrap_err().kind, FailureKind::Unknown);
    for (trouble, kind) in [
        (Trouble::note(), FailureKind::Throttled),
        (Trouble::information("very-secret"), FailureKind::Throttled),
        (Trouble::html(), FailureKind::Unavailable),
    ] {
        let server = Server::start(Script::default().with("/query", When::Always, trouble)).await;
        let failure = AlphaVantage::new(fetch(&server), key()).bars(&request("IBM")).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.reason);
        assert!(!failure.reason.contains("very-secret"));
    }
}

#[tokio::test]
async fn a_folder_of_files_is_a_provider() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "Date,Open,High,Low,Close,Volume\n2024-01-02,1,2,0.5,1.5,100\n2024-01-03,1.5,2,1,1.75,200\n2024-02-01,1,1,1,1,1\n";
    std::fs::write(folder.path().join("AAA.csv"), csv).unwrap();
    let files = Files::new(format!("{}/{{symbol}}.csv", folder.path().display()));
    assert_eq!(files.bars(&request("AAA")).await.unwrap().bars.num_rows(), 2);
    assert_eq!(files.bars(&request("BBB")).await.unwrap_err().kind, FailureKind::Unknown);
    let together = tempfile::tempdir().unwrap();
    let csv = "Symbol,Date,Open,High,Low,Close\nAAA,2024-01-02,1,1,1,1\nBBB,2024-01-02,2,2,2,2\n";
    std::fs::write(together.path().join("all.csv"), csv).unwrap();
    let files = Files::new(together.path().display().to_string());
    assert_eq!(files.bars(&request("BBB")).await.unwrap().bars.num_rows(), 1);
    assert_eq!(files.bars(&request("CCC")).await.unwrap_err().kind, FailureKind::Unknown);
}

#[tokio::test]
async fn a_symbol_is_asked_for_as_it_was_written_then() {
    let server = Server::start(Script::default()).await;
    let table = "symbol,provider,spelling,from,to\nMETA,stooq,fb.us,,2024-01-03\nMETA,stooq,meta.us,2024-01-04,\n";
    let chain = Chain::new(Arc::new(Stooq::new(fetch(&server), key())))
        .with_basis(Basis::Split)
        .with_spellings(Spellings::from_csv(table).unwrap());
    let served = ask(&chain, "META").await.unwrap();
    assert_eq!(column(&served, "symbol"), vec!["META"; 5]);
    let asked: Vec<String> = server.seen().into_iter().map(|it| it.target).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[0].contains("s=fb.us") && asked[0].contains("d2=20240103"), "{asked:?}");
    assert!(asked[1].contains("s=meta.us") && asked[1].contains("d1=20240104"), "{asked:?}");
    assert!(Spellings::from_csv("symbol,provider,spelling,from,to\nA,x,a,,\nA,x,b,2020-01-01,\n").is_err());

    // The table of symbols tells it, if the provider describes its symbols at all.
    assert_eq!(served.found.symbols.num_rows(), 0);
    let table = "symbol,provider,spelling,from,to\nMETA,yahoo,META,2024-01-04,\n";
    let chain = Chain::new(Arc::new(Yahoo::new(fetch(&server)))).with_spellings(Spellings::from_csv(table).unwrap());
    let served = chain.bars(&Asked::new("META", "FB"), &request("META"), None, None).await.unwrap();
    let row = pretty_format_batches(&[served.found.symbols.project(&[0, 3, 11, 12, 13]).unwrap()]).unwrap().to_string();
    assert!(row.contains("| META   | NMS      | FB           | META       | 2024-01-04 |"), "{row}");
}

#[tokio::test]
async fn a_restart_stays_with_the_provider_and_a_change_reads_all_again() {
    let (bars, store) = (MemorySink::new(WriteMode::Merge), CheckpointStore::in_memory());
    let run = async |server: &Server, now: &str| {
        let fetch = fetch(server);
        let chain =
            Chain::new(Arc::new(Yahoo::new(Arc::clone(&fetch)))).then(Arc::new(AlphaVantage::new(fetch, key())));
        let source = YahooSource::over(chain, [Asked::same("IBM")])
            .between(Some(day("2024-01-02")), None)
            .with_now(now.parse().unwrap());
        let pipeline = Pipeline::builder("chain")
            .source(source)
            .sink(SinkStep::new("bars", bars.clone()).relation("bars"))
            .store(store.clone())
            .build()
            .unwrap();
        let report = pipeline.run(RunOptions::default()).await.unwrap();
        assert_eq!(report.left_out().count(), 0);
        pipeline.checkpoint().await.unwrap().get("IBM").unwrap().to_owned()
    };
    let providers = || {
        let batch = bars.read().unwrap().unwrap();
        let column = batch.column_by_name("provider").unwrap().as_string::<i32>();
        column.iter().flatten().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let down = Server::start(Script::default().with("/v8", When::Always, Trouble::html())).await;
    assert!(run(&down, "2024-02-10T00:00:00Z").await.ends_with(" alpha_vantage"));
    // Yahoo is back, but the symbol stays where its bars are from.
    let up = Server::start(Script::default()).await;
    assert!(run(&up, "2024-02-14T00:00:00Z").await.ends_with(" alpha_vantage"));
    assert_eq!(up.count("/v8"), 0);
    assert_eq!(providers().into_iter().collect::<Vec<_>>(), ["alpha_vantage"]);
    // Now the other one is down: Yahoo gives everything again.
    let other = Server::start(Script::default().with("/query", When::Always, Trouble::html())).await;
    assert!(run(&other, "2024-02-17T00:00:00Z").await.ends_with('Z'));
    assert_eq!(providers().into_iter().collect::<Vec<_>>(), ["yahoo"]);
}

#[tokio::test]
async fn an_examination_says_what_is_missing_and_what_is_new() {
    let server = Server::start(Script::default()).await;
    let now = "2026-01-10T00:00:00Z".parse().unwrap();
    let found = examine("stooq", &fetch(&server), Some(&key()), now).await;
    assert!(found[0].ok && found[0].missing.is_empty() && found[0].new.is_empty(), "{found:?}");
    let odd = Trouble::Answer {
        status: 200,
        headers: Vec::new(),
        body: "Date,Open,High,Low,Close,Trades\n2026-01-05,1,1,1,1,9\n".to_owned(),
    };
    let server = Server::start(Script::default().with("/q", When::Always, odd)).await;
    let found = examine("stooq", &fetch(&server), Some(&key()), now).await;
    assert_eq!((found[0].missing.clone(), found[0].new.clone()), (vec!["Volume".into()], vec!["Trades".into()]));
    let server = Server::start(Script::default()).await;
    let empty = Trouble::Answer {
        status: 200,
        headers: Vec::new(),
        body: r#"{"quoteResponse":{"result":[],"error":null}}"#.to_owned(),
    };
    let nothing = Server::start(Script::default().with("/v7", When::Always, empty)).await;
    let found = examine("yahoo", &fetch(&nothing), None, now).await;
    let quote = found.iter().find(|it| it.endpoint == "quote").unwrap();
    assert!(!quote.ok && quote.rows == 0 && quote.reason.is_some(), "{quote:?}");
    let found = examine("alpha_vantage", &fetch(&server), None, now).await;
    assert!(found.iter().all(|it| !it.ok && it.reason.is_some()), "{found:?}");
}
