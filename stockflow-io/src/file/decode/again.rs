//! Lines that were refused before, decoded again one by one.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::place::{Names, Place};
use crate::text::{Layout, Reject, Rows, Shape, parse_lines, parse_records};

/// A line and where it stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'l> {
    pub(crate) number: u64,
    pub(crate) text: &'l str,
}

/// Decodes lines of one file; without a layout they are JSON. `idx` is the file's place in the reading order.
pub(crate) fn decode_again(
    lines: &[Line<'_>],
    file: &str,
    idx: usize,
    layout: Option<&Layout>,
    shape: &Shape,
) -> Result<(Vec<RecordBatch>, Vec<Reject>), ArrowError> {
    let mut rows = Rows::new(shape, lines.len());
    for line in lines {
        let buf = line.text.as_bytes();
        match layout {
            Some(layout) => parse_records(buf, line.number, true, layout, shape, &mut rows),
            None => parse_lines(buf, line.number, true, shape, &mut rows),
        };
    }
    let mut rows = rows.finish()?;
    let rejects = std::mem::take(&mut rows.rejects);
    let names = Arc::<Names>::default();
    Ok((Place { file, names: &names, idx }.batches(shape, rows)?, rejects))
}
