//! What is new, what corrects, what changes nothing; and what was known when.

use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch};
use chrono::DateTime;
use datafusion::prelude::SessionContext;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::bar_relation;
use stockflow_core::sink::{Sink, Staged};
use stockflow_core::token::Generation;

use super::super::attempt::Attempt;
use super::super::{AsOfTable, as_of_view};
use super::support::*;

fn attempt(staged: &Staged) -> &Attempt {
    staged.payload.downcast_ref().unwrap()
}

const REVISIONS: &str = "SELECT symbol, date, close, as_of::date AS known, replaced_as_of::date AS replaced FROM t ORDER BY symbol, ts, as_of";

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_rewrites_its_file_only() {
    let lake = Lake::new();
    let sink = lake.sink();
    let years = ["2020-05-05", "2021-05-05", "2022-05-05", "2023-05-05"];
    let bars: Vec<_> = years
        .iter()
        .flat_map(|day| [bar("AAPL", day, 1.0, "2024-01-01"), bar("IBM", day, 2.0, "2024-01-01")])
        .collect();
    write_new(&sink, 1, &rows(&bars)).await;
    write(&sink, 2, &rows(&[bar("IBM", "2022-05-06", 3.0, "2024-01-02")])).await.unwrap();

    let staged = sink.stage(&token(3), &rows(&[bar("IBM", "2022-05-05", 2.5, "2024-01-03")])).await.unwrap();
    let done = attempt(&staged);
    assert_eq!((done.removes.len(), done.adds.len(), done.rows, done.corrected, done.files_read), (1, 2, 1, 1, 1));
    assert!(done.removes[0].path.starts_with("interval=1d/span=2022/"), "{}", done.removes[0].path);
    assert_eq!(
        done.adds.iter().map(|add| &add.partition_values["span"]).collect::<Vec<_>>(),
        [&Some("2022".to_owned()); 2]
    );
    assert_eq!(sink.commit(staged).await.unwrap().rows, 1);
    assert_eq!(
        query(
            &lake.url("bars"),
            "SELECT symbol, close FROM t WHERE date >= '2022-01-01' AND date < '2023-01-01' ORDER BY 1, ts"
        )
        .await,
        "AAPL 1.0 | IBM 2.5 | IBM 3.0"
    );
    assert_eq!(query(&lake.url("bars"), "SELECT count(*) FROM t").await, "9");
    assert_eq!(query(&lake.url("bars_revisions"), REVISIONS).await, "IBM 2022-05-05 2.0 2024-01-01 2024-01-03");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_nothing() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &rows(&[bar("AAPL", "2024-01-02", 100.0, "2024-01-03")])).await;
    let unchanged = [
        ("an equal version", bar("AAPL", "2024-01-02", 200.0, "2024-01-03")),
        ("a lower version", bar("AAPL", "2024-01-02", 200.0, "2024-01-01")),
        ("the same values", bar("AAPL", "2024-01-02", 100.0, "2024-01-05")),
        ("the seventh digit", bar("AAPL", "2024-01-02", 100.000_09, "2024-01-05")),
    ];
    for (epoch, (what, bar)) in (2..).zip(unchanged) {
        let before = lake.objects("bars");
        assert_eq!(write(&sink, epoch, &rows(&[bar])).await.unwrap().rows, 0, "{what}");
        assert_eq!(lake.objects("bars"), before, "{what}");
        assert_eq!(
            sink.open(&id(), Generation(1)).await.unwrap(),
            Some(token(epoch)),
            "the token is kept all the same"
        );
    }
    assert_eq!(closes(&lake.url("bars")).await, "AAPL 2024-01-02 100.0");
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT count(*) FROM t").await, "0");
    assert_eq!(write(&sink, 9, &rows(&[bar("AAPL", "2024-01-02", 100.000_2, "2024-01-05")])).await.unwrap().rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_higher_version_wins_within_an_epoch_and_then_the_later_row() {
    let lake = Lake::new();
    let sink = lake.sink();
    let first = batch(&[
        bar("A", "2024-01-02", 3.0, "2024-01-09"),
        bar("B", "2024-01-02", 1.0, "2024-01-05"),
        bar("C", "2024-01-02", 5.0, "2024-01-05"),
    ]);
    let second = batch(&[
        bar("B", "2024-01-02", 2.0, "2024-01-05"),
        bar("A", "2024-01-02", 4.0, "2024-01-08"),
        bar("C", "2024-01-02", 6.0, "2024-01-04"),
    ]);
    write_new(&sink, 1, &rows_of(bar_relation("bars"), vec![first, second])).await;
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 3.0 | B 2024-01-02 2.0 | C 2024-01-02 5.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn nan_and_null_are_values() {
    let lake = Lake::new();
    let sink = lake.sink();
    let with =
        |close: Option<f64>, as_of: &str| rows(&[super::support::Bar { close, ..bar("A", "2024-01-02", 0.0, as_of) }]);
    let steps = [
        (Some(f64::NAN), 1),
        (Some(f64::NAN), 0),
        (None, 1),
        (None, 0),
        (Some(1.0), 1),
        (Some(f64::INFINITY), 1),
        (Some(f64::INFINITY), 0),
    ];
    sink.open(&id(), Generation(1)).await.unwrap();
    for (epoch, (close, changes)) in (1..).zip(steps) {
        let written = write(&sink, epoch, &with(close, &format!("2024-02-{epoch:02}"))).await.unwrap();
        assert_eq!(written.rows, changes, "epoch {epoch}: {close:?}");
    }
    assert_eq!(query(&lake.url("bars"), "SELECT close FROM t").await, "inf");
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT count(*) FROM t").await, "3");
}

/// `symbol, value, revision`, keyed by symbol.
fn derived(values: &[(&str, f64, i64)]) -> stockflow_core::sink::EpochRows {
    let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
        ("symbol", Arc::new(arrow::array::StringArray::from_iter_values(values.iter().map(|row| row.0)))),
        ("value", Arc::new(values.iter().map(|row| Some(row.1)).collect::<Float64Array>())),
        (
            "revision",
            Arc::new(
                arrow::array::TimestampMicrosecondArray::from_iter_values(values.iter().map(|row| row.2))
                    .with_timezone("UTC"),
            ),
        ),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    rows_of(RelationSchema::new("quality", batch.schema()).with_key(["symbol"]).with_version("revision"), vec![batch])
}

#[tokio::test(flavor = "multi_thread")]
async fn derived_rows_are_compared_exactly_and_keep_no_revisions() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &derived(&[("A", 1.0, 10), ("B", f64::NAN, 10)])).await;
    assert_eq!(write(&sink, 2, &derived(&[("A", 1.0 + 1e-12, 20), ("B", f64::NAN, 20)])).await.unwrap().rows, 1);
    assert_eq!(write(&sink, 3, &derived(&[("A", 1.0 + 1e-12, 30), ("B", f64::NAN, 30)])).await.unwrap().rows, 0);
    assert_eq!(
        query(&lake.url("bars"), "SELECT symbol, value, date_part('microsecond', revision) AS r FROM t ORDER BY 1")
            .await,
        "A 1.000000000001 20 | B NaN 10"
    );
    assert!(!lake.folder.path().join("bars_revisions").exists());
    assert_eq!(lake.objects("bars").len(), 3, "the file without rows that count is not written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_epochs_cost_the_same_again_and_again() {
    let lake = Lake::new();
    let sink = lake.sink();
    sink.open(&id(), Generation(1)).await.unwrap();
    let start = at("2024-01-01");
    for epoch in 1..=50 {
        let day = DateTime::from_timestamp_micros(start + i64::try_from(epoch).unwrap() * 86_400_000_000)
            .unwrap()
            .format("%Y-%m-%d")
            .to_string();
        let staged = sink.stage(&token(epoch), &rows(&[bar("AAPL", &day, 1.0, "2024-06-01")])).await.unwrap();
        assert_eq!((attempt(&staged).files_read, attempt(&staged).adds.len()), (0, 1), "epoch {epoch}");
        sink.commit(staged).await.unwrap();
    }
    assert_eq!(query(&lake.url("bars"), "SELECT count(*), count(DISTINCT ts) FROM t").await, "50 50");
    let staged = sink.stage(&token(51), &rows(&[bar("IBM", "2024-02-01", 1.0, "2024-06-01")])).await.unwrap();
    assert_eq!(attempt(&staged).files_read, 0, "another symbol is in none of the files");
    let staged = sink.stage(&token(51), &rows(&[bar("AAPL", "2024-02-01", 1.0, "2024-06-01")])).await.unwrap();
    assert_eq!(attempt(&staged).files_read, 1, "one file may hold this key");
    // The state is as good as new for a reader that begins from a checkpoint.
    assert_eq!(lake.sink().open(&id(), Generation(2)).await.unwrap(), Some(token(50)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_as_they_were_known() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &rows(&[bar("A", "2024-01-02", 1.0, "2024-02-01"), bar("A", "2024-01-03", 5.0, "2024-02-01")]))
        .await;
    write(&sink, 2, &rows(&[bar("A", "2024-01-02", 2.0, "2024-03-01")])).await.unwrap();
    write(&sink, 3, &rows(&[bar("A", "2024-01-02", 3.0, "2024-04-01")])).await.unwrap();
    let session = SessionContext::new();
    for (when, strict, expected) in [
        ("2024-01-02T23:59:59Z", false, ""),
        ("2024-01-03T00:00:00Z", false, "2024-01-02 1.0"),
        ("2024-01-04T00:00:00Z", false, "2024-01-02 1.0 | 2024-01-03 5.0"),
        ("2024-01-04T00:00:00Z", true, ""),
        ("2024-02-01T00:00:00Z", true, "2024-01-02 1.0 | 2024-01-03 5.0"),
        ("2024-02-29T00:00:00Z", false, "2024-01-02 1.0 | 2024-01-03 5.0"),
        ("2024-03-01T00:00:00Z", false, "2024-01-02 2.0 | 2024-01-03 5.0"),
        ("2024-05-01T00:00:00Z", true, "2024-01-02 3.0 | 2024-01-03 5.0"),
    ] {
        let view = as_of_view(&session, lake.url("bars"), when.parse().unwrap(), strict).await.unwrap();
        let _ = session.deregister_table("known");
        session.register_table("known", view.into_view()).unwrap();
        session.register_udtf("bars_at", Arc::new(AsOfTable::open(lake.url("bars")).await.unwrap()));
        for known in [
            "known".to_owned(),
            format!("bars_at('{when}', {strict})"),
            format!("bars_at(TIMESTAMPTZ '{when}', {strict})"),
        ] {
            let sql = format!("SELECT date, close FROM {known} ORDER BY ts");
            let rows = session.sql(&sql).await.unwrap().collect().await.unwrap();
            assert_eq!(print(rows), expected, "{known}, strict {strict}");
        }
    }
    for wrong in ["", "1709251200", "close", "NULL", "'2024-03-01', 1", "'the first of March'"] {
        let refused = session.sql(&format!("SELECT * FROM bars_at({wrong})")).await.unwrap_err().to_string();
        assert!(
            refused.contains("what was known when is asked for by a time") || wrong == "close",
            "{wrong}: {refused}"
        );
    }
}
