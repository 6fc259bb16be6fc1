//! What a sink holds: its newest record in a compacted topic.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};
use stockflow_core::ErrorClass;
use stockflow_core::token::EpochToken;

use super::client::{Hears, Reader, insist, known_partitions, no_answer, reader, reader_of_all};
use super::error::Failure;
use super::options::KafkaOptions;
use super::place::partition_of;

/// The value of a record; its key is the sink's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The epoch; `None` if the sink was opened and has written none.
    pub(super) token: Option<EpochToken>,
    /// The newest runner that has opened the sink.
    pub(super) generation: u64,
}

impl Held {
    pub(super) fn to_json(self) -> Result<String, Failure> {
        serde_json::to_string(&self).map_err(|error| Failure::config(format!("a token cannot be written: {error}")))
    }
}

/// The partition in which a sink's records stand.
pub(super) fn partition(sink: &str, partitions: &[i32]) -> i32 {
    partition_of(sink.as_bytes(), i32::try_from(partitions.len()).unwrap_or(i32::MAX))
}

/// How often it is looked whether a transaction is over.
const PAUSE: Duration = Duration::from_millis(20);

/// The newest record of a sink that a reader sees now: behind a transaction that is still open there may be a newer one. Blocks.
pub(super) fn read(options: &KafkaOptions, topic: &str, sink: &str) -> Result<Option<Held>, Failure> {
    let reader = reader(options, None)?;
    let partition = partition(sink, &known_partitions(&reader, options, topic)?);
    read_partition(&reader, options, topic, partition, sink)
}

/// The newest record of a sink of which no transaction is open. Blocks.
///
/// Other sinks that write their tokens here may have one: what is committed behind it is hidden until it is over.
pub(super) fn read_newest(options: &KafkaOptions, topic: &str, sink: &str) -> Result<Option<Held>, Failure> {
    let reader = reader(options, None)?;
    let partition = partition(sink, &known_partitions(&reader, options, topic)?);
    let end = |reader: &Reader| {
        insist(reader, options.timeout(), |time| reader.fetch_watermarks(topic, partition, time)).map(|(_, end)| end)
    };
    let written = end(&reader_of_all(options)?)?;
    let start = Instant::now();
    while end(&reader)? < written {
        if start.elapsed() > options.timeout() {
            return Err(Failure::transient(format!(
                "a transaction of another sink is open in the token topic `{topic}` and hides what this one holds; it ends when that sink is opened again, or by its timeout"
            )));
        }
        std::thread::sleep(PAUSE);
    }
    read_partition(&reader, options, topic, partition, sink)
}

fn read_partition(
    reader: &Reader,
    options: &KafkaOptions,
    topic: &str,
    partition: i32,
    sink: &str,
) -> Result<Option<Held>, Failure> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning).map_err(|error| Failure::of(&error))?;
    reader.assign(&list).map_err(|error| Failure::of(&error))?;
    let mut held = None;
    let mut heard = Instant::now();
    loop {
        let told = match reader.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if message.key() == Some(sink.as_bytes()) {
                    held = message.payload().map(|value| parse(value, topic, message.offset())).transpose()?;
                }
                continue;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(held),
            Some(Err(error)) => Some(Failure::of(&error)).filter(|it| !it.is(Code::GroupAuthorizationFailed)),
            None => None,
        };
        if let Some(hopeless) =
            told.clone().filter(|it| it.class == ErrorClass::Config).or_else(|| reader.ear().hopeless())
        {
            return Err(hopeless);
        }
        if heard.elapsed() > options.timeout() {
            let told = told.or_else(|| reader.ear().complaint());
            return Err(no_answer(
                options.timeout(),
                &told.unwrap_or_else(|| Failure::told(Code::OperationTimedOut, "")),
            ));
        }
    }
}

fn parse(value: &[u8], topic: &str, offset: i64) -> Result<Held, Failure> {
    serde_json::from_slice(value).map_err(|error| {
        Failure::config(format!(
            "the record at offset {offset} of the token topic `{topic}` is none of ours ({error}); name another topic as `token_topic`"
        ))
    })
}
