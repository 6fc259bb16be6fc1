//! Where rows of a file stood: as columns of a batch, and in dead letters.

use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, Int64Array, StringArray, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use stockflow_core::schema::DeadLetter;

use super::BATCH_ROWS;
use crate::text::{Finished, Reject, Shape};

/// The name of a file is kept for so many rows.
const NAMES: usize = 8 << 10;

/// A file's name as often as a batch has rows: built once, then sliced.
#[derive(Debug, Default)]
pub(super) struct Names(OnceLock<StringArray>);

impl Names {
    fn array(&self, file: &str, n: usize) -> StringArray {
        let of = |n| StringArray::from_iter_values(std::iter::repeat_n(file, n));
        let known = self.0.get_or_init(|| of(n.max(NAMES)));
        if n <= known.len() { known.slice(0, n) } else { of(n) }
    }
}

/// Which file rows come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) names: &'a Names,
    /// Its place in the reading order.
    pub(super) idx: usize,
}

impl Place<'_> {
    /// A batch of the wanted columns: given ones (by index), and where the rows stood (if [wanted](Shape::wants_lines)).
    pub(super) fn batch(
        self,
        shape: &Shape,
        n: usize,
        lines: Vec<i64>,
        column: impl Fn(usize) -> Option<ArrayRef>,
    ) -> Result<RecordBatch, ArrowError> {
        let given = shape.columns.len();
        let lines = ScalarBuffer::from(lines);
        let arrays = shape.projection.iter().map(|&idx| match idx.checked_sub(given) {
            None => column(idx).unwrap_or_else(|| new_null_array(&shape.columns[idx].data_type, n)),
            Some(0) => Arc::new(self.names.array(self.file, n)),
            Some(1) => Arc::new(Int64Array::new(lines.clone(), None)),
            // 2^23 files of 2^40 lines each.
            Some(_) => {
                Arc::new(Int64Array::from_iter_values(lines.iter().map(|line| ((self.idx as i64) << 40) | line)))
            }
        });
        RecordBatch::try_new_with_options(
            Arc::clone(&shape.schema),
            arrays.collect(),
            &RecordBatchOptions::new().with_row_count(Some(n)),
        )
    }

    /// The rows as batches of about equal size, at most [`BATCH_ROWS`].
    pub(super) fn batches(self, shape: &Shape, rows: Finished) -> Result<Vec<RecordBatch>, ArrowError> {
        if rows.n == 0 {
            return Ok(Vec::new());
        }
        let batch = self.batch(shape, rows.n, rows.lines, |idx| rows.arrays.get(idx).cloned().flatten())?;
        let step = batch.num_rows().div_ceil(batch.num_rows().div_ceil(BATCH_ROWS));
        let starts = (0..batch.num_rows()).step_by(step);
        Ok(starts.map(|start| batch.slice(start, step.min(batch.num_rows() - start))).collect())
    }
}

/// The dead letter of a file's row; `unit` is `line` or `row`.
pub(crate) fn letter(reject: Reject, file: &str, unit: &str) -> DeadLetter {
    let Reject { line, symbol, reason, payload } = reject;
    DeadLetter {
        connector: "file".into(),
        partition: file.into(),
        position: line.to_string(),
        symbol,
        reason: format!("{unit} {line}: {reason}"),
        payload,
    }
}
