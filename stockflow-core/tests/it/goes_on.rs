//! What goes on from state from one epoch to the next: each series from its own, queries like lists of indicators, and
//! relations with several readers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{Builder, Pipeline, RunOptions, SinkStep, Step};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{bars, bars_relation};
use stockflow_core::transform::{Aggregate, Indicators, Period, Sql};

use crate::support::{Same, Watched, seen};

/// Bars of a symbol, all of an interval.
fn of(symbol: &str, interval: &str, closes: &[(i32, f64)], as_of: i64) -> RecordBatch {
    let plain = bars(symbol, closes, as_of).unwrap();
    let mut columns = plain.columns().to_vec();
    columns[1] = Arc::new(StringArray::from(vec![interval; closes.len()])) as ArrayRef;
    RecordBatch::try_new(plain.schema(), columns).unwrap()
}

fn days(from: i32, to: i32) -> Vec<(i32, f64)> {
    (from..to).map(|day| (day, f64::from(day * day % 7) + 1.0)).collect()
}

/// What the last sink holds after these epochs, and how often the last of them looked into the history.
async fn run(epochs: &[Vec<RecordBatch>], steps: impl Fn(Builder) -> Builder) -> (Vec<String>, usize) {
    let source = MemorySource::new([bars_relation()]);
    let (lake, computed) = (MemorySink::new(WriteMode::Merge), MemorySink::new(WriteMode::Merge));
    let store = CheckpointStore::in_memory();
    let watched = Watched::new(&lake);
    for epoch in epochs {
        watched.n_looks.store(0, Ordering::SeqCst);
        epoch.iter().for_each(|batch| source.push("rows", "bars", batch.clone()));
        let builder = Pipeline::builder("goes_on").source(source.clone()).step(Step::new("clean", Same));
        let pipeline = steps(builder)
            .history("clean", Arc::new(watched.clone()))
            .sink(SinkStep::new("bars", lake.clone()).relation("clean"))
            .sink(SinkStep::new("computed", computed.clone()).relation("computed"))
            .store(store.clone())
            .build()
            .unwrap();
        pipeline.run(RunOptions::default()).await.unwrap();
    }
    (seen(&computed), watched.n_looks.load(Ordering::SeqCst))
}

fn query(text: &str) -> Sql {
    Sql::new(text).unwrap().with_key(["symbol", "interval", "ts"]).with_version("revision")
}

/// Three epochs of two symbols, each day after the one before.
fn three_epochs() -> [Vec<RecordBatch>; 3] {
    [(0, 9, 1), (9, 10, 2), (10, 12, 3)]
        .map(|(from, to, as_of)| ["AAA", "BBB"].map(|symbol| of(symbol, "1d", &days(from, to), as_of)).to_vec())
}

#[tokio::test]
async fn a_series_that_an_epoch_does_not_bring_keeps_its_state() {
    let epochs = [
        vec![of("AAA", "1d", &days(0, 5), 1), of("AAA", "1wk", &days(0, 5), 1)],
        vec![of("AAA", "1wk", &days(5, 8), 2)],
        vec![of("AAA", "1d", &days(8, 10), 3)],
        vec![of("AAA", "1wk", &days(10, 12), 4)],
    ];
    let steps =
        |builder: Builder| builder.step(Step::new("computed", Indicators::parse(&["ema(3)", "sma(2)"]).unwrap()));
    let (split, n_looks) = run(&epochs, steps).await;
    assert_eq!(n_looks, 0);
    assert_eq!(split, run(&[epochs.concat()], steps).await.0);
}

#[tokio::test]
async fn a_query_over_earlier_bars_goes_on_without_a_look_at_the_history() {
    let epochs = three_epochs();
    for (text, goes_on) in [
        (
            "SELECT symbol, \"interval\", ts, ema(close, 3) OVER w AS ema FROM input WHERE volume > 0 WINDOW w AS (PARTITION BY symbol, \"interval\" ORDER BY ts)",
            true,
        ),
        (
            "SELECT symbol, \"interval\", ts, round(avg(close) OVER (PARTITION BY symbol ORDER BY ts ROWS 3 PRECEDING), 3) AS ma, lag(close) OVER (PARTITION BY symbol ORDER BY ts) AS before FROM input",
            true,
        ),
        (
            "WITH a AS (SELECT *, sum(close) OVER (PARTITION BY symbol, date ORDER BY ts ROWS UNBOUNDED PRECEDING) AS s FROM input) SELECT symbol, \"interval\", ts, rsi(s, 3) OVER (PARTITION BY symbol ORDER BY ts) AS rsi FROM a",
            true,
        ),
        (
            "SELECT symbol, \"interval\", ts, macd(close, 2, 4, 2) OVER (PARTITION BY symbol ORDER BY ts)['signal'] AS signal FROM input",
            true,
        ),
        // What looks ahead, at other rows of the same time, at all rows or at the clock, or gives the key another value, does not.
        (
            "SELECT symbol, \"interval\", ts, lead(close) OVER (PARTITION BY symbol ORDER BY ts) AS next FROM input",
            false,
        ),
        ("SELECT symbol, \"interval\", ts, avg(close) OVER (PARTITION BY symbol) AS mean FROM input", false),
        (
            "SELECT symbol, \"interval\", ts, avg(close) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS mean FROM input",
            false,
        ),
        (
            "SELECT symbol, \"interval\", ts, avg(close) OVER (PARTITION BY symbol ORDER BY ts DESC ROWS 1 PRECEDING) AS mean FROM input",
            false,
        ),
        ("SELECT symbol, \"interval\", ts, rank() OVER (PARTITION BY date ORDER BY close) AS place FROM input", false),
        (
            "SELECT symbol, \"interval\", ts, ema(close, 3) OVER (PARTITION BY symbol ORDER BY ts) AS ema FROM input WHERE ts < now()",
            false,
        ),
        (
            "SELECT symbol, \"interval\", ts, ht_trendline(close) OVER (PARTITION BY symbol ORDER BY ts) AS trend FROM input",
            false,
        ),
        (
            "SELECT symbol, \"interval\", CAST(CAST(ts AS DATE) AS TIMESTAMP) AS ts, ema(close, 3) OVER (PARTITION BY symbol ORDER BY ts) AS ema FROM input",
            false,
        ),
        ("SELECT symbol, \"interval\", ts, row_number() OVER (PARTITION BY symbol ORDER BY ts) AS n FROM input", false),
    ] {
        let steps = |builder: Builder| builder.step(Step::new("computed", query(text)));
        let (split, n_looks) = run(&epochs, steps).await;
        assert_eq!(n_looks == 0, goes_on, "{n_looks} looks: {text}");
        assert_eq!(split, run(&[epochs.concat()], steps).await.0, "{text}");
    }
}

#[tokio::test]
async fn a_relation_with_several_readers_keeps_its_state_although_no_sink_takes_it() {
    let epochs = three_epochs();
    let steps = |builder: Builder| {
        builder
            .step(Step::new("fast", Indicators::parse(&["ema(3)"]).unwrap()))
            .step(Step::new("computed", query("SELECT symbol, \"interval\", ts, ema(ema_3, 2) OVER (PARTITION BY symbol ORDER BY ts) AS slow FROM input")))
            .step(Step::new("months", Aggregate::new(Period::Month)).input("clean"))
            .step(Step::new("other", query("SELECT symbol, \"interval\", ts, ema_3 FROM input")).input("fast"))
    };
    let (split, n_looks) = run(&epochs, steps).await;
    assert_eq!(n_looks, 0);
    assert_eq!(split, run(&[epochs.concat()], steps).await.0);
}
