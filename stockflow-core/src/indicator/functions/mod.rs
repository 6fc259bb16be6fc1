//! The functions whose kernels are ours: one file each, with arithmetic, streaming form and state.
//!
//! To add one, write its file after the model of [`sma`] and name it in [`UNITS`]. The golden values judge the numbers,
//! the tests over the whole catalogue judge pieces and restarts.
//!
//! Functions that can see their last rows only have no file: [`window`] runs TA-Lib over those rows. Those that TA-Lib
//! computes over all rows at once stand in [`stateless`], each with the reason.

pub(crate) mod ac;
pub(crate) mod accumulator;
pub(crate) mod ad;
pub(crate) mod adosc;
pub(crate) mod adx;
pub(crate) mod adxr;
pub(crate) mod ao;
pub(crate) mod apo;
pub(crate) mod aroon;
pub(crate) mod asi;
pub(crate) mod atr;
pub(crate) mod average;
pub(crate) mod bbands;
pub(crate) mod bbw;
pub(crate) mod beta;
pub(crate) mod cascade;
pub(crate) mod cci;
pub(crate) mod change;
pub(crate) mod cmo;
pub(crate) mod cumsum;
pub(crate) mod cvi;
pub(crate) mod decay;
pub(crate) mod dema;
pub(crate) mod directional;
pub(crate) mod dpo;
pub(crate) mod dx;
pub(crate) mod efi;
pub(crate) mod ema;
pub(crate) mod eri;
pub(crate) mod extreme;
pub(crate) mod fosc;
pub(crate) mod heikin_ashi;
pub(crate) mod hma;
pub(crate) mod kama;
pub(crate) mod kc;
pub(crate) mod kdj;
pub(crate) mod leap;
pub(crate) mod linearreg;
pub(crate) mod linearreg_angle;
pub(crate) mod linearreg_intercept;
pub(crate) mod linearreg_slope;
pub(crate) mod ma;
pub(crate) mod macd;
pub(crate) mod macdext;
pub(crate) mod macdfix;
pub(crate) mod massi;
pub(crate) mod mcgd;
pub(crate) mod mfi;
pub(crate) mod minus_di;
pub(crate) mod minus_dm;
pub(crate) mod mom;
pub(crate) mod natr;
pub(crate) mod nvi;
pub(crate) mod obv;
pub(crate) mod oscillator;
pub(crate) mod parabolic;
pub(crate) mod past;
pub(crate) mod peak;
pub(crate) mod percentb;
pub(crate) mod plus_di;
pub(crate) mod plus_dm;
pub(crate) mod ppo;
pub(crate) mod pso;
pub(crate) mod pvi;
pub(crate) mod pvo;
pub(crate) mod pvt;
pub(crate) mod regression;
pub(crate) mod restored;
pub(crate) mod rma;
pub(crate) mod roc;
pub(crate) mod rolling;
pub(crate) mod rsi;
pub(crate) mod rvi;
pub(crate) mod sar;
pub(crate) mod sarext;
pub(crate) mod sma;
pub(crate) mod smi;
pub(crate) mod smooth;
pub(crate) mod stage;
pub(crate) mod stateless;
pub(crate) mod stddev;
pub(crate) mod stoch;
pub(crate) mod stochf;
pub(crate) mod stochrsi;
pub(crate) mod strength;
pub(crate) mod stretch;
pub(crate) mod supertrend;
pub(crate) mod t3;
pub(crate) mod tema;
pub(crate) mod trima;
pub(crate) mod trix;
pub(crate) mod true_range;
pub(crate) mod tsf;
pub(crate) mod tsi;
pub(crate) mod var;
pub(crate) mod variance;
pub(crate) mod vwap;
pub(crate) mod wad;
pub(crate) mod wide;
pub(crate) mod willr;
pub(crate) mod window;
pub(crate) mod wma;
pub(crate) mod zlema;

use super::running::Unit;

/// All of them, in alphabetical order.
static UNITS: &[&Unit] = &[
    &ac::UNIT,
    &ad::UNIT,
    &adosc::UNIT,
    &adx::UNIT,
    &adxr::UNIT,
    &ao::UNIT,
    &apo::UNIT,
    &aroon::UNIT,
    &asi::UNIT,
    &atr::UNIT,
    &bbands::UNIT,
    &bbw::UNIT,
    &beta::UNIT,
    &cci::UNIT,
    &cmo::UNIT,
    &cumsum::UNIT,
    &cvi::UNIT,
    &dema::UNIT,
    &dpo::UNIT,
    &dx::UNIT,
    &efi::UNIT,
    &ema::UNIT,
    &eri::UNIT,
    &fosc::UNIT,
    &heikin_ashi::UNIT,
    &hma::UNIT,
    &kama::UNIT,
    &kc::UNIT,
    &kdj::UNIT,
    &linearreg::UNIT,
    &linearreg_angle::UNIT,
    &linearreg_intercept::UNIT,
    &linearreg_slope::UNIT,
    &ma::UNIT,
    &macd::UNIT,
    &macdext::UNIT,
    &macdfix::UNIT,
    &massi::UNIT,
    &mcgd::UNIT,
    &mfi::UNIT,
    &minus_di::UNIT,
    &minus_dm::UNIT,
    &mom::UNIT,
    &natr::UNIT,
    &nvi::UNIT,
    &obv::UNIT,
    &percentb::UNIT,
    &plus_di::UNIT,
    &plus_dm::UNIT,
    &ppo::UNIT,
    &pso::UNIT,
    &pvi::UNIT,
    &pvo::UNIT,
    &pvt::UNIT,
    &rma::UNIT,
    &roc::UNIT,
    &rsi::UNIT,
    &rvi::UNIT,
    &sar::UNIT,
    &sarext::UNIT,
    &sma::UNIT,
    &smi::UNIT,
    &stddev::UNIT,
    &stoch::UNIT,
    &stochf::UNIT,
    &stochrsi::UNIT,
    &supertrend::UNIT,
    &t3::UNIT,
    &tema::UNIT,
    &true_range::UNIT,
    &trima::UNIT,
    &trix::UNIT,
    &tsf::UNIT,
    &tsi::UNIT,
    &var::UNIT,
    &vwap::UNIT,
    &wad::UNIT,
    &willr::UNIT,
    &wma::UNIT,
    &zlema::UNIT,
];

/// The unit of this function, if its kernel is ours.
pub(crate) fn unit(name: &str) -> Option<&'static Unit> {
    UNITS.binary_search_by(|it| it.name.cmp(name)).ok().map(|at| UNITS[at])
}
