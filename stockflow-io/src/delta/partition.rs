//! Which folder of a table a row belongs to.
//!
//! A relation whose key has `interval` and `ts` is partitioned by `interval` and by a generated column `span`: the year of
//! `ts` (`2024`), for intervals below a day its month (`2024-03`). Both follow from the key, so all versions of a row lie in one
//! partition, and a correction reads and rewrites no other. `span` is an ordinary string column of the table, with which every
//! reader can prune; stockflow's own readers leave it out. Other relations are small and lie in one folder.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use stockflow_core::relation::RelationSchema;
use stockflow_core::transform::Interval;
use stockflow_core::{Error, Result};

/// The generated partition column: a year, for intraday bars a month.
pub const SPAN: &str = "span";

const INTERVAL: &str = "interval";
const TS: &str = "ts";

/// How a new table is partitioned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum PartitionBy {
    /// As the relation suggests: see the module.
    #[default]
    Derived,
    /// By these columns, in this order; none is one folder.
    Columns(Vec<String>),
}

impl PartitionBy {
    /// The partition columns for a relation.
    ///
    /// # Errors
    ///
    /// [`Error::Schema`] for a column that is not there or of a type that makes no folder.
    pub(super) fn columns(&self, relation: &RelationSchema) -> Result<Vec<String>> {
        match self {
            Self::Columns(columns) => {
                columns.iter().try_for_each(|column| check(relation, column))?;
                Ok(columns.clone())
            }
            Self::Derived if spans(relation) => Ok(vec![INTERVAL.into(), SPAN.into()]),
            Self::Derived => Ok(Vec::new()),
        }
    }
}

/// Whether `span` can be told from the rows' key.
fn spans(relation: &RelationSchema) -> bool {
    let keyed = |column: &str| relation.key.iter().any(|key| key == column);
    let of = |column: &str| relation.schema.field_with_name(column).map(|field| field.data_type().clone());
    keyed(INTERVAL)
        && keyed(TS)
        && matches!(of(TS), Ok(DataType::Timestamp(..)))
        && matches!(of(INTERVAL), Ok(DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8))
}

fn check(relation: &RelationSchema, column: &str) -> Result<()> {
    let refuse = |reason: String| Err(Error::schema(&relation.name, reason));
    if column == SPAN && !relation.has(SPAN) {
        return if spans(relation) {
            Ok(())
        } else {
            refuse(format!("a table can be partitioned by `{SPAN}` only if `{INTERVAL}` and `{TS}` are in its key"))
        };
    }
    let Ok(field) = relation.schema.field_with_name(column) else {
        return refuse(format!("there is no column `{column}` to partition by"));
    };
    if !relation.key.is_empty() && !relation.key.iter().any(|key| key == column) {
        return refuse(format!(
            "the table is partitioned by `{column}`, which is not in the key `{}`: versions of one row would lie in several partitions",
            relation.key.join(", ")
        ));
    }
    match field.data_type() {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Date32 | DataType::Boolean => Ok(()),
        of if of.is_integer() => Ok(()),
        of => refuse(format!(
            "a table cannot be partitioned by `{column}` of type {of}; use text, a date or a whole number"
        )),
    }
}

/// Checks that an existing table's partitions suit the rows.
///
/// # Errors
///
/// [`Error::Schema`] if they do not, or if others were asked for.
pub(super) fn accept(relation: &RelationSchema, asked: &PartitionBy, there: &[String]) -> Result<()> {
    if let PartitionBy::Columns(columns) = asked
        && columns.as_slice() != there
    {
        return Err(Error::schema(
            &relation.name,
            format!(
                "the table is partitioned by `{}`, not by `{}`; leave the setting out or write to another table",
                there.join(", "),
                columns.join(", ")
            ),
        ));
    }
    there.iter().try_for_each(|column| check(relation, column))
}

/// The generated column for rows in a table's types.
///
/// # Errors
///
/// [`Error::Schema`] if the columns that it is made of are missing.
pub(super) fn span_of(relation: &str, rows: &RecordBatch) -> Result<ArrayRef> {
    let missing = || Error::schema(relation, format!("`{SPAN}` needs the columns `{INTERVAL}` and `{TS}`"));
    let intervals: &StringArray =
        rows.column_by_name(INTERVAL).and_then(|column| column.as_string_opt()).ok_or_else(missing)?;
    let times = rows
        .column_by_name(TS)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(missing)?;
    let mut out = StringBuilder::with_capacity(rows.num_rows(), rows.num_rows() * 7);
    let mut interval = ("", false);
    let mut span = Span::default();
    for row in 0..rows.num_rows() {
        if intervals.is_null(row) || times.is_null(row) {
            out.append_null();
            continue;
        }
        if intervals.value(row) != interval.0 {
            interval = (intervals.value(row), intervals.value(row).parse().is_ok_and(Interval::is_intraday));
        }
        out.append_value(span.at(times.value(row), interval.1));
    }
    Ok(Arc::new(out.finish()))
}

/// The last span and the times that it covers: bars come in order, so it is worth remembering.
#[derive(Default)]
struct Span {
    from: i64,
    to: i64,
    by_month: bool,
    text: String,
}

impl Span {
    fn at(&mut self, ts: i64, by_month: bool) -> &str {
        if self.by_month != by_month || ts < self.from || self.to <= ts {
            self.by_month = by_month;
            let day = DateTime::<Utc>::from_timestamp_micros(ts).unwrap_or_default().date_naive();
            let month = if by_month { day.month() } else { 1 };
            let next = if by_month && month < 12 { (day.year(), month + 1) } else { (day.year() + 1, 1) };
            let start = |(year, month): (i32, u32)| {
                NaiveDate::from_ymd_opt(year, month, 1)
                    .and_then(|day| day.and_hms_opt(0, 0, 0))
                    .map_or(ts, |time| time.and_utc().timestamp_micros())
            };
            (self.from, self.to) = (start((day.year(), month)), start(next));
            self.text = if by_month { format!("{:04}-{month:02}", day.year()) } else { format!("{:04}", day.year()) };
        }
        &self.text
    }
}

/// The folder of a partition: for people and for listing; readers take the values from the log.
pub(super) fn folder(columns: &[String], values: &[Option<String>]) -> String {
    let plain = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+') { c } else { '_' })
            .take(64)
            .collect()
    };
    columns
        .iter()
        .zip(values)
        .map(|(column, value)| {
            format!(
                "{}={}/",
                plain(column),
                value.as_deref().map_or_else(|| "__HIVE_DEFAULT_PARTITION__".into(), plain)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_years_and_months() {
        let day = |text: &str| {
            NaiveDate::parse_from_str(text, "%Y-%m-%d")
                .ok()
                .and_then(|day| day.and_hms_opt(9, 30, 0))
                .map(|time| time.and_utc().timestamp_micros())
                .unwrap_or_default()
        };
        let mut span = Span::default();
        for (ts, by_month, expected) in [
            ("2024-03-31", true, "2024-03"),
            ("2024-04-01", true, "2024-04"),
            ("2024-12-31", true, "2024-12"),
            ("2024-12-31", false, "2024"),
            ("1969-12-31", false, "1969"),
        ] {
            assert_eq!(span.at(day(ts), by_month), expected);
        }
    }

    #[test]
    fn folders_are_plain() {
        let columns = ["interval".to_owned(), "span".to_owned()];
        assert_eq!(folder(&columns, &[Some("1d".into()), Some("2024".into())]), "interval=1d/span=2024/");
        assert_eq!(
            folder(&columns, &[Some("a/../b".into()), None]),
            "interval=a_.._b/span=__HIVE_DEFAULT_PARTITION__/"
        );
    }
}
