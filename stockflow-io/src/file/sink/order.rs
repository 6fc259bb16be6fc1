//! The order of the rows in a file, and how they come into it.
//!
//! Rows that come in order are written as they come, and only looked at. Should they turn out not to be in order, what a Parquet
//! file holds by then is read again and sorted together with the rest, by DataFusion, which spills to disk where its memory pool
//! says so. Text is sorted before it is written: it could not be read again without loss.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::kernels::cmp::{eq, lt};
use arrow::compute::{SortOptions, and};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryLimit};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::StreamingTableExec;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use stockflow_core::{Error, Result};

use super::encode;
use super::log::DataFile;
use crate::columnar::ParquetCompression;
use crate::file::decode::{ParquetReader, pin_of};
use crate::file::format::FileFormat;
use crate::location::{Location, origin};
use crate::once::Once;

/// In what order rows stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowOrder {
    /// By `symbol`, `interval` (if there is one) and `ts` or else `date`, NULLs first, equal keys as they come: readers that look for
    /// a symbol skip the rest. Rows of relations without a symbol or a time stay as they come.
    Symbol,
    /// As they come.
    Arrival,
}

impl RowOrder {
    /// Both, with their words in configurations.
    pub const ALL: [(&'static str, Self); 2] = [("symbol", Self::Symbol), ("arrival", Self::Arrival)];

    /// What a format has unless told otherwise: Parquet has statistics to skip by, text has not.
    pub fn of(format: FileFormat) -> Self {
        match format {
            FileFormat::Parquet => Self::Symbol,
            FileFormat::Csv | FileFormat::Ndjson => Self::Arrival,
        }
    }

    /// The columns to sort by.
    fn columns(self, schema: &Schema) -> Vec<usize> {
        // What has no order cannot be sorted by.
        let find =
            |name: &str| schema.index_of(name).ok().filter(|&column| has_order(schema.field(column).data_type()));
        match (self, find("symbol"), find("ts").or_else(|| find("date"))) {
            (Self::Symbol, Some(symbol), Some(time)) => {
                [Some(symbol), find("interval"), Some(time)].into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A file to be written.
pub(super) struct Target {
    /// The folder.
    pub(super) folder: Location,
    /// The name in it.
    pub(super) file: String,
    pub(super) format: FileFormat,
    pub(super) order: RowOrder,
    pub(super) footer: Vec<KeyValue>,
    pub(super) compression: ParquetCompression,
}

impl Target {
    /// Writes all rows in their order; on an error nothing is left.
    pub(super) async fn write(self, rows: SendableRecordBatchStream, task: Arc<TaskContext>) -> Result<DataFile> {
        let schema = rows.schema();
        let Some(order) = ordering(&self.order.columns(&schema), &schema) else {
            return self.encode(&self.file, rows).await;
        };
        // What does not come back from a file as it went in is sorted before it is written.
        if self.format != FileFormat::Parquet || !schema.fields().iter().all(|field| comes_back(field.data_type())) {
            return self.encode(&self.file, sorted(order, rows, task)?).await;
        }
        let rest = Rest::default();
        let written = self.encode(&self.file, in_order(rows, self.order.columns(&schema), Arc::clone(&rest))).await?;
        let Some(rest) = rest.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(written) };
        let first = self.folder.join(&self.file);
        let result = self.sort_all(&first, &schema, order, rest, task).await;
        // Nothing names the first file; should it stay, the next runner removes it.
        let removed = match first.exists().await {
            Ok(Some(meta)) => first.delete(&meta.location).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::debug!(%error, file = self.file, "rows before they were sorted stay until the sink is opened again");
        }
        result
    }

    async fn sort_all(
        &self,
        first: &Location,
        schema: &SchemaRef,
        order: LexOrdering,
        rest: SendableRecordBatchStream,
        task: Arc<TaskContext>,
    ) -> Result<DataFile> {
        let failed = |error| Error::connector(origin(first.text()), "read", error);
        let meta = first.exists().await?.ok_or_else(|| Error::internal("a file is gone that was just written"))?;
        let reader = ParquetReader::new(first, pin_of(first, &meta));
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
        let before = builder.with_batch_size(task.session_config().batch_size()).build().map_err(failed)?;
        let typed = Arc::clone(schema);
        let before = before.map(move |batch| Ok(RecordBatch::try_new(Arc::clone(&typed), batch?.columns().to_vec())?));
        let all = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(schema), before.chain(rest)));
        let (stem, suffix) = self.file.rsplit_once('.').unwrap_or((&self.file, "parquet"));
        self.encode(&format!("{stem}-sorted.{suffix}"), sorted(order, all, task)?).await
    }

    async fn encode(&self, file: &str, rows: SendableRecordBatchStream) -> Result<DataFile> {
        let place = self.folder.join(file);
        let schema = rows.schema();
        let (footer, compression) = (self.footer.clone(), self.compression);
        encode::write(&place, file.to_owned(), self.format, &schema, rows, footer, compression).await
    }
}

fn has_order(of: &DataType) -> bool {
    match of {
        DataType::Dictionary(_, value) => has_order(value),
        other => !other.is_nested() && !matches!(other, DataType::RunEndEncoded(..)),
    }
}

/// Whether Parquet gives a column back in the type that it was written with: keys of dictionaries may be too narrow for what a reader
/// puts together, and runs are lost.
fn comes_back(of: &DataType) -> bool {
    match of {
        DataType::Dictionary(key, _) => {
            matches!(**key, DataType::Int32 | DataType::UInt32 | DataType::Int64 | DataType::UInt64)
        }
        DataType::RunEndEncoded(..) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => comes_back(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| comes_back(field.data_type())),
        _ => true,
    }
}

fn ordering(columns: &[usize], schema: &Schema) -> Option<LexOrdering> {
    if columns.is_empty() {
        return None;
    }
    let options = SortOptions { descending: false, nulls_first: true };
    let key = |name: &str, index: usize| PhysicalSortExpr::new(Arc::new(Column::new(name, index)), options);
    let keys = columns.iter().map(|&index| key(schema.field(index).name(), index));
    LexOrdering::new(keys.chain([key(ARRIVAL, schema.fields().len())]))
}

/// The place of a row in the stream, which keeps equal keys as they came.
const ARRIVAL: &str = "__arrival";

fn sorted(
    order: LexOrdering,
    rows: SendableRecordBatchStream,
    task: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let schema = rows.schema();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ARRIVAL, DataType::UInt64, false)));
    let numbered = Arc::new(Schema::new(fields));
    let out = Arc::clone(&numbered);
    let mut next = 0_u64;
    let rows = rows.map(move |batch| {
        let batch = batch?;
        let end = next + batch.num_rows() as u64;
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(UInt64Array::from_iter_values(next..end)));
        next = end;
        Ok(RecordBatch::try_new(Arc::clone(&out), columns)?)
    });
    let rows = Once::partition(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&numbered), rows)));
    let source = StreamingTableExec::try_new(numbered, vec![rows], None, [], false, None)?;
    let sorted = execute_stream(Arc::new(SortExec::new(order, Arc::new(source))), task)?;
    let plain = Arc::clone(&schema);
    let sorted = sorted.map(move |batch| {
        let mut columns = batch?.columns().to_vec();
        columns.pop();
        Ok(RecordBatch::try_new(Arc::clone(&plain), columns)?)
    });
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, sorted)))
}

/// What sorting may take in memory before it goes to disk.
const MOST: usize = 256 << 20;
/// What it takes however little there is: less than a few batches cannot be merged.
const LEAST: usize = 16 << 20;

/// The task in which the rows of so many files are sorted at a time.
///
/// It has a pool of its own, a quarter of the query's: what computes the rows holds on to its memory while they are sorted, and takes
/// all there is, so that a sort could not even begin.
pub(super) fn sorting_task(task: TaskContext, files: usize) -> Result<Arc<TaskContext>> {
    let limit = match task.memory_pool().memory_limit() {
        MemoryLimit::Finite(limit) => (limit / 4).clamp(LEAST, MOST),
        _ => MOST,
    };
    let pool = Arc::new(FairSpillPool::new(limit));
    let runtime = RuntimeEnvBuilder::from_runtime_env(&task.runtime_env()).with_memory_pool(pool).build_arc()?;
    let config = task.session_config().clone();
    let set_aside = config.options().execution.sort_spill_reservation_bytes.min(limit / (8 * files.max(1)));
    let config = config.with_sort_spill_reservation_bytes(set_aside);
    Ok(Arc::new(task.with_session_config(config).with_runtime(runtime)))
}

/// Where rows go from the first batch on that is not in order.
type Rest = Arc<Mutex<Option<SendableRecordBatchStream>>>;

/// The rows as long as they are in order; what comes from then on goes to `rest`.
fn in_order(rows: SendableRecordBatchStream, columns: Vec<usize>, rest: Rest) -> SendableRecordBatchStream {
    struct Watch {
        rows: SendableRecordBatchStream,
        last: Option<Vec<ArrayRef>>,
    }
    let schema = rows.schema();
    let out = Arc::clone(&schema);
    let watched = stream::try_unfold(Watch { rows, last: None }, move |mut watch| {
        let (columns, rest, schema) = (columns.clone(), Arc::clone(&rest), Arc::clone(&schema));
        async move {
            let Some(batch) = watch.rows.try_next().await? else { return Ok::<_, DataFusionError>(None) };
            if batch.num_rows() == 0 {
                return Ok(Some((batch, watch)));
            }
            let keys: Vec<ArrayRef> = columns.iter().map(|&column| Arc::clone(batch.column(column))).collect();
            if is_in_order(watch.last.as_deref(), &keys)? {
                let last = keys.iter().map(|key| key.slice(key.len() - 1, 1)).collect();
                return Ok(Some((batch, Watch { last: Some(last), ..watch })));
            }
            let left = stream::iter([Ok(batch)]).chain(watch.rows);
            let left: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema, left));
            *rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
            Ok(None)
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(out, watched))
}

/// Whether rows are in order among themselves and after the row before them. NULLs are left to the sort.
fn is_in_order(before: Option<&[ArrayRef]>, keys: &[ArrayRef]) -> Result<bool, ArrowError> {
    if keys.iter().any(|key| key.logical_null_count() > 0) {
        return Ok(false);
    }
    let rows = keys.first().map_or(0, |key| key.len());
    let cut = |from: usize| keys.iter().map(|key| key.slice(from, rows - 1)).collect::<Vec<_>>();
    if let Some(before) = before
        && falls(before, &keys.iter().map(|key| key.slice(0, 1)).collect::<Vec<_>>())?
    {
        return Ok(false);
    }
    Ok(!falls(&cut(0), &cut(1))?)
}

/// Whether any row is less than the row at its place in `before`.
fn falls(before: &[ArrayRef], after: &[ArrayRef]) -> Result<bool, ArrowError> {
    let mut same: Option<BooleanArray> = None;
    for (before, after) in before.iter().zip(after) {
        let less = lt(after, before)?;
        let less = same.as_ref().map_or(Ok(less.clone()), |same| and(same, &less))?;
        if less.has_true() {
            return Ok(true);
        }
        let equal = eq(after, before)?;
        same = Some(same.map_or(Ok(equal.clone()), |same| and(&same, &equal))?);
    }
    Ok(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Date32Array, Float64Array, StringArray};
    use datafusion::execution::memory_pool::MemoryConsumer;
    use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

    use super::*;

    type Row = (Option<&'static str>, i32, f64);

    fn stream(batches: &[&[Row]]) -> SendableRecordBatchStream {
        let fields = [("symbol", DataType::Utf8), ("date", DataType::Date32), ("close", DataType::Float64)];
        let schema = Arc::new(Schema::new(fields.map(|(name, of)| Field::new(name, of, true)).to_vec()));
        let batches: Vec<_> = batches
            .iter()
            .map(|rows| {
                let columns: Vec<ArrayRef> = vec![
                    Arc::new(rows.iter().map(|row| row.0).collect::<StringArray>()),
                    Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Date32Array>()),
                    Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>()),
                ];
                Ok(RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
            })
            .collect();
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches)))
    }

    /// The rows of the file that is written, the number of files that are left, and the name of the one.
    async fn written(order: RowOrder, rows: SendableRecordBatchStream, task: Arc<TaskContext>) -> (Vec<Row>, String) {
        let folder = tempfile::tempdir().unwrap();
        let target = Target {
            folder: Location::parse(folder.path().to_str().unwrap()).unwrap(),
            file: "part-00000-g1-0a1b2c3d.parquet".into(),
            format: FileFormat::Parquet,
            order,
            footer: Vec::new(),
            compression: ParquetCompression::default(),
        };
        let file = target.write(rows, task).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, [file.file.as_str()]);
        let path = folder.path().join(&file.file);
        assert_eq!(file.bytes, std::fs::metadata(&path).unwrap().len());
        let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let options = ParquetReadOptions::default();
        let found = session.read_parquet(path.to_str().unwrap(), options).await.unwrap().collect().await.unwrap();
        let mut out = Vec::new();
        for batch in found {
            let symbols = arrow::compute::cast(batch.column(0), &DataType::Utf8).unwrap();
            let symbols = symbols.as_any().downcast_ref::<StringArray>().unwrap().clone();
            let dates = batch.column(1).as_any().downcast_ref::<Date32Array>().unwrap().clone();
            let closes = batch.column(2).as_any().downcast_ref::<Float64Array>().unwrap().clone();
            for row in 0..batch.num_rows() {
                let symbol = symbols.is_valid(row).then(|| &*symbols.value(row).to_owned().leak());
                out.push((symbol, dates.value(row), closes.value(row)));
            }
        }
        assert_eq!(file.rows, out.len() as u64);
        (out, file.file)
    }

    fn task() -> Arc<TaskContext> {
        SessionContext::new().task_ctx()
    }

    const A1: Row = (Some("A"), 1, 1.5);
    const A2: Row = (Some("A"), 2, 2.5);
    const B1: Row = (Some("B"), 1, 3.5);
    const NONE: Row = (None, 9, 4.5);

    #[tokio::test]
    async fn rows_in_order_are_written_once_and_others_are_sorted() {
        for (batches, sorted) in [
            (vec![&[A1, A2][..], &[], &[A2, B1]], false),
            (vec![&[A1], &[B1], &[A2], &[A2]], true),
            (vec![&[B1, A1, A2, A2]], true),
            (vec![&[A1, A2, B1], &[A2]], true),
        ] {
            let (rows, file) = written(RowOrder::Symbol, stream(&batches), task()).await;
            assert_eq!(rows, [A1, A2, A2, B1]);
            assert_eq!(file.contains("-sorted"), sorted, "{file}");
        }
        let (rows, _) = written(RowOrder::Symbol, stream(&[&[A1, B1], &[NONE]]), task()).await;
        assert_eq!(rows, [NONE, A1, B1], "NULLs stand first");
        let twice = [(Some("A"), 1, 7.5), (Some("A"), 1, 6.5), (Some("A"), 1, 8.5)];
        let (rows, _) = written(RowOrder::Symbol, stream(&[&[B1], &twice]), task()).await;
        assert_eq!(rows, [twice[0], twice[1], twice[2], B1], "equal keys keep their order");
        let (rows, file) = written(RowOrder::Symbol, stream(&[]), task()).await;
        assert!(rows.is_empty() && !file.contains("-sorted"));
        let (rows, _) = written(RowOrder::Arrival, stream(&[&[B1, A1], &[A2]]), task()).await;
        assert_eq!(rows, [B1, A1, A2]);
    }

    #[test]
    fn only_what_has_an_order_is_sorted_by() {
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
        let words = |key| DataType::Dictionary(Box::new(key), Box::new(DataType::Utf8));
        for (of, columns) in [(DataType::Utf8View, 2), (words(DataType::Int8), 2), (list, 0)] {
            let fields = vec![Field::new("symbol", of, true), Field::new("ts", DataType::Date32, true)];
            assert_eq!(RowOrder::Symbol.columns(&Schema::new(fields)).len(), columns);
        }
        assert!(comes_back(&words(DataType::Int32)) && !comes_back(&words(DataType::Int8)));
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_is_sorted_on_disk() {
        // Another has taken all there is.
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(4 << 20, 1.0).build_arc().unwrap();
        let taken = MemoryConsumer::new("another").register(&runtime.memory_pool);
        taken.try_grow(4 << 20).unwrap();
        let session = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
        let task = sorting_task(TaskContext::from(&session.state()), 3).unwrap();
        let names: Vec<&'static str> = (0..100).map(|it| &*format!("S{it:02}").leak()).collect();
        let days: Vec<Vec<Row>> =
            (0..6000).map(|day| names.iter().map(|name| (Some(*name), day, f64::from(day))).collect()).collect();
        let batches: Vec<&[Row]> = days.iter().map(Vec::as_slice).collect();
        let (rows, _) = written(RowOrder::Symbol, stream(&batches), task).await;
        assert_eq!(rows.len(), 600_000);
        assert!(rows.is_sorted_by_key(|row| (row.0, row.1)));
    }
}
