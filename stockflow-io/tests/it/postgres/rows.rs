//! Which rows go in, which are refused, and of which the newer counts.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray, Time64MicrosecondArray,
    TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{Int32Type, Int64Type};
use stockflow_core::memory::MemorySource;
use stockflow_core::pipeline::{Pipeline, RunOptions, SinkStep};
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, RefusedRow, Sink, Staged, WriteMode, Written};
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{bars, bars_relation, rows_of};
use stockflow_io::postgres::PostgresSink;

use super::server::place;
use crate::bad_input;
use crate::support::{open, token};

fn relation(batch: &RecordBatch, key: &[&str]) -> RelationSchema {
    RelationSchema::new("rows", batch.schema()).with_key(key.iter().copied())
}

fn epoch(batch: RecordBatch, key: &[&str]) -> EpochRows {
    rows_of(relation(&batch, key), vec![batch]).unwrap()
}

async fn stage(sink: &PostgresSink, number: u64, rows: &EpochRows) -> Staged {
    sink.stage(&token(number), rows).await.unwrap_or_else(|error| panic!("{}", error.chain().join(": ")))
}

async fn write(sink: &PostgresSink, number: u64, rows: &EpochRows) -> (Vec<RefusedRow>, Written) {
    let mut staged = stage(sink, number, rows).await;
    let refused = std::mem::take(&mut staged.refused);
    let written = sink.commit(staged).await.unwrap_or_else(|error| panic!("{}", error.chain().join(": ")));
    (refused, written)
}

fn numbered(n: i64) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values((0..n).map(|id| format!("n{}", id % 1000))));
    RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_arrives_as_it_was() {
    let Some(place) = place("types").await else { return };
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("a_text", Arc::new(StringViewArray::from(vec![Some("é \\ \" '\t\n"), None]))),
        ("a_dictionary", Arc::new(["x", "x"].into_iter().collect::<DictionaryArray<Int32Type>>())),
        ("a_float", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("a_real", Arc::new(Float32Array::from(vec![Some(1.5), None]))),
        ("a_small", Arc::new(Int8Array::from(vec![Some(-128), None]))),
        ("a_huge", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
        (
            "a_decimal",
            Arc::new(Decimal128Array::from(vec![Some(-1_234_567), None]).with_precision_and_scale(30, 4).unwrap()),
        ),
        ("a_flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("a_date", Arc::new(Date32Array::from(vec![Some(-1), None]))),
        ("a_time", Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_001), None]))),
        (
            "an_instant",
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_500), None]).with_timezone("America/New_York")),
        ),
        ("some_bytes", Arc::new(BinaryArray::from(vec![Some(&[0_u8, 255][..]), None]))),
        ("a_list", Arc::new(list)),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let sink = place.sink("types");
    open(&sink, 1).await;
    let (refused, written) = write(&sink, 1, &epoch(batch, &["id"])).await;
    assert_eq!((refused.len(), written.rows), (0, 2));
    assert!(written.location.ends_with(&format!("/stockflow/{}", place.table("types"))), "{}", written.location);
    let lines = place.lines("SET TimeZone = 'UTC'; SELECT * FROM types ORDER BY id").await;
    assert_eq!(
        lines,
        [
            "1|é \\ \" '\t\n|x|0.1|1.5|-128|18446744073709551615|-123.4567|t|1969-12-31|01:00:00.000001|1970-01-01 00:00:00.000001+00|\\x00ff|[1, null]",
            "2|NULL|x|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_in_ten_thousand_is_left_out_alone() {
    let Some(place) = place("bisection").await else { return };
    place.run("CREATE TABLE t (id bigint PRIMARY KEY, name varchar(10), CHECK (id <> 7000))").await;
    let sink = place.sink("t");
    open(&sink, 1).await;
    let mut names: Vec<String> = (0..10_000).map(|id| format!("n{id}")).collect();
    names[4321] = "longer than ten".into();
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let name: ArrayRef = Arc::new(StringArray::from(names));
    let batch = RecordBatch::try_from_iter([("id", id), ("name", name)]).unwrap();
    let (refused, written) = write(&sink, 1, &epoch(batch, &["id"])).await;
    assert_eq!(written.rows, 9998);
    assert_eq!(place.count("t").await, 9998);
    let told: Vec<(&str, &str)> = refused.iter().map(|row| (row.key[0].1.as_str(), row.reason.as_str())).collect();
    assert_eq!(told[0], ("4321", "value too long for type character varying(10) (SQLSTATE 22001)"));
    assert!(
        told[1].0 == "7000"
            && told[1].1.contains("new row for the table violates check constraint")
            && told[1].1.contains("23514"),
        "{told:?}"
    );
    assert_eq!(refused[0].payload, r#"{"id":4321,"name":"longer than ten"}"#);
    bad_input::refused("postgres", "text too long", &refused[..1]);
    bad_input::refused("postgres", "check violated", &refused[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_full_of_bad_rows_comes_to_an_end() {
    let Some(place) = place("many bad rows").await else { return };
    place.run("CREATE TABLE t (id bigint PRIMARY KEY, name text, CHECK (id % 10 <> 3))").await;
    let sink = place.sink("t");
    open(&sink, 1).await;
    let (refused, written) = write(&sink, 1, &epoch(numbered(2_000), &["id"])).await;
    assert_eq!((refused.len(), written.rows), (200, 1_800));
    assert!(refused.iter().all(|row| row.key[0].1.ends_with('3')));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_cannot_hold_is_told_before_it_is_sent() {
    let Some(place) = place("poisoned rows").await else { return };
    place.run("CREATE TABLE t (id integer PRIMARY KEY, name text NOT NULL, n bigint, at timestamptz)").await;
    let sink = place.sink("t");
    open(&sink, 1).await;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), Some(1 << 40), None, Some(6)]))),
        ("name", Arc::new(StringArray::from(vec![Some("a\0b"), None, Some("c"), Some("d"), Some("e"), Some("f")]))),
        ("n", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.5, 4.0, 5.0, 6.0]))),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![0; 6]))),
    ];
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let (refused, written) = write(&sink, 1, &epoch(batch, &["id"])).await;
    assert_eq!(written.rows, 1);
    let told: Vec<String> = refused.iter().map(|row| format!("{}: {}", row.key[0].1, row.reason)).collect();
    assert_eq!(
        told,
        [
            "1: column `name`: a text holds a NUL, which PostgreSQL cannot store",
            "2: column `name` is NULL",
            "3: column `n`: the value does not fit `n` bigint",
            "1099511627776: column `id`: the value does not fit `id` integer",
            "NULL: column `id` is NULL",
        ]
    );
    assert_eq!(place.lines("SELECT id, name, n FROM t").await, ["6|f|6"]);
    for (case, row) in [("NUL in a text", 0), ("NULL where none may be", 1), ("value that does not fit", 2)] {
        bad_input::refused("postgres", case, &refused[row..=row]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_the_table_refuses_are_found_in_the_commit() {
    let Some(place) = place("unique and foreign keys").await else { return };
    place.run(
        "CREATE TABLE names (name text PRIMARY KEY); INSERT INTO names SELECT 'n' || n FROM generate_series(0, 998) n; \
         CREATE TABLE t (id bigint PRIMARY KEY, name text REFERENCES names, at bigint UNIQUE); INSERT INTO t VALUES (-1, 'n1', 5)",
    )
    .await;
    let sink = place.sink("t");
    open(&sink, 1).await;
    let base = numbered(3_000);
    let at: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3_000));
    let columns = base.columns().iter().cloned().chain([at]);
    let batch = RecordBatch::try_from_iter(["id", "name", "at"].into_iter().zip(columns)).unwrap();
    let rows = epoch(batch.clone(), &["id"]);
    let staged = stage(&sink, 1, &rows).await;
    assert!(staged.refused.is_empty());
    let written = sink.commit(staged).await.unwrap();
    assert_eq!(written.rows, 0, "nothing is visible");
    assert_eq!(place.count("t").await, 1);
    let keys: Vec<&str> = written.refused.iter().map(|row| row.key[0].1.as_str()).collect();
    assert_eq!(keys, ["5", "999", "1999", "2999"]);
    assert!(written.refused[0].reason.contains("unique constraint") && written.refused[0].reason.contains("23505"));
    assert!(written.refused[1].reason.contains("foreign key") && written.refused[1].payload.contains("\"n999\""));
    bad_input::refused("postgres", "unique key violated", &written.refused[..1]);
    bad_input::refused("postgres", "foreign key violated", &written.refused[1..]);

    // A pipeline leaves them out and goes on.
    let source = MemorySource::new([RelationSchema::new("rows", batch.schema()).with_key(["id"])]);
    source.push("p", "rows", batch);
    let folder = tempfile::tempdir().unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    let pipeline = Pipeline::builder("main")
        .source(source)
        .sink(SinkStep::new("t", place.sink("t")))
        .dead_letters(place.sink("letters").for_dead_letters())
        .max_dead_letters(Some(10))
        .store(CheckpointStore::new(Arc::new(store), ""))
        .build()
        .unwrap();
    pipeline.run(RunOptions::default()).await.unwrap_or_else(|error| panic!("{}", error.chain().join(": ")));
    assert_eq!(place.count("t").await, 2_997);
    let letters = place.lines("SELECT connector, position FROM letters ORDER BY position").await;
    assert_eq!(letters, ["t|1999", "t|2999", "t|5", "t|999"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn within_an_epoch_and_against_the_table_the_newer_row_counts() {
    let Some(place) = place("versions").await else { return };
    let sink = place.sink("bars");
    open(&sink, 1).await;
    let rows = |batches: Vec<RecordBatch>| rows_of(bars_relation(), batches).unwrap();
    let batch = |close: f64, as_of: i64| bars("AAA", &[(0, close)], as_of).unwrap();
    let both = rows(vec![
        arrow::compute::concat_batches(
            &batch(0.0, 0).schema(),
            [&batch(2.0, 2), &batch(3.0, 3), &batch(1.0, 1), &batch(4.0, 3)],
        )
        .unwrap(),
    ]);
    let (_, written) = write(&sink, 1, &both).await;
    assert_eq!(written.rows, 1);
    assert_eq!(place.lines("SELECT close FROM bars").await, ["4"], "of equal versions the later");
    let (_, written) = write(&sink, 2, &rows(vec![batch(9.0, 3)])).await;
    assert_eq!(written.rows, 0, "an equal version changes nothing");
    let (_, written) = write(&sink, 3, &rows(vec![batch(10.0, 4)])).await;
    assert_eq!(written.rows, 1);
    assert_eq!(place.lines("SELECT close FROM bars").await, ["10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_are_all_key_and_rows_without_versions() {
    let Some(place) = place("keys only").await else { return };
    let sink = place.sink("pairs");
    open(&sink, 1).await;
    let batch = numbered(3);
    write(&sink, 1, &epoch(batch.clone(), &["id", "name"])).await;
    let (_, again) = write(&sink, 2, &epoch(batch.clone(), &["id", "name"])).await;
    assert_eq!((again.rows, place.count("pairs").await), (0, 3));
    let plain = place.sink("plain");
    plain
        .open(&stockflow_core::token::SinkId::new("main", "plain"), stockflow_core::token::Generation(1))
        .await
        .unwrap();
    write(&plain, 1, &epoch(batch.clone(), &["id"])).await;
    let (_, same) = write(&plain, 2, &epoch(batch, &["id"])).await;
    assert_eq!(same.rows, 0, "the same row again is no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_epochs_and_wide_texts_go_through() {
    let Some(place) = place("size").await else { return };
    let sink = place.sink("big").with_mode(WriteMode::Append);
    open(&sink, 1).await;
    let context = datafusion::prelude::SessionContext::new();
    let sql = "SELECT value AS id, repeat('x', CAST(value % 200 AS INT)) AS name FROM generate_series(1, 300000)";
    let frame = context.sql(sql).await.unwrap();
    let relation = RelationSchema::new("big", Arc::new(frame.schema().as_arrow().clone()));
    let (refused, written) = write(&sink, 1, &EpochRows::new(relation, frame)).await;
    assert_eq!((refused.len(), written.rows), (0, 300_000));
    assert!(written.bytes.unwrap() > 30 << 20, "{written:?}");
    let lines = place.lines("SELECT count(*), sum(id), sum(length(name)) FROM big").await;
    assert_eq!(lines, ["300000|45000150000|29850000"]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["y".repeat(20 << 20)]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    let (_, written) =
        write(&sink, 2, &epoch(RecordBatch::try_from_iter([("id", id), ("name", text)]).unwrap(), &[])).await;
    assert_eq!(written.rows, 1);
}
