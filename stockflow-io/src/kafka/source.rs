//! The Kafka source: plans by watermarks, scans exactly the offsets that it pinned.

mod redecode;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::consumed::Consumed;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::{EpochLimit, EpochPlan, Redecoded, Replay, Scan, Source};
use stockflow_core::{Error, ErrorClass, Result};

use super::client::{Reader, blocking, commit_offsets, insist, known_partitions, next_offsets, reader};
use super::decode::{Decoder, KafkaFormat, unreadable};
use super::error::{Failure, origin};
use super::native::topic_id;
use super::options::KafkaOptions;
use super::pin::{Pins, Range, share};
use super::position::{Position, changed};
use super::registry::SchemaRegistry;
use super::scan::{KafkaScan, KafkaScanEnd, KafkaTable, Layout};
use super::sizes::Sizes;

/// Rows of an epoch where nobody says otherwise.
const ROWS: u64 = 1_000_000;

/// Where a source begins that has read nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaStart {
    /// With the first message that the topic holds.
    #[default]
    Earliest,
    /// Behind the last one: only what comes from now on.
    Latest,
}

impl KafkaStart {
    /// The word in configurations, and where that is.
    pub const ALL: [(&'static str, Self); 2] = [("earliest", Self::Earliest), ("latest", Self::Latest)];
}

/// Reads the messages of one topic.
///
/// # Input
///
/// JSON objects, CSV records or Arrow IPC streams ([`KafkaFormat`]) of declared columns: a topic has no columns of its own.
///
/// # Output
///
/// One relation (`input` unless named) with the declared columns and `source_seq` (Int64): for equal keys the higher wins.
/// With [`KafkaSource::with_position`] three more say where a row comes from:
///
/// | column | type | meaning |
/// |---|---|---|
/// | `source_partition` | Utf8, not null | `topic/partition` |
/// | `source_offset` | Int64, not null | the message's offset |
/// | `source_time` | Timestamp(us, UTC) | the message's time, as its topic keeps it |
///
/// # Nulls
///
/// A field that a message lacks is NULL; a message that lacks one which may not be NULL is a dead letter.
///
/// # Guarantees
///
/// Replay is exact: an epoch is the offsets that were pinned, read by `read_committed`.
/// Offsets are kept in the pipeline's checkpoint; those of the group are written for the eyes of others only.
///
/// # Errors
///
/// Class config: no such topic; a topic of another id, or one that ends before a position (it was made again); a position before its beginning
/// (messages were deleted before they were read) unless [`KafkaSource::with_loss_allowed`].
#[derive(Debug)]
pub struct KafkaSource {
    options: KafkaOptions,
    topic: String,
    relation: RelationSchema,
    layout: Arc<Layout>,
    format: KafkaFormat,
    delimiter: u8,
    unknown_fields: bool,
    group: Option<String>,
    start: KafkaStart,
    allow_loss: bool,
    rows: u64,
    bytes: Option<u64>,
    sizes: Arc<Sizes>,
    registry: Option<SchemaRegistry>,
    /// The client that asks for watermarks, once there is one.
    watcher: Arc<Watcher>,
}

#[derive(Default)]
struct Watcher(Mutex<Option<Arc<Reader>>>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

impl Watcher {
    fn reader(&self, options: &KafkaOptions, group: Option<&str>) -> Result<Arc<Reader>, Failure> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = kept.as_ref() {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(reader(options, group)?);
        *kept = Some(Arc::clone(&reader));
        Ok(reader)
    }
}

impl KafkaSource {
    /// A source of a topic whose messages have the columns, key and version of `relation`; nothing is opened yet.
    pub fn new(options: KafkaOptions, topic: impl Into<String>, relation: RelationSchema) -> Self {
        let decoder = Decoder::new(KafkaFormat::Json, Arc::clone(&relation.schema), false, b',');
        let mut source = Self {
            options,
            topic: topic.into(),
            relation,
            layout: Arc::new(Layout { decoder: Arc::new(decoder), position: false, kind: None }),
            format: KafkaFormat::Json,
            delimiter: b',',
            unknown_fields: false,
            group: None,
            start: KafkaStart::Earliest,
            allow_loss: false,
            rows: ROWS,
            bytes: None,
            sizes: Arc::default(),
            registry: None,
            watcher: Arc::default(),
        };
        source.relation.schema = source.layout.schema();
        source
    }

    fn rebuilt(mut self, declared: SchemaRef, position: bool) -> Self {
        let decoder = Decoder::new(self.format, declared, self.unknown_fields, self.delimiter)
            .with_registry(self.registry.clone());
        self.layout = Arc::new(Layout { decoder: Arc::new(decoder), position, kind: self.layout.kind.clone() });
        self.relation.schema = self.layout.schema();
        self
    }

    /// Says how messages are written; the default is JSON.
    #[must_use]
    pub fn with_format(mut self, format: KafkaFormat) -> Self {
        self.format = format;
        let (declared, position) = (Arc::clone(self.layout.decoder.schema()), self.layout.position);
        self.rebuilt(declared, position)
    }

    /// Reads Avro whose schemas are in this registry.
    #[must_use]
    pub fn with_avro(mut self, registry: SchemaRegistry) -> Self {
        self.registry = Some(registry);
        self.with_format(KafkaFormat::Avro)
    }

    /// The character between the fields of CSV; the default is a comma.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        let (declared, position) = (Arc::clone(self.layout.decoder.schema()), self.layout.position);
        self.rebuilt(declared, position)
    }

    /// Passes over fields that no column is declared for; without it they refuse their message.
    #[must_use]
    pub fn with_unknown_fields_ignored(mut self) -> Self {
        self.unknown_fields = true;
        let (declared, position) = (Arc::clone(self.layout.decoder.schema()), self.layout.position);
        self.rebuilt(declared, position)
    }

    /// Adds the columns that say where a row comes from.
    #[must_use]
    pub fn with_position(self) -> Self {
        let declared = Arc::clone(self.layout.decoder.schema());
        self.rebuilt(declared, true)
    }

    /// Reads only messages whose header `kind` says this, and those without that header.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<String>) -> Self {
        let decoder = Arc::clone(&self.layout.decoder);
        self.layout = Arc::new(Layout { decoder, position: self.layout.position, kind: Some(kind.into()) });
        self
    }

    /// Commits what was read to a group, so that tools which watch its lag see it. A [`KafkaSink`](super::KafkaSink) with
    /// the same brokers does so in the transaction of the rows.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Where a first run begins.
    #[must_use]
    pub fn with_start(mut self, start: KafkaStart) -> Self {
        self.start = start;
        self
    }

    /// Goes on where messages were deleted before they were read; each such loss is listed as left out.
    #[must_use]
    pub fn with_loss_allowed(mut self) -> Self {
        self.allow_loss = true;
        self
    }

    /// At most about so many rows an epoch, where the pipeline does not say; the default is a million.
    #[must_use]
    pub fn with_rows_per_epoch(mut self, rows: u64) -> Self {
        self.rows = rows.max(1);
        self
    }

    /// At most about so many bytes of messages an epoch, if that is less than the rows come to. How large messages are is
    /// learned from those that were read; before the first, a kibibyte each.
    #[must_use]
    pub fn with_bytes_per_epoch(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    fn check(&self) -> Result<()> {
        self.options.check()?;
        check_topic("topic", &self.topic)?;
        if self.format == KafkaFormat::Avro && self.registry.is_none() {
            return Err(Error::parameter("kafka", "registry", "Avro messages need a schema registry; none is named"));
        }
        if let Some(reason) = unreadable(self.format, self.layout.decoder.schema()) {
            return Err(Error::parameter("kafka", "types", reason));
        }
        let (declared, schema) = (self.layout.decoder.schema(), self.layout.schema());
        let own = schema.fields().iter().skip(declared.fields().len());
        for field in own {
            if declared.fields().iter().any(|it| it.name().eq_ignore_ascii_case(field.name())) {
                let reason = format!("`{}` is the name of a column that says where a row comes from", field.name());
                return Err(Error::parameter("kafka", "types", reason));
            }
        }
        Ok(())
    }

    fn name(&self, partition: i32) -> String {
        format!("{}/{partition}", self.topic)
    }

    /// The partition's number, if the name is one of this topic's.
    fn number(&self, name: &str) -> Option<i32> {
        name.strip_prefix(&self.topic)?.strip_prefix('/')?.parse().ok()
    }

    /// The topic's id, if the brokers give one.
    async fn id(&self) -> Result<Option<String>> {
        let (options, topic, watcher, group) =
            (self.options.clone(), self.topic.clone(), Arc::clone(&self.watcher), self.group.clone());
        blocking(&self.topic, "ask for the id of", move || {
            let reader = watcher.reader(&options, group.as_deref())?;
            topic_id(reader.client(), &topic, options.timeout())
        })
        .await
    }

    /// What the topic holds now.
    async fn marks(&self) -> Result<Vec<Range>> {
        let (options, topic, watcher, group) =
            (self.options.clone(), self.topic.clone(), Arc::clone(&self.watcher), self.group.clone());
        blocking(&self.topic, "plan", move || {
            let reader = watcher.reader(&options, group.as_deref())?;
            let ids = known_partitions(&reader, &options, &topic)?;
            let starts = offsets(&reader, &options, &topic, &ids, Offset::Beginning)?;
            let ends = offsets(&reader, &options, &topic, &ids, Offset::End)?;
            let range = |id| Some(Range { partition: id, start: *starts.get(&id)?, end: *ends.get(&id)? });
            Ok(ids.into_iter().filter_map(range).collect())
        })
        .await
    }

    /// Where a partition goes on, and what of it was lost; `None` if nothing is known of it yet and nothing is to be read.
    fn resume(&self, marks: &Range, from: &Checkpoint, limit: &EpochLimit) -> Result<(i64, Option<Range>)> {
        let name = self.name(marks.partition);
        let known = if limit.everything { None } else { from.get(&name) };
        let Some(known) = known else {
            // A partition that is added later is new from its first message on.
            let is_first = !from.iter().any(|(partition, _)| self.number(partition).is_some());
            let latest = self.start == KafkaStart::Latest && is_first && !limit.everything;
            return Ok((if latest { marks.end } else { marks.start }, None));
        };
        let Some(Position { offset: position, .. }) = Position::parse(known) else {
            let reason = format!("the checkpoint's position `{known}` is no offset; run with `--rebuild`");
            return Err(Error::refused(origin(&name), ErrorClass::Config, reason));
        };
        if position > marks.end {
            let reason = format!(
                "the checkpoint says that everything before offset {position} was read, but the partition ends at {}: the topic was deleted and made again, or has lost messages; run with `--rebuild`, or `checkpoint reset` to read it from its start",
                marks.end
            );
            return Err(Error::refused(origin(&name).position(position), ErrorClass::Config, reason));
        }
        if position >= marks.start {
            return Ok((position, None));
        }
        if !self.allow_loss {
            let reason = format!(
                "offsets {position} to {} were deleted before they were read: these messages are lost; keep them longer (the topic's `retention.ms`), and say `allow_loss = true` to go on without them",
                marks.start
            );
            return Err(Error::refused(origin(&name).position(position), ErrorClass::Config, reason));
        }
        tracing::warn!(
            partition = name,
            from = position,
            to = marks.start,
            "messages were deleted before they were read"
        );
        Ok((marks.start, Some(Range { partition: marks.partition, start: position, end: marks.start })))
    }
}

/// The names that Kafka allows.
pub(super) fn check_topic(parameter: &str, topic: &str) -> Result<()> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.bytes().all(is_legal) {
        let reason = format!("`{topic}` is no name of a topic: 1 to 249 of the characters a-z A-Z 0-9 . _ -");
        return Err(Error::parameter("kafka", parameter, reason));
    }
    Ok(())
}

/// The offsets of all partitions at their beginning or end; the end is behind the last committed message.
fn offsets(
    reader: &Reader,
    options: &KafkaOptions,
    topic: &str,
    ids: &[i32],
    at: Offset,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let list = insist(reader, options.timeout(), |time| {
        let mut list = TopicPartitionList::with_capacity(ids.len());
        for id in ids {
            list.add_partition_offset(topic, *id, at)?;
        }
        let list = reader.offsets_for_times(list, time)?;
        for element in list.elements() {
            element.error()?;
        }
        Ok(list)
    })?;
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        match element.offset() {
            Offset::Offset(offset) => offsets.insert(element.partition(), offset),
            other => {
                return Err(Failure::transient(format!(
                    "the brokers gave {other:?} for partition {}",
                    element.partition()
                )));
            }
        };
    }
    Ok(offsets)
}

#[async_trait]
impl Source for KafkaSource {
    fn relations(&self) -> Vec<RelationSchema> {
        vec![self.relation.clone()]
    }

    /// The end of a partition is that of its committed messages. `limit.max_partitions` counts partitions with new messages.
    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.check()?;
        let marks = self.marks().await?;
        let id = self.id().await?;
        for (name, position) in from.iter().filter(|_| !limit.everything) {
            if let Some(number) = self.number(name)
                && !marks.iter().any(|it| it.partition == number)
            {
                let reason = format!(
                    "the checkpoint knows this partition, but the topic has only {}: it was deleted and made again; run with `--rebuild`",
                    marks.len()
                );
                return Err(Error::refused(origin(name), ErrorClass::Config, reason));
            }
            let known = self.number(name).and_then(|_| Position::parse(position));
            if let Some(change) = changed(known.and_then(|known| known.id), id.as_deref()) {
                let reason = format!(
                    "the topic was deleted and made again: {change}; run with `--rebuild`, or `checkpoint reset` to read it from its start"
                );
                return Err(Error::refused(origin(name), ErrorClass::Config, reason));
            }
        }
        let mut upto = if limit.everything { Checkpoint::new() } else { from.clone() };
        let mut pins = Pins::default();
        for mark in &marks {
            let name = self.name(mark.partition);
            if limit.skip.contains(&name) || limit.max_partitions.is_some_and(|max| pins.ranges.len() >= max) {
                continue;
            }
            let (start, lost) = self.resume(mark, from, limit)?;
            let target = limit.upto.as_ref().and_then(|target| target.get(&name)).and_then(Position::parse);
            let end = target.map_or(mark.end, |target| target.offset.min(mark.end));
            if start < end || lost.is_some() {
                pins.ranges.push(Range { partition: mark.partition, start, end: end.max(start) });
                pins.lost.extend(lost);
            } else if start > 0 && upto.get(&name).is_none() {
                // Nothing is there to be read, but from here on everything is.
                upto.set(name, Position::of(start, id.as_deref()).to_string());
            }
        }
        if let Some(rows) = limit.max_rows.filter(|_| !limit.everything) {
            share(&mut pins.ranges, self.bytes.map_or(rows, |bytes| rows.min(self.sizes.messages(bytes))));
        }
        for range in &pins.ranges {
            upto.set(self.name(range.partition), Position::of(range.end, id.as_deref()).to_string());
        }
        let moves = upto != *from || limit.everything && !pins.ranges.is_empty();
        if !moves {
            return Ok(None);
        }
        let rows = pins.ranges.iter().map(Range::len).sum();
        let pins = pins.to_json()?;
        Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: Some(rows), window: limit.window.clone() }))
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let pins = Pins::from_json(&plan.pins)?;
        let planned = plan.upto.iter().find_map(|(name, position)| {
            self.number(name)?;
            Position::parse(position)?.id
        });
        if planned.is_some()
            && let Some(change) = changed(planned, self.id().await?.as_deref())
        {
            let reason = format!("the topic was deleted and made again after the epoch was planned: {change}");
            return Err(Error::PinLost { origin: Box::new(origin(&self.topic)), reason });
        }
        let scan = KafkaScan::new(
            self.options.clone(),
            self.topic.clone(),
            Arc::clone(&self.layout),
            pins,
            Arc::clone(&self.sizes),
        );
        let table = Arc::new(KafkaTable(Arc::clone(&scan)));
        let end = KafkaScanEnd { scan, plan: plan.clone() };
        Ok(Scan { relations: BTreeMap::from_iter([(self.relation.name.clone(), table as _)]), end: Arc::new(end) })
    }

    /// Tells the group, if there is one. What was read stands in the checkpoint: a failure is only told.
    async fn commit(&self, upto: &Checkpoint) -> Result<()> {
        let Some(Consumed { group, next, .. }) = self.consumed(upto) else { return Ok(()) };
        let (options, topic, watcher) = (self.options.clone(), self.topic.clone(), Arc::clone(&self.watcher));
        let told = blocking(&self.topic, "commit", move || {
            let reader = watcher.reader(&options, Some(&group))?;
            commit_offsets(&reader, &next_offsets(&topic, &next)?, options.timeout().min(Duration::from_secs(10)))
        })
        .await;
        if let Err(error) = told {
            tracing::warn!(error = %error.chain().join(": "), "the group was not told how far the pipeline has come; its lag looks larger than it is");
        }
        Ok(())
    }

    fn consumed(&self, upto: &Checkpoint) -> Option<Consumed> {
        let group = self.group.clone()?;
        let next: Vec<(i32, i64)> = upto
            .iter()
            .filter_map(|(name, position)| Some((self.number(name)?, Position::parse(position)?.offset)))
            .collect();
        let at = self.options.brokers().to_owned();
        (!next.is_empty()).then(|| Consumed { at, group, topic: self.topic.clone(), next })
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    /// From the bytes in the letters: the topic may have forgotten them.
    async fn redecode(&self, letters: &[DeadLetter], _: &Checkpoint) -> Result<Redecoded> {
        self.decode_again(letters).await
    }

    fn decoding(&self) -> &'static [&'static str] {
        &["format", "delimiter", "columns", "unknown_fields"]
    }

    fn rows_per_epoch(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn definition(&self) -> serde_json::Value {
        let columns: Vec<_> = self
            .layout
            .decoder
            .schema()
            .fields()
            .iter()
            .map(|field| json!({ "name": field.name(), "type": field.data_type().to_string() }))
            .collect();
        json!({
            "type": "kafka",
            "topic": self.topic,
            "relation": self.relation.name,
            "format": self.format.as_str(),
            "delimiter": self.delimiter,
            "columns": columns,
            "unknown_fields": self.unknown_fields,
            "position": self.layout.position,
            "kind": self.layout.kind,
        })
    }
}
