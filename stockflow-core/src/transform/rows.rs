//! The two side outputs of a transform: refused rows and counts for the report.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use datafusion::common::cast::as_struct_array;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Expr, Volatility, cast, create_udf, lit};
use datafusion::prelude::{DataFrame, col};

use crate::error::Result;

/// Refused rows as a frame of `partition, position, symbol, reason, payload`, all text.
///
/// `position` names the row within its relation (its key), `payload` is the whole row as JSON.
///
/// # Errors
///
/// If an expression does not fit the frame.
pub fn reject_frame(rows: DataFrame, relation: &str, position: Expr, symbol: Expr, reason: Expr) -> Result<DataFrame> {
    let payload = row_as_json(&rows);
    Ok(rows.select(vec![
        lit(relation).alias("partition"),
        cast(position, DataType::Utf8).alias("position"),
        cast(symbol, DataType::Utf8).alias("symbol"),
        cast(reason, DataType::Utf8).alias("reason"),
        payload.alias("payload"),
    ])?)
}

/// Counts for the report as a frame of `kind, symbol, rows, level, text`.
///
/// `level` is `info`, `warning` (listed under the report's warnings) or `fail` (the epoch fails before commit if `rows > 0`).
///
/// # Errors
///
/// If an expression does not fit the frame.
pub fn note_frame(rows: DataFrame, kind: Expr, symbol: Expr, count: Expr, level: Expr, text: Expr) -> Result<DataFrame> {
    Ok(rows.select(vec![
        cast(kind, DataType::Utf8).alias("kind"),
        cast(symbol, DataType::Utf8).alias("symbol"),
        cast(count, DataType::Int64).alias("rows"),
        cast(level, DataType::Utf8).alias("level"),
        cast(text, DataType::Utf8).alias("text"),
    ])?)
}

/// An expression that gives each row of the frame as one JSON object.
fn row_as_json(rows: &DataFrame) -> Expr {
    let fields = rows.schema().fields().clone();
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    let args: Vec<Expr> = names.iter().flat_map(|name| [lit(name.clone()), col(datafusion::common::Column::from_name(name))]).collect();
    let row = datafusion::functions::core::expr_fn::named_struct(args);
    let input = DataType::Struct(fields);
    let udf = create_udf("row_json", vec![input], DataType::Utf8, Volatility::Immutable, Arc::new(json_of));
    udf.call(vec![row])
}

fn json_of(args: &[ColumnarValue]) -> Result<ColumnarValue, DataFusionError> {
    let array = match args.first() {
        Some(ColumnarValue::Array(array)) => Arc::clone(array),
        Some(ColumnarValue::Scalar(scalar)) => scalar.to_array()?,
        None => return Err(DataFusionError::Internal("row_json needs an argument".into())),
    };
    let batch = RecordBatch::from(as_struct_array(&array)?.clone());
    let mut text = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut text);
    writer.write(&batch)?;
    writer.finish()?;
    let mut out = StringBuilder::new();
    for line in String::from_utf8_lossy(&text).lines() {
        out.append_value(line);
    }
    Ok(ColumnarValue::Array(Arc::new(out.finish()) as ArrayRef))
}
