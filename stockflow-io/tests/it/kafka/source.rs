//! What the source reads, epoch by epoch, and what it refuses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{DataType, Field, Schema};
use rdkafka::topic_partition_list::Offset;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::source::{EpochLimit, EpochPlan, ScanOutcome, Source};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::kafka::{KafkaFormat, KafkaOptions, KafkaSource, KafkaStart};

use super::broker::{Broker, broker};
use crate::bad_input;
use crate::support::{check_table, read_from};

fn relation() -> RelationSchema {
    let schema = Schema::new(vec![Field::new("symbol", DataType::Utf8, false), Field::new("n", DataType::Int64, true)]);
    RelationSchema::new("input", Arc::new(schema)).with_key(["symbol", "n"])
}

fn source(broker: &Broker, topic: &str) -> KafkaSource {
    KafkaSource::new(broker.options(), topic, relation())
}

fn row(symbol: &str, n: i64) -> Vec<u8> {
    format!("{{\"symbol\":\"{symbol}\",\"n\":{n}}}").into_bytes()
}

fn rows(symbol: &str, range: std::ops::Range<i64>) -> Vec<Vec<u8>> {
    range.map(|n| row(symbol, n)).collect()
}

fn send(broker: &Broker, topic: &str, partition: i32, values: &[Vec<u8>]) {
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    broker.send(topic, partition, &values);
}

const COUNT: &str = "SELECT symbol, count(*) AS c, min(n) AS a, max(n) AS z FROM input GROUP BY symbol ORDER BY symbol";

async fn plan(source: &KafkaSource, from: &Checkpoint) -> Option<EpochPlan> {
    source.plan(from, &EpochLimit::default()).await.unwrap()
}

/// The checkpoint as brokers make it that give topics no ids.
fn without_ids(checkpoint: &Checkpoint) -> Checkpoint {
    let mut bare = Checkpoint::new();
    for (name, position) in checkpoint.iter() {
        bare.set(name, position.split_once('#').map_or(position, |(offset, _)| offset));
    }
    bare
}

/// The offset of the next message of a partition.
fn offset(checkpoint: &Checkpoint, topic: &str, partition: i32) -> Option<i64> {
    without_ids(checkpoint).get(&format!("{topic}/{partition}"))?.parse().ok()
}

fn text(error: &Error) -> String {
    error.chain().join(": ")
}

#[tokio::test]
async fn an_epoch_is_exactly_its_offsets() {
    let Some(broker) = broker("kafka exact offsets") else { return };
    let topic = broker.topic(3, &[]).await;
    for partition in 0..3 {
        send(&broker, &topic, partition, &rows(&format!("S{partition}"), 0..1000));
    }
    let source = source(&broker, &topic);
    let first = plan(&source, &Checkpoint::new()).await.unwrap();
    assert_eq!(first.rows, Some(3000));
    // What comes later is not read, however often.
    send(&broker, &topic, 1, &rows("S1", 1000..3000));
    let scan = source.scan(&first).await.unwrap();
    for _ in 0..2 {
        let context = datafusion::prelude::SessionContext::new();
        context.register_table("input", Arc::clone(&scan.relations["input"])).unwrap();
        let batches = context.sql(COUNT).await.unwrap().collect().await.unwrap();
        let table = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        check_table(&table, &["symbol|c|a|z", "S0|1000|0|999", "S1|1000|0|999", "S2|1000|0|999"]);
    }
    let outcome = scan.end.outcome().await.unwrap();
    assert_eq!(outcome.reached, first.upto);
    let second = read_from(&source, &outcome.reached, &EpochLimit::default(), COUNT).await.unwrap();
    check_table(&second.table, &["symbol|c|a|z", "S1|2000|1000|2999"]);
    assert_eq!(offset(&second.outcome.reached, &topic, 1), Some(3000));
    assert!(plan(&source, &second.outcome.reached).await.is_none());
}

#[tokio::test]
async fn epochs_are_cut_by_rows_and_stay_below_the_target() {
    let Some(broker) = broker("kafka rows an epoch") else { return };
    let topic = broker.topic(2, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..10));
    send(&broker, &topic, 1, &rows("B", 0..500));
    let source = source(&broker, &topic);
    let target = plan(&source, &Checkpoint::new()).await.unwrap().upto;
    send(&broker, &topic, 0, &rows("A", 10..20));
    let limit = EpochLimit { max_rows: Some(200), upto: Some(target.clone()), ..EpochLimit::default() };
    let mut from = Checkpoint::new();
    let mut sizes = Vec::new();
    while let Some(read) = read_from(&source, &from, &limit, "SELECT * FROM input").await {
        sizes.push(read.rows);
        from = read.outcome.reached;
    }
    assert_eq!(sizes, [200, 200, 110]);
    assert_eq!(from, target, "what came after the target is the next run's");
}

#[tokio::test]
async fn only_committed_messages_are_read_and_gaps_are_normal() {
    let Some(broker) = broker("kafka read_committed") else { return };
    let topic = broker.topic(1, &[]).await;
    let source = source(&broker, &topic);
    send(&broker, &topic, 0, &rows("A", 0..3));
    let aborted = broker.begin(&topic, 0, &[&row("BAD", 0), &row("BAD", 1)]);
    broker.abort(&aborted, &topic);
    send(&broker, &topic, 0, &rows("A", 3..5));
    let open = broker.begin(&topic, 0, &[&row("LATE", 0)]);
    send(&broker, &topic, 0, &rows("A", 5..6));
    // Nothing behind an open transaction is committed for sure.
    let first = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), COUNT).await.unwrap();
    check_table(&first.table, &["symbol|c|a|z", "A|5|0|4"]);
    assert!(plan(&source, &first.outcome.reached).await.is_none(), "{}", first.outcome.reached);
    broker.commit(&open, &topic);
    let second = read_from(&source, &first.outcome.reached, &EpochLimit::default(), COUNT).await.unwrap();
    check_table(&second.table, &["symbol|c|a|z", "A|1|5|5", "LATE|1|0|0"]);
    // The mark of the transaction is the last that the topic holds: it is behind us, too.
    assert!(plan(&source, &second.outcome.reached).await.is_none());
    // An epoch that holds nothing but an aborted transaction.
    let aborted = broker.begin(&topic, 0, &[&row("BAD", 2)]);
    broker.abort(&aborted, &topic);
    let third =
        read_from(&source, &second.outcome.reached, &EpochLimit::default(), "SELECT * FROM input").await.unwrap();
    assert_eq!(third.rows, 0);
    assert!(plan(&source, &third.outcome.reached).await.is_none());
}

#[tokio::test]
async fn new_partitions_are_picked_up() {
    let Some(broker) = broker("kafka new partitions") else { return };
    let topic = broker.topic(1, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..2));
    let source = source(&broker, &topic).with_start(KafkaStart::Latest);
    // Behind the last message: nothing is read, but from here on everything is.
    let first = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), "SELECT * FROM input").await.unwrap();
    assert_eq!((first.rows, offset(&first.outcome.reached, &topic, 0)), (0, Some(2)));
    broker.grow(&topic, 2).await;
    send(&broker, &topic, 0, &rows("A", 2..3));
    send(&broker, &topic, 1, &rows("B", 0..2));
    let second = read_from(&source, &first.outcome.reached, &EpochLimit::default(), COUNT).await.unwrap();
    check_table(&second.table, &["symbol|c|a|z", "A|1|2|2", "B|2|0|1"]);
}

#[tokio::test]
async fn messages_deleted_before_they_were_read_are_an_error_unless_allowed() {
    let Some(broker) = broker("kafka retention") else { return };
    let topic = broker.topic(1, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..10));
    let source = source(&broker, &topic);
    let from = Checkpoint::new().with(format!("{topic}/0"), "3");
    let planned = plan(&source, &from).await.unwrap();
    broker.delete_before(&topic, 0, 6).await;
    let error = source.plan(&from, &EpochLimit::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text(&error).contains("offsets 3 to 6 were deleted before they were read"), "{}", text(&error));
    assert!(text(&error).contains("allow_loss"), "{}", text(&error));
    bad_input::told("kafka", "messages deleted before being read", &error);
    // An epoch that was planned before cannot be read as it was.
    let scan = source.scan(&planned).await.unwrap();
    let frame = datafusion::prelude::SessionContext::new().read_table(Arc::clone(&scan.relations["input"])).unwrap();
    let error = Error::from(frame.collect().await.unwrap_err());
    assert!(error.is_pin_lost(), "{}", text(&error));
    let source = source.with_loss_allowed();
    let read = read_from(&source, &from, &EpochLimit::default(), COUNT).await.unwrap();
    check_table(&read.table, &["symbol|c|a|z", "A|4|6|9"]);
    assert_eq!(read.left_out().len(), 1);
    assert!(read.left_out()[0].contains("offsets 3 to 6 were deleted at the source"), "{:?}", read.left_out());
    assert_eq!(offset(&read.outcome.reached, &topic, 0), Some(10));
}

#[tokio::test]
async fn a_topic_made_again_under_a_checkpoint_is_noticed() {
    let Some(broker) = broker("kafka topic made again") else { return };
    let topic = broker.topic(2, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..10));
    send(&broker, &topic, 1, &rows("B", 0..10));
    let source = source(&broker, &topic);
    let planned = plan(&source, &Checkpoint::new()).await.unwrap();
    broker.delete(&topic).await;
    let error = source.plan(&planned.upto, &EpochLimit::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text(&error).contains("there is no topic"), "{}", text(&error));
    bad_input::told("kafka", "topic deleted under a checkpoint", &error);
    // It holds more than what was read, so only its id tells.
    broker.create(&topic, 2, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..30));
    send(&broker, &topic, 1, &rows("B", 0..30));
    let error = source.plan(&planned.upto, &EpochLimit::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text(&error).contains("the topic was deleted and made again: its id was"), "{}", text(&error));
    bad_input::told("kafka", "topic recreated under a checkpoint", &error);
    let error = source.scan(&planned).await.unwrap_err();
    assert!(error.is_pin_lost(), "{}", text(&error));
    // Everything anew takes the topic as it is.
    let everything = EpochLimit { everything: true, ..EpochLimit::default() };
    let anew = source.plan(&planned.upto, &everything).await.unwrap().unwrap();
    assert!(source.plan(&anew.upto, &EpochLimit::default()).await.unwrap().is_none());
}

#[tokio::test]
async fn without_an_id_a_topic_made_again_is_noticed_by_its_end() {
    let Some(broker) = broker("kafka topic made again, no id") else { return };
    let topic = broker.topic(2, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..10));
    send(&broker, &topic, 1, &rows("B", 0..10));
    let source = source(&broker, &topic);
    let mut planned = plan(&source, &Checkpoint::new()).await.unwrap();
    planned.upto = without_ids(&planned.upto);
    broker.delete(&topic).await;
    broker.create(&topic, 2, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..3));
    let error = source.plan(&planned.upto, &EpochLimit::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text(&error).contains("the partition ends at 3: the topic was deleted and made again"), "{}", text(&error));
    // What was pinned is gone.
    let scan = source.scan(&planned).await.unwrap();
    let frame = datafusion::prelude::SessionContext::new().read_table(Arc::clone(&scan.relations["input"])).unwrap();
    let error = Error::from(frame.collect().await.unwrap_err());
    assert!(error.is_pin_lost(), "{}", text(&error));
    // With fewer partitions.
    broker.delete(&topic).await;
    broker.create(&topic, 1, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..30));
    let error = source.plan(&planned.upto, &EpochLimit::default()).await.unwrap_err();
    assert!(text(&error).contains("the topic has only 1"), "{}", text(&error));
    bad_input::told("kafka", "topic recreated, fewer partitions", &error);
}

#[tokio::test]
async fn poison_is_dead_letters_that_hold_the_message() {
    let Some(broker) = broker("kafka poison") else { return };
    for (name, format) in KafkaFormat::ALL {
        let topic = broker.topic(1, &[]).await;
        let source = source(&broker, &topic).with_format(format);
        broker.send_full(&topic, b"AAPL|1d|x", Some(b"\xff\x00poison"), ("trace", b"\xfe"));
        broker.send_full(&topic, b"\xff", Some(b"no, not this"), ("trace", b"abc"));
        broker.send_full(&topic, b"GONE", None, ("trace", b"abc"));
        let read = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), "SELECT * FROM input").await.unwrap();
        assert_eq!((read.rows, read.outcome.rejects.len()), (0, 3), "{format:?}");
        bad_input::refused(&format!("kafka {name}"), "poison message", &read.outcome.rejects);
        let [first, second, third] = read.outcome.rejects.as_slice() else { panic!("{format:?}") };
        assert_eq!((first.partition.as_str(), first.position.as_str()), (format!("{topic}/0").as_str(), "0"));
        assert_eq!((first.connector.as_str(), first.symbol.as_deref()), ("kafka", Some("AAPL")));
        let payload: serde_json::Value = serde_json::from_str(&first.payload).unwrap();
        assert_eq!(payload["key"], "AAPL|1d|x");
        assert_eq!(payload["value_base64"], "/wBwb2lzb24=");
        assert_eq!(payload["headers"][0]["name"], "trace");
        assert_eq!(payload["headers"][0]["value_base64"], "/g==");
        assert!(payload["timestamp"].as_i64().unwrap() > 1_700_000_000_000);
        let payload: serde_json::Value = serde_json::from_str(&second.payload).unwrap();
        assert_eq!(payload["value"], "no, not this");
        assert_eq!(payload["key_base64"], "/w==");
        assert!(third.reason.contains("tombstone"), "{}", third.reason);
        assert_eq!(offset(&read.outcome.reached, &topic, 0), Some(3), "poison is read, too");
    }
}

#[tokio::test]
async fn rows_say_where_they_come_from_if_asked() {
    let Some(broker) = broker("kafka positions") else { return };
    let topic = broker.topic(2, &[]).await;
    send(&broker, &topic, 1, &rows("A", 0..2));
    let source = source(&broker, &topic).with_position();
    let sql = "SELECT source_offset, symbol, source_partition, source_time > '2024-01-01' AS t, source_seq FROM input ORDER BY source_seq";
    let read = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), sql).await.unwrap();
    check_table(
        &read.table,
        &[
            "source_offset|symbol|source_partition|t|source_seq",
            &format!("0|A|{topic}/1|true|281474976710656"),
            &format!("1|A|{topic}/1|true|281474976710657"),
        ],
    );
}

#[tokio::test]
async fn the_group_is_told_and_may_be_anything() {
    let Some(broker) = broker("kafka group") else { return };
    let topic = broker.topic(2, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..7));
    let group = format!("{topic}-group");
    let source = source(&broker, &topic).with_group(&group);
    let read = read_from(&source, &Checkpoint::new(), &EpochLimit::default(), COUNT).await.unwrap();
    let start = Instant::now();
    source.commit(&read.outcome.reached).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(8), "the brokers' answer was heard: {:?}", start.elapsed());
    let told = broker.committed(&group, &topic, 2);
    assert_eq!(told[&0], Offset::Offset(7));
}

/// The end of a scan that nobody has read.
async fn unread(source: &KafkaSource) -> ScanOutcome {
    let plan = plan(source, &Checkpoint::new()).await.unwrap();
    source.scan(&plan).await.unwrap().end.outcome().await.unwrap()
}

#[tokio::test]
async fn bad_messages_behind_a_limit_belong_to_the_epoch() {
    let Some(broker) = broker("kafka limit") else { return };
    let topic = broker.topic(1, &[]).await;
    send(&broker, &topic, 0, &rows("A", 0..20_000));
    broker.send(&topic, 0, &[b"poison"]);
    let source = source(&broker, &topic);
    assert_eq!(unread(&source).await.rejects.len(), 1);
    let read =
        read_from(&source, &Checkpoint::new(), &EpochLimit::default(), "SELECT * FROM input LIMIT 3").await.unwrap();
    assert_eq!((read.rows, read.outcome.rejects.len()), (3, 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_transient_error_in_time() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = KafkaOptions::new(closed.to_string()).with_timeout(Duration::from_secs(2));
    let source = KafkaSource::new(options, "topic", relation());
    let start = Instant::now();
    let error = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(error.class(), ErrorClass::Transient, "{}", text(&error));
    assert!(text(&error).contains("no answer of the brokers within 2 s"), "{}", text(&error));
    bad_input::told("kafka", "server not there", &error);
}

/// A server that takes connections and says nothing.
#[tokio::test]
async fn a_server_that_says_nothing_is_a_transient_error_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = KafkaOptions::new(silent.local_addr().unwrap().to_string()).with_timeout(Duration::from_secs(2));
    let source = KafkaSource::new(options, "topic", relation());
    let start = Instant::now();
    let error = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(error.class(), ErrorClass::Transient, "{}", text(&error));
    bad_input::told("kafka", "silent server", &error);
}

#[tokio::test]
async fn what_can_never_work_is_said_before_anything_is_opened() {
    let refuse = |source: KafkaSource| async move {
        text(&source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err())
    };
    let source = |topic: &str, relation| KafkaSource::new(KafkaOptions::new("127.0.0.1:1"), topic, relation);
    assert!(refuse(source("no/topic", relation())).await.contains("`no/topic` is no name of a topic"));
    let list = Schema::new(vec![Field::new("l", DataType::new_list(DataType::Int64, true), true)]);
    let list = RelationSchema::new("input", Arc::new(list));
    assert!(refuse(source("t", list)).await.contains("column `l` has the type"));
    let own = Schema::new(vec![Field::new("Source_Seq", DataType::Int64, true)]);
    assert!(
        refuse(source("t", RelationSchema::new("input", Arc::new(own)))).await.contains("`source_seq` is the name")
    );
}
