//! What a pipeline of transforms refuses before it reads a row, and what it finds out about itself then.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::testing::csv;
use super::{
    Action, Adjust, Aggregate, Clean, Indicators, Interval, Normalize, Period, Quality, Resample, Rule, Sql,
    SymbolFrom, Transform,
};
use crate::error::Error;
use crate::memory::{MemorySink, MemorySource};
use crate::pipeline::{Description, Mode, Pipeline, RunOptions, RunReport, SinkStep, Step};
use crate::relation::RelationSchema;
use crate::schema::Basis;
use crate::sink::WriteMode;
use crate::store::CheckpointStore;

/// A source whose columns are only known once it is opened, as those of files are.
fn files() -> MemorySource {
    MemorySource::new([RelationSchema::new("input", Arc::new(Schema::empty()))])
}

/// Normalize, Clean (the history relation), then the step.
fn pipeline(normalize: Normalize, clean: Clean, step: impl Transform + 'static) -> Pipeline {
    let bars = MemorySink::new(WriteMode::Merge);
    Pipeline::builder("planned")
        .source(files())
        .step(Step::new("normalized", normalize))
        .step(Step::new("bars", clean))
        .step(Step::new("last", step))
        .history("bars", Arc::new(bars.clone()))
        .sink(SinkStep::new("bars", bars).relation("bars"))
        .sink(SinkStep::new("last", MemorySink::new(WriteMode::Append)))
        .build()
        .unwrap()
}

async fn described(normalize: Normalize, clean: Clean, step: impl Transform + 'static) -> Result<Description, String> {
    pipeline(normalize, clean, step).describe().await.map_err(|error| error.chain().join(": "))
}

#[track_caller]
fn check(found: Result<Description, String>, expected: &str) {
    let error = found.err().unwrap_or_else(|| panic!("accepted, though {expected}"));
    assert!(error.contains(expected), "{error}");
}

async fn refused(step: impl Transform + 'static, expected: &str) {
    check(described(Normalize::new(), Clean::new(), step).await, expected);
}

async fn refused_sql(query: &str, expected: &str) {
    refused(Sql::new(query).unwrap(), expected).await;
}

#[tokio::test]
async fn parameters_are_checked_though_the_columns_of_the_source_are_not_known() {
    refused(Adjust::by_ratio().with_target(Basis::Split), "`split` cannot be read from the ratio").await;
    refused(Quality::new().with_threshold(-1.0), "invalid threshold for quality").await;
    let monthly = Resample::to(Interval::MONTH).with_from(Interval::WEEK);
    refused(monthly, "bars of `1wk` cannot be put together").await;
    refused(Resample::to("1h".parse().unwrap()).with_session_start(2000), "2000 is not in 0..1440").await;
    refused(Resample::to("1h".parse().unwrap()).with_timezone("Mars/Base"), "`Mars/Base` is no time zone").await;
    refused(Aggregate::new(Period::Month).with_bars_per_year(0.0), "invalid bars_per_year").await;
    refused(Aggregate::new(Period::Month).with_group(["nosuch"]), "`nosuch` is missing").await;
    refused(Indicators::parse(&["sma(2, input = symbol)"]).unwrap(), "holds no numbers").await;
    refused(Indicators::parse(&["sma(2, input = nosuch)"]).unwrap(), "`nosuch` is missing").await;
    let last = || Indicators::parse(&["sma(2)"]).unwrap();
    let normalize = Normalize::new();
    check(described(normalize.clone(), Clean::new().with_rule(Rule::Date, Action::Off), last()).await, "rule `date`");
    check(described(normalize.clone(), Clean::new().with_tolerance(-1.0), last()).await, "invalid tolerance");
    check(described(normalize.clone().with_timezone("Mars/Base"), Clean::new(), last()).await, "is no time zone");
    check(described(normalize.with_bad_dates(Action::Off), Clean::new(), last()).await, "invalid bad_dates");
}

#[tokio::test]
async fn queries_are_planned_though_the_columns_of_the_source_are_not_known() {
    refused_sql("SELECT nosuch FROM bars", "nosuch").await;
    refused_sql("SELECT *, random() AS r FROM bars", "each time").await;
    let over = "OVER (PARTITION BY symbol ORDER BY ts)";
    refused_sql(&format!("SELECT rsi(close, 1) {over} AS r FROM bars"), "invalid timeperiod for rsi: 1 is not in")
        .await;
    refused_sql("SELECT rsi(close) OVER (PARTITION BY symbol) AS r FROM bars", "without ORDER BY").await;
    refused_sql(&format!("SELECT rsi(symbol) {over} AS r FROM bars"), "must be a number").await;
}

#[tokio::test]
async fn what_depends_on_columns_that_are_not_known_is_let_pass() {
    for query in
        ["SELECT \"Close\" AS close FROM input", "SELECT * FROM input", "SELECT upper(\"Name\") AS n FROM input"]
    {
        let sink = MemorySink::new(WriteMode::Append);
        let pipeline = Pipeline::builder("raw")
            .source(files())
            .step(Step::new("first", Sql::new(query).unwrap()))
            .step(Step::new("second", Sql::new("SELECT nosuch FROM first").unwrap()))
            .sink(SinkStep::new("out", sink))
            .build()
            .unwrap();
        assert!(pipeline.describe().await.is_ok(), "{query}");
    }
}

#[tokio::test]
async fn a_query_by_symbol_right_after_normalize_is_seen_as_one() {
    let query = "SELECT symbol, ts, rsi(close) OVER (PARTITION BY symbol ORDER BY ts) AS r FROM input";
    let known = crate::testing::bars("A", &[], 1).unwrap().schema();
    for source in [files(), MemorySource::new([RelationSchema::new("input", known)])] {
        let pipeline = Pipeline::builder("scope")
            .mode(Mode::Full)
            .source(source)
            .step(Step::new("normalized", Normalize::new()))
            .step(Step::new("rsi", Sql::new(query).unwrap()))
            .sink(SinkStep::new("out", MemorySink::new(WriteMode::Overwrite)))
            .build()
            .unwrap();
        let scopes: Vec<_> = pipeline.describe().await.unwrap().steps.into_iter().map(|it| it.scope).collect();
        assert_eq!(scopes, [Some("row".to_string()), Some("symbol".to_string())]);
    }
}

const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume";

/// Runs a pipeline of one Normalize over rows of text, one epoch a text.
async fn normalized(
    mode: Mode,
    normalize: Normalize,
    epochs: &[Vec<String>],
) -> Result<(Vec<String>, RunReport), Error> {
    let schema = csv(&format!("{HEADER}\n"), false).schema();
    let source = MemorySource::new([RelationSchema::new("input", schema)]);
    let write = if mode == Mode::Full { WriteMode::Overwrite } else { WriteMode::Merge };
    let sink = MemorySink::new(write);
    let pipeline = Pipeline::builder("normalized")
        .mode(mode)
        .source(source.clone())
        .step(Step::new("bars", normalize))
        .sink(SinkStep::new("bars", sink.clone()))
        .store(CheckpointStore::in_memory())
        .build()?;
    let mut last = None;
    for rows in epochs {
        source.push("p", "input", csv(&format!("{HEADER}\n{}\n", rows.join("\n")), false));
        last = Some(pipeline.run(RunOptions::default()).await?);
    }
    let intervals = sink.read()?.map(|batch| {
        let column = batch.column_by_name("interval").cloned().unwrap();
        let mut found: Vec<String> =
            arrow::array::AsArray::as_string::<i32>(&column).iter().flatten().map(str::to_string).collect();
        found.dedup();
        found
    });
    Ok((intervals.unwrap_or_default(), last.unwrap()))
}

fn minutes(day: u32, n: u32, step: u32) -> Vec<String> {
    (0..n).map(|it| format!("A,2024-01-{day:02} {:02}:{:02},1,1,1,1,1", 9 + it * step / 60, it * step % 60)).collect()
}

/// Dates so many days apart.
fn days(n: u64, step: u64) -> Vec<String> {
    let first = chrono::NaiveDate::from_ymd_opt(2024, 1, 5).unwrap();
    (0..n).map(|it| format!("A,{},1,1,1,1,1", first + chrono::Days::new(it * step))).collect()
}

#[tokio::test]
async fn an_interval_is_recognised_where_the_whole_series_is_read_and_never_from_a_part() {
    let thin = [minutes(2, 20, 5), minutes(3, 6, 15)];
    let full = async |rows: Vec<String>| normalized(Mode::Full, Normalize::new(), &[rows]).await.unwrap().0;
    assert_eq!(full(thin.concat()).await, ["5m"]);
    assert_eq!(full(days(10, 7)).await, ["1wk"]);
    assert_eq!(full(days(10, 1)).await, ["1d"]);
    for epochs in [vec![thin.concat()], thin.to_vec(), vec![minutes(3, 6, 15)], vec![days(10, 7)], vec![days(13, 30)]] {
        let error = normalized(Mode::Incremental, Normalize::new(), &epochs).await.unwrap_err();
        let error = error.chain().join(": ");
        assert!(error.contains("step `bars`") && error.contains("interval = \"5m\""), "{error}");
    }
    for (interval, epochs) in [("5m", thin.to_vec()), ("1wk", vec![days(10, 7), vec![days(11, 7).pop().unwrap()]])] {
        let given = Normalize::new().with_interval(interval.parse().unwrap());
        assert_eq!(normalized(Mode::Incremental, given, &epochs).await.unwrap().0, [interval]);
    }
}

#[tokio::test]
async fn days_need_no_interval_however_few_come() {
    let one_each: Vec<Vec<String>> = days(4, 1).into_iter().map(|it| vec![it]).collect();
    assert_eq!(normalized(Mode::Incremental, Normalize::new(), &one_each).await.unwrap().0, ["1d"]);
    // Corrections, and a year with holidays.
    let corrections = vec![days(60, 1), vec![days(9, 9).remove(1), days(29, 1).remove(28), days(59, 1).remove(58)]];
    assert_eq!(normalized(Mode::Incremental, Normalize::new(), &corrections).await.unwrap().0, ["1d"]);
}

#[tokio::test]
async fn bad_dates_are_counted_by_symbol_and_do_what_the_rule_says() {
    let rows = vec!["A,2024-01-02,1,1,1,1,1".into(), "A,soon,1,1,1,1,1".into(), "B,,1,1,1,1,1".into()];
    let run = async |normalize: Normalize| normalized(Mode::Incremental, normalize, std::slice::from_ref(&rows)).await;
    let told = |report: &RunReport| {
        let notes = report.epochs.iter().flat_map(|it| &it.notes).filter(|it| it.kind != "normalize.basis");
        let mut told: Vec<String> =
            notes.map(|it| format!("{} {} {}", it.kind, it.symbol.clone().unwrap_or_default(), it.rows)).collect();
        told.sort();
        told
    };
    let expected = ["normalize.date A 1", "normalize.date B 1", "normalize.lost B 1"];
    for (action, letters) in [(Action::DeadLetter, 2), (Action::Drop, 0)] {
        let (intervals, report) = run(Normalize::new().with_bad_dates(action)).await.unwrap();
        assert_eq!((intervals, report.dead_letters()), (vec!["1d".to_string()], letters), "{action:?}");
        assert_eq!(told(&report), expected);
        assert_eq!(report.warnings().count(), 1);
    }
    let error = run(Normalize::new().with_bad_dates(Action::Fail)).await.unwrap_err().chain().join(": ");
    assert!(error.contains("normalize.date") && error.contains("column `Date`"), "{error}");
}

#[tokio::test]
async fn the_symbol_of_a_file_is_no_matter_of_scope() {
    let pipeline = pipeline(
        Normalize::new().with_symbol(SymbolFrom::FileName),
        Clean::new(),
        Indicators::parse(&["rsi(14)"]).unwrap(),
    );
    let scopes: Vec<_> = pipeline.describe().await.unwrap().steps.into_iter().filter_map(|it| it.scope).collect();
    assert_eq!(scopes, ["row", "row", "symbol"]);
}
