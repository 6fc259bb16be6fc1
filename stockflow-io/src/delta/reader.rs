//! The rows of a data file in the table's columns, with their place in the file.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use futures::{Stream, TryStreamExt};
use object_store::ObjectStore;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::async_reader::ParquetRecordBatchStream;
use parquet::file::metadata::RowGroupMetaData;
use stockflow_core::Result;

use super::error::At;
use super::layout::Layout;
use super::live::LiveFile;
use super::object::ObjectReader;

/// What reading needs to know.
#[derive(Debug, Clone)]
pub(super) struct ReadSpec {
    store: Arc<dyn ObjectStore>,
    table: String,
    schema: SchemaRef,
    partition: Vec<String>,
}

impl ReadSpec {
    pub(super) fn new(store: Arc<dyn ObjectStore>, table: &str, layout: &Layout) -> Self {
        Self { store, table: table.into(), schema: layout.nullable(), partition: layout.partition.clone() }
    }

    /// The rows of a file; row groups that are not `wanted` are skipped.
    pub(super) async fn open(&self, file: &LiveFile, wanted: impl Fn(&RowGroupMetaData) -> bool) -> Result<FileRows> {
        let reader = ObjectReader { store: Arc::clone(&self.store), path: file.object(), size: file.size };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.at("read", &self.table)?;
        let mut groups = Vec::new();
        let mut spans = Vec::new();
        let mut start = 0u64;
        for (number, group) in builder.metadata().row_groups().iter().enumerate() {
            let rows = u64::try_from(group.num_rows()).unwrap_or_default();
            if wanted(group) {
                groups.push(number);
                spans.push((start, rows));
            }
            start += rows;
        }
        let stream = builder.with_row_groups(groups).build().at("read", &self.table)?;
        Ok(FileRows { spec: self.clone(), partition: self.values(file), stream, spans, read: 0 })
    }

    fn values(&self, file: &LiveFile) -> Vec<(String, Option<String>)> {
        self.partition.iter().map(|column| (column.clone(), file.partition.get(column).cloned().flatten())).collect()
    }
}

/// The rows of one file.
pub(super) struct FileRows {
    spec: ReadSpec,
    partition: Vec<(String, Option<String>)>,
    stream: ParquetRecordBatchStream<ObjectReader>,
    spans: Vec<(u64, u64)>,
    read: u64,
}

impl FileRows {
    /// The next rows, and how many selected rows came before them.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, RecordBatch)>> {
        let Some(batch) = self.stream.try_next().await.at("read", &self.spec.table)? else { return Ok(None) };
        let before = self.read;
        self.read += batch.num_rows() as u64;
        Ok(Some((before, self.adapt(&batch)?)))
    }

    /// All batches as a stream.
    pub(super) fn batches(self) -> impl Stream<Item = std::result::Result<RecordBatch, DataFusionError>> + Send {
        futures::stream::try_unfold(self, |mut rows| async move {
            Ok(rows.next().await.map_err(DataFusionError::from)?.map(|(_, batch)| (batch, rows)))
        })
    }

    /// The place in the file of the n-th selected row.
    pub(super) fn place(&self, mut selected: u64) -> u64 {
        for &(start, rows) in &self.spans {
            if selected < rows {
                return start + selected;
            }
            selected -= rows;
        }
        u64::MAX
    }

    /// Columns that the file does not have are NULL: they came later.
    fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let safe = CastOptions { safe: false, ..CastOptions::default() };
        let rows = batch.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.spec.schema.fields().len());
        for field in self.spec.schema.fields() {
            let partition = self.partition.iter().find(|(column, _)| column == field.name());
            let column = match (partition, batch.column_by_name(field.name())) {
                (Some((_, Some(value))), _) => {
                    let text: ArrayRef = Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows)));
                    cast_with_options(&text, field.data_type(), &safe)?
                }
                (Some((_, None)), _) | (None, None) => new_null_array(field.data_type(), rows),
                (None, Some(column)) if column.data_type() == field.data_type() => Arc::clone(column),
                (None, Some(column)) => cast_with_options(column, field.data_type(), &safe)?,
            };
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.spec.schema), columns)?)
    }
}
