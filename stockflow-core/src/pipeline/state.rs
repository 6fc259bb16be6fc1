//! The state table: what of each symbol has been delivered, epoch by epoch.
//!
//! An epoch writes the symbols that it touched; now and then a snapshot replaces the deltas. Columns:
//! `relation` (Utf8), `symbol` (Utf8), `kind` (Utf8: `history` keeps nothing else), `last_ts` (Timestamp(us, UTC)), `payload`
//! (Binary, NULL for `history`; the place of window and recursive state).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::clock::instant;
use crate::error::{Error, Result};
use crate::store::{CheckpointStore, StateRef};

/// A snapshot replaces the deltas after this many.
const SNAPSHOT_EVERY: usize = 32;

/// Symbol to the time of its newest delivered bar, in µs.
pub(crate) type LastBars = BTreeMap<String, i64>;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("relation", DataType::Utf8, false),
        Field::new("symbol", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("last_ts", instant(), false),
        Field::new("payload", DataType::Binary, true),
    ]))
}

/// Reads the table; state with another fingerprint is never used.
///
/// # Errors
///
/// [`Error::Mismatch`] for a foreign fingerprint, [`Error::StoreCorrupt`] for an unreadable object.
pub(crate) async fn load(
    store: &CheckpointStore,
    pipeline: &str,
    state: &StateRef,
    fingerprint: &str,
) -> Result<LastBars> {
    if !state.objects.is_empty() && state.fingerprint != fingerprint {
        let difference =
            format!("its state was made by definition {} and the definition is {fingerprint} now", state.fingerprint);
        return Err(Error::Mismatch { pipeline: pipeline.into(), difference });
    }
    let mut last = LastBars::new();
    for object in &state.objects {
        let corrupt = |reason: String| Error::StoreCorrupt { path: store.path(object).to_string(), reason };
        let bytes = store.get(object).await?.ok_or_else(|| corrupt("it is missing".into()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| corrupt(error.to_string()))?;
        for batch in reader {
            let batch = batch.map_err(|error| corrupt(error.to_string()))?;
            let columns = (
                batch.column_by_name("symbol").and_then(|column| column.as_string_opt::<i32>()),
                batch
                    .column_by_name("last_ts")
                    .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>()),
            );
            let (Some(symbols), Some(times)) = columns else {
                return Err(corrupt("it lacks the columns `symbol` and `last_ts`".into()));
            };
            for idx in (0..batch.num_rows()).filter(|idx| symbols.is_valid(*idx) && times.is_valid(*idx)) {
                last.insert(symbols.value(idx).to_owned(), times.value(idx));
            }
        }
    }
    Ok(last)
}

/// Writes what the epoch touched; says which objects count from now on.
pub(crate) async fn save(
    store: &CheckpointStore,
    name: &str,
    relation: &str,
    before: &StateRef,
    all: &LastBars,
    touched: &LastBars,
    fingerprint: &str,
) -> Result<StateRef> {
    let same = before.fingerprint == fingerprint;
    if touched.is_empty() && same {
        return Ok(before.clone());
    }
    let snapshot = !same || before.objects.len() + 1 >= SNAPSHOT_EVERY;
    let rows = if snapshot { all } else { touched };
    if rows.is_empty() {
        return Ok(StateRef { objects: Vec::new(), fingerprint: fingerprint.into() });
    }
    let n = rows.len();
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(relation, n))),
            Arc::new(StringArray::from_iter_values(rows.keys())),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n("history", n))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.values().copied()).with_timezone("UTC")),
            Arc::new(BinaryArray::from_iter(std::iter::repeat_n(None::<&[u8]>, n))),
        ],
    )?;
    store.put(name, parquet_bytes(&batch.schema(), &[batch])?).await?;
    let mut objects = if snapshot { Vec::new() } else { before.objects.clone() };
    objects.push(name.to_owned());
    Ok(StateRef { objects, fingerprint: fingerprint.into() })
}

/// Batches as one Parquet object in memory.
pub(crate) fn parquet_bytes(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let failed = |error: parquet::errors::ParquetError| {
        Error::internal(format!("a Parquet object in memory cannot be written: {error}"))
    };
    let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(schema), None).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    Ok(bytes)
}
