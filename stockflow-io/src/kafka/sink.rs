//! The Kafka sink: an epoch and its token in one transaction.

use std::cell::Cell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::common::runtime::SpawnedTask;
use futures::TryStreamExt;
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use serde_json::json;
use stockflow_core::consumed::Consumed;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, RefusedRow, Sink, Staged, WriteMode, Written};
use stockflow_core::telemetry::WRITTEN;
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, ErrorClass, Result};

use super::client::{Hears, Writer, blocking, insist, next_offsets, no_answer, partitions, reader, writer};
use super::decode::KafkaFormat;
use super::encode::Encoder;
use super::error::{Failure, origin};
use super::kind::KIND;
use super::options::KafkaOptions;
use super::source::check_topic;
use super::spool::{Encoded, Messages, Spool};
use super::token::{self, Held};
use super::topics;

/// Encoded messages of an epoch that stay in memory between `stage` and `commit`.
const MEMORY: usize = 64 << 20;
/// A transaction that takes longer is given up by the brokers.
const TRANSACTION: Duration = Duration::from_secs(300);
/// Deliveries are heard of after so many messages.
const HEAR: u32 = 500;
/// How long giving up a transaction may take; whoever opens the sink next ends it in any case.
const ABORT: Duration = Duration::from_secs(5);

/// How messages are packed on their way to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaCompression {
    /// Not at all.
    None,
    /// Fast.
    #[default]
    Lz4,
    /// Smaller.
    Zstd,
}

impl KafkaCompression {
    /// The word in configurations, and the compression.
    pub const ALL: [(&'static str, Self); 3] = [("none", Self::None), ("lz4", Self::Lz4), ("zstd", Self::Zstd)];

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Writes rows as messages of one topic.
///
/// # Input
///
/// Any relation. A message is a row (of [`KafkaFormat::Arrow`]: up to a thousand rows of one partition, without a key).
///
/// | part | holds |
/// |---|---|
/// | key | the relation's key, joined by vertical bars: `AAPL\|1d\|2024-01-02T00:00:00Z`; none without a key |
/// | partition | by murmur2 of the symbol, as Kafka's own clients do for such a key; rows without a symbol by their key, else in turn |
/// | header `kind` | the relation's name |
/// | header `pipeline` | the pipeline's name |
/// | header `epoch` | the epoch's number |
///
/// # Guarantees
///
/// Transactional: a reader by `read_committed` sees all of an epoch or nothing, and no epoch twice.
/// Where the source is a topic of the same brokers with a group, the group's offsets are a part of the transaction.
/// Fenced atomically by the transactional id, which is the sink's id.
/// Rows of a symbol keep the order in which a partition of the relation gives them.
///
/// # Errors
///
/// Class config: no such topic, missing rights. A row that is larger than `max.message.bytes` of the topic is refused.
#[derive(Debug)]
pub struct KafkaSink {
    options: KafkaOptions,
    topic: String,
    token_topic: String,
    format: KafkaFormat,
    compression: KafkaCompression,
    state: Mutex<Option<Arc<Opened>>>,
}

/// A sink that is open.
struct Opened {
    id: SinkId,
    generation: Generation,
    writer: Writer,
    partitions: i32,
    /// The topic's `max.message.bytes`.
    limit: usize,
    token_partition: i32,
    held: Mutex<Option<EpochToken>>,
    /// The group whose positions are a part of transactions, once there is one, in the words of the brokers.
    member: Mutex<Option<(String, ConsumerGroupMetadata)>>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("id", &self.id).field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// What `stage` leaves for `commit`.
struct Prepared {
    kind: String,
    spools: Vec<Spool>,
    opened: Arc<Opened>,
    /// How far this epoch has read a topic of these brokers.
    consumed: Option<Arc<Consumed>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KafkaSink {
    /// A sink to a topic; nothing is opened yet.
    pub fn new(options: KafkaOptions, topic: impl Into<String>) -> Self {
        let topic = topic.into();
        Self {
            options,
            token_topic: format!("{topic}-stockflow-tokens"),
            topic,
            format: KafkaFormat::Json,
            compression: KafkaCompression::default(),
            state: Mutex::default(),
        }
    }

    /// Says how rows are written; the default is JSON.
    #[must_use]
    pub fn with_format(mut self, format: KafkaFormat) -> Self {
        self.format = format;
        self
    }

    /// Says how messages are packed; the default is lz4.
    #[must_use]
    pub fn with_compression(mut self, compression: KafkaCompression) -> Self {
        self.compression = compression;
        self
    }

    /// The compacted topic for the sink's token; the default is the topic's name with `-stockflow-tokens`. It is made if it is
    /// not there, and may serve any number of sinks.
    #[must_use]
    pub fn with_token_topic(mut self, topic: impl Into<String>) -> Self {
        self.token_topic = topic.into();
        self
    }

    /// Where it keeps its tokens.
    pub fn token_topic(&self) -> &str {
        &self.token_topic
    }

    fn opened(&self) -> Result<Arc<Opened>> {
        lock(&self.state).clone().ok_or_else(|| Error::internal("a Kafka sink was used before it was opened"))
    }

    fn settings(&self, id: &SinkId, limit: usize) -> Vec<(&'static str, String)> {
        vec![
            ("transactional.id", id.to_string()),
            ("transaction.timeout.ms", TRANSACTION.as_millis().to_string()),
            ("compression.type", self.compression.as_str().into()),
            ("message.max.bytes", limit.to_string()),
            ("linger.ms", "20".into()),
            ("batch.size", "1048576".into()),
            // What is on its way: `send` waits beyond that.
            ("queue.buffering.max.kbytes", "65536".into()),
            ("queue.buffering.max.messages", "200000".into()),
        ]
    }

    /// Whether a newer runner has opened the sink.
    fn check_generation(id: &SinkId, own: Generation, held: Option<&Held>) -> Result<()> {
        match held {
            Some(held) if held.generation > own.0 => {
                Err(Error::Fenced { pipeline: id.pipeline.clone(), own: own.0, newer: held.generation })
            }
            _ => Ok(()),
        }
    }

    async fn held(&self, id: &SinkId) -> Result<Option<Held>> {
        let (options, topic, id) = (self.options.clone(), self.token_topic.clone(), id.to_string());
        blocking(&self.token_topic, "read the token", move || token::read(&options, &topic, &id)).await
    }

    /// A failed write in the words of the contract: if a newer runner has taken over, that is what is said.
    async fn explain(&self, opened: &Opened, failure: Failure) -> Error {
        if failure.is_fenced() {
            match self.held(&opened.id).await {
                Ok(held) => {
                    if let Err(fenced) = Self::check_generation(&opened.id, opened.generation, held.as_ref()) {
                        return fenced;
                    }
                }
                Err(error) => return error,
            }
            let reason = "another producer with this transactional id took over, and is not newer: does a second runner, or another pipeline of this name, write here?";
            return Error::refused(origin(&self.topic), ErrorClass::Transient, reason);
        }
        failure.at(origin(&self.topic), "write")
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.options.check()?;
        check_topic("topic", &self.topic)?;
        check_topic("token_topic", &self.token_topic)?;
        // A producer of before ends here: its transaction, if one is open, is resolved by the next one.
        let before = lock(&self.state).take();
        let (options, topic, token_topic) = (self.options.clone(), self.topic.clone(), self.token_topic.clone());
        let found = blocking(&self.topic, "open", move || {
            drop(before);
            // A producer that asks for a topic may make it.
            let probe = reader(&options, None)?;
            let count =
                |topic: &str| partitions(&probe, &options, topic, |time| probe.fetch_metadata(Some(topic), time));
            let partitions = count(&topic)?
                .ok_or_else(|| Failure::told(Code::UnknownTopicOrPartition, &format!("there is no topic `{topic}`")))?;
            Ok((partitions, count(&token_topic)?))
        })
        .await?;
        let (partitions, token_partitions) = found;
        let token_partitions = match token_partitions {
            Some(known) => {
                Self::check_generation(sink, generation, self.held(sink).await?.as_ref())?;
                known
            }
            None => {
                topics::create_token_topic(&self.options, &self.token_topic).await?;
                vec![0]
            }
        };
        let limit = topics::max_message_bytes(&self.options, &self.topic).await;
        let (options, settings) = (self.options.clone(), self.settings(sink, limit));
        let writer = blocking(&self.topic, "open", move || {
            let writer = writer(&options, &settings)?;
            insist(&writer, options.timeout(), |time| writer.init_transactions(time))?;
            Ok(writer)
        })
        .await?;
        // Only now is it sure that no older transaction ends any more.
        let (options, topic, name) = (self.options.clone(), self.token_topic.clone(), sink.to_string());
        let held = blocking(&self.token_topic, "read the token", move || token::read_newest(&options, &topic, &name));
        let held = held.await?;
        Self::check_generation(sink, generation, held.as_ref())?;
        let token = held.and_then(|held| held.token);
        let opened = Arc::new(Opened {
            id: sink.clone(),
            generation,
            writer,
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            limit,
            token_partition: token::partition(&sink.to_string(), &token_partitions),
            held: Mutex::new(token),
            member: Mutex::default(),
        });
        let write = self.transaction(Arc::clone(&opened), token, None).await;
        if let Err(failure) = write {
            return Err(self.explain(&opened, failure).await);
        }
        *lock(&self.state) = Some(opened);
        Ok(token)
    }

    /// The rows are encoded and kept, in memory and then on disk: a transaction must not wait for other sinks.
    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let opened = self.opened()?;
        let relation = rows.relation();
        if let Some(reason) = Encoder::unwritable(self.format, &relation.schema) {
            return Err(Error::schema(&self.topic, reason));
        }
        let encoder = Encoder::new(self.format, relation, opened.partitions, opened.limit);
        let runtime = rows.frame().task_ctx().runtime_env();
        let streams = rows.partitions().await?;
        let memory = MEMORY / streams.len().max(1);
        let work = streams.into_iter().map(|mut stream| {
            let (encoder, mut spool) = (encoder.clone(), Spool::new(Arc::clone(&runtime), memory));
            SpawnedTask::spawn(async move {
                let mut refused = Vec::new();
                while let Some(batch) = stream.try_next().await? {
                    let mut messages = Messages::default();
                    refused.extend(encoder.encode(&batch, &mut messages)?);
                    spool.add(messages)?;
                }
                Ok::<_, Error>((spool, refused))
            })
        });
        let mut spools = Vec::new();
        let mut refused: Vec<RefusedRow> = Vec::new();
        for task in work.collect::<Vec<_>>() {
            let done = task
                .join()
                .await
                .map_err(|error| Error::internal(format!("an encoder of messages stopped: {error}")))?;
            let (spool, bad) = done?;
            spools.push(spool);
            refused.extend(bad);
        }
        let n_rows = spools.iter().map(|spool| spool.rows).sum();
        // What another cluster was read to cannot be a part of a transaction here.
        let consumed = rows.consumed().filter(|it| it.at == self.options.brokers()).cloned();
        let prepared = Prepared { kind: relation.name.clone(), spools, opened, consumed };
        Ok(Staged { refused, ..Staged::new(*epoch, n_rows, prepared) })
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let (token, rows) = (staged.token, staged.rows);
        let prepared: Prepared = staged.into_payload()?;
        let opened = Arc::clone(&prepared.opened);
        let location = format!("kafka:{}", self.topic);
        if *lock(&opened.held) == Some(token) {
            return Ok(Written { location, ..Written::default() });
        }
        let bytes = prepared.spools.iter().map(|spool| spool.bytes).sum();
        if let Err(failure) = self.transaction(Arc::clone(&opened), Some(token), Some(prepared)).await {
            // What became of it only a new producer finds out.
            lock(&self.state).take_if(|current| Arc::ptr_eq(current, &opened));
            return Err(self.explain(&opened, failure).await);
        }
        *lock(&opened.held) = Some(token);
        Ok(Written { rows, bytes: Some(bytes), location, refused: Vec::new() })
    }

    async fn abort(&self, _staged: Staged) -> Result<()> {
        Ok(())
    }

    fn idempotence(&self) -> Idempotence {
        Idempotence::Transactional
    }

    fn write_mode(&self) -> WriteMode {
        WriteMode::Append
    }

    fn fence(&self) -> Fence {
        Fence::Atomic
    }

    fn definition(&self) -> serde_json::Value {
        json!({
            "type": "kafka",
            "topic": self.topic,
            "token_topic": self.token_topic,
            "format": self.format.as_str(),
        })
    }
}

impl KafkaSink {
    /// Messages, if any, and the record of what the sink holds, all in one transaction.
    async fn transaction(
        &self,
        opened: Arc<Opened>,
        token: Option<EpochToken>,
        prepared: Option<Prepared>,
    ) -> Result<(), Failure> {
        let (topic, token_topic, options) = (self.topic.clone(), self.token_topic.clone(), self.options.clone());
        let work = move || {
            let timeout = options.timeout();
            let transaction = Transaction { opened: &opened, options: &options, timeout, sent: Cell::new(0) };
            let written = transaction.write(&topic, &token_topic, token, prepared.as_ref());
            if let Err(failure) = &written
                && !failure.is_fenced()
            {
                transaction.give_up();
            }
            written
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(written) => written,
            Err(error) => Err(Failure::transient(format!("a producer stopped: {error}"))),
        }
    }
}

/// One transaction of a producer. Blocks.
struct Transaction<'o> {
    opened: &'o Opened,
    options: &'o KafkaOptions,
    timeout: Duration,
    sent: Cell<u32>,
}

impl Transaction<'_> {
    fn write(
        &self,
        topic: &str,
        token_topic: &str,
        token: Option<EpochToken>,
        prepared: Option<&Prepared>,
    ) -> Result<(), Failure> {
        let Opened { id, generation, writer, token_partition, .. } = self.opened;
        writer.ear().forget();
        writer.begin_transaction().map_err(|error| Failure::of(&error))?;
        if let (Some(prepared), Some(token)) = (prepared, token) {
            let epoch = token.epoch.to_string();
            let headers = OwnedHeaders::new_with_capacity(3)
                .insert(Header { key: KIND, value: Some(prepared.kind.as_str()) })
                .insert(Header { key: "pipeline", value: Some(id.pipeline.as_str()) })
                .insert(Header { key: "epoch", value: Some(epoch.as_str()) });
            for spool in &prepared.spools {
                let sent: Result<(), SendError> =
                    spool.for_each(|message| self.send(topic, message, Some(&headers)).map_err(SendError::Failure));
                sent.map_err(SendError::into_failure)?;
            }
        }
        let value = Held { token, generation: generation.0 }.to_json()?;
        let key = id.to_string();
        let record = Encoded { partition: *token_partition, key: Some(key.as_bytes()), value: value.as_bytes() };
        self.send(token_topic, record, None)?;
        self.drain()?;
        if let Some(consumed) = prepared.and_then(|prepared| prepared.consumed.as_ref()) {
            self.consumed(consumed)?;
        }
        if let Some(token) = token.filter(|_| prepared.is_some()) {
            tracing::debug!(name: WRITTEN, topic, epoch = token.epoch, "the transaction is committed next");
        }
        insist(writer, self.timeout, |time| writer.commit_transaction(time))?;
        self.delivered()
    }

    /// Makes the positions of the group a part of the transaction.
    fn consumed(&self, consumed: &Consumed) -> Result<(), Failure> {
        let in_words = |failure: Failure| failure.about(&format!("consumer group `{}`", consumed.group));
        let positions = next_offsets(&consumed.topic, &consumed.next)?;
        let mut known = lock(&self.opened.member);
        if known.as_ref().is_none_or(|(group, _)| *group != consumed.group) {
            // A member of no generation: the group may not have others.
            let reader = reader(self.options, Some(&consumed.group))?;
            *known = reader.group_metadata().map(|member| (consumed.group.clone(), member));
        }
        let Some((_, member)) = known.as_ref() else {
            return Err(in_words(Failure::config("it cannot be named in a transaction")));
        };
        let writer = &self.opened.writer;
        insist(writer, self.timeout, |time| writer.send_offsets_to_transaction(&positions, member, time))
            .map_err(in_words)
    }

    /// Hands a message over to the client; waits while too much is on its way.
    fn send(&self, topic: &str, message: Encoded<'_>, headers: Option<&OwnedHeaders>) -> Result<(), Failure> {
        let writer = &self.opened.writer;
        let mut record = BaseRecord::to(topic).partition(message.partition).payload(message.value);
        record.key = message.key;
        record.headers = headers.cloned();
        let mut quiet = Quiet::new(self.timeout);
        loop {
            match writer.send(record) {
                Ok(()) => {
                    self.sent.set(self.sent.get().wrapping_add(1));
                    // What is delivered takes memory until it is heard of.
                    if self.sent.get().is_multiple_of(HEAR) {
                        writer.poll(Duration::ZERO);
                    }
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    writer.poll(Duration::from_millis(20));
                    self.delivered()?;
                    quiet.check(writer)?;
                }
                Err((error, _)) => return Err(self.fatal().unwrap_or_else(|| Failure::of(&error))),
            }
        }
    }

    /// Waits until everything is delivered.
    fn drain(&self) -> Result<(), Failure> {
        let writer = &self.opened.writer;
        let mut quiet = Quiet::new(self.timeout);
        while writer.in_flight_count() > 0 {
            // What is waiting to fill a batch is not to wait any longer.
            match writer.flush(Duration::from_millis(100)) {
                Ok(()) | Err(KafkaError::Flush(Code::OperationTimedOut)) => {}
                Err(error) => return Err(Failure::of(&error)),
            }
            self.delivered()?;
            quiet.check(writer)?;
        }
        self.delivered()
    }

    fn delivered(&self) -> Result<(), Failure> {
        match self.opened.writer.ear().undelivered() {
            None => Ok(()),
            // The message's own reason is often only that its transaction is over.
            Some(failure) => Err(self.fatal().unwrap_or(failure)),
        }
    }

    /// Why the producer can write nothing any more, if that is so.
    fn fatal(&self) -> Option<Failure> {
        self.opened.writer.client().fatal_error().map(|(code, reason)| Failure::told(code, &reason))
    }

    /// Ends the transaction, so that readers need not wait for its end.
    fn give_up(&self) {
        let writer = &self.opened.writer;
        if let Err(failure) = insist(writer, ABORT, |time| writer.abort_transaction(time)) {
            tracing::debug!(%failure, "a transaction could not be given up; the next open of the sink ends it");
        }
    }
}

/// Errors of a spool and of the client.
enum SendError {
    Failure(Failure),
    Spool(Error),
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        Self::Spool(error)
    }
}

impl SendError {
    fn into_failure(self) -> Failure {
        match self {
            Self::Failure(failure) => failure,
            Self::Spool(error) => Failure::config(error.chain().join(": ")),
        }
    }
}

/// Ends a wait in which nothing gets delivered.
struct Quiet {
    timeout: Duration,
    since: Instant,
    waiting: i32,
}

impl Quiet {
    fn new(timeout: Duration) -> Self {
        Self { timeout, since: Instant::now(), waiting: i32::MAX }
    }

    fn check(&mut self, writer: &Writer) -> Result<(), Failure> {
        let waiting = writer.in_flight_count();
        if waiting < self.waiting {
            (self.waiting, self.since) = (waiting, Instant::now());
        }
        if let Some(hopeless) = writer.ear().hopeless() {
            return Err(hopeless);
        }
        if self.since.elapsed() > self.timeout {
            let told = writer.ear().complaint().unwrap_or_else(|| Failure::told(Code::OperationTimedOut, ""));
            return Err(no_answer(self.timeout, &told));
        }
        Ok(())
    }
}
