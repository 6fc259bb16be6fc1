//! Which rows of an epoch are new, which correct a row that is there, and which change nothing.
//!
//! | in the table | the epoch's row |
//! |---|---|
//! | no row of this key | is appended |
//! | a row of an equal or higher version | changes nothing |
//! | a row of a lower version with the same values | changes nothing |
//! | a row of a lower version with other values | replaces it |
//!
//! Values are the same if they are equal, NaN to NaN and NULL to NULL; for relations versioned by `as_of` also if they differ by at
//! most 1e-6 of the greater one.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};
use stockflow_core::Result;

use super::layout::Layout;
use super::live::LiveFile;
use super::reader::ReadSpec;
use super::touched::Touched;

/// What is to be done with some rows of an epoch.
#[derive(Debug)]
pub(super) struct Decision {
    /// For each row whether it goes into the table.
    pub(super) keep: Vec<bool>,
    /// Rows that are replaced: file and place in it.
    pub(super) replaced: Vec<(Arc<LiveFile>, u64)>,
    /// The replaced rows themselves, with the version of the row that replaces each.
    pub(super) old: Option<(RecordBatch, ArrayRef)>,
    /// How many files were read.
    pub(super) files_read: u64,
}

struct Hit {
    row: u32,
    file: Arc<LiveFile>,
    place: u64,
}

/// Compares rows (one for each key) with the files that may hold their keys.
pub(super) async fn decide(
    rows: &RecordBatch,
    layout: &Layout,
    files: &[Arc<LiveFile>],
    read: &ReadSpec,
) -> Result<Decision> {
    let touched = Touched::new(rows, layout)?;
    let fields =
        layout.key.iter().map(|&column| SortField::new(layout.schema.field(column).data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let keys = converter.convert_columns(&columns(rows, &layout.key))?;
    let by_key: HashMap<_, u32> = (0u32..).zip(keys.iter()).map(|(row, key)| (key, row)).collect();

    let mut keep = vec![true; rows.num_rows()];
    let mut hits: Vec<Hit> = Vec::new();
    let mut old: Vec<RecordBatch> = Vec::new();
    let mut files_read = 0;
    for file in files.iter().filter(|file| touched.file(file)) {
        files_read += 1;
        let mut there = read.open(file, |group| touched.row_group(group)).await?;
        while let Some((before, batch)) = there.next().await? {
            let old_keys = converter.convert_columns(&columns(&batch, &layout.key))?;
            let newer = Newer::new(rows, &batch, layout)?;
            let mut taken = Vec::new();
            for (place, key) in old_keys.iter().enumerate() {
                let Some(&row) = by_key.get(&key) else { continue };
                if newer.replaces(row as usize, place) {
                    hits.push(Hit { row, file: Arc::clone(file), place: there.place(before + place as u64) });
                    taken.push(u32::try_from(place).unwrap_or(u32::MAX));
                } else {
                    keep[row as usize] = false;
                }
            }
            if !taken.is_empty() {
                old.push(take_record_batch(&batch, &UInt32Array::from(taken))?);
            }
        }
    }
    let winners: UInt32Array = hits.iter().map(|hit| hit.row).collect();
    let old = match (old.first(), layout.version) {
        (Some(first), Some(version)) => {
            let all = concat_batches(&first.schema(), &old)?;
            // A key that is in the table twice, once with a version that stands, is left alone.
            let stands = arrow::array::BooleanArray::from_iter(hits.iter().map(|hit| Some(keep[hit.row as usize])));
            let by = arrow::compute::filter(&take(rows.column(version), &winners, None)?, &stands)?;
            Some((arrow::compute::filter_record_batch(&all, &stands)?, by))
        }
        _ => None,
    };
    let replaced = hits.into_iter().filter(|hit| keep[hit.row as usize]).map(|hit| (hit.file, hit.place)).collect();
    Ok(Decision { keep, replaced, old, files_read })
}

fn columns(rows: &RecordBatch, which: &[usize]) -> Vec<ArrayRef> {
    which.iter().map(|&column| Arc::clone(rows.column(column))).collect()
}

type Compare = Box<dyn Fn(usize, usize) -> Ordering + Send + Sync>;
type Same = Box<dyn Fn(usize, usize) -> bool + Send + Sync>;

/// Tells whether a row of an epoch replaces one of the table.
struct Newer {
    version: Option<Compare>,
    values: Vec<Same>,
}

impl Newer {
    fn new(rows: &RecordBatch, old: &RecordBatch, layout: &Layout) -> Result<Self> {
        let nulls_lowest = SortOptions { descending: false, nulls_first: true };
        let version = layout
            .version
            .map(|column| make_comparator(rows.column(column), old.column(column), nulls_lowest))
            .transpose()?;
        let partition = layout.partition_indices();
        let compared = (0..layout.schema.fields().len()).filter(|column| {
            Some(*column) != layout.version && !layout.key.contains(column) && !partition.contains(column)
        });
        let values = compared
            .map(|column| same(rows.column(column), old.column(column), layout.tolerance))
            .collect::<Result<_>>()?;
        Ok(Self { version, values })
    }

    fn replaces(&self, row: usize, old: usize) -> bool {
        let higher = self.version.as_ref().is_none_or(|compare| compare(row, old) == Ordering::Greater);
        higher && !self.values.iter().all(|same| same(row, old))
    }
}

fn same(a: &ArrayRef, b: &ArrayRef, tolerance: f64) -> Result<Same> {
    if *a.data_type() == DataType::Float64 && *b.data_type() == DataType::Float64 {
        let (a, b): (Float64Array, Float64Array) =
            (a.as_primitive::<Float64Type>().clone(), b.as_primitive::<Float64Type>().clone());
        return Ok(Box::new(move |i, j| match (a.is_null(i), b.is_null(j)) {
            (false, false) => close(a.value(i), b.value(j), tolerance),
            (a, b) => a == b,
        }));
    }
    let compare = make_comparator(a, b, SortOptions::default())?;
    Ok(Box::new(move |i, j| compare(i, j) == Ordering::Equal))
}

/// Whether two values are one.
#[allow(clippy::float_cmp)] // equality is the claim
fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(b.abs()) && (a - b).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_one_value() {
        assert!(close(f64::NAN, f64::NAN, 0.0));
        assert!(close(0.0, -0.0, 0.0));
        assert!(close(f64::INFINITY, f64::INFINITY, 1e-6));
        assert!(close(100.0, 100.000_05, 1e-6));
        assert!(!close(100.0, 100.000_2, 1e-6));
        assert!(!close(100.0, 100.000_000_000_1, 0.0));
        assert!(!close(1e308, -1e308, 1e-6));
        assert!(!close(1.0, f64::NAN, 1e-6));
        assert!(!close(1.0, f64::INFINITY, 1e-6));
        assert!(!close(0.0, 1e-12, 1e-6));
    }
}
