//! The last row of each key in a sorted stream.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use stockflow_core::Result;

use super::layout::Layout;

/// Keeps the last row of each key of rows sorted by key, version and arrival; drops the arrival.
#[derive(Debug)]
pub(super) struct Latest {
    key: Vec<usize>,
    columns: Vec<usize>,
    converter: RowConverter,
    held: Option<(RecordBatch, OwnedRow)>,
}

impl Latest {
    pub(super) fn new(layout: &Layout) -> Result<Self> {
        let fields =
            layout.key.iter().map(|&column| SortField::new(layout.schema.field(column).data_type().clone())).collect();
        Ok(Self {
            key: layout.key.clone(),
            columns: (0..layout.schema.fields().len()).collect(),
            converter: RowConverter::new(fields)?,
            held: None,
        })
    }

    /// Takes the next rows; gives those that are known to be the last of their key.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let keys: Vec<_> = self.key.iter().map(|&column| std::sync::Arc::clone(batch.column(column))).collect();
        let rows = self.converter.convert_columns(&keys)?;
        let last = batch.num_rows() - 1;
        let keep: BooleanArray =
            (0..=last).map(|row| Some(row == last || rows.row(row) != rows.row(row + 1))).collect();
        let next = filter_record_batch(&batch.project(&self.columns)?, &keep)?;
        let repeated = self.held.as_ref().is_some_and(|(_, key)| key.row() == rows.row(0));
        let before = self.held.replace((next, rows.row(last).owned()));
        Ok(before.map(|(rows, _)| if repeated { rows.slice(0, rows.num_rows() - 1) } else { rows }))
    }

    /// The rest.
    pub(super) fn finish(&mut self) -> Option<RecordBatch> {
        self.held.take().map(|(rows, _)| rows)
    }
}
