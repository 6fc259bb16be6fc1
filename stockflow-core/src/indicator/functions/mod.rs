//! The functions whose kernels are ours: one file each, with arithmetic, streaming form and state.
//!
//! To add one, write its file after the model of [`sma`] and name it in [`UNITS`]. The golden values judge the numbers,
//! the tests over the whole catalogue judge pieces and restarts.
//!
//! What is not here: functions that can see their last rows only ([`window`] runs TA-Lib over those rows), and
//! functions that TA-Lib computes over all rows at once.

pub(crate) mod sma;
pub(crate) mod window;

use super::running::Unit;

/// All of them, in alphabetical order.
static UNITS: &[&Unit] = &[&sma::UNIT];

/// The unit of this function, if its kernel is ours.
pub(crate) fn unit(name: &str) -> Option<&'static Unit> {
    UNITS.binary_search_by(|it| it.name.cmp(name)).ok().map(|at| UNITS[at])
}
