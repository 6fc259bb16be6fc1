//! One epoch's messages as a table, and what became of each partition.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::{EpochPlan, LeftOut, ScanEnd, ScanOutcome};
use stockflow_core::{Error, ErrorClass, Result};
use tokio::sync::mpsc::Sender;

use super::client::{Reader, no_answer, reader};
use super::decode::Decoder;
use super::error::{Failure, origin};
use super::kind::KIND;
use super::letter::letter;
use super::options::KafkaOptions;
use super::pin::{Pins, Range};
use super::sizes::Sizes;

/// The partition that a row comes from: `topic/number`.
pub const SOURCE_PARTITION: &str = "source_partition";
/// The offset of a row's message.
pub const SOURCE_OFFSET: &str = "source_offset";
/// When a row's message was written, as its topic keeps it.
pub const SOURCE_TIME: &str = "source_time";
/// Grows with partition and offset: for equal keys the higher one wins.
const SOURCE_SEQ: &str = "source_seq";

/// At most so many rows in a batch.
const BATCH_ROWS: usize = 8192;
/// And about so many bytes of messages.
const BATCH_BYTES: usize = 8 << 20;
/// So many refused messages are reported one by one; a topic with more is not what it is said to be.
const MAX_REJECTS: usize = 100_000;

/// How messages become rows.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) decoder: Arc<Decoder>,
    /// Whether rows say where they come from.
    pub(super) position: bool,
    /// Only messages whose header says this.
    pub(super) kind: Option<String>,
}

impl Layout {
    /// The declared columns and those that say where a row comes from.
    pub(super) fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.decoder.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        if self.position {
            let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            fields.push(Field::new(SOURCE_PARTITION, DataType::Utf8, false));
            fields.push(Field::new(SOURCE_OFFSET, DataType::Int64, false));
            fields.push(Field::new(SOURCE_TIME, instant, true));
        }
        fields.push(Field::new(SOURCE_SEQ, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    /// The decoded columns and those that say where each row stood.
    pub(super) fn columns(&self, topic: &str, mut decoded: Vec<ArrayRef>, places: &[Place]) -> Vec<ArrayRef> {
        if self.position {
            let mut names: BTreeMap<i32, String> = BTreeMap::new();
            for place in places {
                names.entry(place.partition).or_insert_with(|| format!("{topic}/{}", place.partition));
            }
            let name = |place: &Place| names.get(&place.partition).map(String::as_str).unwrap_or_default();
            decoded.push(Arc::new(StringArray::from_iter_values(places.iter().map(name))));
            decoded.push(Arc::new(Int64Array::from_iter_values(places.iter().map(|place| place.offset))));
            let times: TimestampMicrosecondArray = places.iter().map(|place| place.time).collect();
            decoded.push(Arc::new(times.with_timezone("UTC")));
        }
        // 2^15 partitions of 2^48 messages each.
        let seq = |place: &Place| (i64::from(place.partition) << 48) | place.offset;
        decoded.push(Arc::new(Int64Array::from_iter_values(places.iter().map(seq))));
        decoded
    }
}

/// Where a row's message stood.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// In µs.
    pub(super) time: Option<i64>,
}

/// What is known of one partition of a scan.
#[derive(Debug, Default, Clone)]
struct End {
    done: bool,
    rejects: Vec<DeadLetter>,
}

/// The pinned offsets of one epoch.
pub(super) struct KafkaScan {
    options: KafkaOptions,
    topic: String,
    layout: Arc<Layout>,
    pins: Pins,
    ends: Mutex<Vec<End>>,
    sizes: Arc<Sizes>,
}

impl fmt::Debug for KafkaScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaScan")
            .field("topic", &self.topic)
            .field("ranges", &self.pins.ranges)
            .finish_non_exhaustive()
    }
}

/// Why reading stopped.
enum Stop {
    Failed(Error),
    /// Nobody wants the rows any more.
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Where rows go.
enum Out {
    Send(Sender<DfResult<RecordBatch>>),
    /// Nowhere: only refused messages are wanted.
    Discard,
}

impl Out {
    fn is_gone(&self) -> bool {
        matches!(self, Self::Send(sender) if sender.is_closed())
    }

    fn send(&self, batch: RecordBatch) -> Result<(), Stop> {
        match self {
            Self::Send(sender) => sender.blocking_send(Ok(batch)).map_err(|_| Stop::Gone),
            Self::Discard => Ok(()),
        }
    }
}

impl KafkaScan {
    pub(super) fn new(
        options: KafkaOptions,
        topic: String,
        layout: Arc<Layout>,
        pins: Pins,
        sizes: Arc<Sizes>,
    ) -> Arc<Self> {
        let ends = Mutex::new(vec![End::default(); pins.ranges.len()]);
        Arc::new(Self { options, topic, layout, pins, ends, sizes })
    }

    fn end(&self, idx: usize) -> End {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(idx).cloned().unwrap_or_default()
    }

    fn finish(&self, idx: usize, rejects: Vec<DeadLetter>) {
        if let Some(slot) = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get_mut(idx) {
            *slot = End { done: true, rejects };
        }
    }

    /// Reads partitions (by index of their range) to the ends of their ranges. Blocks.
    fn read(&self, ranges: &[usize], projection: &[usize], schema: &SchemaRef, out: &Out) -> Result<(), Stop> {
        let mut reading = Reading::start(self, ranges)?;
        let mut rows = Batch::new(self, projection, schema);
        // When the last message came: not asked of the clock for each of them.
        let (mut heard, mut hears) = (Instant::now(), false);
        while !reading.open.is_empty() {
            // What is there already needs no deadline.
            let polled = reading.reader.poll(Duration::ZERO).or_else(|| {
                if std::mem::take(&mut hears) {
                    heard = Instant::now();
                }
                reading.reader.poll(Duration::from_millis(100))
            });
            match polled {
                None => {
                    if out.is_gone() {
                        return Err(Stop::Gone);
                    }
                    let ear = reading.reader.context();
                    if let Some(failure) = ear.hopeless() {
                        return Err(failure.at(origin(&self.topic), "fetch").into());
                    }
                    if heard.elapsed() > self.options.timeout() {
                        let told = ear.complaint().unwrap_or_else(|| Failure::told(Code::OperationTimedOut, ""));
                        let silent = no_answer(self.options.timeout(), &told);
                        return Err(silent.at(reading.place(), "fetch").into());
                    }
                    continue;
                }
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some(open) = reading.open.get_mut(&partition) else { continue };
                    let offset = message.offset();
                    if offset < open.next {
                        continue;
                    }
                    if offset < open.range.end {
                        open.next = offset + 1;
                        rows.add(&message, &mut open.rejects)?;
                        reading.check_rejects(partition)?;
                    }
                    if offset + 1 >= reading.open.get(&partition).map_or(0, |open| open.range.end) {
                        drop(message);
                        reading.close(partition)?;
                    }
                    if rows.is_full() {
                        rows.flush(out)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => reading.at_end(partition)?,
                Some(Err(error)) => {
                    if std::mem::take(&mut hears) {
                        heard = Instant::now();
                    }
                    let failure = Failure::of(&error);
                    match failure.code {
                        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::UnknownTopicOrPartition) => {
                            return Err(reading.lost(&failure).into());
                        }
                        // The group has no say in what is read.
                        Some(Code::GroupAuthorizationFailed) => {}
                        _ if failure.class == ErrorClass::Config => {
                            return Err(failure.at(reading.place(), "fetch").into());
                        }
                        // The client goes on by itself until the deadline.
                        _ => {}
                    }
                    if heard.elapsed() > self.options.timeout() {
                        return Err(no_answer(self.options.timeout(), &failure).at(reading.place(), "fetch").into());
                    }
                    continue;
                }
            }
            // The wait for whoever takes the rows does not count.
            hears = true;
        }
        rows.flush(out)
    }

    /// Partitions for each reader: about as many messages for each.
    fn groups(&self, readers: usize) -> Vec<Vec<usize>> {
        let n = readers.min(self.pins.ranges.len()).max(1);
        let mut groups: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); n];
        let mut order: Vec<(usize, u64)> =
            self.pins.ranges.iter().enumerate().map(|(idx, range)| (idx, range.len())).collect();
        order.sort_by_key(|(_, len)| std::cmp::Reverse(*len));
        for (idx, len) in order {
            if let Some(least) = groups.iter_mut().min_by_key(|(total, _)| *total) {
                least.0 += len;
                least.1.push(idx);
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }
}

/// A partition that is being read.
struct Open {
    idx: usize,
    range: Range,
    /// What comes before it has been read.
    next: i64,
    rejects: Vec<DeadLetter>,
}

/// A client that reads some partitions of a scan.
struct Reading<'s> {
    scan: &'s KafkaScan,
    reader: Reader,
    open: HashMap<i32, Open>,
}

impl<'s> Reading<'s> {
    fn start(scan: &'s KafkaScan, ranges: &[usize]) -> Result<Self> {
        let failed = |failure: Failure| failure.at(origin(&scan.topic), "open");
        let reader = reader(&scan.options, None).map_err(failed)?;
        let mut open = HashMap::new();
        let mut assignment = TopicPartitionList::new();
        for &idx in ranges {
            let Some(range) = scan.pins.ranges.get(idx).copied() else { continue };
            assignment
                .add_partition_offset(&scan.topic, range.partition, Offset::Offset(range.start))
                .map_err(|error| failed(Failure::of(&error)))?;
            open.insert(range.partition, Open { idx, range, next: range.start, rejects: Vec::new() });
        }
        if !open.is_empty() {
            reader.assign(&assignment).map_err(|error| failed(Failure::of(&error)))?;
        }
        Ok(Self { scan, reader, open })
    }

    /// Where reading stands: the one partition that is left, or the topic.
    fn place(&self) -> stockflow_core::Origin {
        let mut left = self.open.iter();
        match (left.next(), left.next()) {
            (Some((partition, open)), None) => origin(&format!("{}/{partition}", self.scan.topic)).position(open.next),
            _ => origin(&self.scan.topic),
        }
    }

    /// A partition has been read to the end of its range.
    fn close(&mut self, partition: i32) -> Result<()> {
        let Some(open) = self.open.remove(&partition) else { return Ok(()) };
        self.scan.finish(open.idx, open.rejects);
        if self.open.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.scan.topic, partition);
        self.reader.pause(&list).map_err(|error| Failure::of(&error).at(origin(&self.scan.topic), "fetch"))
    }

    /// Nothing more stands in a partition: what its range still has are marks and gaps, or it was cut off.
    fn at_end(&mut self, partition: i32) -> Result<()> {
        let Some(open) = self.open.get(&partition) else { return Ok(()) };
        let place = origin(&format!("{}/{partition}", self.scan.topic)).position(open.next);
        let end = open.range.end;
        let (_, high) = self
            .reader
            .fetch_watermarks(&self.scan.topic, partition, self.scan.options.timeout())
            .map_err(|error| Failure::of(&error).at(place.clone(), "fetch"))?;
        if high < end {
            let reason = format!(
                "the partition ends at offset {high}, but {end} was planned: the topic was deleted and made again, or has lost messages"
            );
            return Err(Error::PinLost { origin: Box::new(place), reason });
        }
        self.close(partition)
    }

    /// Offsets that were planned are not there any more. Which partition it is, the client does not say.
    fn lost(&self, failure: &Failure) -> Error {
        let mut place = self.place();
        let mut reason = format!("planned offsets cannot be read: {failure}");
        for (partition, open) in &self.open {
            let marks = self.reader.fetch_watermarks(&self.scan.topic, *partition, self.scan.options.timeout());
            if let Ok((low, high)) = marks
                && (open.next < low || open.range.end > high)
            {
                place = origin(&format!("{}/{partition}", self.scan.topic)).position(open.next);
                reason = format!(
                    "offsets from {} to {} were planned, but the topic holds {low} to {high} now: they were deleted, or the topic was made again",
                    open.next, open.range.end
                );
                break;
            }
        }
        Error::PinLost { origin: Box::new(place), reason }
    }

    fn check_rejects(&self, partition: i32) -> Result<()> {
        let Some(open) = self.open.get(&partition).filter(|open| open.rejects.len() > MAX_REJECTS) else {
            return Ok(());
        };
        let first = open.rejects.first().map(|first| first.reason.as_str()).unwrap_or_default();
        let reason = format!(
            "more than {MAX_REJECTS} messages are refused, the first: {first}; are they written as `format` and the columns say?"
        );
        let place = origin(&format!("{}/{partition}", self.scan.topic)).position(open.next);
        Err(Error::refused(place, ErrorClass::Data, reason))
    }
}

/// A batch under construction.
struct Batch<'s> {
    scan: &'s KafkaScan,
    projection: &'s [usize],
    schema: &'s SchemaRef,
    decoded: super::decode::Decoded<'s>,
    places: Vec<Place>,
    messages: usize,
    bytes: usize,
}

impl<'s> Batch<'s> {
    fn new(scan: &'s KafkaScan, projection: &'s [usize], schema: &'s SchemaRef) -> Self {
        let decoded = scan.layout.decoder.rows(BATCH_ROWS);
        Self { scan, projection, schema, decoded, places: Vec::with_capacity(BATCH_ROWS), messages: 0, bytes: 0 }
    }

    fn add(&mut self, message: &BorrowedMessage<'_>, rejects: &mut Vec<DeadLetter>) -> Result<()> {
        if self.scan.layout.kind.as_ref().is_some_and(|wanted| is_other_kind(message, wanted)) {
            return Ok(());
        }
        if let Some(value) = message.payload() {
            self.messages += 1;
            self.bytes += value.len();
        }
        let place = || origin(&format!("{}/{}", self.scan.topic, message.partition())).position(message.offset());
        let decoded = self.decoded.add_message(message.payload()).map_err(|failure| failure.at(place(), "decode"))?;
        match decoded {
            Ok(n) => {
                let place = Place {
                    partition: message.partition(),
                    offset: message.offset(),
                    time: message.timestamp().to_millis().and_then(|millis| millis.checked_mul(1000)),
                };
                self.places.extend(std::iter::repeat_n(place, n));
            }
            Err(refused) => rejects.push(letter(&self.scan.topic, message, refused)),
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.decoded.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn flush(&mut self, out: &Out) -> Result<(), Stop> {
        let decoded = std::mem::replace(&mut self.decoded, self.scan.layout.decoder.rows(BATCH_ROWS));
        let bytes = std::mem::take(&mut self.bytes);
        let n = decoded.len();
        if n == 0 {
            return Ok(());
        }
        self.scan.sizes.add(self.messages, bytes);
        self.messages = 0;
        let places = std::mem::take(&mut self.places);
        let columns = self.scan.layout.columns(&self.scan.topic, decoded.finish().map_err(Error::from)?, &places);
        let wanted: Vec<ArrayRef> = self.projection.iter().filter_map(|idx| columns.get(*idx).cloned()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(self.schema), wanted, &options).map_err(Error::from)?;
        // What a message with many rows holds comes in pieces, too.
        let step = n.div_ceil(n.div_ceil(BATCH_ROWS));
        for start in (0..n).step_by(step) {
            out.send(batch.slice(start, step.min(n - start)))?;
        }
        Ok(())
    }
}

/// Whether a message says that it is of another kind.
fn is_other_kind(message: &BorrowedMessage<'_>, wanted: &str) -> bool {
    let mut headers = message.headers().into_iter().flat_map(Headers::iter);
    headers.find(|header| header.key == KIND).is_some_and(|header| header.value != Some(wanted.as_bytes()))
}

/// The messages of a scan as a table; may be read any number of times.
#[derive(Debug)]
pub(super) struct KafkaTable(pub(super) Arc<KafkaScan>);

#[async_trait]
impl TableProvider for KafkaTable {
    fn schema(&self) -> SchemaRef {
        self.0.layout.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let all = self.0.layout.schema();
        let projection: Arc<[usize]> = projection.cloned().unwrap_or_else(|| (0..all.fields().len()).collect()).into();
        let schema = Arc::new(all.project(&projection)?);
        let group = |ranges| {
            let group = Group {
                scan: Arc::clone(&self.0),
                ranges,
                projection: Arc::clone(&projection),
                schema: Arc::clone(&schema),
            };
            Arc::new(group) as Arc<dyn PartitionStream>
        };
        let groups = self.0.groups(state.config().target_partitions()).into_iter().map(group).collect();
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&schema), groups, None, None, false, limit)?))
    }
}

/// The partitions that one client reads.
#[derive(Debug)]
struct Group {
    scan: Arc<KafkaScan>,
    ranges: Vec<usize>,
    projection: Arc<[usize]>,
    schema: SchemaRef,
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let out = Out::Send(builder.tx());
        let (scan, ranges, projection, schema) =
            (Arc::clone(&self.scan), self.ranges.clone(), Arc::clone(&self.projection), Arc::clone(&self.schema));
        builder.spawn_blocking(move || match scan.read(&ranges, &projection, &schema, &out) {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Failed(error)) => Err(DataFusionError::from(error)),
        });
        builder.build()
    }
}

/// The end of a scan of messages.
#[derive(Debug)]
pub(super) struct KafkaScanEnd {
    pub(super) scan: Arc<KafkaScan>,
    pub(super) plan: EpochPlan,
}

#[async_trait]
impl ScanEnd for KafkaScanEnd {
    async fn outcome(&self) -> Result<ScanOutcome> {
        // What nobody read to its end (a LIMIT) is read now: its bad messages belong to the epoch, too.
        let left: Vec<usize> = (0..self.scan.pins.ranges.len()).filter(|idx| !self.scan.end(*idx).done).collect();
        if !left.is_empty() {
            let scan = Arc::clone(&self.scan);
            let read =
                tokio::task::spawn_blocking(move || scan.read(&left, &[], &Arc::new(Schema::empty()), &Out::Discard));
            match read.await {
                Ok(Ok(()) | Err(Stop::Gone)) => {}
                Ok(Err(Stop::Failed(error))) => return Err(error),
                Err(error) => return Err(Error::internal(format!("a reader of messages stopped: {error}"))),
            }
        }
        let rejects = (0..self.scan.pins.ranges.len()).flat_map(|idx| self.scan.end(idx).rejects).collect();
        let lost = self.scan.pins.lost.iter().map(|lost| LeftOut {
            partition: format!("{}/{}", self.scan.topic, lost.partition),
            reason: format!(
                "offsets {} to {} were deleted at the source before they were read: these messages are lost",
                lost.start, lost.end
            ),
        });
        Ok(ScanOutcome { reached: self.plan.upto.clone(), rejects, left_out: lost.collect(), notes: Vec::new() })
    }
}
