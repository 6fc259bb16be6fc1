//! One epoch's files as a table, and what became of each of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::Session;
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt, stream};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::{EpochPlan, LeftOut, ScanEnd, ScanOutcome};
use stockflow_core::{Error, Result};

use super::decode::{Out, TextJob, decode_parquet, decode_text, letter};
use super::format::FileFormat;
use super::open::{Blocks, ReadError, blocks, check_unchanged};
use super::pin::{FilePin, Pins};
use super::source::remember;
use crate::location::Location;
use crate::text::{Column, CsvOptions, Reject, Shape};

/// The file that a row comes from: its path below the source's folder.
pub const SOURCE_FILE: &str = "source_file";
/// Where a row begins in its file: its line, or its number in a Parquet file; from 1.
pub const SOURCE_LINE: &str = "source_line";
/// Grows with the reading order (time of the file's last change, path, line): for equal keys the higher one wins.
pub const SOURCE_SEQ: &str = "source_seq";

/// A decompressed or decoded file up to this size is kept between the check of the whole file and its delivery.
const KEEP: usize = 32 << 20;

/// What is known of one file of a scan.
#[derive(Debug, Default, Clone)]
struct End {
    /// Read to its end, or found to be bad.
    done: bool,
    rejects: Vec<DeadLetter>,
    left_out: Option<String>,
}

/// The pinned files of one epoch.
pub(super) struct FileScan {
    place: Location,
    pins: Pins,
    csv: CsvOptions,
    columns: Arc<[Column]>,
    ends: Mutex<Vec<End>>,
}

impl fmt::Debug for FileScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileScan")
            .field("place", &self.place.text())
            .field("files", &self.pins.files.len())
            .finish_non_exhaustive()
    }
}

impl FileScan {
    pub(super) fn new(place: Location, pins: Pins, csv: CsvOptions) -> Result<Arc<Self>> {
        let typed = pins.columns.iter().map(|column| {
            let data_type: DataType = column.data_type.parse()?;
            Ok(Column { name: column.name.clone(), data_type })
        });
        let columns: Arc<[Column]> = typed.collect::<Result<Vec<_>, arrow::error::ArrowError>>()?.into();
        let ends = Mutex::new(vec![End::default(); pins.files.len()]);
        Ok(Arc::new(Self { place, pins, csv, columns, ends }))
    }

    /// The columns that text is read into.
    pub(super) fn columns(&self) -> Arc<[Column]> {
        Arc::clone(&self.columns)
    }

    fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)).collect();
        fields.push(Field::new(SOURCE_FILE, DataType::Utf8, false));
        fields.push(Field::new(SOURCE_LINE, DataType::Int64, false));
        fields.push(Field::new(SOURCE_SEQ, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    fn shape(&self, projection: Option<&Vec<usize>>) -> Result<Arc<Shape>> {
        let schema = self.schema();
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let schema = Arc::new(schema.project(projection)?);
        Ok(Arc::new(Shape::new(Arc::clone(&self.columns), projection.clone(), schema)))
    }

    fn end(&self, idx: usize) -> End {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(idx).cloned().unwrap_or_default()
    }

    fn finish(&self, idx: usize, end: End) {
        if let Some(slot) = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get_mut(idx) {
            *slot = end;
        }
    }

    /// Reads one file into `out`: all of its good rows, or none if the file is bad as a whole.
    async fn read(self: &Arc<Self>, idx: usize, shape: &Arc<Shape>, tasks: usize, out: &Out) -> Result<(), ReadError> {
        let Some(pin) = self.pins.files.get(idx) else { return Ok(()) };
        let known = pin.left_out.clone().or(self.end(idx).left_out);
        let read = match known {
            Some(reason) => Err(ReadError::Damage(reason)),
            None if pin.format == FileFormat::Parquet => self.read_parquet(idx, pin, shape, out).await,
            None => self.read_text(idx, pin, shape, tasks, out).await,
        };
        let rejects = match read {
            Ok(rejects) => rejects,
            Err(ReadError::Damage(reason)) => {
                tracing::warn!(file = %pin.file, %reason, "a file is left out");
                self.finish(idx, End { done: true, rejects: Vec::new(), left_out: Some(reason) });
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        check_unchanged(&self.place, pin).await?;
        let unit = if pin.format == FileFormat::Parquet { "row" } else { "line" };
        let rejects = rejects.into_iter().map(|reject| letter(reject, &pin.file, unit)).collect();
        self.finish(idx, End { done: true, rejects, left_out: None });
        Ok(())
    }

    async fn read_text(
        &self,
        idx: usize,
        pin: &FilePin,
        shape: &Arc<Shape>,
        tasks: usize,
        out: &Out,
    ) -> Result<Vec<Reject>, ReadError> {
        if pin.size == 0 {
            tracing::info!(file = %pin.file, "a file is empty");
            return Ok(Vec::new());
        }
        let bytes = match pin.compression.is_none() {
            true => blocks(&self.place, pin),
            // Only its end tells whether a compressed file is whole, and rows once given cannot be taken back.
            false => self.checked(pin).await?,
        };
        let job = TextJob {
            file: pin.file.clone(),
            idx,
            format: pin.format,
            csv: self.csv.clone(),
            shape: Arc::clone(shape),
            tasks,
        };
        decode_text(bytes, Arc::new(job), out).await
    }

    /// The bytes of a compressed file that has been decompressed to its end once.
    async fn checked(&self, pin: &FilePin) -> Result<Blocks, ReadError> {
        let mut kept: Option<Vec<Bytes>> = Some(Vec::new());
        let mut size = 0;
        let mut bytes = blocks(&self.place, pin);
        while let Some(block) = bytes.try_next().await? {
            size += block.len();
            match &mut kept {
                Some(kept) if size <= KEEP => kept.push(block),
                _ => kept = None,
            }
        }
        Ok(match kept {
            Some(kept) => stream::iter(kept.into_iter().map(Ok)).boxed(),
            None => blocks(&self.place, pin),
        })
    }

    async fn read_parquet(
        self: &Arc<Self>,
        idx: usize,
        pin: &FilePin,
        shape: &Arc<Shape>,
        out: &Out,
    ) -> Result<Vec<Reject>, ReadError> {
        // A page can be found bad only by decoding it: decode all, then deliver.
        let keep = Arc::new(Out::keep(KEEP));
        let (scan, shape_of, pin_of, out_of) = (Arc::clone(self), Arc::clone(shape), pin.clone(), Arc::clone(&keep));
        let check =
            SpawnedTask::spawn(async move { decode_parquet(&scan.place, &pin_of, idx, &shape_of, &out_of).await });
        // The decoder may panic over damaged bytes: that is the file's fault, too.
        let rejects = match check.join().await {
            Ok(read) => read?,
            Err(error) if error.is_panic() => {
                return Err(ReadError::Damage("it is no sound Parquet file: the decoder gave up".into()));
            }
            Err(_) => return Err(ReadError::Gone),
        };
        match Arc::into_inner(keep).and_then(Out::into_kept) {
            Some(batches) => {
                for batch in batches {
                    out.send(batch).await?;
                }
                Ok(rejects)
            }
            None => decode_parquet(&self.place, pin, idx, shape, out).await,
        }
    }

    /// Consecutive files of about equal size for each reader.
    fn groups(&self, readers: usize) -> Vec<Vec<usize>> {
        let total: u64 = self.pins.files.iter().map(|file| file.size.max(1)).sum();
        let share = total.div_ceil(readers.max(1) as u64).max(1);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut before = 0;
        let mut last_group = None;
        for (idx, file) in self.pins.files.iter().enumerate() {
            let group = before / share;
            if last_group != Some(group) {
                groups.push(Vec::new());
                last_group = Some(group);
            }
            if let Some(files) = groups.last_mut() {
                files.push(idx);
            }
            before += file.size.max(1);
        }
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        groups
    }
}

/// The files of a scan as a table; may be read any number of times.
#[derive(Debug)]
pub(super) struct FileTable(pub(super) Arc<FileScan>);

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
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
        let shape = self.0.shape(projection)?;
        let readers = state.config().target_partitions();
        let groups = self.0.groups(readers);
        let tasks = readers.div_ceil(groups.len()) + 1;
        let partition = |files| {
            Arc::new(Group { scan: Arc::clone(&self.0), files, shape: Arc::clone(&shape), tasks })
                as Arc<dyn PartitionStream>
        };
        let partitions = groups.into_iter().map(partition).collect();
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&shape.schema), partitions, None, None, false, limit)?))
    }
}

/// The files that one reader reads, one after the other.
#[derive(Debug)]
struct Group {
    scan: Arc<FileScan>,
    files: Vec<usize>,
    shape: Arc<Shape>,
    tasks: usize,
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.shape.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&self.shape.schema), 4);
        let (scan, files, shape, tasks) =
            (Arc::clone(&self.scan), self.files.clone(), Arc::clone(&self.shape), self.tasks);
        let out = Out::Send(builder.tx());
        builder.spawn(async move {
            for idx in files {
                match scan.read(idx, &shape, tasks, &out).await {
                    Ok(()) => {}
                    Err(ReadError::Gone) => break,
                    Err(ReadError::Failed(error)) => return Err(error.into()),
                    Err(ReadError::Damage(reason)) => {
                        return Err(Error::internal(format!("damage went unnoticed: {reason}")).into());
                    }
                }
            }
            Ok(())
        });
        builder.build()
    }
}

/// The end of a scan of files.
#[derive(Debug)]
pub(super) struct FileScanEnd {
    pub(super) scan: Arc<FileScan>,
    pub(super) plan: EpochPlan,
}

#[async_trait]
impl ScanEnd for FileScanEnd {
    async fn outcome(&self) -> Result<ScanOutcome> {
        // What nobody read to its end (a LIMIT) is read now: its bad rows belong to the epoch, too.
        let shape = self.scan.shape(Some(&Vec::new()))?;
        for idx in 0..self.scan.pins.files.len() {
            if self.scan.end(idx).done {
                continue;
            }
            match self.scan.read(idx, &shape, 2, &Out::Discard).await {
                Ok(()) | Err(ReadError::Gone) => {}
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::Damage(reason)) => {
                    return Err(Error::internal(format!("damage went unnoticed: {reason}")));
                }
            }
        }
        let mut outcome = ScanOutcome::default();
        let mut bad: BTreeSet<&str> = BTreeSet::new();
        for (idx, pin) in self.scan.pins.files.iter().enumerate() {
            let end = self.scan.end(idx);
            match end.left_out {
                Some(reason) => {
                    bad.insert(&pin.file);
                    outcome.left_out.push(LeftOut { partition: pin.file.clone(), reason });
                }
                None => outcome.rejects.extend(end.rejects),
            }
        }
        // A file that was left out stays where it was.
        let reached = self.plan.upto.iter().filter_map(|(file, version)| match bad.contains(file) {
            false => Some((file.to_owned(), version.to_owned())),
            true => self.plan.from.get(file).map(|old| (file.to_owned(), old.to_owned())),
        });
        outcome.reached = Checkpoint::from_iter(reached);
        // The file whose position remembers the columns may have been left out.
        let sound = self.scan.pins.files.iter().map(|pin| pin.file.as_str()).filter(|file| !bad.contains(file));
        remember(&mut outcome.reached, &self.scan.pins.columns, sound);
        Ok(outcome)
    }
}
