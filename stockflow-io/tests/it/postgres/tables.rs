//! Tables that are made, that are there already, and that change.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, Sink};
use stockflow_core::testing::{bars, bars_relation, rows_of};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::postgres::PostgresSink;

use super::server::{Place, place};
use crate::bad_input;
use crate::support::{open, token, write};

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, Arc::clone(array)))).unwrap()
}

fn rows(batch: RecordBatch) -> EpochRows {
    rows_of(RelationSchema::new("rows", batch.schema()).with_key(["id"]), vec![batch]).unwrap()
}

fn ids(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

async fn refused(sink: &PostgresSink, rows: &EpochRows) -> Error {
    sink.stage(&token(9), rows).await.unwrap_err()
}

async fn columns(place: &Place, table: &str) -> Vec<String> {
    place
        .lines(&format!(
            "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute \
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        ))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_bars_become_the_table_stocks() {
    let Some(place) = place("stocks").await else { return };
    let sink = place.sink("stocks").with_stocks_layout();
    open(&sink, 1).await;
    let daily = bars("BRK-B.LONG-NAME", &[(0, 0.0034), (1, 123_456_789_012.5)], 1).unwrap();
    write(&sink, 1, &rows_of(bars_relation(), vec![daily]).unwrap()).await;
    assert_eq!(
        columns(&place, "stocks").await,
        [
            "ticker text",
            "date date",
            "open double precision",
            "high double precision",
            "low double precision",
            "close double precision",
            "adj_close double precision",
            "volume double precision",
            "as_of timestamp with time zone",
        ]
    );
    let lines = place.lines("SELECT ticker, date, close FROM stocks ORDER BY date").await;
    assert_eq!(lines, ["BRK-B.LONG-NAME|2024-01-01|0.0034", "BRK-B.LONG-NAME|2024-01-02|123456789012.5"]);
    let indexes = place
        .lines(&format!(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = '{}' AND tablename = 'stocks' ORDER BY 1",
            place.schema
        ))
        .await;
    let ends: Vec<&str> = indexes.iter().filter_map(|it| it.split_once(" USING btree ")).map(|it| it.1).collect();
    assert_eq!(ends, ["(date)", "(ticker)", "(ticker, date)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_own_table_takes_bars_and_gains_the_version() {
    let Some(place) = place("the seed's table").await else { return };
    place
        .run(
            "CREATE TABLE stocks (ticker VARCHAR(10), date DATE, open DECIMAL(10,2), high DECIMAL(10,2), low DECIMAL(10,2), \
             close DECIMAL(10,2), adj_close DECIMAL(10,2), volume BIGINT, PRIMARY KEY (ticker, date)); \
             INSERT INTO stocks VALUES ('AAA', '2024-01-01', 1, 1, 1, 1, 1, 1)",
        )
        .await;
    let sink = place.sink("stocks").with_stocks_layout();
    open(&sink, 1).await;
    let good = bars("AAA", &[(0, 81.236), (1, 82.0)], 1).unwrap();
    let long = bars("A-LONG-TICKER", &[(0, 1.0)], 1).unwrap();
    let large = bars("LARGE", &[(0, 1e9)], 1).unwrap();
    let staged = sink.stage(&token(1), &rows_of(bars_relation(), vec![good, long, large]).unwrap()).await.unwrap();
    let mut told: Vec<String> =
        staged.refused.iter().map(|row| format!("{}: {}", row.symbol.as_deref().unwrap(), row.reason)).collect();
    told.sort();
    assert!(told[0].starts_with("A-LONG-TICKER: value too long"), "{told:?}");
    assert!(told[1].starts_with("LARGE: numeric field overflow"), "{told:?}");
    sink.commit(staged).await.unwrap();
    let lines = place.lines("SELECT ticker, date, close, volume FROM stocks ORDER BY date").await;
    assert_eq!(lines, ["AAA|2024-01-01|81.24|1000", "AAA|2024-01-02|82.00|1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stocks_hold_daily_bars_only() {
    let Some(place) = place("intervals").await else { return };
    let sink = place.sink("stocks").with_stocks_layout();
    open(&sink, 1).await;
    let daily = bars("AAA", &[(0, 1.0)], 1).unwrap();
    let mut columns = daily.columns().to_vec();
    columns[1] = texts(&["5m"]);
    let short = RecordBatch::try_new(daily.schema(), columns).unwrap();
    let staged = sink.stage(&token(1), &rows_of(bars_relation(), vec![daily, short]).unwrap()).await.unwrap();
    assert_eq!(staged.rows, 1);
    assert_eq!(staged.refused[0].reason, "`layout = \"stocks\"` holds daily bars, and this one is of interval 5m");
    let error = refused(&sink, &rows(batch(&[("id", ids(&[1]))]))).await;
    assert!(error.to_string().contains("the rows have no `symbol`, `date`, `open`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_added_and_others_are_left_alone() {
    let Some(place) = place("additive").await else { return };
    place.run("CREATE TABLE t (id bigint PRIMARY KEY, note text DEFAULT 'theirs', serial bigint GENERATED ALWAYS AS IDENTITY)").await;
    let sink = place.sink("t").with_columns([("label", "name")]);
    open(&sink, 1).await;
    let one = batch(&[("id", ids(&[1, 2])), ("name", texts(&["a", "b"]))]);
    write(&sink, 1, &rows(one)).await;
    let two = batch(&[("id", ids(&[2, 3])), ("name", texts(&["c", "d"])), ("more", ids(&[20, 30]))]);
    write(&sink, 2, &rows(two)).await;
    assert_eq!(columns(&place, "t").await, ["id bigint", "note text", "serial bigint", "label text", "more bigint"]);
    let lines = place.lines("SELECT id, note, serial IS NULL, label, more FROM t ORDER BY id").await;
    assert_eq!(lines, ["1|theirs|f|a|NULL", "2|theirs|f|c|20", "3|theirs|f|d|30"]);
    let steps = place.lines("SELECT version, name FROM stockflow_migrations WHERE scope = 't' ORDER BY 1").await;
    let table = place.table("t");
    assert_eq!(steps, [format!("1|add column label to {table}"), format!("2|add column more to {table}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_told_with_the_next_step() {
    let Some(place) = place("differences").await else { return };
    place.run("CREATE TABLE a (id bigint PRIMARY KEY, name integer, must text NOT NULL); CREATE TABLE b (id bigint, name text)").await;
    let data = || rows(batch(&[("id", ids(&[1])), ("name", texts(&["a"]))]));
    let sink = place.sink("a");
    open(&sink, 1).await;
    let error = refused(&sink, &data()).await;
    bad_input::told("postgres", "type that does not fit", &error);
    let error = error.to_string();
    assert!(
        error.contains("`name` is integer there and Utf8 in the rows") && error.contains("`must` may not be NULL"),
        "{error}"
    );

    let sink = place.sink("b");
    open(&sink, 1).await;
    let error = refused(&sink, &data()).await;
    bad_input::told("postgres", "unique index missing", &error);
    let error = error.to_string();
    assert!(error.contains("no unique index on exactly (id)") && error.contains("CREATE UNIQUE INDEX ON"), "{error}");

    let sink = place.sink("c").with_create(false);
    open(&sink, 1).await;
    let error = refused(&sink, &data()).await;
    bad_input::told("postgres", "table missing", &error);
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(
        error.to_string().contains("create table") && error.to_string().contains("stockflow db migrate"),
        "{error}"
    );

    place.run("CREATE TABLE d (id bigint PRIMARY KEY)").await;
    let sink = place.sink("d").with_create(false);
    open(&sink, 1).await;
    let error = refused(&sink, &data()).await;
    bad_input::told("postgres", "column missing", &error);
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("add column name to"), "{error}");
    assert_eq!(columns(&place, "d").await, ["id bigint"]);

    let sink = place.sink("b").with_monthly_partitions();
    open(&sink, 1).await;
    let error = refused(&sink, &data()).await.to_string();
    assert!(error.contains("needs a date or a point in time among the key's columns"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_create_our_tables_the_step_is_named() {
    let Some(place) = place("create = false").await else { return };
    let sink = place.sink("t").with_create(false);
    let error = sink.open(&crate::support::sink_id(), stockflow_core::token::Generation(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("create table stockflow_tokens; run `stockflow db migrate`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_stockflow_are_left_alone() {
    let Some(place) = place("newer").await else { return };
    open(&place.sink("t"), 1).await;
    place.run("INSERT INTO stockflow_migrations (scope, version, name, sql) VALUES ('stockflow', 99, 'x', 'x')").await;
    let error =
        place.sink("t").open(&crate::support::sink_id(), stockflow_core::token::Generation(2)).await.unwrap_err();
    assert!(error.to_string().contains("made by a newer stockflow"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn months_are_partitions_that_come_as_they_are_needed() {
    let Some(place) = place("months").await else { return };
    let sink = place.sink("bars").with_monthly_partitions().with_indexes(["date"]);
    open(&sink, 1).await;
    let write_days = |number: u64, days: &'static [(i32, f64)]| {
        let (sink, batch) = (&sink, bars("AAA", days, i64::try_from(number).unwrap()).unwrap());
        async move { write(sink, number, &rows_of(bars_relation(), vec![batch]).unwrap()).await }
    };
    write_days(1, &[(0, 1.0), (30, 2.0), (31, 3.0)]).await;
    write_days(2, &[(-1, 4.0), (30, 5.0)]).await;
    let partitions = place
        .lines("SELECT inhrelid::regclass || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
                WHERE inhparent = 'bars'::regclass ORDER BY 1")
        .await;
    let names: Vec<&str> = partitions.iter().filter_map(|it| it.split(' ').next()).collect();
    assert_eq!(names, ["bars_y2023m12", "bars_y2024m01", "bars_y2024m02"]);
    let lines = place.lines("SELECT tableoid::regclass, date, close FROM bars ORDER BY date").await;
    assert_eq!(
        lines,
        [
            "bars_y2023m12|2023-12-31|4",
            "bars_y2024m01|2024-01-01|1",
            "bars_y2024m01|2024-01-31|5",
            "bars_y2024m02|2024-02-01|3"
        ]
    );
}
