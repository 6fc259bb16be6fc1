//! CSV as the sinks write it: RFC 4180 with `\n`, and NULL apart from the empty text.
//!
//! NULL is an empty cell and the empty text is `""`, as PostgreSQL and DuckDB read it. Where a table has one column only,
//! NULL would be a blank line, which readers skip: unless the column is text it is `""` there.

use arrow::array::Array;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Adds a batch to `out`.
pub(crate) fn write(batch: &RecordBatch, header: bool, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    write_rows(batch, header, out, |_| ())
}

/// Adds a batch to `out` and tells where each row ends: a line end within a cell ends none.
pub(crate) fn write_rows(
    batch: &RecordBatch,
    header: bool,
    out: &mut Vec<u8>,
    mut row_end: impl FnMut(usize),
) -> Result<(), ArrowError> {
    if header {
        for (idx, field) in batch.schema_ref().fields().iter().enumerate() {
            separate(idx, out);
            cell(field.name(), out);
        }
        out.push(b'\n');
    }
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| {
        let is_alone = batch.num_columns() == 1 && !is_text(column.data_type());
        let null: &[u8] = if is_alone { b"\"\"" } else { b"" };
        Ok((column.logical_nulls(), null, ArrayFormatter::try_new(column, &options)?))
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        for (idx, (nulls, null, formatter)) in columns.iter().enumerate() {
            separate(idx, out);
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                out.extend_from_slice(null);
                continue;
            }
            text.clear();
            formatter.value(row).write(&mut text)?;
            cell(&text, out);
        }
        out.push(b'\n');
        row_end(out.len());
    }
    Ok(())
}

fn separate(idx: usize, out: &mut Vec<u8>) {
    if idx > 0 {
        out.push(b',');
    }
}

fn cell(text: &str, out: &mut Vec<u8>) {
    let needs_quotes = text.is_empty()
        || text.starts_with(char::is_whitespace)
        || text.ends_with(char::is_whitespace)
        || text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if !needs_quotes {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for (idx, part) in text.split('"').enumerate() {
        if idx > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => other.is_string(),
    }
}
