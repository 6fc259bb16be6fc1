//! Data files: Parquet, rolled at a target size, invisible until a commit names them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Add;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use stockflow_core::Result;

use super::error::At;
use super::layout::Layout;
use super::object::ObjectWriter;
use super::partition::folder;
use super::stats::FileStats;
use crate::columnar::{self, ColumnarWriter, ParquetCompression};

/// Rows of a row group: small enough that a reader of one symbol skips most of a file.
const ROW_GROUP: usize = 1 << 16;

/// How the files of one attempt are written; shared by its writers.
#[derive(Debug)]
pub(super) struct WriteSpec {
    store: Arc<dyn ObjectStore>,
    table: String,
    partition: Vec<String>,
    columns: Vec<usize>,
    file_schema: SchemaRef,
    key: Vec<String>,
    properties: WriterProperties,
    target: u64,
    compression: ParquetCompression,
    prefix: String,
    data_change: bool,
    count: AtomicU32,
    begun: Mutex<Vec<Path>>,
}

impl WriteSpec {
    /// Files of about `target` bytes whose names begin with `prefix`.
    pub(super) fn new(
        store: Arc<dyn ObjectStore>,
        table: &str,
        layout: &Layout,
        target: u64,
        compression: ParquetCompression,
        prefix: String,
    ) -> Result<Self> {
        let columns = layout.file_columns();
        let file_schema = Arc::new(layout.schema.project(&columns)?);
        let key: Vec<String> = layout.order.iter().map(|&column| layout.schema.field(column).name().clone()).collect();
        let properties = properties(&file_schema, &key, compression);
        Ok(Self {
            store,
            table: table.into(),
            partition: layout.partition.clone(),
            columns,
            file_schema,
            key,
            properties,
            target,
            compression,
            prefix,
            data_change: true,
            count: AtomicU32::new(0),
            begun: Mutex::default(),
        })
    }

    /// Files that hold the same rows as others: readers of changes do not see them.
    #[must_use]
    pub(super) fn without_data_change(mut self) -> Self {
        self.data_change = false;
        self
    }

    fn begin(&self, partition: &[Option<String>]) -> Path {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let folder = folder(&self.partition, partition);
        let path = Path::from(format!("{folder}{}-{number:05}{}.parquet", self.prefix, ending(self.compression)));
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        path
    }

    /// Removes every file that was begun.
    pub(super) async fn discard(&self) -> Result<()> {
        let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
        delete(&self.store, &self.table, begun).await
    }
}

/// What other writers put into the names, too.
fn ending(compression: ParquetCompression) -> &'static str {
    match compression {
        ParquetCompression::Zstd => ".zstd",
        ParquetCompression::Lz4 => ".lz4",
        ParquetCompression::Snappy => ".snappy",
        ParquetCompression::None => "",
    }
}

/// Removes files; that one is gone already is fine.
pub(super) async fn delete(
    store: &Arc<dyn ObjectStore>,
    table: &str,
    paths: impl IntoIterator<Item = Path>,
) -> Result<()> {
    for path in paths {
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).at("remove staged files", table),
        }
    }
    Ok(())
}

/// Writes the rows of one partition.
#[derive(Debug)]
pub(super) struct PartitionWriter {
    spec: Arc<WriteSpec>,
    partition: Vec<Option<String>>,
    open: Option<OpenFile>,
    adds: Vec<Add>,
}

struct OpenFile {
    path: Path,
    writer: ColumnarWriter<ObjectWriter>,
    stats: FileStats,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OpenFile").field(&self.path).finish()
    }
}

impl PartitionWriter {
    /// No file is begun before there are rows.
    pub(super) fn new(spec: &Arc<WriteSpec>, partition: Vec<Option<String>>) -> Self {
        Self { spec: Arc::clone(spec), partition, open: None, adds: Vec::new() }
    }

    /// Writes rows in the table's columns; the partition columns are left out of the file.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = self.spec.columns.iter().map(|&column| Arc::clone(batch.column(column))).collect();
        let rows = RecordBatch::try_new(Arc::clone(&self.spec.file_schema), columns)?;
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        file.stats.add(&rows);
        file.writer.write(&rows).await.at("write", &self.spec.table)?;
        let size = file.writer.size() as u64;
        self.open = Some(file);
        if size >= self.spec.target { self.close().await } else { Ok(()) }
    }

    fn begin(&self) -> Result<OpenFile> {
        let path = self.spec.begin(&self.partition);
        let sink = ObjectWriter(BufWriter::new(Arc::clone(&self.spec.store), path.clone()));
        let writer = ColumnarWriter::try_new(sink, Arc::clone(&self.spec.file_schema), self.spec.properties.clone())
            .at("write", &self.spec.table)?;
        Ok(OpenFile { path, writer, stats: FileStats::new(&self.spec.file_schema, &self.spec.key) })
    }

    async fn close(&mut self) -> Result<()> {
        let Some(mut file) = self.open.take() else { return Ok(()) };
        file.writer.end().await.at("write", &self.spec.table)?;
        file.writer.complete().await.at("write", &self.spec.table)?;
        let values: HashMap<String, Option<String>> =
            self.spec.partition.iter().cloned().zip(self.partition.iter().cloned()).collect();
        self.adds.push(Add {
            path: file.path.to_string(),
            partition_values: values,
            size: i64::try_from(file.writer.bytes_written()).unwrap_or(i64::MAX),
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: self.spec.data_change,
            stats: Some(file.stats.to_json()),
            ..Add::default()
        });
        tracing::debug!(table = %self.spec.table, file = %file.path, rows = file.stats.rows(), "staged a data file");
        Ok(())
    }

    /// Closes the last file; gives the actions that make the files visible.
    pub(super) async fn finish(mut self) -> Result<Vec<Add>> {
        self.close().await?;
        Ok(self.adds)
    }
}

/// Page statistics of the key only: readers look for a symbol and a time.
fn properties(schema: &SchemaRef, key: &[String], compression: ParquetCompression) -> WriterProperties {
    let mut builder = columnar::properties(schema, compression)
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for column in key {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(column.as_str()), EnabledStatistics::Page);
    }
    builder.build()
}
