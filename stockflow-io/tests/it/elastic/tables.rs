//! What lies in the indices: ids, versions, months, templates, dead letters.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use chrono::DateTime;
use serde_json::{Value, json};
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::{DeadLetter, dead_letter_batch, dead_letter_relation};
use stockflow_core::testing::{bars, bars_relation, rows_of};

use super::server::place;
use crate::support::{open, write};

#[tokio::test(flavor = "multi_thread")]
async fn bars_are_named_by_key_versioned_by_as_of_and_typed() {
    let Some(place) = place("bars") else { return };
    let sink = place.sink();
    open(&sink, 1).await;
    let day =
        |as_of: i64, close: f64| rows_of(bars_relation(), vec![bars("A", &[(0, close)], as_of).unwrap()]).unwrap();
    for (epoch, as_of, close) in [(1, 5_000_001, 1.0), (2, 7_000_002, 2.0), (3, 6_000_000, 3.0), (4, 7_000_002, 4.0)] {
        write(&sink, epoch, &day(as_of, close)).await;
    }
    let hits = place.hits().await;
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["_id"], "A|1d|2024-01-01T00:00:00Z");
    assert_eq!(hits[0]["_version"], 7_000_002, "the version is as_of in µs");
    assert_eq!(hits[0]["_source"]["close"], 2.0);
    assert_eq!(hits[0]["_source"]["as_of"], "1970-01-01T00:00:07.000002Z");
    let mapping = place.tell("GET", &format!("{}/_mapping", place.index), Value::Null).await;
    let mapping = &mapping[format!("{}-000001", place.index)]["mappings"];
    assert_eq!((&mapping["dynamic"], &mapping["properties"]["volume"]), (&json!("strict"), &json!({"type": "double"})));
    let template = place.tell("GET", &format!("_index_template/stockflow-{}", place.index), Value::Null).await;
    let template = &template["index_templates"][0]["index_template"];
    assert_eq!(template["index_patterns"], json!([format!("{}-0*", place.index)]));
    assert_eq!(template["template"]["mappings"]["properties"]["symbol"]["type"], "keyword");
}

#[tokio::test(flavor = "multi_thread")]
async fn months_have_indices_of_their_own_and_one_name() {
    let Some(place) = place("months") else { return };
    let sink = place.sink().with_monthly_indices();
    open(&sink, 1).await;
    // 2024-01-01, 2024-01-31, 2024-02-01 and long before 1970.
    let days = [(0, 1.0), (30, 2.0), (31, 3.0), (-30_000, 4.0)];
    let epoch = |as_of: i64| rows_of(bars_relation(), vec![bars("A", &days, as_of).unwrap()]).unwrap();
    for as_of in [1, 2] {
        assert_eq!(write(&sink, 1, &epoch(as_of)).await.rows, 4);
    }
    let names = ["y1941m11", "y2024m01", "y2024m02"].map(|month| format!("{}_{month}-000001", place.index));
    assert_eq!(place.indices().await, names);
    let found: Vec<(String, String)> = place
        .hits()
        .await
        .iter()
        .map(|hit| {
            (hit["_index"].as_str().unwrap()[place.index.len()..].to_owned(), hit["_source"]["date"].to_string())
        })
        .collect();
    let expected = [
        ("_y1941m11-000001", "\"1941-11-12\""),
        ("_y2024m01-000001", "\"2024-01-01\""),
        ("_y2024m01-000001", "\"2024-01-31\""),
        ("_y2024m02-000001", "\"2024-02-01\""),
    ];
    assert_eq!(found, expected.map(|(index, date)| (index.to_owned(), date.to_owned())));
    // A relation without a time in its key has no month.
    let relation = RelationSchema::new("r", bars_relation().schema).with_key(["symbol"]);
    let rows = rows_of(relation, vec![bars("A", &[(0, 1.0)], 1).unwrap()]).unwrap();
    let error = stockflow_core::sink::Sink::stage(&sink, &crate::support::token(9), &rows).await.unwrap_err();
    assert!(error.to_string().contains("needs a date or a point in time among the key's columns"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_columns_become_fields_and_keyless_rows_are_added() {
    let Some(place) = place("columns") else { return };
    let sink = place.sink();
    open(&sink, 1).await;
    let rows = |name: &str, key: &[&str]| {
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("symbol", Arc::new(StringArray::from(vec!["A|\"x\"", "Zürich\n"])), true),
            (name, Arc::new(Float64Array::from(vec![Some(1.0), None])), true),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        rows_of(RelationSchema::new("r", batch.schema()).with_key(key.to_vec()), vec![batch]).unwrap()
    };
    write(&sink, 1, &rows("rsi", &["symbol"])).await;
    write(&sink, 2, &rows("macd", &["symbol"])).await;
    assert_eq!(place.ids().await, ["A\\|\"x\"", "Zürich\n"]);
    assert_eq!(place.hits().await[0]["_source"]["macd"], 1.0);
    for epoch in [3, 3] {
        assert_eq!(write(&sink, epoch, &rows("macd", &[])).await.rows, 2);
    }
    assert_eq!(place.ids().await.len(), 6, "without a key a repeated epoch is doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_named_by_their_place_however_long_it_is() {
    let Some(place) = place("dead letters") else { return };
    let sink = place.sink();
    open(&sink, 1).await;
    let letter = |position: &str, reason: &str| DeadLetter {
        connector: "kafka".into(),
        partition: "raw/0".into(),
        position: position.into(),
        reason: reason.into(),
        payload: "\u{0}not JSON {".repeat(10_000),
        ..DeadLetter::default()
    };
    let long = "a price that is negative; ".repeat(1000);
    let letters = [letter("1", "no number"), letter("2", &long), letter("2", &format!("{long}!"))];
    let batch = dead_letter_batch("main", 1, DateTime::UNIX_EPOCH, &letters).unwrap();
    for _ in 0..2 {
        let written = write(&sink, 1, &rows_of(dead_letter_relation(), vec![batch.clone()]).unwrap()).await;
        assert_eq!((written.rows, written.refused.len()), (3, 0), "{:?}", written.refused);
    }
    let ids = place.ids().await;
    assert_eq!(ids.len(), 3);
    assert_eq!(ids[0], "main|1|kafka|raw/0|1|no number");
    assert!(ids[1].starts_with("sha256:") && ids[1] != ids[2]);
}
