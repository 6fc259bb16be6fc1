//! The dead letter: a row refused at a border, with its place and the reason.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::relation::RelationSchema;

/// A refused row. Pipeline, epoch and time are the engine's to fill in.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Who refused it: a connector, a transform's step name, a sink's name.
    pub connector: String,
    /// A file, a topic's partition, or the relation.
    pub partition: String,
    /// A line, an offset, or the row's key.
    pub position: String,
    /// The symbol, if it is known.
    pub symbol: Option<String>,
    /// Why.
    pub reason: String,
    /// The row as it came: its text, or JSON.
    pub payload: String,
}

/// The columns of the dead-letter relation.
///
/// `pipeline, epoch, connector, partition, position, symbol, reason, payload, at`: text but for `epoch` (Int64) and `at`
/// (Timestamp(us, UTC), the intent's time); only `symbol` may be NULL.
pub fn dead_letter_schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pipeline", false),
        Field::new("epoch", DataType::Int64, false),
        text("connector", false),
        text("partition", false),
        text("position", false),
        text("symbol", true),
        text("reason", false),
        text("payload", false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
}

/// Dead letters as a relation. A row is named by where it stood and why it was refused.
pub fn dead_letter_relation() -> RelationSchema {
    RelationSchema::new("dead_letters", dead_letter_schema()).with_key([
        "pipeline",
        "epoch",
        "connector",
        "partition",
        "position",
        "reason",
    ])
}

/// Dead letters as a batch of [`dead_letter_schema`].
///
/// # Errors
///
/// None in practice; Arrow's constructor is fallible.
pub fn dead_letter_batch(pipeline: &str, epoch: u64, at: DateTime<Utc>, letters: &[DeadLetter]) -> Result<RecordBatch> {
    let text = |value: fn(&DeadLetter) -> &str| Arc::new(StringArray::from_iter_values(letters.iter().map(value)));
    let n = letters.len();
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    Ok(RecordBatch::try_new(
        dead_letter_schema(),
        vec![
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(pipeline, n))),
            Arc::new(Int64Array::from_value(epoch, n)),
            text(|letter| &letter.connector),
            text(|letter| &letter.partition),
            text(|letter| &letter.position),
            Arc::new(StringArray::from_iter(letters.iter().map(|letter| letter.symbol.as_deref()))),
            text(|letter| &letter.reason),
            text(|letter| &letter.payload),
            Arc::new(TimestampMicrosecondArray::from_value(at.timestamp_micros(), n).with_timezone("UTC")),
        ],
    )?)
}
