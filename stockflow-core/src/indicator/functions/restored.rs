//! Restored: reading back a saved state whose numbers must all be finite. Source: none, it is the same for every unit.

use super::super::running::Saved;

/// Opens a saved state, refusing one that no unit can have written.
pub(crate) fn restored(state: &[f64]) -> Result<Saved<'_>, String> {
    if state.iter().all(|it| it.is_finite()) {
        Ok(Saved::new(state))
    } else {
        Err("it holds a number that is not finite".into())
    }
}

/// A count of rows so far; more than this many are one and the same to every unit.
pub(crate) const MOST_ROWS: usize = 1 << 52;
