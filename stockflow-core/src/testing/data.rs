//! Small bars to test with.

use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::error::Result;
use crate::relation::RelationSchema;
use crate::schema::{bar_relation, bar_schema};
use crate::sink::EpochRows;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// The point in time of day `n` (from 2024-01-01), in µs.
pub fn day(n: i32) -> i64 {
    i64::from(19_723 + n) * DAY
}

/// Bars of one symbol on these days with these closes: daily, raw, final; high and low are one off, the volume is 1000.
///
/// # Errors
///
/// None in practice; Arrow's constructor is fallible.
pub fn bars(symbol: &str, closes: &[(i32, f64)], as_of: i64) -> Result<RecordBatch> {
    let n = closes.len();
    let text = |value: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, n)));
    let price = |change: f64| Arc::new(Float64Array::from_iter_values(closes.iter().map(|(_, close)| close + change)));
    let time = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
    let schema = bar_schema();
    let null = |column: usize| new_null_array(schema.field(column).data_type(), n);
    Ok(RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            text(symbol),
            text("1d"),
            time(closes.iter().map(|(n, _)| day(*n)).collect()),
            Arc::new(Date32Array::from_iter_values(closes.iter().map(|(n, _)| 19_723 + n))),
            price(0.0),
            price(1.0),
            price(-1.0),
            price(0.0),
            Arc::new(Float64Array::from_value(1000.0, n)),
            price(0.0),
            null(10),
            null(11),
            text("regular"),
            text("raw"),
            Arc::new(BooleanArray::from(vec![true; n])),
            null(15),
            time(vec![as_of; n]),
        ],
    )?)
}

/// The relation of [`bars`].
pub fn bars_relation() -> RelationSchema {
    bar_relation("bars")
}

/// Batches as the rows of an epoch, one partition a batch.
///
/// # Errors
///
/// If the batches do not have the relation's columns.
pub fn rows_of(relation: RelationSchema, batches: Vec<RecordBatch>) -> Result<EpochRows> {
    let partitions = batches.into_iter().map(|batch| vec![batch]).collect();
    let table = datafusion::datasource::MemTable::try_new(Arc::clone(&relation.schema), partitions)?;
    let frame: DataFrame = SessionContext::new().read_table(Arc::new(table))?;
    Ok(EpochRows::new(relation, frame))
}

/// Rows as sorted lines of text, so that a failure can be read. Columns that say when something was learned are left out.
///
/// # Errors
///
/// If a column cannot be printed.
pub fn table_of(batches: &[RecordBatch]) -> Result<Vec<String>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let batch = concat_batches(&first.schema(), batches)?;
    let options = FormatOptions::default().with_null("NULL");
    let shown = ["as_of", "revision", "source_ts"];
    let columns: Vec<(String, ArrayFormatter<'_>)> = batch
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| !shown.contains(&field.name().as_str()))
        .map(|(idx, field)| Ok((field.name().clone(), ArrayFormatter::try_new(batch.column(idx).as_ref(), &options)?)))
        .collect::<Result<_>>()?;
    let mut lines: Vec<String> = (0..batch.num_rows())
        .map(|row| {
            columns.iter().map(|(name, column)| format!("{name}={}", column.value(row))).collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    Ok(lines)
}
