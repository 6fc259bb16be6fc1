//! What becomes of documents and requests that do not go through: each is told, tried again or refused, and none is lost.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Value, json};
use stockflow_core::relation::RelationSchema;
use stockflow_core::retry::Backoff;
use stockflow_core::sink::{EpochRows, Sink};
use stockflow_core::testing::rows_of;
use stockflow_core::{Error, ErrorClass};
use stockflow_io::elastic::{ElasticOptions, ElasticSink};

use super::front::{Fault, Front};
use super::server::{Place, place};
use crate::bad_input;
use crate::support::{open, token, write};

/// Soon, and not for long.
const HASTE: Backoff = Backoff {
    initial: Duration::from_millis(5),
    max: Duration::from_millis(20),
    deadline: Some(Duration::from_secs(2)),
};

/// Rows named by `symbol`, with a number and a price.
fn rows(rows: &[(&str, i64, f64)]) -> EpochRows {
    rows_with(rows, &[])
}

/// The same with a text each.
fn rows_with(rows: &[(&str, i64, f64)], notes: &[String]) -> EpochRows {
    let mut fields = vec![
        Field::new("symbol", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        Field::new("close", DataType::Float64, true),
    ];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter(rows.iter().map(|row| (!row.0.is_empty()).then_some(row.0)))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.2))),
    ];
    if !notes.is_empty() {
        fields.push(Field::new("note", DataType::Utf8, true));
        columns.push(Arc::new(StringArray::from_iter_values(notes)));
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    rows_of(RelationSchema::new("prices", batch.schema()).with_key(["symbol"]), vec![batch]).unwrap()
}

fn numbered(n: i64) -> Vec<(String, i64, f64)> {
    (0..n).map(|idx| (format!("S{idx:04}"), idx, 1.0)).collect()
}

fn told(error: &Error) -> String {
    error.chain().join(": ")
}

/// An index under the name itself, which somebody else made.
async fn foreign(place: &Place, mappings: Value) {
    let body = json!({"settings": {"number_of_replicas": 0}, "mappings": mappings});
    place.tell("PUT", &place.index, body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_refused_with_the_servers_reason_and_the_rest_goes_in() {
    let Some(place) = place("poison") else { return };
    foreign(&place, json!({"properties": {"n": {"type": "byte"}, "symbol": {"type": "keyword"}}})).await;
    let sink = place.sink();
    open(&sink, 1).await;
    let epoch = rows(&[("A", 1, 1.5), ("B", 1000, 2.5), ("C", 3, f64::NAN), ("", 4, 1.0), ("D", 5, 3.5)]);
    for _ in 0..2 {
        let staged = sink.stage(&token(1), &epoch).await.unwrap();
        assert_eq!(staged.refused.len(), 1);
        assert!(staged.refused[0].reason.contains("its key column `symbol` is NULL"), "{:?}", staged.refused);
        let written = sink.commit(staged).await.unwrap();
        assert_eq!((written.rows, written.refused.len()), (2, 2));
        bad_input::refused("elasticsearch", "value that does not fit", &written.refused);
        let [large, nan] = &written.refused[..] else { unreachable!() };
        assert_eq!((large.symbol.as_deref(), large.key.as_slice()), (Some("B"), &[("symbol".into(), "B".into())][..]));
        assert!(large.reason.contains("_exception: ") && large.reason.contains("[n]"), "{}", large.reason);
        assert_eq!(large.payload, r#"{"symbol":"B","n":1000,"close":2.5}"#);
        assert!(nan.reason.contains("[close]"), "{}", nan.reason);
        assert_eq!(place.ids().await, ["A", "D"]);
    }
}

/// The error of a whole epoch over an index of that mapping, with or without leave to change it.
async fn misfit(place: &Place, mappings: Value, create: bool) -> Error {
    let place = place.another();
    foreign(&place, mappings).await;
    let sink = place.sink().with_create(create);
    open(&sink, 1).await;
    let error = sink.stage(&token(1), &rows(&[("A", 1, 1.0)])).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(place.ids().await.is_empty());
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_does_not_fit_is_told_before_anything_is_written() {
    let Some(place) = place("misfits") else { return };
    // The fences' index is there for whoever may not make it.
    open(&place.another().sink(), 1).await;
    let strict = json!({"dynamic": "strict", "properties": {"symbol": {"type": "keyword"}, "n": {"type": "long"}}});
    let wrong = json!({"properties": {"close": {"type": "boolean"}}});
    let object = json!({"properties": {"n": {"properties": {"a": {"type": "long"}}}}});
    for (case, mappings, create, wanted) in [
        ("strict mapping", strict, false, "lacks `close`; add them to its mapping"),
        ("type that does not fit", wrong, true, "the field `close` is `boolean` there and Float64 in the rows"),
        ("object that does not fit", object, true, "the field `n` is `object` there and Int64"),
    ] {
        let error = misfit(&place, mappings, create).await;
        bad_input::told("elasticsearch", case, &error);
        assert!(told(&error).contains(wanted), "{}", told(&error));
    }
    let absent = place.another();
    let sink = absent.sink().with_create(false);
    open(&sink, 1).await;
    let error = sink.stage(&token(1), &rows(&[("A", 1, 1.0)])).await.unwrap_err();
    bad_input::told("elasticsearch", "index missing", &error);
    assert!(told(&error).contains("set `create = true`"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_index_gets_the_fields_that_it_lacks_and_stops_if_it_loses_them() {
    let Some(place) = place("strict") else { return };
    foreign(&place, json!({"dynamic": "strict", "properties": {"symbol": {"type": "keyword"}}})).await;
    let sink = place.sink();
    open(&sink, 1).await;
    assert_eq!(write(&sink, 1, &rows(&[("A", 1, 1.0)])).await.rows, 1);
    let staged = sink.stage(&token(2), &rows(&[("B", 1, 1.0)])).await.unwrap();
    place.tell("DELETE", &place.index, Value::Null).await;
    foreign(&place, json!({"dynamic": "strict", "properties": {"symbol": {"type": "keyword"}}})).await;
    let error = sink.commit(staged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    bad_input::told("elasticsearch", "strict mapping, put in under way", &error);
    assert!(told(&error).contains("strict_dynamic_mapping_exception"), "{}", told(&error));
    // What is staged next finds the mapping as it is.
    assert_eq!(write(&sink, 3, &rows(&[("B", 1, 1.0)])).await.rows, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_read_only_or_deleted_under_way_stops_the_epoch() {
    let Some(place) = place("blocked") else { return };
    let sink = place.sink();
    open(&sink, 1).await;
    write(&sink, 1, &rows(&[("A", 1, 1.0)])).await;

    place.tell("PUT", &format!("{}/_settings", place.index), json!({"index.blocks.write": true})).await;
    let staged = sink.stage(&token(2), &rows(&[("B", 1, 1.0)])).await.unwrap();
    let error = sink.commit(staged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    bad_input::told("elasticsearch", "read-only index", &error);
    assert!(told(&error).contains("make the index writable again"), "{}", told(&error));
    place.tell("PUT", &format!("{}/_settings", place.index), json!({"index.blocks.write": false})).await;
    write(&sink, 2, &rows(&[("B", 1, 1.0)])).await;

    let staged = sink.stage(&token(3), &rows(&[("C", 1, 1.0)])).await.unwrap();
    place.tell("DELETE", &format!("{}-000001", place.index), Value::Null).await;
    let error = sink.commit(staged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    bad_input::told("elasticsearch", "index deleted under way", &error);
    assert!(told(&error).contains("was it deleted?"), "{}", told(&error));
    assert!(place.ids().await.is_empty(), "no index was made by chance");

    // Under the name itself the server makes one anew: that is noticed.
    let concrete = place.another();
    foreign(&concrete, json!({})).await;
    let sink = concrete.sink();
    open(&sink, 1).await;
    let staged = sink.stage(&token(1), &rows(&[("A", 1, 1.0)])).await.unwrap();
    concrete.tell("DELETE", &concrete.index, Value::Null).await;
    let error = sink.commit(staged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(told(&error).contains("was deleted or replaced while it was written to"), "{}", told(&error));
}

/// A sink through a front with these faults, in requests of ten documents or so.
async fn fronted(place: &Place, faults: Vec<Fault>) -> (Front, ElasticSink) {
    let front = Front::start(&place.url, place.client.clone(), faults).await;
    let options = place.with_login(ElasticOptions::parse(&front.url).unwrap());
    let sink = place.sink_by(options).with_request_size(1500).with_concurrency(1).with_backoff(HASTE);
    open(&sink, 1).await;
    (front, sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn pressure_is_waited_out_and_only_what_did_not_go_in_is_sent_again() {
    let Some(place) = place("pressure") else { return };
    let numbered = numbered(40);
    let all: Vec<(&str, i64, f64)> = numbered.iter().map(|row| (row.0.as_str(), row.1, row.2)).collect();
    let full = r#"{"error":{"type":"circuit_breaking_exception","reason":"too large"},"status":429}"#;
    type Sizes = fn(&[usize]) -> bool;
    let cases: [(Vec<Fault>, Sizes); 5] = [
        (vec![Fault::Documents(429)], |n| n[1] == n[0] / 2),
        (vec![Fault::Documents(503), Fault::Documents(429), Fault::Documents(500)], |n| {
            n[1] == n[0] / 2 && n[2] == n[1] / 2 && n[3] == n[2] / 2
        }),
        (vec![Fault::Status(429, full)], |n| n[1] == n[0]),
        (vec![Fault::Pass, Fault::Status(503, "<html>no server available"), Fault::Status(502, "")], |n| {
            n[1] == n[2] && n[2] == n[3]
        }),
        (vec![Fault::Status(413, ""), Fault::Documents(429)], |n| n[1] == n[0] - n[0] / 2),
    ];
    for (faults, sizes) in cases {
        let name = format!("{faults:?}");
        let place = place.another();
        let (front, sink) = fronted(&place, faults).await;
        let written = write(&sink, 1, &rows(&all)).await;
        assert_eq!((written.rows, written.refused.len(), front.left()), (40, 0, 0), "{name}");
        let hits = place.hits().await;
        assert_eq!(hits.len(), 40, "{name}");
        assert!(hits.iter().all(|hit| hit["_version"] == 1), "written once: {name}");
        let seen = front.seen();
        assert!(seen.len() >= 5 && sizes(&seen), "only what did not go in is sent again: {name}: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pressure_without_end_and_lost_connections_are_transient_and_the_epoch_can_be_repeated() {
    let Some(place) = place("outages") else { return };
    let all = r#"{"errors":true,"items":[{"index":{"status":429}},{"index":{"status":503}},{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}}]}"#;
    for (name, faults, wanted) in [
        ("full queue (429), a request", vec![Fault::Status(429, ""); 1000], "HTTP 429"),
        (
            "full queue (429), documents",
            vec![Fault::Status(200, all); 1000],
            "3 of 3 documents: HTTP 429: es_rejected_execution_exception: full",
        ),
        ("connection lost", vec![Fault::Reset; 10], ""),
        ("answer lost", vec![Fault::LoseAnswer; 10], ""),
    ] {
        let place = place.another();
        let (_front, sink) = fronted(&place, faults).await;
        let epoch = rows(&[("A", 1, 1.0), ("B", 2, 2.0), ("C", 3, 3.0)]);
        let staged = sink.stage(&token(1), &epoch).await.unwrap();
        let error = sink.commit(staged).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient, "{name}: {}", told(&error));
        assert!(told(&error).contains(wanted), "{name}: {}", told(&error));
        bad_input::told("elasticsearch", name, &error);
        let direct = place.sink();
        open(&direct, 2).await;
        assert_eq!(write(&direct, 1, &epoch).await.rows, 3);
        assert_eq!(place.ids().await, ["A", "B", "C"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_is_split_and_a_document_that_is_too_large_refused() {
    let Some(place) = place("413") else { return };
    // The server takes 8 MB.
    let sink = place.sink().with_request_size(64 << 20);
    open(&sink, 1).await;
    let mut notes: Vec<String> = (0..30).map(|n| n.to_string().repeat(300_000)).collect();
    notes.push("x".repeat(9 << 20));
    let numbered = numbered(31);
    let all: Vec<(&str, i64, f64)> = numbered.iter().map(|row| (row.0.as_str(), row.1, row.2)).collect();
    let written = write(&sink, 1, &rows_with(&all, &notes)).await;
    assert_eq!((written.rows, written.refused.len()), (30, 1));
    bad_input::refused("elasticsearch", "document too large", &written.refused);
    let refused = &written.refused[0];
    assert_eq!(refused.symbol.as_deref(), Some("S0030"));
    assert!(
        refused.reason.starts_with("HTTP 413") && refused.reason.contains("http.max_content_length"),
        "{}",
        refused.reason
    );
    let count = place.tell("GET", &format!("{}/_count", place.index), Value::Null).await;
    assert_eq!(count["count"], 30);
}
