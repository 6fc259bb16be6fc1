//! A capital gain, once by itself and once within the dividend.

use super::super::{Kind, Work};
use super::{DECIDED, Payment, Step, by_row, payments, sum};

const WHY: &str = "the capital gain is counted in the dividend already";

/// Takes a capital gain out of the adjusted close, if the dividend of the day contains it.
///
/// # Formula
///
/// On a day with a dividend `D` and a capital gain `G ≤ D` whose adjusted close contains `D + G`: if
///
/// ```text
/// z²(D + G) − z²(D) > 9,   z(x) = ln((open + x) / close before) / s
/// ```
///
/// with `s` the volatility of nights, the adjusted close shall contain `D` only. The actions stay: both were announced so.
///
/// # Reason
///
/// Funds report "distribution" and "thereof gains". The price of a fund falls by what is paid, and a fund is quiet
/// enough
/// for the difference to show.
pub(super) fn apply(work: &mut Work) -> Vec<Step> {
    by_row(&payments(work)).filter_map(|day| step(work, day)).collect()
}

fn step(work: &Work, day: &[Payment]) -> Option<Step> {
    let scene = day.first()?.scene;
    let (dividend, gain) = (sum(day, Kind::Dividend), sum(day, Kind::CapitalGain));
    let both = dividend + gain;
    if gain <= 0.0 || gain > dividend || !scene.contains(both) || scene.contains(dividend) {
        return None;
    }
    let (night, _) = scene.spreads(&work.bars);
    let is_counted_twice = scene.misfit(both, night) - scene.misfit(dividend, night) > DECIDED;
    let factor = scene.correction(both, dividend).filter(|_| is_counted_twice)?;
    Some(Step { row: scene.row, factor, why: WHY })
}
