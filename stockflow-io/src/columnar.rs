//! How Parquet files are written: columns side by side, in bounded memory.
//!
//! Each column of a row group is encoded by a task of its own, fed through a short queue, so all cores encode, and whoever gives
//! the rows waits for the slowest column. While the last row group's columns are being finished, the next one is begun; in
//! memory are the encoded columns of two row groups at most.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::runtime::SpawnedTask;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use stockflow_core::Error;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Batches that wait for one column.
const QUEUE: usize = 4;

/// How the pages of Parquet files are compressed. Readers see no difference, and files of one table may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ParquetCompression {
    /// Zstandard at level 1: the smallest files.
    #[default]
    Zstd,
    /// LZ4 blocks (`LZ4_RAW`).
    Lz4,
    /// Snappy: what the oldest readers know, too.
    Snappy,
    /// As it is.
    None,
}

impl ParquetCompression {
    /// All of them with their words in configurations.
    pub const ALL: [(&'static str, Self); 4] =
        [("zstd", Self::Zstd), ("lz4", Self::Lz4), ("snappy", Self::Snappy), ("none", Self::None)];

    /// The word in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::None => "none",
        }
    }

    fn codec(self) -> Compression {
        match self {
            Self::Zstd => Compression::ZSTD(ZstdLevel::default()),
            Self::Lz4 => Compression::LZ4_RAW,
            Self::Snappy => Compression::SNAPPY,
            Self::None => Compression::UNCOMPRESSED,
        }
    }
}

impl fmt::Display for ParquetCompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ParquetCompression {
    type Err = Error;

    fn from_str(text: &str) -> std::result::Result<Self, Error> {
        let word = text.to_ascii_lowercase();
        Self::ALL.into_iter().find(|(name, _)| *name == word).map(|(_, found)| found).ok_or_else(|| {
            Error::parameter("Parquet", "compression", format!("`{text}` is none of zstd, lz4, snappy, none"))
        })
    }
}

/// Encodings by type, measured (docs/performance.md): prices hardly ever repeat, and the attempt of a dictionary costs a third of
/// the writer's time; whole numbers, times and dates are near their neighbours.
pub(crate) fn properties(schema: &SchemaRef, compression: ParquetCompression) -> WriterPropertiesBuilder {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("stockflow ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression.codec());
    for (path, data_type) in leaves(schema.fields(), &[]) {
        let path = ColumnPath::new(path);
        builder = match data_type {
            of if of.is_floating() => builder.set_column_dictionary_enabled(path, false),
            of if is_whole(&of) => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            _ => builder,
        };
    }
    builder
}

/// What Parquet keeps as INT32 or INT64.
fn is_whole(data_type: &DataType) -> bool {
    use DataType as T;
    data_type.is_integer()
        || matches!(data_type, T::Timestamp(..) | T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Duration(_))
}

/// The columns of a Parquet file with their paths, below structs and lists, too.
fn leaves(fields: &Fields, above: &[String]) -> Vec<(Vec<String>, DataType)> {
    fields.iter().flat_map(|field| below(field, above)).collect()
}

fn below(field: &Field, above: &[String]) -> Vec<(Vec<String>, DataType)> {
    let path = [above, &[field.name().clone()]].concat();
    match field.data_type() {
        DataType::Struct(fields) => leaves(fields, &path),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            below(item, &[path, vec!["list".to_owned()]].concat())
        }
        of => vec![(path, of.clone())],
    }
}

/// Writes one file.
pub(crate) struct ColumnarWriter<W> {
    out: W,
    file: SerializedFileWriter<Vec<u8>>,
    columns: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    /// Rows of a row group.
    limit: usize,
    open: Option<Group>,
    closing: Option<Group>,
    /// Row groups that were begun, and the rows of those that are in the file.
    begun: usize,
    rows: usize,
}

/// A row group whose columns are being encoded.
struct Group {
    /// One for each field.
    queues: Vec<Sender<ArrayRef>>,
    tasks: Vec<SpawnedTask<Result<Vec<ArrowColumnChunk>>>>,
    rows: usize,
}

impl<W> fmt::Debug for ColumnarWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ColumnarWriter").field("begun", &self.begun).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl<W: AsyncFileWriter> ColumnarWriter<W> {
    /// A file of row groups of so many rows.
    pub(crate) fn try_new(out: W, schema: SchemaRef, properties: WriterProperties) -> Result<Self> {
        let limit = properties.max_row_group_row_count().unwrap_or(1 << 20).max(1);
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
        let (file, columns) = writer.into_serialized_writer()?;
        Ok(Self { out, file, columns, schema, limit, open: None, closing: None, begun: 0, rows: 0 })
    }

    /// Adds rows; returns when they are queued.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let mut group = match self.open.take() {
                Some(group) => group,
                None => self.begin()?,
            };
            let rows = (batch.num_rows() - start).min(self.limit - group.rows);
            for (queue, column) in group.queues.iter().zip(batch.columns()) {
                if queue.send(column.slice(start, rows)).await.is_err() {
                    // Its task has ended: with an error.
                    self.collect(group).await?;
                    return Err(ParquetError::General("a column's encoder stopped".into()));
                }
            }
            group.rows += rows;
            start += rows;
            // Always at the same rows, so that the same rows give the same files.
            if (group.rows >= self.limit / 4 || group.rows == self.limit)
                && let Some(before) = self.closing.take()
            {
                self.collect(before).await?;
            }
            if group.rows == self.limit {
                group.queues.clear();
                self.closing = Some(group);
            } else {
                self.open = Some(group);
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Group> {
        let mut writers = self.columns.create_column_writers(self.begun)?.into_iter();
        self.begun += 1;
        let (mut queues, mut tasks) = (Vec::new(), Vec::new());
        for field in self.schema.fields() {
            let writers = writers.by_ref().take(n_leaves(field.data_type())).collect();
            let (queue, arrays) = channel(QUEUE);
            queues.push(queue);
            tasks.push(SpawnedTask::spawn(encode(Arc::clone(field), writers, arrays)));
        }
        Ok(Group { queues, tasks, rows: 0 })
    }

    /// Waits for a row group's columns and writes them.
    async fn collect(&mut self, group: Group) -> Result<()> {
        drop(group.queues);
        let mut chunks = Vec::with_capacity(group.tasks.len());
        for task in group.tasks {
            chunks.extend(task.join_unwind().await.map_err(|error| ParquetError::External(Box::new(error)))??);
        }
        let mut row_group = self.file.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        self.rows += group.rows;
        self.hand_over().await
    }

    async fn hand_over(&mut self) -> Result<()> {
        self.file.flush()?;
        let bytes = std::mem::take(self.file.inner_mut());
        self.out.write(bytes.into()).await
    }

    /// About how large the file would be, if it ended now; the same for the same rows.
    pub(crate) fn size(&self) -> usize {
        let written = self.file.bytes_written();
        let pending = [&self.open, &self.closing].into_iter().flatten().map(|group| group.rows).sum::<usize>();
        let width = match self.rows {
            0 => self.schema.fields().len() * 8,
            rows => written.div_ceil(rows),
        };
        written + pending * width
    }

    /// Bytes of the file, once it has [ended](Self::end).
    pub(crate) fn bytes_written(&self) -> usize {
        self.file.bytes_written()
    }

    /// Writes what is left and the footer.
    pub(crate) async fn end(&mut self) -> Result<()> {
        let groups = [self.closing.take(), self.open.take()];
        for group in groups.into_iter().flatten() {
            self.collect(group).await?;
        }
        self.file.finish()?;
        self.hand_over().await
    }

    /// Makes the object whole.
    pub(crate) async fn complete(&mut self) -> Result<()> {
        self.out.complete().await
    }
}

/// How many columns of the file a type has.
fn n_leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| n_leaves(field.data_type())).sum(),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _)
        | DataType::RunEndEncoded(_, item) => n_leaves(item.data_type()),
        _ => 1,
    }
}

async fn encode(
    field: FieldRef,
    mut writers: Vec<ArrowColumnWriter>,
    mut arrays: Receiver<ArrayRef>,
) -> Result<Vec<ArrowColumnChunk>> {
    while let Some(array) = arrays.recv().await {
        for (writer, leaf) in writers.iter_mut().zip(compute_leaves(&field, &array)?) {
            writer.write(&leaf)?;
        }
    }
    writers.into_iter().map(ArrowColumnWriter::close).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Date32Array, Float64Array, Int64Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Int32Type, Schema};
    use parquet::file::properties::WriterPropertiesPtr;

    use super::*;

    /// Some rows with nested columns, NULLs, and values that repeat and that do not.
    fn batch(first: i64, n: usize) -> RecordBatch {
        let ints = || (0..n as i64).map(move |row| first + row);
        let close: ArrayRef =
            Arc::new(ints().map(|n| (n % 7 != 0).then_some(n as f64 / 3.0)).collect::<Float64Array>());
        let signal = Arc::new(Field::new("signal", DataType::Float64, true));
        let count = Arc::new(Field::new("count", DataType::Int64, false));
        let lists = ints().map(|n| (n % 5 != 0).then(|| (0..n as i32 % 4).map(Some)));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("symbol", Arc::new(ints().map(|n| Some(format!("S{}", n / 100))).collect::<StringArray>())),
            ("date", Arc::new(ints().map(|n| Some(n as i32)).collect::<Date32Array>())),
            ("close", Arc::clone(&close)),
            ("line", Arc::new(Int64Array::from_iter_values(ints()))),
            (
                "macd",
                Arc::new(StructArray::from(vec![
                    (signal, close),
                    (count, Arc::new(Int64Array::from_iter_values(ints())) as ArrayRef),
                ])),
            ),
            ("parts", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    }

    fn batches() -> Vec<RecordBatch> {
        let sizes = [1usize, 700, 0, 299, 1_000, 2_500, 3, 128];
        let mut first = 0;
        sizes
            .into_iter()
            .map(|n| {
                let made = batch(first, n);
                first += n as i64;
                made
            })
            .collect()
    }

    fn some_properties(schema: &SchemaRef, compression: ParquetCompression) -> WriterProperties {
        properties(schema, compression).set_max_row_group_row_count(Some(1_000)).build()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn the_file_is_that_of_a_serial_writer() {
        let batches = batches();
        let schema = batches[0].schema();
        for (word, compression) in ParquetCompression::ALL {
            assert_eq!(word.parse::<ParquetCompression>().unwrap(), compression);
            let properties = some_properties(&schema, compression);
            let mut serial = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties.clone())).unwrap();
            let mut parallel = ColumnarWriter::try_new(Vec::new(), Arc::clone(&schema), properties).unwrap();
            for batch in &batches {
                serial.write(batch).unwrap();
                parallel.write(batch).await.unwrap();
            }
            parallel.end().await.unwrap();
            parallel.complete().await.unwrap();
            assert_eq!(parallel.bytes_written(), parallel.out.len());
            assert!(parallel.out == serial.into_inner().unwrap(), "{compression}");
        }
    }

    #[tokio::test]
    async fn row_groups_leave_memory_as_they_are_done() {
        let schema: SchemaRef = batch(0, 1).schema();
        let properties = some_properties(&schema, ParquetCompression::Zstd);
        let mut writer = ColumnarWriter::try_new(Vec::new(), Arc::clone(&schema), properties).unwrap();
        for first in 0..40 {
            writer.write(&batch(first * 125, 125)).await.unwrap();
            assert!(writer.closing.is_none() || writer.open.as_ref().is_none_or(|group| group.rows < 250));
            assert!(writer.size() >= writer.bytes_written());
        }
        assert!(writer.rows >= 4_000 && writer.out.len() == writer.bytes_written(), "{writer:?}");
    }

    #[tokio::test]
    async fn an_encoder_that_fails_is_told() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let properties: WriterPropertiesPtr = Arc::new(some_properties(&schema, ParquetCompression::None));
        let mut writer = ColumnarWriter::try_new(Vec::new(), schema, properties.as_ref().clone()).unwrap();
        let wrong = RecordBatch::try_from_iter([("n", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
        let mut told = writer.write(&wrong).await.is_err();
        told |= writer.end().await.is_err();
        assert!(told);
    }

    #[test]
    fn words_of_compression() {
        assert_eq!(ParquetCompression::default().to_string(), "zstd");
        assert!(
            "gzip".parse::<ParquetCompression>().unwrap_err().to_string().contains("none of zstd, lz4, snappy, none")
        );
    }
}
