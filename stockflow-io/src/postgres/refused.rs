//! Rows that the server would refuse, as dead letters need them.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;
use arrow::json::LineDelimitedWriter;
use stockflow_core::Result;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::RefusedRow;

/// Some rows of a batch, each with the reason.
pub(super) fn rows(
    relation: &RelationSchema,
    batch: &RecordBatch,
    reasons: &BTreeMap<usize, String>,
) -> Result<Vec<RefusedRow>> {
    let picked = UInt64Array::from_iter_values(reasons.keys().map(|row| *row as u64));
    let bad = take_record_batch(batch, &picked)?;
    let mut json = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut json);
    writer.write(&bad)?;
    writer.finish()?;
    let json = String::from_utf8_lossy(&json);
    let mut refused = Vec::with_capacity(reasons.len());
    for (row, (payload, reason)) in json.lines().zip(reasons.values()).enumerate() {
        let text = |column: &str| -> Result<Option<String>> {
            let Some(array) = bad.column_by_name(column) else { return Ok(None) };
            let text = cast(&array.slice(row, 1), &DataType::Utf8)?;
            Ok(text.as_string::<i32>().iter().flatten().next().map(str::to_owned))
        };
        let key = relation
            .key
            .iter()
            .map(|column| Ok((column.clone(), text(column)?.unwrap_or_else(|| "NULL".into()))))
            .collect::<Result<_>>()?;
        refused.push(RefusedRow { key, symbol: text("symbol")?, reason: reason.clone(), payload: payload.to_owned() });
    }
    Ok(refused)
}
