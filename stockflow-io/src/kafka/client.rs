//! Clients of librdkafka: what they log, what they complain of, and calls that end by a deadline.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::DeliveryResult;
use rdkafka::metadata::Metadata;
use rdkafka::producer::ProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use stockflow_core::{Error, ErrorClass, Result};

use super::error::{Failure, origin};
use super::options::KafkaOptions;

/// A call to the brokers is given so long at a time; in between the client's complaints are heard.
const SLICE: Duration = Duration::from_millis(500);

/// Hears what a client has to say.
#[derive(Debug)]
pub(super) struct Ear {
    options: KafkaOptions,
    /// The last complaint, and whether somebody must mend it.
    complaint: Mutex<Option<Failure>>,
    /// The first message that could not be delivered.
    undelivered: Mutex<Option<Failure>>,
}

impl Ear {
    fn new(options: &KafkaOptions) -> Self {
        Self { options: options.clone(), complaint: Mutex::default(), undelivered: Mutex::default() }
    }

    /// What somebody must mend, if the client complains of such a thing.
    pub(super) fn hopeless(&self) -> Option<Failure> {
        lock(&self.complaint).clone().filter(|it| it.class == ErrorClass::Config)
    }

    /// The last complaint.
    pub(super) fn complaint(&self) -> Option<Failure> {
        lock(&self.complaint).clone()
    }

    pub(super) fn forget(&self) {
        lock(&self.complaint).take();
        lock(&self.undelivered).take();
    }

    pub(super) fn undelivered(&self) -> Option<Failure> {
        lock(&self.undelivered).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Ear {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.options.hide(message);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(facility, message, "librdkafka");
            }
            // What matters of these comes as an error of a call.
            _ => tracing::debug!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let reason = self.options.hide(reason);
        tracing::debug!(%code, reason, "librdkafka complains");
        // Where the group matters (a commit of offsets) it is said there.
        let of_group = matches!(code, Code::GroupAuthorizationFailed);
        let mut complaint = lock(&self.complaint);
        let says_more = complaint.as_ref().is_none_or(|it| it.class != ErrorClass::Config)
            && (code != Code::AllBrokersDown || complaint.is_none());
        if says_more && !of_group && code != Code::PartitionEOF {
            *complaint = Some(Failure::told(code, &reason));
        }
    }
}

impl ConsumerContext for Ear {}

impl ProducerContext for Ear {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, _)) = result {
            lock(&self.undelivered).get_or_insert_with(|| Failure::of(error));
        }
    }
}

/// A client that reads committed messages of given offsets.
pub(super) type Reader = BaseConsumer<Ear>;

/// A client that reads. `group` is where offsets are committed for the eyes of others.
pub(super) fn reader(options: &KafkaOptions, group: Option<&str>) -> Result<Reader, Failure> {
    create_reader(options, group, "read_committed")
}

/// A client to which open transactions are not hidden.
pub(super) fn reader_of_all(options: &KafkaOptions) -> Result<Reader, Failure> {
    create_reader(options, None, "read_uncommitted")
}

fn create_reader(options: &KafkaOptions, group: Option<&str>, isolation: &str) -> Result<Reader, Failure> {
    let mut config = options.client()?;
    // librdkafka reads in the name of a group only; nothing is committed to this one.
    config.set("group.id", group.unwrap_or("stockflow"));
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("isolation.level", isolation);
    // What was planned and is gone must not be passed over.
    config.set("auto.offset.reset", "error");
    // A stalled pipeline is no dead one.
    config.set("max.poll.interval.ms", "86400000");
    // What waits in memory, for each reader.
    config.set("queued.max.messages.kbytes", "16384");
    config.set("fetch.max.bytes", "8388608");
    config.set("fetch.queue.backoff.ms", "10");
    // At an epoch's end nothing more comes.
    config.set("fetch.wait.max.ms", "20");
    config.set("fetch.error.backoff.ms", "100");
    config.create_with_context(Ear::new(options)).map_err(|error| Failure::of(&error))
}

/// A client that writes in transactions.
pub(super) type Writer = rdkafka::producer::BaseProducer<Ear>;

pub(super) fn writer(options: &KafkaOptions, settings: &[(&str, String)]) -> Result<Writer, Failure> {
    let mut config = options.client()?;
    for (key, value) in settings {
        config.set(*key, value);
    }
    config.create_with_context(Ear::new(options)).map_err(|error| Failure::of(&error))
}

/// A client that makes topics.
pub(super) type Admin = rdkafka::admin::AdminClient<DefaultClientContext>;

pub(super) fn admin(options: &KafkaOptions) -> Result<Admin, Failure> {
    options.client()?.create().map_err(|error| Failure::of(&error))
}

/// Something that must be polled to hear its complaints.
pub(super) trait Hears {
    fn ear(&self) -> &Ear;
    fn listen(&self);
}

impl Hears for Reader {
    fn ear(&self) -> &Ear {
        self.context()
    }

    fn listen(&self) {
        // Nothing is assigned while calls are made: there are only complaints.
        for _ in 0..20 {
            self.poll(Duration::ZERO);
        }
    }
}

impl Hears for Writer {
    fn ear(&self) -> &Ear {
        rdkafka::producer::Producer::context(self)
    }

    fn listen(&self) {
        for _ in 0..20 {
            self.poll(Duration::ZERO);
        }
    }
}

/// Repeats a call that waits for the brokers until it succeeds, somebody must mend something, or time is up.
pub(super) fn insist<H: Hears, T>(
    client: &H,
    timeout: Duration,
    mut call: impl FnMut(Duration) -> KafkaResult<T>,
) -> Result<T, Failure> {
    let end = Instant::now() + timeout;
    client.ear().forget();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let failure = match call(left.min(SLICE).max(Duration::from_millis(1))) {
            Ok(value) => return Ok(value),
            Err(error) => Failure::of(&error),
        };
        client.listen();
        if let Some(hopeless) = client.ear().hopeless() {
            return Err(hopeless);
        }
        if failure.class != ErrorClass::Transient || failure.ends || failure.is_fenced() {
            return Err(failure);
        }
        if left.is_zero() {
            let told = client.ear().complaint().unwrap_or(failure);
            return Err(no_answer(timeout, &told));
        }
        if !failure.is(Code::OperationTimedOut) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Time is up, and this is the last that was heard.
pub(super) fn no_answer(timeout: Duration, told: &Failure) -> Failure {
    Failure::transient(format!(
        "no answer of the brokers within {} s: {told}; check that they run, and the names in `brokers`",
        timeout.as_secs()
    ))
}

/// The number of partitions of a topic; `None` if there is no such topic.
pub(super) fn partitions<H: Hears>(
    client: &H,
    options: &KafkaOptions,
    topic: &str,
    fetch: impl Fn(Duration) -> KafkaResult<Metadata>,
) -> Result<Option<Vec<i32>>, Failure> {
    let end = Instant::now() + options.timeout();
    loop {
        let metadata = insist(client, options.timeout(), &fetch)?;
        let Some(found) = metadata.topics().iter().find(|it| it.name() == topic) else { return Ok(None) };
        match found.error().map(Code::from) {
            None => {
                let mut ids: Vec<i32> = found.partitions().iter().map(|it| it.id()).collect();
                ids.sort_unstable();
                return Ok(Some(ids));
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(None),
            Some(code) => {
                let failure = Failure::told(code, "");
                if failure.class != ErrorClass::Transient || Instant::now() >= end {
                    return Err(failure);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// The topic's partitions, for a client that reads; an unknown topic is an error.
pub(super) fn known_partitions(reader: &Reader, options: &KafkaOptions, topic: &str) -> Result<Vec<i32>, Failure> {
    partitions(reader, options, topic, |time| reader.fetch_metadata(Some(topic), time))?
        .ok_or_else(|| Failure::told(Code::UnknownTopicOrPartition, &format!("there is no topic `{topic}`")))
}

/// Partitions of a topic with the next position in each.
pub(super) fn next_offsets(topic: &str, next: &[(i32, i64)]) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::with_capacity(next.len());
    for (partition, position) in next {
        let offset = Offset::Offset(*position);
        list.add_partition_offset(topic, *partition, offset).map_err(|error| Failure::of(&error))?;
    }
    Ok(list)
}

/// Commits offsets, and waits until the brokers say them: what became of a commit the client does not tell.
pub(super) fn commit_offsets(reader: &Reader, offsets: &TopicPartitionList, timeout: Duration) -> Result<(), Failure> {
    let end = Instant::now() + timeout;
    reader.commit(offsets, rdkafka::consumer::CommitMode::Async).map_err(|error| Failure::of(&error))?;
    let wanted = offsets.to_topic_map();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let told = insist(reader, left, |time| reader.committed_offsets(offsets.clone(), time))?;
        if told.to_topic_map() == wanted {
            return Ok(());
        }
        if left.is_zero() {
            return Err(no_answer(timeout, &Failure::transient("the group still has other offsets")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs what blocks beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    topic: &str,
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|failure| failure.at(origin(topic), operation)),
        Err(error) => Err(Error::internal(format!("a call of the Kafka client stopped: {error}"))),
    }
}
