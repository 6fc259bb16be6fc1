//! What the sink writes, and who may write.

use std::collections::BTreeSet;

use stockflow_core::sink::Sink;
use stockflow_core::testing::{bars, bars_relation, rows_of};
use stockflow_core::token::{Generation, SinkId};
use stockflow_core::{Error, ErrorClass};
use stockflow_io::kafka::{KafkaCompression, KafkaSink};

use super::broker::{Broker, Seen, broker};
use crate::bad_input;
use crate::support::token;

/// An id of its own: by it the brokers fence.
fn id() -> SinkId {
    SinkId::new(format!("it-{}", uuid::Uuid::new_v4().simple()), "bars")
}

fn sink(broker: &Broker, topic: &str) -> KafkaSink {
    KafkaSink::new(broker.options(), topic)
}

fn text(error: &Error) -> String {
    error.chain().join(": ")
}

async fn write(sink: &KafkaSink, epoch: u64, symbol: &str, n: i32) -> stockflow_core::Result<u64> {
    let closes: Vec<(i32, f64)> = (0..n).map(|day| (day, f64::from(day))).collect();
    let rows = rows_of(bars_relation(), vec![bars(symbol, &closes, 1)?])?;
    let staged = sink.stage(&token(epoch), &rows).await?;
    sink.commit(staged).await.map(|written| written.rows)
}

#[tokio::test]
async fn messages_have_key_partition_and_headers() {
    let Some(broker) = broker("kafka messages") else { return };
    let topic = broker.topic(4, &[]).await;
    let id = id();
    for (_, compression) in KafkaCompression::ALL {
        let sink = sink(&broker, &topic).with_compression(compression);
        sink.open(&id, Generation(compression as u64 + 1)).await.unwrap();
        let rows = rows_of(
            bars_relation(),
            vec![bars("AAPL", &[(0, 1.5), (1, 2.5)], 1).unwrap(), bars("Zürich", &[(0, 3.5)], 1).unwrap()],
        )
        .unwrap();
        let staged = sink.stage(&token(7 + compression as u64), &rows).await.unwrap();
        assert_eq!(staged.rows, 3);
        let written = sink.commit(staged).await.unwrap();
        assert_eq!((written.rows, written.location), (3, format!("kafka:{topic}")));
    }
    let seen = broker.seen(&topic);
    assert_eq!(seen.len(), 9);
    let of = |symbol: &str| -> Vec<&Seen> {
        seen.iter().filter(|it| it.key.as_deref().unwrap().starts_with(symbol)).collect()
    };
    let apple = of("AAPL|");
    assert_eq!(apple.iter().map(|it| it.partition).collect::<BTreeSet<_>>().len(), 1, "a symbol has one partition");
    assert_eq!(apple[0].key.as_deref(), Some("AAPL|1d|2024-01-01T00:00:00Z"));
    assert_eq!(apple[1].key.as_deref(), Some("AAPL|1d|2024-01-02T00:00:00Z"));
    let value: serde_json::Value = serde_json::from_slice(&apple[1].value).unwrap();
    assert_eq!((value["symbol"].as_str(), value["close"].as_f64()), (Some("AAPL"), Some(2.5)));
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(apple[0].headers, [header("kind", "bars"), header("pipeline", &id.pipeline), header("epoch", "7")]);
    assert_eq!(of("Zürich|").len(), 3);
}

#[tokio::test]
async fn an_epoch_is_seen_whole_and_only_once_committed() {
    let Some(broker) = broker("kafka transaction") else { return };
    let topic = broker.topic(3, &[]).await;
    let (sink, id) = (sink(&broker, &topic), id());
    assert_eq!(sink.open(&id, Generation(1)).await.unwrap(), None);
    let rows = rows_of(bars_relation(), vec![bars("A", &[(0, 1.0)], 1).unwrap(), bars("B", &[(0, 1.0)], 1).unwrap()]);
    let staged = sink.stage(&token(1), &rows.unwrap()).await.unwrap();
    assert_eq!(broker.seen(&topic), []);
    sink.commit(staged).await.unwrap();
    assert_eq!(broker.seen(&topic).len(), 2);
    // Another process finds the token.
    let again = KafkaSink::new(broker.options(), &topic);
    assert_eq!(again.open(&id, Generation(2)).await.unwrap(), Some(token(1)));
    // And another sink of the same token topic its own.
    let other = KafkaSink::new(broker.options(), &topic);
    assert_eq!(other.open(&SinkId::new(&id.pipeline, "other"), Generation(1)).await.unwrap(), None);
}

#[tokio::test]
async fn the_older_of_two_producers_is_fenced() {
    let Some(broker) = broker("kafka fence") else { return };
    let topic = broker.topic(1, &[]).await;
    let (old, new, id) = (sink(&broker, &topic), sink(&broker, &topic), id());
    old.open(&id, Generation(1)).await.unwrap();
    assert_eq!(write(&old, 1, "A", 10).await.unwrap(), 10);
    let rows = rows_of(bars_relation(), vec![bars("OLD", &[(0, 1.0)], 1).unwrap()]).unwrap();
    let staged = old.stage(&token(2), &rows).await.unwrap();
    assert_eq!(new.open(&id, Generation(2)).await.unwrap(), Some(token(1)));
    let error = old.commit(staged).await.unwrap_err();
    assert!(error.is_fenced(), "{}", text(&error));
    // It cannot come back either, and does not disturb the new one by trying.
    let error = old.open(&id, Generation(1)).await.unwrap_err();
    assert!(error.is_fenced(), "{}", text(&error));
    assert_eq!(write(&new, 2, "NEW", 5).await.unwrap(), 5);
    assert_eq!(write(&new, 3, "NEW", 5).await.unwrap(), 5);
    let seen = broker.seen(&topic);
    assert_eq!(seen.len(), 20);
    assert!(seen.iter().all(|it| !it.key.as_deref().unwrap().starts_with("OLD")));
}

#[tokio::test]
async fn a_row_that_is_too_large_is_refused_and_the_others_go_in() {
    let Some(broker) = broker("kafka too large") else { return };
    let topic = broker.topic(1, &[("max.message.bytes", "4000")]).await;
    let sink = sink(&broker, &topic);
    sink.open(&id(), Generation(1)).await.unwrap();
    let long = "X".repeat(4000);
    let rows = rows_of(
        bars_relation(),
        vec![
            bars("A", &[(0, 1.0)], 1).unwrap(),
            bars(&long, &[(0, 2.0)], 1).unwrap(),
            bars("B", &[(0, 3.0)], 1).unwrap(),
        ],
    );
    let staged = sink.stage(&token(1), &rows.unwrap()).await.unwrap();
    assert_eq!((staged.rows, staged.refused.len()), (2, 1));
    bad_input::refused("kafka", "row too large", &staged.refused);
    let refused = &staged.refused[0];
    assert!(refused.reason.contains("raise its `max.message.bytes`"), "{}", refused.reason);
    assert_eq!(refused.key[0], ("symbol".to_owned(), long.clone()));
    assert_eq!(refused.key[2], ("ts".to_owned(), "2024-01-01T00:00:00Z".to_owned()));
    sink.commit(staged).await.unwrap();
    assert_eq!(broker.seen(&topic).len(), 2);
}

#[tokio::test]
async fn many_rows_are_spooled_and_written() {
    let Some(broker) = broker("kafka many rows") else { return };
    let topic = broker.topic(4, &[]).await;
    let sink = sink(&broker, &topic);
    sink.open(&id(), Generation(1)).await.unwrap();
    let closes: Vec<(i32, f64)> = (0..5000).map(|day| (day, f64::from(day))).collect();
    let batches = (0..60).map(|n| bars(&format!("S{n}"), &closes, 1).unwrap()).collect();
    let staged = sink.stage(&token(1), &rows_of(bars_relation(), batches).unwrap()).await.unwrap();
    let written = sink.commit(staged).await.unwrap();
    // More than stays in memory.
    assert!(written.bytes.unwrap() > 64 << 20, "{:?}", written.bytes);
    let seen = broker.seen(&topic);
    assert_eq!(seen.len(), 300_000);
    let keys: BTreeSet<&str> = seen.iter().filter_map(|it| it.key.as_deref()).collect();
    assert_eq!(keys.len(), 300_000, "nothing is lost and nothing is there twice");
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_a_matter_of_configuration() {
    let Some(broker) = broker("kafka no topic") else { return };
    let error = sink(&broker, "it-never-made").open(&id(), Generation(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text(&error).contains("there is no topic `it-never-made`; create the topic"), "{}", text(&error));
    bad_input::told("kafka", "topic missing", &error);
}

#[tokio::test]
async fn a_token_topic_that_holds_something_else_is_refused() {
    let Some(broker) = broker("kafka foreign tokens") else { return };
    let topic = broker.topic(1, &[]).await;
    let id = id();
    broker.send_full(&topic, id.to_string().as_bytes(), Some(b"not a token"), ("a", b"b"));
    let error = sink(&broker, &topic).with_token_topic(&topic).open(&id, Generation(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(text(&error).contains("is none of ours"), "{}", text(&error));
}

#[tokio::test]
async fn an_open_transaction_of_another_sink_hides_no_token() {
    let Some(broker) = broker("kafka shared tokens") else { return };
    let (topic, tokens) = (broker.topic(1, &[]).await, broker.topic(1, &[]).await);
    let options = || broker.options().with_timeout(std::time::Duration::from_secs(2));
    let sink = || KafkaSink::new(options(), &topic).with_token_topic(&tokens);
    let (first, id) = (sink(), id());
    first.open(&id, Generation(1)).await.unwrap();
    write(&first, 1, "A", 1).await.unwrap();
    // A runner of another sink has died in the middle of its transaction: what is committed behind it no reader sees.
    let other = broker.begin(&tokens, 0, &[b"of another sink"]);
    write(&first, 2, "A", 1).await.unwrap();
    let error = sink().open(&id, Generation(2)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{}", text(&error));
    assert!(text(&error).contains("a transaction of another sink is open"), "{}", text(&error));
    broker.abort(&other, &tokens);
    assert_eq!(sink().open(&id, Generation(2)).await.unwrap(), Some(token(2)));
}
