//! Prices in pence, cents or agorot as prices in the currency itself.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use arrow::error::ArrowError;
use stockflow_core::pipeline::{Note, NoteLevel};

use super::CONNECTOR;
use super::decode::sub_unit;
use crate::provider::Found;

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
            // A quotient is rounded once: 510 pence are 5.1 pounds, and not 5.1000000000000005.
            .map(|(value, unit)| Some(value? / unit.map_or(1.0, |(_, factor)| factor.recip())))
            .collect();
        columns[at] = Arc::new(scaled) as ArrayRef;
    }
    let at = schema.index_of("currency")?;
    columns[at] = Arc::new(units.iter().map(|unit| unit.map(|(code, _)| code)).collect::<StringArray>());
    RecordBatch::try_new(schema, columns)
}

/// What is to be told of bars that came in a sub-unit and are in the currency itself.
pub(super) fn told(found: &Found) -> Option<Note> {
    let cell = |name: &str| {
        let column = found.symbols.column_by_name(name)?.as_string_opt::<i32>()?;
        (!column.is_empty() && column.is_valid(0)).then(|| column.value(0))
    };
    let (symbol, unit) = (cell("symbol")?, cell("sub_unit")?);
    let (currency, factor) = sub_unit(unit)?;
    let currencies = found.bars.column_by_name("currency")?.as_string_opt::<i32>()?;
    let n_converted = currencies.iter().filter(|it| *it == Some(currency)).count();
    (n_converted > 0).then(|| Note {
        step: CONNECTOR.to_owned(),
        kind: format!("prices in {unit} converted to {currency}"),
        symbol: Some(symbol.to_owned()),
        rows: i64::try_from(n_converted).unwrap_or(i64::MAX),
        level: NoteLevel::Info,
        text: format!("1 {unit} is {factor} {currency}"),
    })
}
