//! The text files of an output as a table.
//!
//! These files are our own: their columns are known from the log, and whatever is not as the sink wrote it is an error,
//! where the file source would refuse the row and go on. Their hash tells what still looks like rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::Result as DfResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use sha2::{Digest, Sha256};
use stockflow_core::{Error, ErrorClass, Result};
use tokio::sync::mpsc::Sender;

use super::csv::CsvRows;
use super::ndjson::JsonRows;
use crate::file::format::FileFormat;
use crate::file::sink::{DataFile, hex};
use crate::location::{Location, origin};

/// At most so many rows in a batch.
pub(super) const BATCH_ROWS: usize = 8192;

/// Why text is not what the sink wrote.
pub(super) type Damage = String;

/// Turns the blocks of one file into batches.
pub(super) trait Rows: Send {
    /// Takes the next bytes of the file; gives the batches that are full.
    fn push(&mut self, block: &[u8]) -> Result<Vec<RecordBatch>, Damage>;
    /// The rows that are left at the end of the file.
    fn finish(&mut self) -> Result<Option<RecordBatch>, Damage>;
}

/// CSV or NDJSON files.
#[derive(Debug)]
pub(super) struct TextTable {
    place: Location,
    files: Vec<DataFile>,
    format: FileFormat,
    schema: SchemaRef,
}

impl TextTable {
    pub(super) fn new(place: Location, files: Vec<DataFile>, format: FileFormat, schema: &SchemaRef) -> Self {
        let fields = schema.fields().iter().map(|field| Field::new(field.name(), readable(field.data_type()), true));
        Self { place, files, format, schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }
}

/// The type that a column of text is read into.
fn readable(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => readable(values),
        DataType::Duration(_) | DataType::Interval(_) | DataType::Null => DataType::Utf8,
        other => other.clone(),
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
        let schema = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let share = self.files.len().div_ceil(state.config().target_partitions().max(1)).max(1);
        let partition = |files: &[DataFile]| {
            let (place, schema) = (self.place.clone(), Arc::clone(&schema));
            Arc::new(Group { place, files: files.into(), format: self.format, schema }) as Arc<dyn PartitionStream>
        };
        let partitions = self.files.chunks(share).map(partition).collect();
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&schema), partitions, None, None, false, limit)?))
    }
}

/// The files that one reader reads, one after the other.
#[derive(Debug)]
struct Group {
    place: Location,
    files: Arc<[DataFile]>,
    format: FileFormat,
    schema: SchemaRef,
}

impl PartitionStream for Group {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        let (place, files, format, schema) =
            (self.place.clone(), Arc::clone(&self.files), self.format, Arc::clone(&self.schema));
        let tx = builder.tx();
        builder.spawn(async move {
            for file in files.iter() {
                if !read(&place, file, format, &schema, &tx).await? {
                    break;
                }
            }
            Ok(())
        });
        builder.build()
    }
}

type Batches = Sender<DfResult<RecordBatch>>;

/// Reads one file; false if nobody wants its rows.
async fn read(
    output: &Location,
    file: &DataFile,
    format: FileFormat,
    schema: &SchemaRef,
    out: &Batches,
) -> DfResult<bool> {
    let place = output.join(&file.file);
    let damaged = |reason: Damage| {
        let reason = format!("`{}` is not as it was written: {reason}; restore it", place.text());
        Error::refused(origin(place.text()), ErrorClass::Data, reason)
    };
    let failed = |error: object_store::Error| Error::connector(origin(place.text()), "read", error);
    let mut rows = rows(format, schema)?;
    let mut blocks = place.store().get(place.path()).await.map_err(failed)?.into_stream();
    let mut hash = Sha256::new();
    while let Some(block) = blocks.try_next().await.map_err(failed)? {
        hash.update(&block);
        for batch in rows.push(&block).map_err(damaged)? {
            if out.send(Ok(batch)).await.is_err() {
                return Ok(false);
            }
        }
    }
    let last = rows.finish().map_err(damaged)?;
    if hex(hash) != file.sha256 {
        return Err(damaged("its SHA-256 is not the one in the log".into()).into());
    }
    match last {
        Some(batch) => Ok(out.send(Ok(batch)).await.is_ok()),
        None => Ok(true),
    }
}

fn rows(format: FileFormat, schema: &SchemaRef) -> Result<Box<dyn Rows>, ArrowError> {
    Ok(match format {
        FileFormat::Csv => Box::new(CsvRows::new(Arc::clone(schema))),
        _ => Box::new(JsonRows::new(Arc::clone(schema))?),
    })
}
