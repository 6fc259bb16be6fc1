//! A dividend that the adjusted close does not contain.

use super::super::{Kind, Work};
use super::{Payment, ROUNDING, Step, by_row, payments, sum};

/// A payment of more than this share of the price is none.
const MOST: f64 = 0.9;

/// A payment below this share of the price is lost in the rounding of the adjusted close.
const LEAST: f64 = 10.0 * ROUNDING;

const WHY: &str = "dividend missing from the adjusted close";

/// Adjusts for a dividend that was not adjusted for.
///
/// # Formula
///
/// On a day that pays `D`, where the factor of adjustment does not change (by less than `D / 10`): all older adjusted
/// closes times
/// `1 − D / p`, with `p` the last close before. Not if the price could not hide `D` and denies it. A capital gain of
/// the day counts
/// along with the dividend, unless it may be part of it (`G ≤ D`) and the night fits the dividend alone better.
///
/// # Reason
///
/// The action is a fact with a date and an amount; a missing step is an omission. If price and adjusted close both deny
/// the action, they are two against one.
pub(super) fn apply(work: &mut Work) -> Vec<Step> {
    by_row(&payments(work)).filter_map(|day| step(work, day)).collect()
}

fn step(work: &Work, day: &[Payment]) -> Option<Step> {
    let scene = day.first()?.scene;
    let (dividend, gain) = (sum(day, Kind::Dividend), sum(day, Kind::CapitalGain));
    let (night, _) = scene.spreads(&work.bars);
    let both = dividend + gain;
    let is_part = dividend > 0.0 && gain <= dividend && scene.misfit(dividend, night) < scene.misfit(both, night);
    let amount = if is_part { dividend } else { both };
    let share = amount / scene.before;
    if !(LEAST..MOST).contains(&share) || !scene.contains_nothing(amount) {
        return None;
    }
    if scene.is_audible(amount, &work.bars) && scene.denies(amount) {
        return None;
    }
    let factor = scene.correction(0.0, amount)?;
    Some(Step { row: scene.row, factor, why: WHY })
}
