//! Rows under construction: typed columns, where each row stood, and what was refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Float64Builder, Int64Array, Int64Builder, StringArray, StringBuilder,
    TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use stockflow_core::schema::{DeadLetter, bar_column};

use super::BATCH_ROWS;
use super::cell::{Cell, Kind};

/// One column of a scan.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) data_type: DataType,
}

/// What a scan wants of each file: which columns there are, and which of them a reader asked for.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) columns: Arc<[Column]>,
    /// Wanted columns in output order: first `columns`, then file, line and sequence.
    pub(crate) projection: Vec<usize>,
    /// The schema of the output.
    pub(crate) schema: SchemaRef,
    by_name: HashMap<String, usize>,
    wanted: Vec<bool>,
    symbol: Option<usize>,
}

impl Shape {
    pub(crate) fn new(columns: Arc<[Column]>, projection: Vec<usize>, schema: SchemaRef) -> Self {
        let by_name = columns.iter().enumerate().map(|(idx, column)| (column.name.to_lowercase(), idx)).collect();
        let wanted = (0..columns.len() + 3).map(|idx| projection.contains(&idx)).collect();
        let symbol = columns.iter().position(|column| bar_column(&column.name) == Some("symbol"));
        Self { columns, projection, schema, by_name, wanted, symbol }
    }

    /// The column of a file's column; case does not count.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    pub(super) fn symbol(&self) -> Option<usize> {
        self.symbol
    }

    /// A batch of the wanted columns: given ones (by index), and where the rows stood.
    pub(super) fn batch(
        &self,
        place: Place<'_>,
        lines: &[i64],
        column: impl Fn(usize) -> Option<ArrayRef>,
    ) -> Result<RecordBatch, ArrowError> {
        let n = lines.len();
        let given = self.columns.len();
        let arrays = self.projection.iter().map(|&idx| match idx.checked_sub(given) {
            None => column(idx).unwrap_or_else(|| new_null_array(&self.columns[idx].data_type, n)),
            Some(0) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(place.file, n))),
            Some(1) => Arc::new(Int64Array::from(lines.to_vec())),
            // 2^23 files of 2^40 lines each.
            Some(_) => {
                Arc::new(Int64Array::from_iter_values(lines.iter().map(|line| ((place.idx as i64) << 40) | line)))
            }
        });
        RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays.collect(),
            &RecordBatchOptions::new().with_row_count(Some(n)),
        )
    }
}

/// Which file rows come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    /// Its place in the reading order.
    pub(super) idx: usize,
}

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) line: u64,
    pub(crate) symbol: Option<String>,
    pub(crate) reason: String,
    pub(crate) payload: String,
}

impl Reject {
    /// The dead letter of a file's row; `unit` is `line` or `row`.
    pub(crate) fn letter(self, file: &str, unit: &str) -> DeadLetter {
        let Self { line, symbol, reason, payload } = self;
        DeadLetter {
            connector: "file".into(),
            partition: file.into(),
            position: line.to_string(),
            symbol,
            reason: format!("{unit} {line}: {reason}"),
            payload,
        }
    }
}

enum Builder {
    Skip,
    Text(StringBuilder),
    Integer(Int64Builder),
    Number(Float64Builder),
    Boolean(BooleanBuilder),
    Date(Date32Builder),
    Instant(TimestampMicrosecondBuilder),
}

/// Rows of text that were read into typed columns.
pub(super) struct Rows<'s> {
    shape: &'s Shape,
    builders: Vec<Builder>,
    lines: Vec<i64>,
    pub(super) rejects: Vec<Reject>,
}

impl<'s> Rows<'s> {
    pub(super) fn new(shape: &'s Shape, rows: usize) -> Self {
        let builder = |(idx, column): (usize, &Column)| match Kind::of(&column.data_type) {
            _ if !shape.wanted[idx] => Builder::Skip,
            Some(Kind::Text) => Builder::Text(StringBuilder::with_capacity(rows, rows * 8)),
            Some(Kind::Integer) => Builder::Integer(Int64Builder::with_capacity(rows)),
            Some(Kind::Number) => Builder::Number(Float64Builder::with_capacity(rows)),
            Some(Kind::Boolean) => Builder::Boolean(BooleanBuilder::with_capacity(rows)),
            Some(Kind::Date) => Builder::Date(Date32Builder::with_capacity(rows)),
            Some(Kind::Instant) => Builder::Instant(
                TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(column.data_type.clone()),
            ),
            // Only a Parquet file has such a column: NULL here.
            None => Builder::Skip,
        };
        let builders = shape.columns.iter().enumerate().map(builder).collect();
        Self { shape, builders, lines: Vec::with_capacity(rows), rejects: Vec::new() }
    }

    /// Adds a row; `cells` has one cell for each column of the shape.
    pub(super) fn push(&mut self, line: u64, cells: &mut [Cell<'_>]) {
        for (builder, cell) in self.builders.iter_mut().zip(cells) {
            match (builder, std::mem::replace(cell, Cell::Null)) {
                (Builder::Skip, _) => {}
                (Builder::Text(builder), Cell::Text(text)) => builder.append_value(text),
                (Builder::Text(builder), Cell::Owned(text)) => builder.append_value(text),
                (Builder::Text(builder), _) => builder.append_null(),
                (Builder::Integer(builder), Cell::Integer(value)) => builder.append_value(value),
                (Builder::Integer(builder), _) => builder.append_null(),
                (Builder::Number(builder), Cell::Number(value)) => builder.append_value(value),
                (Builder::Number(builder), _) => builder.append_null(),
                (Builder::Boolean(builder), Cell::Boolean(value)) => builder.append_value(value),
                (Builder::Boolean(builder), _) => builder.append_null(),
                (Builder::Date(builder), Cell::Date(value)) => builder.append_value(value),
                (Builder::Date(builder), _) => builder.append_null(),
                (Builder::Instant(builder), Cell::Instant(value)) => builder.append_value(value),
                (Builder::Instant(builder), _) => builder.append_null(),
            }
        }
        self.lines.push(line as i64);
    }

    pub(super) fn refuse(&mut self, line: u64, symbol: Option<String>, reason: String, payload: String) {
        self.rejects.push(Reject { line, symbol, reason, payload });
    }

    /// The rows as batches of at most [`BATCH_ROWS`].
    pub(super) fn finish(mut self, place: Place<'_>) -> Result<(Vec<RecordBatch>, Vec<Reject>), ArrowError> {
        if self.lines.is_empty() {
            return Ok((Vec::new(), self.rejects));
        }
        let arrays: Vec<Option<ArrayRef>> = self
            .builders
            .iter_mut()
            .map(|builder| {
                Some(match builder {
                    Builder::Skip => return None,
                    Builder::Text(builder) => Arc::new(builder.finish()) as ArrayRef,
                    Builder::Integer(builder) => Arc::new(builder.finish()),
                    Builder::Number(builder) => Arc::new(builder.finish()),
                    Builder::Boolean(builder) => Arc::new(builder.finish()),
                    Builder::Date(builder) => Arc::new(builder.finish()),
                    Builder::Instant(builder) => Arc::new(builder.finish()),
                })
            })
            .collect();
        let batch = self.shape.batch(place, &self.lines, |idx| arrays[idx].clone())?;
        let slices = (0..batch.num_rows())
            .step_by(BATCH_ROWS)
            .map(|start| batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start)));
        Ok((slices.collect(), self.rejects))
    }
}
