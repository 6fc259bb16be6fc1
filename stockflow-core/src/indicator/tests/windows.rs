//! Windows that have no meaning are errors, with the reason in one sentence.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::data::{table, wave};
use super::{numbers, query, query_error, session, session_with};

fn bars() -> SessionContext {
    session(table(&[("A", &wave(40, 1)), ("B", &wave(30, 2))]))
}

async fn check(select: &str, expected: &str) {
    let session = bars();
    let error = query_error(&session, &format!("SELECT {select} FROM bars")).await;
    assert!(error.ends_with(expected), "{select}\n  gave   {error}\n  wanted {expected}");
}

#[tokio::test]
async fn order_by_is_needed() {
    let expected =
        "invalid call of rsi: without ORDER BY its rows have no order, write OVER (PARTITION BY symbol ORDER BY ts)";
    check("rsi(close) OVER (PARTITION BY symbol)", expected).await;
    check("rsi(close) OVER ()", expected).await;
    check("rsi(close) OVER (PARTITION BY symbol ORDER BY 1)", expected).await;
    check("ta_rsi(close) OVER (PARTITION BY symbol RANGE UNBOUNDED PRECEDING)", expected).await;
}

#[tokio::test]
async fn time_runs_forward() {
    check(
        "rsi(close) OVER (PARTITION BY symbol ORDER BY ts DESC)",
        "invalid call of rsi: it runs forward in time, but `bars.ts` is descending: sort the result instead",
    )
    .await;
}

#[tokio::test]
async fn a_frame_has_no_meaning() {
    check(
        "sma(close, 3) OVER (PARTITION BY symbol ORDER BY ts ROWS 19 PRECEDING)",
        "invalid call of sma: it has its own period, so the frame `ROWS BETWEEN 19 PRECEDING AND CURRENT ROW` has no \
         meaning: leave it out",
    )
    .await;
    check(
        "sma(close, 3) OVER (PARTITION BY symbol ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        "has no meaning: leave it out",
    )
    .await;
    let session = bars();
    let all = "SELECT sma(close, 3) OVER (PARTITION BY symbol ORDER BY ts ROWS UNBOUNDED PRECEDING) FROM bars";
    assert_eq!(query(&session, all).await.num_rows(), 70);
}

#[tokio::test]
async fn null_treatment_distinct_and_filter_are_refused() {
    let over = "OVER (PARTITION BY symbol ORDER BY ts)";
    check(&format!("rsi(close) RESPECT NULLS {over}"), "is skipped: leave out RESPECT NULLS").await;
    check(&format!("rsi(DISTINCT close) {over}"), "every bar counts: leave out DISTINCT").await;
    let session = bars();
    let error = query_error(&session, &format!("SELECT rsi(close) FILTER (WHERE close > 1) {over} FROM bars")).await;
    assert!(error.contains("FILTER clause can only be used with aggregate window functions"), "{error}");
    query(&session, &format!("SELECT rsi(close) IGNORE NULLS {over} FROM bars")).await;
}

#[tokio::test]
async fn parameters_are_literals_in_range() {
    let over = "OVER (PARTITION BY symbol ORDER BY ts)";
    for (call, expected) in [
        ("sma(close, 0)", "invalid timeperiod for sma: 0 is not in 1..=100000"),
        ("sma(close, -5)", "invalid timeperiod for sma: -5 is not in 1..=100000"),
        ("sma(close, 2.5)", "invalid timeperiod for sma: 2.5 is not a whole number"),
        ("sma(close, 100001)", "invalid timeperiod for sma: 100001 is not in 1..=100000"),
        ("sma(close, 9223372036854775807)", "is not in 1..=100000"),
        ("sma(close, NULL)", "invalid timeperiod for sma: NULL is no value, leave it out instead"),
        ("sma(close, 'x')", "invalid timeperiod for sma: 'x' is not a number"),
        ("sma(close, volume)", "invalid timeperiod for sma: `bars.volume` is no literal, write a number such as 30"),
        (
            "sma(close, 5, 6)",
            "invalid call of sma: 3 arguments are too many, written as sma(close [, timeperiod = 30])",
        ),
        ("ma(close, 5, 'zzz')", "rma, vidya, alma"),
        ("t3(close, 5, 1.5)", "invalid vfactor for t3: 1.5 is not in 0..=1"),
        ("ta_stddev(close, 1)", "invalid timeperiod for stddev: 1 is not in 2..=100000"),
    ] {
        check(&format!("{call} {over}"), expected).await;
    }
}

#[tokio::test]
async fn inputs_are_numbers_and_as_many_as_are_read() {
    let over = "OVER (PARTITION BY symbol ORDER BY ts)";
    let session = bars();
    let error = query_error(&session, &format!("SELECT atr(high, low) {over} FROM bars")).await;
    assert!(
        error.contains("invalid call of atr: 2 arguments, written as atr(high, low, close [, timeperiod = 14])"),
        "{error}"
    );
    let error = query_error(&session, &format!("SELECT rsi(symbol) {over} FROM bars")).await;
    assert!(error.contains("invalid call of rsi: `real` must be a number, it is Utf8"), "{error}");
}

/// Rows of one symbol with any keys.
fn rows(ts: Vec<Option<i64>>, interval: Vec<&str>) -> SessionContext {
    let n = ts.len();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("symbol", Arc::new(StringArray::from(vec!["A"; n])), false),
        ("interval", Arc::new(StringArray::from(interval)), false),
        ("ts", Arc::new(Int64Array::from(ts)), true),
        ("close", Arc::new(Float64Array::from_iter_values((0..n).map(|it| it as f64))), false),
    ];
    session(RecordBatch::try_from_iter_with_nullable(columns).unwrap())
}

const SMA: &str = "SELECT sma(close, 2) OVER (PARTITION BY symbol ORDER BY ts) AS s FROM bars";

#[tokio::test]
async fn ties_in_the_order_key_are_errors() {
    let session = rows(vec![Some(1), Some(3), Some(3)], vec!["1d"; 3]);
    let error = query_error(&session, SMA).await;
    assert!(
        error.ends_with(
            "sma: two rows of one partition have the same order key 3: make (PARTITION BY, ORDER BY) unique"
        ),
        "{error}"
    );
    let fine = "SELECT sma(close, 2) OVER (PARTITION BY symbol ORDER BY ts, close) AS s FROM bars";
    assert_eq!(query(&session, fine).await.num_rows(), 3);
}

#[tokio::test]
async fn nulls_in_the_order_key_are_errors() {
    let session = rows(vec![Some(1), None, Some(3)], vec!["1d"; 3]);
    let error = query_error(&session, SMA).await;
    assert!(error.ends_with("sma: a row has NULL in the order key, so its place is not known"), "{error}");
}

#[tokio::test]
async fn mixed_intervals_in_one_partition_are_errors() {
    let session = rows(vec![Some(1), Some(2), Some(3), Some(4)], vec!["1d", "1wk", "1d", "1wk"]);
    let error = query_error(&session, SMA).await;
    assert!(
        error.ends_with(
            "sma: bars of the intervals `1d` and `1wk` are in one partition: add \"interval\" to PARTITION BY or filter by it"
        ),
        "{error}"
    );
    let fine = r#"SELECT sma(close, 2) OVER (PARTITION BY symbol, "interval" ORDER BY ts) AS s FROM bars ORDER BY "interval", ts"#;
    assert_eq!(numbers(query(&session, fine).await.column(0)), [None, Some(1.0), None, Some(2.0)]);
    let filtered = "SELECT sma(close, 2) OVER (PARTITION BY symbol ORDER BY ts) AS s FROM bars WHERE bars.interval = '1d' ORDER BY ts";
    assert_eq!(numbers(query(&session, filtered).await.column(0)), [None, Some(1.0)]);
}

#[tokio::test]
async fn intervals_are_seen_in_every_text_type() {
    for sql_type in [
        "arrow_cast(bars.interval, 'Utf8View')",
        "arrow_cast(bars.interval, 'LargeUtf8')",
        "arrow_cast(bars.interval, 'Dictionary(Int32, Utf8)')",
    ] {
        for (intervals, is_error) in
            [(vec!["1d", "1d", "1d"], false), (vec!["1d", "1d", "5m"], true), (vec!["1d", "1d", "15m"], true)]
        {
            let session = rows(vec![Some(1), Some(2), Some(3)], intervals);
            let sql = format!(
                "SELECT sma(close, 2) OVER (PARTITION BY symbol ORDER BY ts) AS s \
                 FROM (SELECT symbol, ts, close, {sql_type} AS \"interval\" FROM bars)"
            );
            let frame = session.sql(&sql).await.unwrap();
            assert_eq!(frame.collect().await.is_err(), is_error, "{sql}");
        }
    }
}

#[tokio::test]
async fn the_interval_beside_the_order_key_counts_in_a_join() {
    let session = rows(vec![Some(1), Some(2), Some(3)], vec!["1d"; 3]);
    let sql = "SELECT sma(a.close, 2) OVER (PARTITION BY a.symbol ORDER BY a.ts) AS s \
               FROM bars a JOIN (SELECT ts, CASE ts WHEN 1 THEN 'x' ELSE 'y' END AS \"interval\" FROM bars) b ON a.ts = b.ts";
    assert_eq!(query(&session, sql).await.num_rows(), 3);
}

#[tokio::test]
async fn a_session_without_the_check_refuses() {
    let bars = table(&[("A", &wave(5, 1))]);
    let session = session_with(SessionConfig::new(), vec![vec![bars.clone()]]);
    drop(session);
    let plain = SessionContext::new();
    plain.register_batch("bars", bars).unwrap();
    plain
        .register_udwf(crate::indicator::sql::udwf(crate::indicator::catalogue().get("rsi").unwrap()).as_ref().clone());
    let error = query_error(&plain, "SELECT rsi(close) OVER (PARTITION BY symbol ORDER BY ts) FROM bars").await;
    assert!(error.contains("its window was never checked: register it with"), "{error}");
}
