//! Source and sink against the conformance kit.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use stockflow_core::Result;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::bar_relation;
use stockflow_core::sink::Sink;
use stockflow_core::source::{EpochLimit, Source};
use stockflow_core::testing::{Failure, SinkCase, SinkPlace, SourceCase, SourcePlace, check_sink, check_source};
use stockflow_io::kafka::{KafkaFormat, KafkaSink, KafkaSource};

use super::broker::{Broker, broker};

#[derive(Debug)]
struct Topic {
    broker: Broker,
    topic: String,
    added: AtomicI32,
}

#[async_trait]
impl SourcePlace for Topic {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        let schema =
            Schema::new(vec![Field::new("symbol", DataType::Utf8, false), Field::new("n", DataType::Int64, false)]);
        let relation = RelationSchema::new("input", Arc::new(schema));
        Ok(Arc::new(KafkaSource::new(self.broker.options(), &self.topic, relation)))
    }

    async fn add(&self, rows: usize) -> Result<()> {
        let partition = self.added.fetch_add(1, Ordering::SeqCst);
        if partition > 0 {
            self.broker.grow(&self.topic, partition + 1).await;
        }
        let rows: Vec<String> = (0..rows).map(|n| format!("{{\"symbol\":\"S{partition}\",\"n\":{n}}}")).collect();
        let rows: Vec<&[u8]> = rows.iter().map(String::as_bytes).collect();
        self.broker.send(&self.topic, partition, &rows);
        Ok(())
    }

    async fn add_undecodable(&self) -> Result<bool> {
        self.add(1).await?;
        self.broker.send(&self.topic, 0, &[b"{\"symbol\":"]);
        Ok(true)
    }
}

#[derive(Debug)]
struct Topics(Broker);

#[async_trait]
impl SourceCase for Topics {
    async fn place(&self) -> Result<Box<dyn SourcePlace>> {
        let topic = self.0.topic(1, &[]).await;
        Ok(Box::new(Topic { broker: self.0.clone(), topic, added: AtomicI32::new(0) }))
    }
}

#[tokio::test]
async fn the_source_keeps_its_contract() {
    let Some(broker) = broker("kafka source conformance") else { return };
    assert_eq!(check_source(&Topics(broker)).await, Vec::<Failure>::new());
}

#[derive(Debug)]
struct Written {
    broker: Broker,
    topic: String,
    format: KafkaFormat,
}

#[async_trait]
impl SinkPlace for Written {
    async fn sink(&self) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(KafkaSink::new(self.broker.options(), &self.topic).with_format(self.format)))
    }

    async fn read(&self) -> Result<Vec<RecordBatch>> {
        self.broker.settle(&self.topic);
        let source =
            KafkaSource::new(self.broker.options(), &self.topic, bar_relation("input")).with_format(self.format);
        let Some(plan) = source.plan(&Checkpoint::new(), &EpochLimit::default()).await? else {
            return Ok(Vec::new());
        };
        let scan = source.scan(&plan).await?;
        let frame = SessionContext::new().read_table(Arc::clone(&scan.relations["input"]))?;
        let batches = frame.drop_columns(&["source_seq"])?.collect().await?;
        assert!(scan.end.outcome().await?.rejects.is_empty());
        Ok(batches)
    }
}

#[derive(Debug)]
struct WrittenTopics(Broker, KafkaFormat);

#[async_trait]
impl SinkCase for WrittenTopics {
    async fn place(&self) -> Result<Box<dyn SinkPlace>> {
        let topic = self.0.topic(3, &[]).await;
        Ok(Box::new(Written { broker: self.0.clone(), topic, format: self.1 }))
    }
}

/// One after the other: the kit's sinks have one id, and by it the brokers fence them.
#[tokio::test]
async fn the_sink_keeps_its_contract_in_every_format() {
    let Some(broker) = broker("kafka sink conformance") else { return };
    for (_, format) in KafkaFormat::ALL {
        assert_eq!(check_sink(&WrittenTopics(broker.clone(), format)).await, Vec::<Failure>::new(), "{format:?}");
    }
}
