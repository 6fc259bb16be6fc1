//! What must hold for the rows of one partition before a number is worth computing.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::boolean::and;
use arrow::compute::kernels::cmp::{distinct, not_distinct};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use super::super::error::IndicatorError;

/// Refuses NULLs and ties in the order keys: the rows of a partition are sorted, so ties are neighbours.
pub(super) fn check_order(function: &str, keys: &[ArrayRef]) -> Result<(), IndicatorError> {
    if keys.iter().any(|it| it.logical_null_count() > 0) {
        return Err(IndicatorError::rows(function, NULL_KEY));
    }
    let n_pairs = keys.first().map_or(0, |it| it.len().saturating_sub(1));
    if n_pairs == 0 {
        return Ok(());
    }
    let ties = ties(keys, n_pairs).map_err(|error| IndicatorError::rows(function, error.to_string()))?;
    match ties.values().set_indices().next() {
        None => Ok(()),
        Some(row) => Err(tie(function, keys, row)),
    }
}

/// Why a NULL has no place in the order.
pub(crate) const NULL_KEY: &str = "a row has NULL in the order key, so its place is not known";

/// Two rows of one partition have the same order keys.
pub(crate) fn tie(function: &str, keys: &[ArrayRef], row: usize) -> IndicatorError {
    let key: Vec<_> = keys.iter().map(|it| array_value_to_string(it, row).unwrap_or_default()).collect();
    let reason = format!(
        "two rows of one partition have the same order key {}: make (PARTITION BY, ORDER BY) unique",
        key.join(", ")
    );
    IndicatorError::rows(function, reason)
}

/// For each row but the last: whether the next one has the same keys.
fn ties(keys: &[ArrayRef], n_pairs: usize) -> Result<BooleanArray, ArrowError> {
    let mut ties = BooleanArray::new(BooleanBuffer::new_set(n_pairs), None);
    for key in keys {
        ties = and(&ties, &not_distinct(&key.slice(0, n_pairs), &key.slice(1, n_pairs))?)?;
    }
    Ok(ties)
}

/// Refuses rows of several intervals in one partition.
pub(crate) fn check_interval(function: &str, interval: &ArrayRef) -> Result<(), IndicatorError> {
    let n_pairs = interval.len().saturating_sub(1);
    if n_pairs == 0 || is_one_text(interval) {
        return Ok(());
    }
    let changes = distinct(&interval.slice(0, n_pairs), &interval.slice(1, n_pairs))
        .map_err(|error| IndicatorError::rows(function, error.to_string()))?;
    match changes.values().set_indices().next() {
        None => Ok(()),
        Some(row) => {
            let text = |row| array_value_to_string(interval, row).unwrap_or_default();
            let reason = format!(
                "bars of the intervals `{}` and `{}` are in one partition: add \"interval\" to PARTITION BY or filter by it",
                text(row),
                text(row + 1)
            );
            Err(IndicatorError::rows(function, reason))
        }
    }
}

/// The usual case at the speed of memory: the same text in every row.
fn is_one_text(array: &ArrayRef) -> bool {
    if array.null_count() > 0 {
        return false;
    }
    match array.data_type() {
        DataType::Utf8 => {
            let text = array.as_string::<i32>();
            let offsets = text.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            let step = offsets[1] - offsets[0];
            let bytes = &text.value_data()[first..last];
            offsets.windows(2).all(|it| it[1] - it[0] == step)
                && bytes.get(step as usize..).is_some_and(|rest| *rest == bytes[..rest.len()])
        }
        // A view holds a short text whole, so equal texts are equal views.
        DataType::Utf8View => {
            let views = array.as_string_view().views();
            (views[0] as u32) <= 12 && views.iter().all(|it| *it == views[0])
        }
        _ => false,
    }
}
