//! The functions whose kernels are ours: one file each, with arithmetic, streaming form and state.
//!
//! To add one, write its file after the model of [`sma`] and name it in [`UNITS`]. The golden values judge the numbers,
//! the tests over the whole catalogue judge pieces and restarts.
//!
//! What is not here: functions that can see their last rows only ([`window`] runs TA-Lib over those rows), and
//! functions that TA-Lib computes over all rows at once.

pub(crate) mod ac;
pub(crate) mod accumulator;
pub(crate) mod ad;
pub(crate) mod adosc;
pub(crate) mod adx;
pub(crate) mod adxr;
pub(crate) mod ao;
pub(crate) mod aroon;
pub(crate) mod atr;
pub(crate) mod cci;
pub(crate) mod cumsum;
pub(crate) mod cvi;
pub(crate) mod decay;
pub(crate) mod directional;
pub(crate) mod dpo;
pub(crate) mod dx;
pub(crate) mod efi;
pub(crate) mod eri;
pub(crate) mod extreme;
pub(crate) mod heikin_ashi;
pub(crate) mod history;
pub(crate) mod massi;
pub(crate) mod mfi;
pub(crate) mod minus_di;
pub(crate) mod minus_dm;
pub(crate) mod natr;
pub(crate) mod nvi;
pub(crate) mod obv;
pub(crate) mod plus_di;
pub(crate) mod plus_dm;
pub(crate) mod pvi;
pub(crate) mod pvt;
pub(crate) mod restored;
pub(crate) mod sar;
pub(crate) mod sarext;
pub(crate) mod sma;
pub(crate) mod smooth;
pub(crate) mod supertrend;
pub(crate) mod true_range;
pub(crate) mod vwap;
pub(crate) mod wad;
pub(crate) mod window;

use super::running::Unit;

/// All of them, in alphabetical order.
static UNITS: &[&Unit] = &[
    &ac::UNIT,
    &ad::UNIT,
    &adosc::UNIT,
    &adx::UNIT,
    &adxr::UNIT,
    &ao::UNIT,
    &aroon::UNIT,
    &atr::UNIT,
    &cci::UNIT,
    &cumsum::UNIT,
    &cvi::UNIT,
    &dpo::UNIT,
    &dx::UNIT,
    &efi::UNIT,
    &eri::UNIT,
    &heikin_ashi::UNIT,
    &massi::UNIT,
    &mfi::UNIT,
    &minus_di::UNIT,
    &minus_dm::UNIT,
    &natr::UNIT,
    &nvi::UNIT,
    &obv::UNIT,
    &plus_di::UNIT,
    &plus_dm::UNIT,
    &pvi::UNIT,
    &pvt::UNIT,
    &sar::UNIT,
    &sarext::UNIT,
    &sma::UNIT,
    &supertrend::UNIT,
    &true_range::UNIT,
    &vwap::UNIT,
    &wad::UNIT,
];

/// The unit of this function, if its kernel is ours.
pub(crate) fn unit(name: &str) -> Option<&'static Unit> {
    UNITS.binary_search_by(|it| it.name.cmp(name)).ok().map(|at| UNITS[at])
}
