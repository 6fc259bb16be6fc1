//! CSV of ours, row by row: see the sink's writer for how NULL and the empty text are told apart.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::{Buf, BytesMut};
use memchr::{memchr, memchr2};

use super::text::{BATCH_ROWS, Damage, Rows};

pub(super) struct CsvRows {
    schema: SchemaRef,
    /// Column of the file -> column of the output; `None` before the header.
    columns: Option<Vec<Option<usize>>>,
    builders: Vec<StringBuilder>,
    rows: usize,
    /// Rows that were given out.
    before: usize,
    /// The bytes of a row that is not complete.
    rest: BytesMut,
}

impl CsvRows {
    pub(super) fn new(schema: SchemaRef) -> Self {
        let builders = schema.fields().iter().map(|_| StringBuilder::new()).collect();
        Self { schema, columns: None, builders, rows: 0, before: 0, rest: BytesMut::new() }
    }

    fn row(&mut self, buf: &[u8], cells: &[Cell]) -> Result<(), Damage> {
        let Some(columns) = &self.columns else {
            let names = cells.iter().map(|cell| cell.text(buf)).collect::<Result<Vec<_>, _>>()?;
            let find = |name: &str| self.schema.fields().iter().position(|field| field.name() == name);
            self.columns = Some(names.iter().map(|name| find(name)).collect());
            return Ok(());
        };
        if cells.len() != columns.len() {
            return Err(format!("it has {} cells where the header has {}", cells.len(), columns.len()));
        }
        for (cell, column) in cells.iter().zip(columns) {
            let Some(builder) = column.and_then(|column| self.builders.get_mut(column)) else { continue };
            match cell.range.is_empty() && !cell.quoted {
                true => builder.append_null(),
                false => builder.append_value(cell.text(buf)?),
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn batch(&mut self) -> Result<RecordBatch, Damage> {
        let (first, last) = (self.before + 1, self.before + self.rows);
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.builders.len());
        for (idx, (builder, field)) in self.builders.iter_mut().zip(self.schema.fields()).enumerate() {
            // The file does not have this column.
            if !self.columns.iter().flatten().any(|column| *column == Some(idx)) {
                arrays.push(arrow::array::new_null_array(field.data_type(), self.rows));
                continue;
            }
            let text = builder.finish();
            let text = match field.data_type().is_string() {
                true => text,
                // The quotes that keep a row of one NULL from being a blank line.
                false => text.iter().map(|cell| cell.filter(|cell| !cell.is_empty())).collect(),
            };
            let array = cast_with_options(&text, field.data_type(), &options)
                .map_err(|error| format!("column `{}`, rows {first} to {last}: {error}", field.name()))?;
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options);
        self.before = last;
        self.rows = 0;
        batch.map_err(|error| error.to_string())
    }
}

impl Rows for CsvRows {
    fn push(&mut self, block: &[u8]) -> Result<Vec<RecordBatch>, Damage> {
        let mut buf = std::mem::take(&mut self.rest);
        buf.extend_from_slice(block);
        let mut batches = Vec::new();
        let mut cells = Vec::new();
        let located = |rows: &Self, reason| match rows.columns {
            None => format!("header: {reason}"),
            Some(_) => format!("row {}: {reason}", rows.before + rows.rows + 1),
        };
        while let Some(end) = record(&buf, &mut cells).map_err(|reason| located(self, reason.into()))? {
            self.row(&buf, &cells).map_err(|reason| located(self, reason))?;
            buf.advance(end);
            if self.rows == BATCH_ROWS {
                batches.push(self.batch()?);
            }
        }
        self.rest = buf;
        Ok(batches)
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>, Damage> {
        if !self.rest.is_empty() {
            return Err(format!("it ends within row {}", self.before + self.rows + 1));
        }
        if self.rows == 0 { Ok(None) } else { self.batch().map(Some) }
    }
}

/// Where a cell's text is.
#[derive(Debug, PartialEq, Eq)]
struct Cell {
    range: Range<usize>,
    quoted: bool,
}

impl Cell {
    fn text<'a>(&self, buf: &'a [u8]) -> Result<Cow<'a, str>, Damage> {
        let text = std::str::from_utf8(buf.get(self.range.clone()).unwrap_or_default())
            .map_err(|_| "it is not UTF-8 text".to_owned())?;
        Ok(if self.quoted && text.contains('"') { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) })
    }
}

/// Reads the cells of the row that `buf` begins with; gives its end, or `None` if that is not there yet.
fn record(buf: &[u8], cells: &mut Vec<Cell>) -> Result<Option<usize>, &'static str> {
    cells.clear();
    let find = |from: usize, what: fn(&[u8]) -> Option<usize>| Some(from + what(buf.get(from..)?)?);
    let mut at = 0;
    loop {
        let quoted = buf.get(at) == Some(&b'"');
        let start = at + usize::from(quoted);
        let end = match quoted {
            true => {
                let mut from = start;
                loop {
                    let Some(quote) = find(from, |rest| memchr(b'"', rest)) else { return Ok(None) };
                    if buf.get(quote + 1) != Some(&b'"') {
                        break quote;
                    }
                    from = quote + 2;
                }
            }
            false => {
                let Some(end) = find(start, |rest| memchr2(b',', b'\n', rest)) else { return Ok(None) };
                end
            }
        };
        cells.push(Cell { range: start..end, quoted });
        let after = end + usize::from(quoted);
        match buf.get(after) {
            Some(b',') => at = after + 1,
            Some(b'\n') => return Ok(Some(after + 1)),
            Some(_) => return Err("there is text after a closing quote"),
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Option<(&[&str], usize)>, &str>) {
        let mut cells = Vec::new();
        let end = record(text.as_bytes(), &mut cells);
        let texts: Vec<_> = cells.iter().map(|cell| cell.text(text.as_bytes()).unwrap().into_owned()).collect();
        match expected {
            Ok(Some((cells, n))) => {
                assert_eq!((end, texts), (Ok(Some(n)), cells.iter().map(|c| (*c).into()).collect()))
            }
            Ok(None) => assert_eq!(end, Ok(None), "{text:?}"),
            Err(reason) => assert_eq!(end, Err(reason), "{text:?}"),
        }
    }

    #[test]
    fn records_are_read() {
        check("a,b\nrest", Ok(Some((&["a", "b"], 4))));
        check(",\n", Ok(Some((&["", ""], 2))));
        check("\n", Ok(Some((&[""], 1))));
        check("\"\",\"a,\"\"\n\"\"\"\n", Ok(Some((&["", "a,\"\n\""], 13))));
        check("a\r\n", Ok(Some((&["a\r"], 3))));
        check("\"a\"b\n", Err("there is text after a closing quote"));
        let whole = "\"a\"\"\",b,\"\"\n";
        for end in 0..whole.len() {
            check(&whole[..end], Ok(None));
        }
    }
}
