//! The two side outputs of a transform: refused rows and counts for the report.

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::DataFrame;

use super::udf::row_json;
use crate::error::Result;

/// Refused rows as a frame of `partition, position, symbol, reason, payload`, all text.
///
/// `position` names the row within its relation (its key), `payload` is the whole row as JSON.
///
/// # Errors
///
/// If an expression does not fit the frame.
pub fn reject_frame(rows: DataFrame, relation: &str, position: Expr, symbol: Expr, reason: Expr) -> Result<DataFrame> {
    let payload = row_json(rows.schema().fields());
    reject_frame_with(rows, lit(relation), position, symbol, reason, payload)
}

/// Refused rows whose payload is an expression of its own: the row as it came, kept from an earlier step.
///
/// # Errors
///
/// If an expression does not fit the frame.
pub fn reject_frame_with(
    rows: DataFrame,
    partition: Expr,
    position: Expr,
    symbol: Expr,
    reason: Expr,
    payload: Expr,
) -> Result<DataFrame> {
    Ok(rows.select(vec![
        cast(partition, DataType::Utf8).alias("partition"),
        cast(position, DataType::Utf8).alias("position"),
        cast(symbol, DataType::Utf8).alias("symbol"),
        cast(reason, DataType::Utf8).alias("reason"),
        cast(payload, DataType::Utf8).alias("payload"),
    ])?)
}

/// Counts for the report as a frame of `kind, symbol, rows, level, text`.
///
/// `level` is `info`, `warning` (listed under the report's warnings) or `fail` (the epoch fails before commit if `rows > 0`).
///
/// # Errors
///
/// If an expression does not fit the frame.
pub fn note_frame(
    rows: DataFrame,
    kind: Expr,
    symbol: Expr,
    count: Expr,
    level: Expr,
    text: Expr,
) -> Result<DataFrame> {
    Ok(rows.select(vec![
        cast(kind, DataType::Utf8).alias("kind"),
        cast(symbol, DataType::Utf8).alias("symbol"),
        cast(count, DataType::Int64).alias("rows"),
        cast(level, DataType::Utf8).alias("level"),
        cast(text, DataType::Utf8).alias("text"),
    ])?)
}
