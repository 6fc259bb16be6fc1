//! Robust statistics that the rules share.

use chrono::NaiveDate;

use super::Bar;

/// Share of a normal distribution within one standard deviation.
const ONE_SIGMA: f64 = 0.6827;

/// No market is quieter than this a bar: keeps tolerances above rounding where a price stood still.
const LEAST_SPREAD: f64 = 0.002;

/// How many bars on either side tell the volatility at a place: about a quarter, short enough to follow its changes.
pub(super) const NEARBY: usize = 60;

/// The value if it can be a price: finite and above zero.
pub(super) fn price(value: Option<f64>) -> Option<f64> {
    value.filter(|it| it.is_finite() && *it > 0.0)
}

/// The logarithm of a price.
pub(super) fn log(value: Option<f64>) -> Option<f64> {
    price(value).map(f64::ln)
}

/// The lower median: always one of the values.
pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    at_share(values, 0.5)
}

fn at_share(values: &mut [f64], share: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    values.sort_unstable_by(f64::total_cmp);
    values.get((last as f64 * share).floor() as usize).copied()
}

/// The volatility of returns: the distance from the median that 68.27 % of them keep.
///
/// That is the standard deviation where returns are normal, and neither crashes nor the errors looked for move it, as
/// long
/// as they are less than a third of the values. The better known median absolute deviation is zero for a share whose
/// price stands still on every second day.
pub(super) fn spread(returns: &mut [f64]) -> f64 {
    let Some(middle) = median(returns) else { return LEAST_SPREAD };
    let mut distances: Vec<f64> = returns.iter().map(|it| (it - middle).abs()).collect();
    at_share(&mut distances, ONE_SIGMA).unwrap_or(LEAST_SPREAD).max(LEAST_SPREAD)
}

/// The volatility of levels (logarithms of prices) near `at`, without the step into `at`.
pub(super) fn spread_near(levels: &[f64], at: usize) -> f64 {
    let mut returns: Vec<f64> = steps_near(levels, at).collect();
    spread(&mut returns)
}

/// The third smallest move near `at`, without the step into `at`: about the tick. Zero if fewer bars moved.
pub(super) fn grain_near(levels: &[f64], at: usize) -> f64 {
    let mut moves: Vec<f64> = steps_near(levels, at).map(f64::abs).filter(|it| *it > f64::EPSILON).collect();
    moves.sort_unstable_by(f64::total_cmp);
    moves.get(2).copied().unwrap_or(0.0)
}

fn steps_near(levels: &[f64], at: usize) -> impl Iterator<Item = f64> {
    let from = at.saturating_sub(NEARBY).max(1);
    let to = at.saturating_add(NEARBY).min(levels.len());
    (from..to).filter(move |it| *it != at).map(|it| levels[it] - levels[it - 1]).filter(|it| it.is_finite())
}

/// The first bar on or after a date. `bars` are in order of time.
pub(super) fn first_on(bars: &[Bar], date: NaiveDate) -> usize {
    bars.partition_point(|it| it.date < date)
}
