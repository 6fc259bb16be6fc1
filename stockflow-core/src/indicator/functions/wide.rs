//! Wide: many rows with the processor's wide registers and its fused multiply-add, where it has them. Source: how the
//! crate `ta-lib` chooses among what it was compiled to.
//!
//! The same values to the last bit either way: `f64::mul_add` rounds once whoever does it, and nothing else is fused.

use super::super::running::Out;

/// What goes through rows in a loop that is worth being compiled for both kinds of processors.
pub(crate) trait Rows {
    /// What [`Running::update`](super::super::running::Running::update) is to do.
    ///
    /// It and all that it calls for each row is `#[inline(always)]`: only so is it compiled twice.
    ///
    /// # Errors
    ///
    /// Those of the update.
    fn rows(&mut self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String>;
}

/// Goes through a piece of rows as this processor does best.
///
/// # Errors
///
/// Those of [`Rows::rows`].
#[cfg(target_arch = "x86_64")]
pub(crate) fn update<R: Rows>(rows: &mut R, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
    let compiled = Compiled(rows);
    ta_lib_dispatch::dispatch_fma!(compiled, fused, plain, (inputs, outputs))
}

/// Goes through a piece of rows as this processor does best.
///
/// # Errors
///
/// Those of [`Rows::rows`].
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn update<R: Rows>(rows: &mut R, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
    Compiled(rows).plain(inputs, outputs)
}

/// The two ways in which it is compiled.
struct Compiled<'a, R>(&'a mut R);

impl<R: Rows> Compiled<'_, R> {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "fma")]
    fn fused(self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        self.0.rows(inputs, outputs)
    }

    fn plain(self, inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String> {
        self.0.rows(inputs, outputs)
    }
}
