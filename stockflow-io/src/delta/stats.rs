//! What the log tells about the rows of a file, so that readers can skip it.
//!
//! Lowest and highest value for the first 32 columns of the file (as other writers do) and for the key, NULLs counted.
//! A column with NaN or infinity has no bounds: JSON has no word for them, and readers disagree on where NaN sorts.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde_json::{Map, Value, json};

/// As many columns have statistics in other writers' tables, too.
const INDEXED: usize = 32;

/// Longer texts have no bounds: they would swell the log.
const LONGEST: usize = 64;

/// The statistics of one file, gathered while it is written.
#[derive(Debug)]
pub(super) struct FileStats {
    rows: u64,
    columns: Vec<ColumnStats>,
}

#[derive(Debug)]
struct ColumnStats {
    index: usize,
    name: String,
    of: DataType,
    nulls: u64,
    bounds: Bounds,
}

#[derive(Debug, Clone, PartialEq)]
enum Bounds {
    Unseen,
    Numbers(i64, i64),
    Floats(f64, f64),
    Texts(String, String),
    Unknown,
}

impl FileStats {
    /// For files of this schema; `key` names the columns that always have bounds.
    pub(super) fn new(schema: &SchemaRef, key: &[String]) -> Self {
        let wanted =
            schema.fields().iter().enumerate().filter(|(index, field)| *index < INDEXED || key.contains(field.name()));
        let columns = wanted.filter(|(_, field)| !field.data_type().is_nested()).map(|(index, field)| ColumnStats {
            index,
            name: field.name().clone(),
            of: field.data_type().clone(),
            nulls: 0,
            bounds: Bounds::Unseen,
        });
        Self { rows: 0, columns: columns.collect() }
    }

    /// Takes rows in.
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows() as u64;
        for column in &mut self.columns {
            let values = batch.column(column.index);
            column.nulls += values.null_count() as u64;
            if column.bounds != Bounds::Unknown && values.null_count() < values.len() {
                column.bounds = std::mem::replace(&mut column.bounds, Bounds::Unknown).join(bounds(values));
            }
        }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// As Delta's log wants it.
    pub(super) fn to_json(&self) -> String {
        let (mut low, mut high, mut nulls) = (Map::new(), Map::new(), Map::new());
        for column in &self.columns {
            nulls.insert(column.name.clone(), column.nulls.into());
            if let Some((min, max)) = column.bounds.to_json(&column.of) {
                low.insert(column.name.clone(), min);
                high.insert(column.name.clone(), max);
            }
        }
        json!({ "numRecords": self.rows, "minValues": low, "maxValues": high, "nullCount": nulls }).to_string()
    }
}

impl Bounds {
    fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unseen, other) => other,
            (Self::Numbers(a, b), Self::Numbers(c, d)) => Self::Numbers(a.min(c), b.max(d)),
            (Self::Floats(a, b), Self::Floats(c, d)) => Self::Floats(a.min(c), b.max(d)),
            (Self::Texts(a, b), Self::Texts(c, d)) => Self::Texts(a.min(c), b.max(d)),
            _ => Self::Unknown,
        }
    }

    fn to_json(&self, of: &DataType) -> Option<(Value, Value)> {
        Some(match self {
            Self::Unseen | Self::Unknown => return None,
            Self::Numbers(low, high) => match of {
                DataType::Date32 => (date(*low)?, date(*high)?),
                // The log knows milliseconds only: the lowest is cut off, the highest goes up, and both stay bounds.
                DataType::Timestamp(..) => {
                    (instant(low.div_euclid(1000))?, instant(high.checked_add(999)?.div_euclid(1000))?)
                }
                _ => ((*low).into(), (*high).into()),
            },
            Self::Floats(low, high) => (Value::from(*low), Value::from(*high)),
            Self::Texts(low, high) => (low.as_str().into(), high.as_str().into()),
        })
    }
}

fn date(days: i64) -> Option<Value> {
    let epoch = NaiveDate::default();
    let day = if days < 0 {
        epoch.checked_sub_days(Days::new(days.unsigned_abs()))
    } else {
        epoch.checked_add_days(Days::new(days.unsigned_abs()))
    };
    Some(day?.format("%Y-%m-%d").to_string().into())
}

fn instant(millis: i64) -> Option<Value> {
    Some(DateTime::<Utc>::from_timestamp_millis(millis)?.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
}

fn bounds(values: &ArrayRef) -> Bounds {
    macro_rules! whole {
        ($of:ty) => {{
            let values = values.as_primitive::<$of>();
            match (min(values), max(values)) {
                (Some(low), Some(high)) => Bounds::Numbers(low.into(), high.into()),
                _ => Bounds::Unknown,
            }
        }};
    }
    macro_rules! float {
        ($of:ty) => {{
            let values = values.as_primitive::<$of>();
            match (min(values), max(values)) {
                (Some(low), Some(high)) if low.is_finite() && high.is_finite() => {
                    Bounds::Floats(low.into(), high.into())
                }
                _ => Bounds::Unknown,
            }
        }};
    }
    match values.data_type() {
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::Date32 => whole!(Date32Type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => whole!(TimestampMicrosecondType),
        DataType::Float32 => float!(Float32Type),
        DataType::Float64 => float!(Float64Type),
        DataType::Utf8 => match (min_string(values.as_string::<i32>()), max_string(values.as_string::<i32>())) {
            (Some(low), Some(high)) if low.len() <= LONGEST && high.len() <= LONGEST => {
                Bounds::Texts(low.into(), high.into())
            }
            _ => Bounds::Unknown,
        },
        _ => Bounds::Unknown,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[track_caller]
    fn check(column: ArrayRef, expected: Value) {
        let schema = Arc::new(Schema::new(vec![Field::new("x", column.data_type().clone(), true)]));
        let mut stats = FileStats::new(&schema, &[]);
        stats.add(&RecordBatch::try_new(schema, vec![column]).unwrap());
        let stats: Value = serde_json::from_str(&stats.to_json()).unwrap();
        assert_eq!(json!([stats["minValues"]["x"], stats["maxValues"]["x"], stats["nullCount"]["x"]]), expected);
    }

    #[test]
    fn bounds_are_bounds() {
        check(Arc::new(Float64Array::from(vec![Some(2.5), None, Some(-1.0)])), json!([-1.0, 2.5, 1]));
        check(Arc::new(Float64Array::from(vec![2.5, f64::NAN])), json!([null, null, 0]));
        check(Arc::new(Float64Array::from(vec![2.5, f64::INFINITY])), json!([null, null, 0]));
        check(Arc::new(Float64Array::from(vec![None::<f64>, None])), json!([null, null, 2]));
        check(Arc::new(StringArray::from(vec!["b", "a"])), json!(["a", "b", 0]));
        let times = TimestampMicrosecondArray::from(vec![1_500, 1_000_001]).with_timezone("UTC");
        check(Arc::new(times), json!(["1970-01-01T00:00:00.001Z", "1970-01-01T00:00:01.001Z", 0]));
        let times = TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC");
        check(Arc::new(times), json!(["1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z", 0]));
    }
}
