//! Rows under construction: typed columns, where each row stood, and what was refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use stockflow_core::schema::bar_column;

use super::cell::{Cell, Kind};

/// What is said of a field that a file's first lines do not have.
const UNPLANNED: &str = "is not among the columns that the file's first lines have; declare it under `types`";

/// One column of a scan.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
}

/// What a scan wants of its input: which columns there are, and which of them a reader asked for.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) columns: Arc<[Column]>,
    /// Wanted columns in output order: first `columns`, then those that say where a row comes from.
    pub(crate) projection: Vec<usize>,
    /// The schema of the output.
    pub(crate) schema: SchemaRef,
    /// Why a row with a field that no column was planned for is refused; `None`: such fields do not count.
    pub(crate) unknown: Option<&'static str>,
    by_name: HashMap<String, usize>,
    wanted: Vec<bool>,
    wants_lines: bool,
    symbol: Option<usize>,
}

impl Shape {
    pub(crate) fn new(columns: Arc<[Column]>, projection: Vec<usize>, schema: SchemaRef) -> Self {
        let by_name = columns.iter().enumerate().map(|(idx, column)| (column.name.to_lowercase(), idx)).collect();
        let wanted = (0..columns.len()).map(|idx| projection.contains(&idx)).collect();
        let wants_lines = projection.iter().any(|idx| *idx > columns.len());
        let symbol = columns.iter().position(|column| bar_column(&column.name) == Some("symbol"));
        Self { columns, projection, schema, unknown: Some(UNPLANNED), by_name, wanted, wants_lines, symbol }
    }

    /// The column of that name; case does not count.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// Whether no two columns have the same name but for case.
    pub(crate) fn has_plain_names(&self) -> bool {
        self.by_name.len() == self.columns.len()
    }

    pub(crate) fn symbol(&self) -> Option<usize> {
        self.symbol
    }

    /// Whether anybody asks where rows stood.
    pub(crate) fn wants_lines(&self) -> bool {
        self.wants_lines
    }
}

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) line: u64,
    pub(crate) symbol: Option<String>,
    pub(crate) reason: String,
    pub(crate) payload: String,
}

/// One column under construction.
///
/// Plain vectors: the array takes them as they are. NULLs are rare, so their places are noted.
pub(crate) struct Values {
    data: Data,
    nulls: Vec<usize>,
}

enum Data {
    Skip,
    Text { bytes: Vec<u8>, ends: Vec<i32> },
    Integer(Vec<i64>),
    Number(Vec<f64>),
    Boolean(Vec<bool>),
    Date(Vec<i32>),
    Instant(Vec<i64>, DataType),
}

/// Short text is copied as so many bytes at once.
const SHORT: usize = 16;

impl Values {
    fn new(data_type: &DataType, rows: usize) -> Self {
        let data = match Kind::of(data_type) {
            Some(Kind::Text) => {
                let mut ends = Vec::with_capacity(rows + 1);
                ends.push(0);
                Data::Text { bytes: Vec::with_capacity(rows * 10 + SHORT), ends }
            }
            Some(Kind::Integer) => Data::Integer(Vec::with_capacity(rows)),
            Some(Kind::Number) => Data::Number(Vec::with_capacity(rows)),
            Some(Kind::Boolean) => Data::Boolean(Vec::with_capacity(rows)),
            Some(Kind::Date) => Data::Date(Vec::with_capacity(rows)),
            Some(Kind::Instant) => Data::Instant(Vec::with_capacity(rows), data_type.clone()),
            // Only a Parquet file has such a column: NULL here.
            None => Data::Skip,
        };
        Self { data, nulls: Vec::new() }
    }

    fn skip() -> Self {
        Self { data: Data::Skip, nulls: Vec::new() }
    }

    /// Adds a cell; one of another kind is NULL.
    pub(crate) fn push(&mut self, cell: Cell<'_>) {
        match (&mut self.data, cell) {
            (Data::Skip, _) => {}
            (Data::Text { bytes, ends }, Cell::Text(text)) => push_text(bytes, ends, text.as_bytes()),
            (Data::Text { bytes, ends }, Cell::Owned(text)) => push_text(bytes, ends, text.as_bytes()),
            (Data::Integer(values), Cell::Integer(value)) => values.push(value),
            (Data::Number(values), Cell::Number(value)) => values.push(value),
            (Data::Boolean(values), Cell::Boolean(value)) => values.push(value),
            (Data::Date(values), Cell::Date(value)) => values.push(value),
            (Data::Instant(values, _), Cell::Instant(value)) => values.push(value),
            (data, _) => {
                self.nulls.push(data.len());
                match data {
                    Data::Skip => {}
                    Data::Text { bytes, ends } => push_text(bytes, ends, &[]),
                    Data::Integer(values) | Data::Instant(values, _) => values.push(0),
                    Data::Number(values) => values.push(0.0),
                    Data::Boolean(values) => values.push(false),
                    Data::Date(values) => values.push(0),
                }
            }
        }
    }

    /// Adds the text `buf[start..end]`, which is ASCII and not empty.
    #[inline]
    pub(crate) fn push_ascii(&mut self, buf: &[u8], start: usize, end: usize) {
        if let Data::Text { bytes, ends } = &mut self.data {
            match buf.get(start..).and_then(|rest| rest.first_chunk::<SHORT>()) {
                Some(chunk) if end - start <= SHORT => {
                    let len = bytes.len() + end - start;
                    bytes.extend_from_slice(chunk);
                    bytes.truncate(len);
                    ends.push(len as i32);
                }
                _ => push_text(bytes, ends, &buf[start..end]),
            }
        }
    }

    #[inline]
    pub(crate) fn push_number(&mut self, value: f64) {
        if let Data::Number(values) = &mut self.data {
            values.push(value);
        }
    }

    #[inline]
    pub(crate) fn push_integer(&mut self, value: i64) {
        if let Data::Integer(values) = &mut self.data {
            values.push(value);
        }
    }

    #[inline]
    pub(crate) fn push_date(&mut self, value: i32) {
        if let Data::Date(values) = &mut self.data {
            values.push(value);
        }
    }

    /// Drops what is behind so many rows.
    fn truncate(&mut self, rows: usize) {
        match &mut self.data {
            Data::Skip => {}
            Data::Text { bytes, ends } => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Data::Integer(values) | Data::Instant(values, _) => values.truncate(rows),
            Data::Number(values) => values.truncate(rows),
            Data::Boolean(values) => values.truncate(rows),
            Data::Date(values) => values.truncate(rows),
        }
        while self.nulls.last().is_some_and(|row| *row >= rows) {
            self.nulls.pop();
        }
    }

    /// `None` for a column that nobody wants.
    fn finish(self) -> Result<Option<ArrayRef>, ArrowError> {
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = BooleanBufferBuilder::new(self.data.len());
            valid.append_n(self.data.len(), true);
            self.nulls.iter().for_each(|row| valid.set_bit(*row, false));
            NullBuffer::new(valid.finish())
        });
        Ok(Some(match self.data {
            Data::Skip => return Ok(None),
            Data::Text { bytes, ends } => {
                let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
                Arc::new(StringArray::try_new(ends, Buffer::from_vec(bytes), nulls)?) as ArrayRef
            }
            Data::Integer(values) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            Data::Number(values) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            Data::Boolean(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
            Data::Date(values) => Arc::new(Date32Array::try_new(values.into(), nulls)?),
            Data::Instant(values, data_type) => {
                Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls)?.with_data_type(data_type))
            }
        }))
    }
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::Skip => 0,
            Self::Text { ends, .. } => ends.len() - 1,
            Self::Integer(values) | Self::Instant(values, _) => values.len(),
            Self::Number(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Date(values) => values.len(),
        }
    }
}

fn push_text(bytes: &mut Vec<u8>, ends: &mut Vec<i32>, text: &[u8]) {
    bytes.extend_from_slice(text);
    // A chunk of a file is far smaller than 2 GiB.
    ends.push(bytes.len() as i32);
}

/// Rows of text that were read into typed columns.
pub(crate) struct Rows<'s> {
    shape: &'s Shape,
    values: Vec<Values>,
    /// Where the rows stood; empty if nobody asks.
    lines: Vec<i64>,
    n: usize,
    pub(crate) rejects: Vec<Reject>,
}

impl<'s> Rows<'s> {
    pub(crate) fn new(shape: &'s Shape, rows: usize) -> Self {
        let column = |(idx, column): (usize, &Column)| {
            if shape.wanted[idx] { Values::new(&column.data_type, rows) } else { Values::skip() }
        };
        let values = shape.columns.iter().enumerate().map(column).collect();
        let lines = Vec::with_capacity(if shape.wants_lines() { rows } else { 0 });
        Self { shape, values, lines, n: 0, rejects: Vec::new() }
    }

    /// Adds a row; `cells` has one cell for each column of the shape.
    pub(crate) fn push(&mut self, line: u64, cells: &mut [Cell<'_>]) {
        for (column, cell) in self.values.iter_mut().zip(cells) {
            column.push(std::mem::replace(cell, Cell::Null));
        }
        self.added(line);
    }

    /// The columns, for a row that is added cell by cell: then [`added`](Self::added) or [`take_back`](Self::take_back).
    pub(crate) fn values(&mut self) -> &mut [Values] {
        &mut self.values
    }

    /// Each column has one cell more.
    #[inline]
    pub(crate) fn added(&mut self, line: u64) {
        if self.shape.wants_lines() {
            self.lines.push(line as i64);
        }
        self.n += 1;
    }

    /// Whether a cell of a wanted column is NULL.
    pub(crate) fn is_null(&self, column: usize, row: usize) -> bool {
        self.values.get(column).is_some_and(|column| column.nulls.binary_search(&row).is_ok())
    }

    /// Drops what is behind so many rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.n = self.n.min(rows);
        self.lines.truncate(rows);
        self.take_back();
    }

    /// Drops the cells of a row that was not finished.
    pub(crate) fn take_back(&mut self) {
        self.values.iter_mut().for_each(|column| column.truncate(self.n));
    }

    pub(crate) fn refuse(&mut self, line: u64, symbol: Option<String>, reason: String, payload: String) {
        self.rejects.push(Reject { line, symbol, reason, payload });
    }

    /// Rows that were added.
    pub(crate) fn len(&self) -> usize {
        self.n
    }

    /// The columns: `None` for one that nobody wants.
    pub(crate) fn finish(self) -> Result<Finished, ArrowError> {
        let arrays = self.values.into_iter().map(Values::finish).collect::<Result<Vec<_>, _>>()?;
        Ok(Finished { arrays, lines: self.lines, n: self.n, rejects: self.rejects })
    }
}

/// Rows that were read.
pub(crate) struct Finished {
    pub(crate) arrays: Vec<Option<ArrayRef>>,
    /// Where they stood; empty if nobody asks.
    pub(crate) lines: Vec<i64>,
    pub(crate) n: usize,
    pub(crate) rejects: Vec<Reject>,
}
