//! The corporate action: a dividend, a split or a capital gain.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// What names a corporate action.
pub const ACTION_KEY: [&str; 3] = ["symbol", "date", "kind"];

/// The columns of a corporate action.
///
/// | column | type | meaning |
/// |---|---|---|
/// | `symbol` | Utf8, not null | our name of the instrument |
/// | `date` | Date32, not null | the ex-date: the first trading date on the new terms |
/// | `kind` | Utf8, not null | `dividend`, `split`, `capital_gain` |
/// | `value` | Float64 | dividend or gain per share as paid then, in `currency`; NULL for splits |
/// | `numerator`, `denominator` | Float64 | a 2:1 split is 2 and 1; NULL otherwise |
/// | `currency` | Utf8 | of `value` |
/// | `as_of` | Timestamp(us, UTC), not null | when we learned it |
pub fn action_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("date", DataType::Date32, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("numerator", DataType::Float64, true),
        Field::new("denominator", DataType::Float64, true),
        Field::new("currency", DataType::Utf8, true),
        Field::new("as_of", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
}
