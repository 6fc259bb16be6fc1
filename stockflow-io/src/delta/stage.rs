//! Writes an epoch where no reader sees it, and works out which actions will make it visible.
//!
//! 1. The rows are dealt out by partition and sorted ([`super::order`]).
//! 2. Each writer takes its partitions one after the other, in pieces of bounded size. A piece is compared with the files that may
//!    hold its keys; what is new or corrects a row is written to new files.
//! 3. Files with replaced rows are rewritten without them.
//!
//! Memory: one piece for each writer, one batch of an existing file, and the places of replaced rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch, partition};
use arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use deltalake::kernel::{Add, Remove};
use futures::StreamExt;
use stockflow_core::sink::{EpochRows, RefusedRow};
use stockflow_core::{Error, Result};
use tokio::task::JoinSet;

use super::latest::Latest;
use super::layout::Layout;
use super::live::LiveFile;
use super::merge::decide;
use super::order::{Refused, ordered};
use super::reader::ReadSpec;
use super::revisions;
use super::table::Files;
use super::writer::{PartitionWriter, WriteSpec};

/// Bytes of rows that are compared with the table at once.
const PIECE: usize = 64 << 20;

/// Everything that the writers of one attempt share.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) layout: Arc<Layout>,
    /// The table's files to compare with; empty for a sink that only appends or that overwrites.
    pub(super) files: Files,
    pub(super) write: Arc<WriteSpec>,
    pub(super) read: ReadSpec,
    /// Where replaced rows go.
    pub(super) revisions: Option<Arc<WriteSpec>>,
}

/// What an attempt left.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) adds: Vec<Add>,
    pub(super) removes: Vec<Remove>,
    /// Files of the revisions table.
    pub(super) revisions: Vec<Add>,
    /// Rows that are new or correct one.
    pub(super) rows: u64,
    /// Of these: rows that correct one.
    pub(super) corrected: u64,
    /// Files of the table that were read to compare with.
    pub(super) files_read: u64,
    /// Rows without a key.
    pub(super) refused: Vec<RefusedRow>,
    replaced: BTreeMap<String, (Option<Arc<LiveFile>>, BTreeSet<u64>)>,
}

impl Outcome {
    fn join(&mut self, other: Self) {
        self.adds.extend(other.adds);
        self.revisions.extend(other.revisions);
        self.rows += other.rows;
        self.corrected += other.corrected;
        self.files_read += other.files_read;
        for (path, (file, places)) in other.replaced {
            let entry = self.replaced.entry(path).or_default();
            entry.0 = file;
            entry.1.extend(places);
        }
    }
}

impl Stage {
    /// Writes the rows.
    pub(super) async fn run(self: &Arc<Self>, rows: &EpochRows) -> Result<Outcome> {
        let refused: Refused = Arc::new(Mutex::default());
        let mut writers = JoinSet::new();
        for stream in ordered(rows, &self.layout, &refused).await? {
            let stage = Arc::clone(self);
            writers.spawn(async move { stage.take_in(stream).await });
        }
        let mut outcome = Outcome::default();
        while let Some(done) = writers.join_next().await {
            outcome.join(done.map_err(|error| Error::internal(format!("a writer stopped: {error}")))??);
        }
        self.rewrite(&mut outcome).await?;
        outcome.refused = std::mem::take(&mut *refused.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(outcome)
    }

    async fn take_in(&self, mut stream: SendableRecordBatchStream) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut latest = if self.layout.is_keyed() { Some(Latest::new(&self.layout)?) } else { None };
        let mut current: Option<Partition> = None;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let known = match &mut latest {
                Some(latest) => latest.push(&batch)?,
                None => Some(batch),
            };
            if let Some(rows) = known {
                self.deal(&rows, &mut current, &mut outcome).await?;
            }
        }
        if let Some(rows) = latest.as_mut().and_then(Latest::finish) {
            self.deal(&rows, &mut current, &mut outcome).await?;
        }
        if let Some(partition) = current {
            partition.finish(self, &mut outcome).await?;
        }
        Ok(outcome)
    }

    /// Hands rows to their partitions; a partition is over when the next one begins.
    async fn deal(&self, rows: &RecordBatch, current: &mut Option<Partition>, outcome: &mut Outcome) -> Result<()> {
        for (values, rows) in by_partition(rows, &self.layout)? {
            if current.as_ref().is_some_and(|partition| partition.values != values)
                && let Some(partition) = current.take()
            {
                partition.finish(self, outcome).await?;
            }
            current.get_or_insert_with(|| Partition::new(self, values)).push(self, rows, outcome).await?;
        }
        Ok(())
    }

    /// Writes files with replaced rows again, without them.
    async fn rewrite(self: &Arc<Self>, outcome: &mut Outcome) -> Result<()> {
        let mut writers: JoinSet<Result<Vec<Add>>> = JoinSet::new();
        for (file, places) in std::mem::take(&mut outcome.replaced).into_values() {
            let Some(file) = file else { continue };
            outcome.removes.push(file.remove(true));
            if file.rows != Some(places.len() as u64) {
                let stage = Arc::clone(self);
                writers.spawn(async move { stage.without(&file, &places).await });
            }
        }
        while let Some(done) = writers.join_next().await {
            outcome.adds.extend(done.map_err(|error| Error::internal(format!("a writer stopped: {error}")))??);
        }
        Ok(())
    }

    async fn without(&self, file: &LiveFile, places: &BTreeSet<u64>) -> Result<Vec<Add>> {
        let values = self.layout.partition.iter().map(|column| file.partition.get(column).cloned().flatten()).collect();
        let mut writer = PartitionWriter::new(&self.write, values);
        let mut rows = self.read.open(file, |_| true).await?;
        while let Some((before, batch)) = rows.next().await? {
            let keep: BooleanArray =
                (before..before + batch.num_rows() as u64).map(|place| Some(!places.contains(&place))).collect();
            writer.write(&filter_record_batch(&batch, &keep)?).await?;
        }
        writer.finish().await
    }
}

/// The rows of one partition on their way.
struct Partition {
    values: Vec<Option<String>>,
    files: Vec<Arc<LiveFile>>,
    writer: PartitionWriter,
    revisions: Option<PartitionWriter>,
    piece: Vec<RecordBatch>,
    bytes: usize,
}

impl Partition {
    fn new(stage: &Stage, values: Vec<Option<String>>) -> Self {
        Self {
            files: stage.files.get(&values).cloned().unwrap_or_default(),
            writer: PartitionWriter::new(&stage.write, values.clone()),
            revisions: stage.revisions.as_ref().map(|spec| PartitionWriter::new(spec, values.clone())),
            values,
            piece: Vec::new(),
            bytes: 0,
        }
    }

    async fn push(&mut self, stage: &Stage, rows: RecordBatch, outcome: &mut Outcome) -> Result<()> {
        if self.files.is_empty() || !stage.layout.is_keyed() {
            outcome.rows += rows.num_rows() as u64;
            return self.writer.write(&rows).await;
        }
        self.bytes +=
            rows.columns().iter().map(|column| column.get_array_memory_size().min(rows.num_rows() * 64)).sum::<usize>();
        self.piece.push(rows);
        if self.bytes >= PIECE { self.compare(stage, outcome).await } else { Ok(()) }
    }

    async fn compare(&mut self, stage: &Stage, outcome: &mut Outcome) -> Result<()> {
        let piece = std::mem::take(&mut self.piece);
        self.bytes = 0;
        let Some(first) = piece.first() else { return Ok(()) };
        let rows = concat_batches(&first.schema(), &piece)?;
        let decision = decide(&rows, &stage.layout, &self.files, &stage.read).await?;
        outcome.files_read += decision.files_read;
        outcome.corrected += decision.replaced.len() as u64;
        for (file, place) in decision.replaced {
            let entry = outcome.replaced.entry(file.path.clone()).or_default();
            entry.0 = Some(file);
            entry.1.insert(place);
        }
        let kept = filter_record_batch(&rows, &BooleanArray::from(decision.keep))?;
        outcome.rows += kept.num_rows() as u64;
        self.writer.write(&kept).await?;
        if let (Some(writer), Some((old, by))) = (&mut self.revisions, decision.old) {
            writer.write(&revisions::rows(&old, &by)?).await?;
        }
        Ok(())
    }

    async fn finish(mut self, stage: &Stage, outcome: &mut Outcome) -> Result<()> {
        self.compare(stage, outcome).await?;
        outcome.adds.extend(self.writer.finish().await?);
        if let Some(writer) = self.revisions {
            outcome.revisions.extend(writer.finish().await?);
        }
        Ok(())
    }
}

/// Rows sorted by partition, cut at its borders.
fn by_partition(rows: &RecordBatch, layout: &Layout) -> Result<Vec<(Vec<Option<String>>, RecordBatch)>> {
    let columns: Vec<_> =
        layout.partition_indices().into_iter().map(|column| Arc::clone(rows.column(column))).collect();
    if columns.is_empty() || rows.num_rows() == 0 {
        return Ok(vec![(Vec::new(), rows.clone())]);
    }
    let texts =
        columns.iter().map(|column| cast(column, &DataType::Utf8)).collect::<std::result::Result<Vec<_>, _>>()?;
    let value = |column: &arrow::array::ArrayRef, row: usize| {
        let column = column.as_string::<i32>();
        (!column.is_null(row) && !column.value(row).is_empty()).then(|| column.value(row).to_owned())
    };
    Ok(partition(&columns)?
        .ranges()
        .into_iter()
        .map(|range| {
            (texts.iter().map(|column| value(column, range.start)).collect(), rows.slice(range.start, range.len()))
        })
        .collect())
}
