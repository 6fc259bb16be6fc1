//! Prices in pence, cents or agorot as prices in the currency itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use arrow::error::ArrowError;

use super::decode::sub_unit;

/// The same bars with prices in `GBP` where they came in `GBp`, and so on for every [sub-unit](sub_unit); `currency` says it.
///
/// Bars in other currencies stay as they are, so that doing it twice changes nothing. Volumes are shares and stay.
///
/// # Errors
///
/// [`ArrowError`] if a column is missing or of another type.
pub fn in_main_units(bars: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let wrong = |name: &str| ArrowError::SchemaError(format!("`{name}` is missing or of another type"));
    let currency = bars.column_by_name("currency").and_then(|it| it.as_string_opt::<i32>());
    let currency = currency.ok_or_else(|| wrong("currency"))?;
    let units: Vec<Option<(&str, f64)>> =
        currency.iter().map(|code| code.map(|code| sub_unit(code).unwrap_or((code, 1.0)))).collect();
    if units.iter().flatten().all(|(_, factor)| *factor == 1.0) {
        return Ok(bars.clone());
    }
    let schema = bars.schema();
    let mut columns = bars.columns().to_vec();
    for name in ["open", "high", "low", "close", "adj_close"] {
        let (at, field) = schema.column_with_name(name).ok_or_else(|| wrong(name))?;
        let values = columns[at].as_primitive_opt::<Float64Type>().ok_or_else(|| wrong(field.name()))?;
        let scaled: Float64Array = values
            .iter()
            .zip(&units)
            .map(|(value, unit)| Some(value? * unit.map_or(1.0, |(_, factor)| factor)))
            .collect();
        columns[at] = Arc::new(scaled) as ArrayRef;
    }
    let at = schema.index_of("currency")?;
    columns[at] = Arc::new(units.iter().map(|unit| unit.map(|(code, _)| code)).collect::<StringArray>());
    RecordBatch::try_new(schema, columns)
}
