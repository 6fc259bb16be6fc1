//! Avro messages, with a registry that answers as Confluent's does.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::source::{EpochLimit, Source};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::kafka::{KafkaSource, SchemaRegistry};

use super::broker::{Broker, broker};
use crate::bad_input;
use crate::support::{check_table, read_from};

const BARS: &str = r#"{"type":"record","name":"bar","fields":[{"name":"symbol","type":"string"},{"name":"ts","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"close","type":["null","double"]}]}"#;

/// A registry that knows schema 7, a schema 8 that is no Avro, and refuses logins under 9; `None` answers 503.
fn registry(is_well: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.next().unwrap_or_default();
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let id = request.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
            let (status, body) = match id.as_str() {
                _ if !is_well => ("503 Service Unavailable", String::new()),
                "7" => ("200 OK", serde_json::json!({ "schema": BARS }).to_string()),
                "8" => ("200 OK", serde_json::json!({ "schema": "syntax", "schemaType": "PROTOBUF" }).to_string()),
                "9" => ("401 Unauthorized", String::new()),
                _ => ("404 Not Found", r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned()),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    url
}

fn zigzag(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    loop {
        let low = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn bar(id: u32, symbol: &str, millis: i64, close: Option<f64>) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(id.to_be_bytes());
    bytes.extend(zigzag(symbol.len() as i64));
    bytes.extend(symbol.as_bytes());
    bytes.extend(zigzag(millis));
    match close {
        None => bytes.extend(zigzag(0)),
        Some(close) => {
            bytes.extend(zigzag(1));
            bytes.extend(close.to_le_bytes());
        }
    }
    bytes
}

fn source(broker: &Broker, topic: &str, registry: &str) -> KafkaSource {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("ts", instant, false),
        Field::new("close", DataType::Float64, true),
        Field::new("volume", DataType::Float64, true),
    ]);
    let registry = SchemaRegistry::new(registry).unwrap().with_timeout(Duration::from_secs(1));
    KafkaSource::new(broker.options(), topic, RelationSchema::new("input", Arc::new(schema))).with_avro(registry)
}

#[tokio::test]
async fn records_are_rows_and_poison_is_refused() {
    let Some(broker) = broker("kafka avro") else { return };
    let topic = broker.topic(1, &[]).await;
    let good = bar(7, "AAPL", 1_704_153_600_000, Some(1.5));
    let mut long = good.clone();
    long.push(0);
    let messages: Vec<Vec<u8>> = vec![
        good.clone(),
        bar(7, "MSFT", 0, None),
        bar(4711, "X", 0, None),
        bar(8, "X", 0, None),
        good[..good.len() - 3].to_vec(),
        long,
        b"{\"symbol\":\"A\"}".to_vec(),
        vec![0, 0, 0],
        vec![],
        bar(7, "LAST", 1000, Some(-2.0)),
    ];
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    broker.send(&topic, 0, &messages);
    let source = source(&broker, &topic, &registry(true));
    let sql = "SELECT symbol, ts, close, volume FROM input ORDER BY source_seq";
    let read = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), sql).await.unwrap();
    check_table(
        &read.table,
        &[
            "symbol|ts|close|volume",
            "AAPL|2024-01-02T00:00:00Z|1.5|",
            "MSFT|1970-01-01T00:00:00Z||",
            "LAST|1970-01-01T00:00:01Z|-2.0|",
        ],
    );
    let reasons = read.reasons();
    for (text, reason) in [
        "@2 its schema 4711 is unknown to the registry",
        "@3 its schema 8 is of the type PROTOBUF",
        "@4 it is no record of schema 7",
        "@5 it is no record of schema 7",
        "@6 it is not in Confluent's wire format",
        "@7 it is not in Confluent's wire format",
        "@8 it is not in Confluent's wire format",
    ]
    .iter()
    .zip(&reasons)
    {
        assert!(reason.contains(text), "{reason}: {text}");
    }
    assert_eq!(reasons.len(), 7);
    bad_input::refused("kafka avro", "schema that is no Avro", &read.outcome.rejects[1..2]);
    bad_input::refused("kafka avro", "poison message", &read.outcome.rejects[2..]);
}

/// The error of reading a topic that holds one record.
async fn failure(broker: &Broker, id: u32, registry: &str) -> Error {
    let topic = broker.topic(1, &[]).await;
    broker.send(&topic, 0, &[&bar(id, "A", 0, None)]);
    let source = source(broker, &topic, registry);
    let plan = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().unwrap();
    let scan = source.scan(&plan).await.unwrap();
    let frame = datafusion::prelude::SessionContext::new().read_table(Arc::clone(&scan.relations["input"])).unwrap();
    Error::from(frame.collect().await.unwrap_err())
}

#[tokio::test]
async fn a_registry_that_does_not_answer_makes_no_dead_letters() {
    let Some(broker) = broker("kafka registry") else { return };
    let error = failure(&broker, 7, &registry(false)).await;
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.chain().join(": ").contains("503"), "{:?}", error.chain());
    bad_input::told("schema registry", "out of order (503)", &error);
    let absent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = failure(&broker, 7, &format!("http://{absent}")).await;
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.chain().join(": ").contains("Connection refused"), "{:?}", error.chain());
    bad_input::told("schema registry", "server not there", &error);
    let error = failure(&broker, 9, &registry(true)).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.chain().join(": ").contains("check `registry_user`"), "{:?}", error.chain());
    bad_input::told("schema registry", "wrong password", &error);
}

/// Registers a schema as Confluent's clients do; gives its number.
async fn registered(registry: &str, subject: &str, schema: &str) -> u32 {
    let body = serde_json::json!({ "schema": schema }).to_string();
    let request = reqwest::Client::new()
        .post(format!("{registry}/subjects/{subject}/versions"))
        .header("Content-Type", "application/vnd.schemaregistry.v1+json")
        .body(body);
    let answer = request.send().await.unwrap().bytes().await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    answer["id"].as_u64().and_then(|id| u32::try_from(id).ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_is_understood() {
    let Some(broker) = broker("kafka real registry") else { return };
    let Some(registry) = super::broker::variable("STOCKFLOW_TEST_REGISTRY") else {
        crate::support::left_out("kafka real registry: STOCKFLOW_TEST_REGISTRY is not set");
        return;
    };
    let topic = broker.topic(1, &[]).await;
    let id = registered(&registry, &format!("{topic}-value"), BARS).await;
    broker.send(&topic, 0, &[&bar(id, "AAPL", 1_704_153_600_000, Some(1.5)), &bar(id + 1000, "X", 0, None)]);
    let source = source(&broker, &topic, &registry);
    let sql = "SELECT symbol, ts, close FROM input";
    let read = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), sql).await.unwrap();
    check_table(&read.table, &["symbol|ts|close", "AAPL|2024-01-02T00:00:00Z|1.5"]);
    assert!(read.reasons()[0].contains("is unknown to the registry"), "{:?}", read.reasons());
    bad_input::refused("kafka avro", "unknown schema id", &read.outcome.rejects);
}
