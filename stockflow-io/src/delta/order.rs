//! An epoch's rows in a table's types and order, one stream for each writer.
//!
//! Rows are dealt out by table partition, so that every partition has one writer, and sorted by partition, symbol, time, the rest
//! of the key, version and arrival; the last row of equal keys is then the one that counts. DataFusion sorts, and spills to disk
//! where its memory pool says so.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, filter_record_batch, is_not_null, not};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::{StreamExt, TryStreamExt};
use stockflow_core::Result;
use stockflow_core::sink::{EpochRows, RefusedRow};

use super::layout::Layout;
use super::live::LiveFile;
use super::reader::ReadSpec;
use crate::once::Once;

/// The number of a row in order of arrival: partition by partition.
const ARRIVAL: &str = "__arrival";

/// Rows without a key, to be reported.
pub(super) type Refused = Arc<Mutex<Vec<RefusedRow>>>;

/// The rows in the table's types and order; rows of a keyed relation carry their arrival in a last column.
pub(super) async fn ordered(
    rows: &EpochRows,
    layout: &Arc<Layout>,
    refused: &Refused,
) -> Result<Vec<SendableRecordBatchStream>> {
    let task = Arc::new(rows.frame().task_ctx());
    let inputs = rows.partitions().await?;
    let schema = arriving(layout);
    let sources: Vec<Arc<dyn PartitionStream>> = inputs
        .into_iter()
        .enumerate()
        .map(|(number, input)| {
            let stored = stored(input, number, Arc::clone(layout), Arc::clone(&schema), Arc::clone(refused));
            Once::partition(stored)
        })
        .collect();
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let source = Arc::new(StreamingTableExec::try_new(schema, sources, None, [], false, None)?);
    let plan = dealt_and_sorted(source, layout, task.session_config().target_partitions())?;
    Ok(execute_stream_partitioned(plan, task)?)
}

fn dealt_and_sorted(source: Arc<dyn ExecutionPlan>, layout: &Layout, width: usize) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = source.schema();
    let column = |index: usize| Arc::new(Column::new(schema.field(index).name(), index)) as Arc<dyn PhysicalExpr>;
    let ascending = SortOptions { descending: false, nulls_first: true };
    let partition = layout.partition_indices();
    let arrival = layout.is_keyed().then_some(layout.schema.fields().len());
    let mut seen = std::collections::BTreeSet::new();
    let sort = partition.iter().copied().chain(layout.order.iter().copied()).chain(layout.version).chain(arrival);
    let sort: Vec<PhysicalSortExpr> =
        sort.filter(|&index| seen.insert(index)).map(|index| PhysicalSortExpr::new(column(index), ascending)).collect();
    let Some(order) = LexOrdering::new(sort) else {
        return Ok(Arc::new(CoalescePartitionsExec::new(source)));
    };
    if partition.is_empty() || width < 2 {
        let sorted = Arc::new(SortExec::new(order.clone(), source).with_preserve_partitioning(true));
        return Ok(Arc::new(SortPreservingMergeExec::new(order, sorted)));
    }
    let dealt =
        RepartitionExec::try_new(source, Partitioning::Hash(partition.into_iter().map(column).collect(), width))?;
    Ok(Arc::new(SortExec::new(order, Arc::new(dealt)).with_preserve_partitioning(true)))
}

/// The rows of some files of one partition as one sorted stream.
pub(super) fn sorted_files(
    read: &ReadSpec,
    files: &[Arc<LiveFile>],
    layout: &Layout,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = layout.nullable();
    let sources = files.iter().map(|file| {
        let (read, file) = (read.clone(), Arc::clone(file));
        let rows =
            futures::stream::once(async move { read.open(&file, |_| true).await.map_err(DataFusionError::from) });
        let rows = rows.and_then(|rows| async move { Ok(rows.batches()) }).try_flatten();
        let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
        Once::partition(stream)
    });
    let source = Arc::new(StreamingTableExec::try_new(Arc::clone(&schema), sources.collect(), None, [], false, None)?);
    dealt_and_sorted(source, layout, 1)
}

/// The table's columns with the arrival behind them, if it is needed.
fn arriving(layout: &Layout) -> SchemaRef {
    let nullable = layout.nullable();
    if !layout.is_keyed() {
        return nullable;
    }
    let mut fields: Vec<Arc<Field>> = nullable.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ARRIVAL, DataType::UInt64, false)));
    Arc::new(Schema::new(fields))
}

fn stored(
    input: SendableRecordBatchStream,
    number: usize,
    layout: Arc<Layout>,
    schema: SchemaRef,
    refused: Refused,
) -> SendableRecordBatchStream {
    let mut next = (number as u64) << 40;
    let out = Arc::clone(&schema);
    let rows = input.map(move |batch| {
        let batch = layout.store(&batch?).map_err(DataFusionError::from)?;
        let batch = with_keys(batch, &layout, &refused).map_err(DataFusionError::from)?;
        if !layout.is_keyed() {
            return Ok(batch);
        }
        let rows = batch.num_rows() as u64;
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(UInt64Array::from_iter_values(next..next + rows)));
        next += rows;
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    });
    Box::pin(RecordBatchStreamAdapter::new(out, rows))
}

/// Takes out the rows whose key has a NULL.
fn with_keys(batch: RecordBatch, layout: &Layout, refused: &Refused) -> Result<RecordBatch> {
    if layout.key.iter().all(|&column| batch.column(column).null_count() == 0) {
        return Ok(batch);
    }
    let mut whole = BooleanArray::from(vec![true; batch.num_rows()]);
    for &column in &layout.key {
        whole = arrow::compute::and(&whole, &is_not_null(batch.column(column))?)?;
    }
    let bad = filter_record_batch(&batch, &not(&whole)?)?;
    refused.lock().unwrap_or_else(PoisonError::into_inner).extend(refusals(&bad, layout)?);
    Ok(filter_record_batch(&batch, &whole)?)
}

fn refusals(bad: &RecordBatch, layout: &Layout) -> Result<Vec<RefusedRow>> {
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    writer.write(bad)?;
    writer.finish()?;
    let options = FormatOptions::default().with_null("NULL");
    let formats = layout
        .key
        .iter()
        .map(|&column| ArrayFormatter::try_new(bad.column(column), &options))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let name = |column: usize| layout.schema.field(column).name().as_str();
    let mut rows = Vec::with_capacity(bad.num_rows());
    for (row, payload) in String::from_utf8_lossy(&text).lines().enumerate() {
        let key: Vec<(String, String)> = layout
            .key
            .iter()
            .zip(&formats)
            .map(|(&column, format)| (name(column).to_owned(), format.value(row).to_string()))
            .collect();
        let missing: Vec<&str> =
            layout.key.iter().copied().filter(|&column| bad.column(column).is_null(row)).map(name).collect();
        let symbol =
            key.iter().find(|(column, value)| column == "symbol" && value != "NULL").map(|(_, value)| value.clone());
        rows.push(RefusedRow {
            key,
            symbol,
            reason: format!("key column `{}` is NULL", missing.join("`, `")),
            payload: payload.to_owned(),
        });
    }
    Ok(rows)
}
