//! Topics, producers and consumers of the tests' own: nothing here goes through the connector.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use stockflow_io::kafka::KafkaOptions;

use crate::support::left_out;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running broker.
#[derive(Debug, Clone)]
pub(crate) struct Broker(pub(crate) String);

/// A message as a reader of committed messages sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
}

/// The broker of the environment; counted as left out where there is none.
pub(crate) fn broker(test: &str) -> Option<Broker> {
    let found = variable("STOCKFLOW_TEST_KAFKA");
    if found.is_none() {
        left_out(&format!("{test}: STOCKFLOW_TEST_KAFKA is not set"));
    }
    Some(Broker(found?))
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

impl Broker {
    pub(crate) fn options(&self) -> KafkaOptions {
        KafkaOptions::new(&self.0)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.0);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// A new topic with a name of its own.
    pub(crate) async fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        let topic = format!("it-{}", uuid::Uuid::new_v4().simple());
        self.create(&topic, partitions, settings).await;
        topic
    }

    pub(crate) async fn create(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let answer = self.admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
        answer[0].as_ref().unwrap();
        self.wait_for(topic, partitions);
    }

    /// Until every partition has a leader.
    fn wait_for(&self, topic: &str, partitions: i32) {
        let consumer: BaseConsumer = self.client().set("group.id", "it").create().unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
            let found = &metadata.topics()[0];
            if found.partitions().len() as i32 == partitions && found.partitions().iter().all(|it| it.leader() >= 0) {
                return;
            }
            assert!(Instant::now() < end, "topic {topic} did not come");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) async fn delete(&self, topic: &str) {
        self.admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        let consumer: BaseConsumer = self.client().set("group.id", "it").create().unwrap();
        let end = Instant::now() + PATIENCE;
        while consumer.fetch_metadata(Some(topic), PATIENCE).unwrap().topics()[0].error().is_none() {
            assert!(Instant::now() < end, "topic {topic} did not go");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) async fn grow(&self, topic: &str, partitions: i32) {
        let new = [NewPartitions::new(topic, partitions as usize)];
        self.admin().create_partitions(&new, &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        self.wait_for(topic, partitions);
    }

    /// Deletes what stands before an offset, as retention does.
    pub(crate) async fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
    }

    /// Writes messages to one partition.
    pub(crate) fn send(&self, topic: &str, partition: i32, values: &[&[u8]]) {
        let producer: BaseProducer = self.client().create().unwrap();
        for value in values {
            let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    pub(crate) fn send_full(&self, topic: &str, key: &[u8], value: Option<&[u8]>, header: (&str, &[u8])) {
        let producer: BaseProducer = self.client().create().unwrap();
        let headers = OwnedHeaders::new().insert(Header { key: header.0, value: Some(header.1) });
        let mut record = BaseRecord::to(topic).partition(0).key(key).headers(headers);
        record.payload = value;
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(PATIENCE).unwrap();
    }

    /// A producer with an open transaction that has written these messages.
    pub(crate) fn begin(&self, topic: &str, partition: i32, values: &[&[u8]]) -> BaseProducer {
        let id = format!("it-{}", uuid::Uuid::new_v4().simple());
        let producer: BaseProducer = self.client().set("transactional.id", id).create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        for value in values {
            let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        producer
    }

    pub(crate) fn commit(&self, producer: &BaseProducer, topic: &str) {
        producer.commit_transaction(PATIENCE).unwrap();
        self.settle(topic);
    }

    pub(crate) fn abort(&self, producer: &BaseProducer, topic: &str) {
        // The client waits for its events to be heard.
        for _ in 0..100 {
            if producer.abort_transaction(Duration::from_millis(300)).is_ok() {
                return self.settle(topic);
            }
            producer.poll(Duration::from_millis(10));
        }
        panic!("the transaction could not be aborted");
    }

    /// Until no transaction is open: its end is decided before its marks are written.
    pub(crate) fn settle(&self, topic: &str) {
        let [committed, all] = ["read_committed", "read_uncommitted"].map(|level| {
            let consumer: BaseConsumer =
                self.client().set("group.id", "it").set("isolation.level", level).create().unwrap();
            consumer
        });
        let metadata = all.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let end = Instant::now() + PATIENCE;
        for partition in metadata.topics()[0].partitions() {
            let high = |consumer: &BaseConsumer| consumer.fetch_watermarks(topic, partition.id(), PATIENCE).unwrap().1;
            while high(&committed) < high(&all) {
                assert!(Instant::now() < end, "a transaction in {topic} stays open");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// All committed messages of a topic in the order of partition and offset, once no transaction is open.
    pub(crate) fn seen(&self, topic: &str) -> Vec<Seen> {
        self.settle(topic);
        self.visible(topic)
    }

    /// What a reader of committed messages sees now.
    pub(crate) fn visible(&self, topic: &str) -> Vec<Seen> {
        let mut config = self.client();
        config.set("group.id", "it").set("enable.partition.eof", "true").set("isolation.level", "read_committed");
        config.set("enable.auto.commit", "false").set("fetch.wait.max.ms", "20");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|it| it.id()).collect();
        let mut list = TopicPartitionList::new();
        for partition in &partitions {
            list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut seen = Vec::new();
        let mut left: std::collections::BTreeSet<i32> = partitions.into_iter().collect();
        let end = Instant::now() + PATIENCE;
        while !left.is_empty() {
            assert!(Instant::now() < end, "{topic} could not be read to its end");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    left.remove(&partition);
                }
                Some(Ok(message)) => {
                    let header = |it: Header<'_, &[u8]>| {
                        (it.key.to_owned(), String::from_utf8_lossy(it.value.unwrap_or_default()).into_owned())
                    };
                    seen.push(Seen {
                        partition: message.partition(),
                        offset: message.offset(),
                        key: message.key().map(|key| String::from_utf8(key.to_vec()).unwrap()),
                        value: message.payload().unwrap_or_default().to_vec(),
                        headers: message.headers().map(|all| all.iter().map(header).collect()).unwrap_or_default(),
                    });
                }
                Some(Err(error)) => panic!("{topic}: {error}"),
                None => {}
            }
        }
        seen.sort_by_key(|message| (message.partition, message.offset));
        seen
    }

    /// The group's committed offsets.
    pub(crate) fn committed(&self, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, Offset> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let list = consumer.committed_offsets(list, PATIENCE).unwrap();
        list.elements().iter().map(|it| (it.partition(), it.offset())).collect()
    }
}
