//! A whole pipeline from topic to topic; its crashes are in the matrix.

use std::sync::Arc;

use object_store::memory::InMemory;
use rdkafka::topic_partition_list::Offset;
use stockflow_core::pipeline::{KillPoint, Pipeline, RunOptions, SinkStep};
use stockflow_core::schema::bar_relation;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{KillOnce, bars};
use stockflow_io::kafka::{KafkaSink, KafkaSource};

use super::broker::{Broker, broker};

fn send(broker: &Broker, topic: &str, days: std::ops::Range<i32>) {
    let closes: Vec<(i32, f64)> = days.map(|day| (day, f64::from(day))).collect();
    let mut text = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut text);
    writer.write(&bars("AAA", &closes, 1).unwrap()).unwrap();
    writer.finish().unwrap();
    let values: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    broker.send(topic, 0, &values);
}

#[tokio::test]
async fn a_run_reads_in_epochs_to_what_was_there_when_it_began() {
    let Some(broker) = broker("kafka run") else { return };
    let (input, output) = (broker.topic(2, &[]).await, broker.topic(2, &[]).await);
    send(&broker, &input, 0..1000);
    let name = format!("it-{}", uuid::Uuid::new_v4().simple());
    let store = Arc::new(InMemory::new());
    let run = || async {
        let pipeline = Pipeline::builder(&name)
            .source(KafkaSource::new(broker.options(), &input, bar_relation("bars")))
            .sink(SinkStep::new("out", KafkaSink::new(broker.options(), &output)).relation("bars"))
            .store(CheckpointStore::new(Arc::clone(&store) as _, ""))
            .max_rows(Some(300))
            .build()
            .unwrap();
        pipeline.run(RunOptions::default()).await.unwrap().epochs.len()
    };
    assert_eq!(run().await, 4, "1000 rows, 300 an epoch");
    assert_eq!(broker.seen(&output).len(), 1000);
    assert_eq!(run().await, 0);
}

#[tokio::test]
async fn the_groups_offsets_are_in_the_transaction_of_the_rows() {
    let Some(broker) = broker("kafka consumed offsets") else { return };
    let (input, output) = (broker.topic(2, &[]).await, broker.topic(2, &[]).await);
    let name = format!("it-{}", uuid::Uuid::new_v4().simple());
    let store = Arc::new(InMemory::new());
    let crash = |at: Option<KillPoint>| {
        let pipeline = Pipeline::builder(&name)
            .source(KafkaSource::new(broker.options(), &input, bar_relation("bars")).with_group(&name))
            .sink(SinkStep::new("out", KafkaSink::new(broker.options(), &output)).relation("bars"))
            .store(CheckpointStore::new(Arc::clone(&store) as _, ""))
            .build()
            .unwrap();
        let probe = at.map(|point| Arc::new(KillOnce::new(point)) as _);
        async move { pipeline.run(RunOptions { probe, ..RunOptions::default() }).await }
    };
    let told = || broker.committed(&name, &input, 2)[&0];
    send(&broker, &input, 0..7);
    // All is written and the transaction not ended: nobody has read anything.
    crash(Some(KillPoint::BeforeCommit("out".into()))).await.unwrap_err();
    assert_eq!((told(), broker.visible(&output).len()), (Offset::Invalid, 0));
    // It has ended, and nothing else has come about: rows and offsets are there together.
    crash(Some(KillPoint::AfterCommit("out".into()))).await.unwrap_err();
    assert_eq!((told(), broker.seen(&output).len()), (Offset::Offset(7), 7));
    crash(None).await.unwrap();
    assert_eq!((told(), broker.seen(&output).len()), (Offset::Offset(7), 7));
}
