//! Tables described by their columns: name, place in the JSON, kind. One reader serves every endpoint but the chart.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::json::{at, shorten, text};
use super::number::{Number, percent, whole};
use super::time::{days, instant};
use super::{ReplyError, YAHOO};
use stockflow_core::relation::AS_OF;
use stockflow_core::schema::DeadLetter;

/// How a cell is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text; empty text is NULL.
    Text,
    /// A headline: text, cut where a title ends and research begins.
    Title,
    /// A list of words, joined by commas.
    Words,
    /// A number of any form.
    Number,
    /// `"-4%"` as -0.04.
    Percent,
    /// A whole number.
    Count,
    /// True or false.
    Flag,
    /// Unix seconds at midnight UTC, or ISO text, as a date.
    Date,
    /// Unix milliseconds as a date.
    DateMillis,
    /// Unix seconds, or ISO text, as a point in time.
    Instant,
}

/// So many characters of a headline are kept.
const TITLE: usize = 200;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    path: &'static [&'static str],
    kind: Kind,
    is_required: bool,
}

impl Column {
    pub(super) const fn new(name: &'static str, path: &'static [&'static str], kind: Kind) -> Self {
        Self { name, path, kind, is_required: false }
    }

    /// A row without it is refused; the column has no NULLs.
    pub(super) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    fn field(&self) -> Field {
        let data_type = match self.kind {
            Kind::Text | Kind::Title | Kind::Words => DataType::Utf8,
            Kind::Number | Kind::Percent => DataType::Float64,
            Kind::Count => DataType::Int64,
            Kind::Flag => DataType::Boolean,
            Kind::Date | Kind::DateMillis => DataType::Date32,
            Kind::Instant => timestamp(),
        };
        Field::new(self.name, data_type, !self.is_required)
    }
}

/// Where the columns are in the JSON, below `parent`.
pub(super) fn members(parent: &str, columns: &'static [Column]) -> impl Iterator<Item = String> {
    columns.iter().map(move |column| {
        let own = column.path.join(".");
        if parent.is_empty() { own } else { format!("{parent}.{own}") }
    })
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// `symbol`, the columns, `as_of`.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let mut fields = vec![Field::new("symbol", DataType::Utf8, false)];
    fields.extend(columns.iter().map(Column::field));
    fields.push(Field::new(AS_OF, timestamp(), false));
    Arc::new(Schema::new(fields))
}

/// One cell, read.
#[derive(Debug)]
enum Cell {
    Null,
    Text(String),
    Number(f64),
    Count(i64),
    Flag(bool),
    Date(i32),
    Micros(i64),
}

fn read(value: Option<&Value>, kind: Kind) -> Cell {
    let cell = match kind {
        Kind::Text => text(value).map(|text| Cell::Text(text.to_owned())),
        Kind::Title => text(value).map(|text| Cell::Text(shorten(text, TITLE))),
        Kind::Words => words(value).map(Cell::Text),
        Kind::Number => Number::of(value).ok().map(Cell::Number),
        Kind::Percent => percent(value).map(Cell::Number),
        Kind::Count => whole(value).map(Cell::Count),
        Kind::Flag => value.and_then(Value::as_bool).map(Cell::Flag),
        Kind::Date => moment(value).map(|at| Cell::Date(days(at.date_naive()))),
        Kind::DateMillis => {
            whole(value).and_then(|millis| instant(millis.div_euclid(1000))).map(|at| Cell::Date(days(at.date_naive())))
        }
        Kind::Instant => moment(value).map(|at| Cell::Micros(at.timestamp_micros())),
    };
    cell.unwrap_or(Cell::Null)
}

fn words(value: Option<&Value>) -> Option<String> {
    let words: Vec<&str> = value?.as_array()?.iter().filter_map(|word| text(Some(word))).collect();
    if words.is_empty() { None } else { Some(words.join(",")) }
}

fn moment(value: Option<&Value>) -> Option<DateTime<Utc>> {
    if let Some(seconds) = whole(value) {
        return instant(seconds);
    }
    let iso = text(value)?;
    let at = match DateTime::parse_from_rfc3339(iso) {
        Ok(at) => at.to_utc(),
        Err(_) => iso.parse::<chrono::NaiveDate>().ok()?.and_time(chrono::NaiveTime::MIN).and_utc(),
    };
    instant(at.timestamp())
}

/// A column under construction.
#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Number(Float64Builder),
    Count(Int64Builder),
    Flag(BooleanBuilder),
    Date(Date32Builder),
    Instant(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Title | Kind::Words => Self::Text(StringBuilder::new()),
            Kind::Number | Kind::Percent => Self::Number(Float64Builder::new()),
            Kind::Count => Self::Count(Int64Builder::new()),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Date | Kind::DateMillis => Self::Date(Date32Builder::new()),
            Kind::Instant => Self::Instant(TimestampMicrosecondBuilder::new()),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (self, cell) {
            (Self::Text(builder), Cell::Text(text)) => builder.append_value(text),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Number(builder), Cell::Number(number)) => builder.append_value(number),
            (Self::Number(builder), _) => builder.append_null(),
            (Self::Count(builder), Cell::Count(count)) => builder.append_value(count),
            (Self::Count(builder), _) => builder.append_null(),
            (Self::Flag(builder), Cell::Flag(flag)) => builder.append_value(flag),
            (Self::Flag(builder), _) => builder.append_null(),
            (Self::Date(builder), Cell::Date(date)) => builder.append_value(date),
            (Self::Date(builder), _) => builder.append_null(),
            (Self::Instant(builder), Cell::Micros(micros)) => builder.append_value(micros),
            (Self::Instant(builder), _) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Number(mut builder) => Arc::new(builder.finish()),
            Self::Count(mut builder) => Arc::new(builder.finish()),
            Self::Flag(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Instant(mut builder) => Arc::new(builder.finish().with_timezone("UTC")),
        }
    }
}

/// A row whose long texts are cut: what is licensed must not live on in dead letters.
fn without_research(row: &Value) -> Value {
    let cut = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| shorten(text, TITLE).into());
    match row {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), cut(value))).collect(),
        other => cut(other),
    }
}

/// A table under construction, with the rows that it refused.
#[derive(Debug)]
pub(super) struct Table {
    relation: &'static str,
    columns: &'static [Column],
    as_of: DateTime<Utc>,
    symbols: StringBuilder,
    builders: Vec<Builder>,
    n_rows: usize,
    rejects: Vec<DeadLetter>,
}

impl Table {
    pub(super) fn new(relation: &'static str, columns: &'static [Column], as_of: DateTime<Utc>) -> Self {
        let builders = columns.iter().map(|column| Builder::new(column.kind)).collect();
        Self { relation, columns, as_of, symbols: StringBuilder::new(), builders, n_rows: 0, rejects: Vec::new() }
    }

    /// Reads one row. A cell that cannot be read is NULL; a row that is no object or lacks a required cell is refused.
    pub(super) fn push(&mut self, symbol: &str, position: impl std::fmt::Display, row: &Value) {
        if !row.is_object() {
            return self.refuse(symbol, position, "the row is no object".into(), row);
        }
        let cells: Vec<Cell> = self.columns.iter().map(|column| read(at(row, column.path), column.kind)).collect();
        let lacks =
            self.columns.iter().zip(&cells).find(|(column, cell)| column.is_required && matches!(cell, Cell::Null));
        if let Some((column, _)) = lacks {
            let reason = format!("no readable `{}`", column.path.join("."));
            return self.refuse(symbol, position, reason, row);
        }
        self.symbols.append_value(symbol);
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            builder.push(cell);
        }
        self.n_rows += 1;
    }

    /// Reads a list of rows; nothing there is an empty list, something else is refused.
    pub(super) fn push_list(&mut self, symbol: &str, list: Option<&Value>) {
        match list {
            None | Some(Value::Null) => {}
            Some(Value::Array(rows)) => {
                rows.iter().enumerate().for_each(|(row_idx, row)| self.push(symbol, row_idx, row))
            }
            Some(Value::Object(object)) if object.is_empty() => {}
            Some(other) => self.refuse(symbol, "list", "a list of rows was expected".into(), other),
        }
    }

    pub(super) fn refuse(&mut self, symbol: &str, position: impl std::fmt::Display, reason: String, row: &Value) {
        self.rejects.push(DeadLetter {
            connector: YAHOO.into(),
            partition: format!("{}/{symbol}", self.relation),
            position: position.to_string(),
            symbol: Some(symbol.to_owned()),
            reason,
            payload: without_research(row).to_string(),
        });
    }

    /// The rows as a batch; the refused ones go to `rejects`.
    pub(super) fn finish(mut self, rejects: &mut Vec<DeadLetter>) -> Result<RecordBatch, ReplyError> {
        rejects.append(&mut self.rejects);
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(self.symbols.finish())];
        arrays.extend(self.builders.into_iter().map(Builder::finish));
        let mut as_of = TimestampMicrosecondBuilder::new();
        as_of.append_slice(&vec![self.as_of.timestamp_micros(); self.n_rows]);
        arrays.push(Arc::new(as_of.finish().with_timezone("UTC")));
        RecordBatch::try_new(schema(self.columns), arrays)
            .map_err(|error| ReplyError::Internal { reason: format!("table {}: {error}", self.relation) })
    }
}
