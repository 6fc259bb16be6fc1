//! A data file of a table, with what the log tells about its rows.

use std::collections::HashMap;

use chrono::DateTime;
use deltalake::kernel::{LogicalFileView, Remove};
use object_store::path::Path;
use serde_json::Value;

/// A data file of a table.
#[derive(Debug, Clone)]
pub(super) struct LiveFile {
    /// Its path below the table's folder.
    pub(super) path: String,
    /// Bytes.
    pub(super) size: u64,
    /// Partition column to value.
    pub(super) partition: HashMap<String, Option<String>>,
    /// Rows, if the log tells.
    pub(super) rows: Option<u64>,
    bounds: Value,
}

impl LiveFile {
    pub(super) fn new(view: &LogicalFileView) -> Self {
        let stats = view.stats();
        let bounds: Value = stats.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        Self {
            path: view.path().into_owned(),
            size: u64::try_from(view.size()).unwrap_or_default(),
            partition: view.partition_values_map(),
            rows: bounds.get("numRecords").and_then(Value::as_u64),
            bounds,
        }
    }

    /// The file as an object.
    pub(super) fn object(&self) -> Path {
        Path::parse(&self.path).unwrap_or_else(|_| Path::from(self.path.as_str()))
    }

    /// The lowest and the highest text of a column, if the log tells.
    pub(super) fn texts(&self, column: &str) -> Option<(&str, &str)> {
        let bound = |side: &str| self.bounds.get(side)?.get(column)?.as_str();
        Some((bound("minValues")?, bound("maxValues")?))
    }

    /// The lowest and the highest value of a column of points in time, days or whole numbers, if the log tells.
    pub(super) fn numbers(&self, column: &str) -> Option<(i64, i64)> {
        let bound = |side: &str| number(self.bounds.get(side)?.get(column)?);
        let (low, high) = (bound("minValues")?, bound("maxValues")?);
        // Other writers cut points in time off to the millisecond, the highest one, too.
        Some((low, high.saturating_add(999)))
    }

    /// "This file is no part of the table any more."
    pub(super) fn remove(&self, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            data_change,
            deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition.clone()),
            size: i64::try_from(self.size).ok(),
            ..Remove::default()
        }
    }
}

/// A bound as a number: µs of a point in time, days of a date, whole numbers as they are.
fn number(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let text = value.as_str()?;
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.timestamp_micros());
    }
    let date = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.signed_duration_since(chrono::NaiveDate::default()).num_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_numbers() {
        assert_eq!(number(&Value::from("1970-01-02")), Some(1));
        assert_eq!(number(&Value::from("1970-01-01T00:00:01Z")), Some(1_000_000));
        assert_eq!(number(&Value::from("1970-01-01T00:00:01.500Z")), Some(1_500_000));
        assert_eq!(number(&Value::from(7)), Some(7));
        assert_eq!(number(&Value::from("x")), None);
    }
}
