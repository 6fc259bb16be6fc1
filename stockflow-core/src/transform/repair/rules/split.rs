//! Splits that were not applied, applied twice, or applied to some bars only.

use std::sync::Arc;

use super::number::{first_on, grain_near, log, price, spread_near};
use super::{Bar, Column, Kind, Rule, Work};

/// From this ratio on no trade of one bar comes near the split, so that the ratio of a jump alone tells.
const LARGE: f64 = 5.0;

/// How far the logarithm of a jump may be from that of a large split, as a share of it. The day on which a source goes
/// wrong
/// is often a wild one: the share may fall by half on top of a split of 10.
const LARGE_TOLERANCE: f64 = 1.0 / 3.0;

/// The same for a small split, where trade comes near: that many volatilities, but never more than a share.
const SMALL_TOLERANCE: f64 = 4.0;
const SMALL_TOLERANCE_AT_MOST: f64 = 1.0 / 6.0;

/// A split that is no larger than so many volatilities drowns in trade.
const VISIBLE: f64 = 5.0;

/// The same for a run of bars with neither end on the ex-date: two moves of a nervous share look alike.
const VISIBLE_AFAR: f64 = 8.0;

/// How many bars from the ex-date a large adjustment that never comes back may begin: sources adjust some days late. A
/// small
/// one begins on the ex-date, as a crash in the weeks around it would look alike.
const BESIDE: usize = 10;

/// How long a run of bars that small splits explain may be, if neither end is near the ex-date.
const SMALL_RUN: usize = 60;

/// A jump of no more than so many of the smallest moves is one of ticks: a share of two ticks rises by half whenever it
/// rises.
const GRAINS: f64 = 3.0;

/// From this ratio on a split could be taken for another unit.
const LIKE_UNIT: f64 = 20.0;

/// The share of bars that need an adjusted close, so that it is used to look for jumps.
const MOSTLY: f64 = 0.9;

/// Which splits are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Those that the unit rule would see.
    LikeUnits,
    /// All.
    Any,
}

/// Applies a known split to the bars that lack it, and takes it from those that have it twice.
///
/// # Formula
///
/// For a split of ratio `R` let `L = |ln R|`, and `x(t) = ln a(t) − ln a(t−1)` the return of the adjusted close (of the
/// close, where
/// there is no adjusted one). A jump is a bar with
///
/// ```text
/// min(| x − L |, | x + L |) ≤ L / 3             for R ≥ 5 and R ≤ 1/5
///                           ≤ min(4 s, L / 6)   for smaller splits
/// ```
///
/// which happens overnight (from the last close to the open, too, it is within `L / 3`, and the bar before has not
/// moved by
/// more than that), is larger than three of the smallest moves nearby, and `L ≥ 5 s`, where `s` is the volatility of
/// the 60 bars on either side. From the newest bar back, a jump and the opposite jump
/// before it enclose a run of wrong bars, anywhere (small splits away from the ex-date: up to 60 bars, and
/// `L ≥ 8 s`). A jump that nothing takes back makes all older bars wrong, and counts
/// only within 10 bars of the ex-date (small splits: on it), and not if an opposite jump within 60 bars is within `L /
/// 3` of the
/// split but fails otherwise. Prices of wrong bars, adjusted
/// close included, are divided by the jump's `R` or `1/R` and volumes multiplied by it; volumes of a series in whole
/// shares are rounded.
///
/// # Reason
///
/// The newest bars are on today's terms, which is what adjustment means. Without a split among the actions, a price
/// that
/// halves has halved. A large ratio cannot be trade; a small one can, so it must fit the volatility of the series. The
/// adjusted close is used because a dividend paid along with a split would blur the jump of the close.
///
/// # Basis
///
/// Split-adjusted. Prices as traded would all be "repaired".
pub(super) fn apply(work: &mut Work, size: Size) {
    let mut splits: Vec<(usize, f64)> = work
        .actions
        .iter()
        .filter(|it| it.kind == Kind::Split)
        .filter_map(|it| Some((first_on(&work.bars, it.date), price(it.numerator)? / price(it.denominator)?)))
        .filter(|(_, ratio)| ratio.is_finite() && ratio.ln().abs() > f64::EPSILON)
        .filter(|(_, ratio)| size == Size::Any || ratio.ln().abs() >= LIKE_UNIT.ln())
        .collect();
    splits.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
    splits.dedup();
    if splits.is_empty() {
        return;
    }
    let whole = is_whole(&work.bars);
    for (event, ratio) in splits {
        let levels = Levels::of(&work.bars);
        let wrong = levels.wrong(ratio.ln().abs(), event);
        for (from, to, times) in wrong {
            mend(work, levels.rows_between(from, to), ratio.max(1.0 / ratio).powi(times), whole);
        }
    }
}

fn mend(work: &mut Work, rows: std::ops::Range<usize>, factor: f64, whole: bool) {
    let why: Arc<str> = Arc::from(format!("split out of step: prices times {factor:.6}, volume divided by it"));
    for row in rows {
        for column in Column::PRICES.into_iter().chain([Column::AdjClose]) {
            work.scale(row, column, factor, Rule::Split, &why);
        }
        let volume = price(work.bars[row].volume).map(|it| it / factor).map(|it| if whole { it.round() } else { it });
        if price(volume).is_some() {
            work.set(row, Column::Volume, volume, Rule::Split, &why);
        }
    }
}

/// Whether the series counts whole shares.
fn is_whole(bars: &[Bar]) -> bool {
    let volumes = || bars.iter().filter_map(|it| price(it.volume));
    let whole = volumes().filter(|it| it.fract() == 0.0).count();
    whole * 2 > volumes().count()
}

/// The logarithms of prices in which jumps are looked for.
struct Levels {
    rows: Vec<usize>,
    values: Vec<f64>,
    /// What each bar itself has moved, from open to close.
    within: Vec<f64>,
    end: usize,
}

impl Levels {
    fn of(bars: &[Bar]) -> Self {
        let closes = bars.iter().filter(|it| price(it.close).is_some()).count();
        let adjusted = bars.iter().filter(|it| price(it.close).and(price(it.adj_close)).is_some()).count();
        let by_adjusted = adjusted > 0 && adjusted as f64 >= closes as f64 * MOSTLY;
        let level = |bar: &Bar| log(if by_adjusted { bar.adj_close } else { bar.close });
        let (rows, values): (Vec<usize>, Vec<f64>) =
            bars.iter().enumerate().filter_map(|(row, bar)| Some((row, level(bar)?))).unzip();
        let within =
            |row: &usize| log(bars[*row].open).zip(log(bars[*row].close)).map_or(0.0, |(open, close)| close - open);
        let within = rows.iter().map(within).collect();
        Self { rows, values, within, end: bars.len() }
    }

    /// Runs of bars, newest first: from, to, and how often the split must be multiplied in.
    fn wrong(&self, size: f64, event: usize) -> Vec<(usize, usize, i32)> {
        let at = self.rows.partition_point(|row| *row < event);
        let reach = if size >= LARGE.ln() { BESIDE } else { 0 };
        let is_near = |place: usize| place.abs_diff(at) <= reach;
        let jumps: Vec<(usize, i32)> =
            (1..self.values.len()).filter_map(|it| Some((it, self.jump(it, size)?))).collect();
        let mut wrong = Vec::new();
        let mut times = 0;
        let mut end = self.values.len();
        let mut left = jumps.as_slice();
        while let Some((&(place, sign), older)) = left.split_last() {
            left = older;
            if let Some((&(start, opposite), before)) = older.split_last()
                && opposite == -sign
                && (size >= LARGE.ln() || is_near(place) || is_near(start) || self.is_small_run(start, place, size))
            {
                wrong.push((place, end, times));
                wrong.push((start, place, times + sign));
                end = start;
                left = before;
            } else if is_near(place) && !self.comes_back(place, sign, size) {
                wrong.push((place, end, times));
                times += sign;
                end = place;
            }
        }
        wrong.push((0, end, times));
        wrong.retain(|(from, to, times)| from < to && *times != 0);
        wrong
    }

    /// Whether the step into a place is the split, upwards or downwards.
    fn jump(&self, place: usize, size: f64) -> Option<i32> {
        let step = self.values[place] - self.values[place - 1];
        let off = (step.abs() - size).abs();
        let night = step - self.within[place];
        if off > size * LARGE_TOLERANCE || (night.abs() - size).abs() > size * LARGE_TOLERANCE || night * step < 0.0 {
            return None;
        }
        // The bar before must be of one piece too.
        if self.within[place - 1].abs() > size * LARGE_TOLERANCE {
            return None;
        }
        let spread = spread_near(&self.values, place);
        let bound = if size >= LARGE.ln() {
            size * LARGE_TOLERANCE
        } else {
            (spread * SMALL_TOLERANCE).min(size * SMALL_TOLERANCE_AT_MOST)
        };
        let is_visible = size >= spread * VISIBLE && size > grain_near(&self.values, place) * GRAINS;
        (off <= bound && is_visible).then_some(if step > 0.0 { 1 } else { -1 })
    }

    /// Whether two jumps far from the ex-date enclose a run that a small split may explain.
    fn is_small_run(&self, start: usize, end: usize, size: f64) -> bool {
        let is_clear = |place: usize| size >= spread_near(&self.values, place) * VISIBLE_AFAR;
        end - start <= SMALL_RUN && is_clear(start) && is_clear(end)
    }

    /// Whether a jump has an opposite one nearby that is not exact enough to count: then it may be the end of a run.
    fn comes_back(&self, place: usize, sign: i32, size: f64) -> bool {
        let near = place.saturating_sub(SMALL_RUN).max(1)..(place + SMALL_RUN).min(self.values.len());
        near.into_iter().any(|it| {
            let step = (self.values[it] - self.values[it - 1]) * f64::from(-sign);
            it != place && (step - size).abs() <= size * LARGE_TOLERANCE && self.jump(it, size).is_none()
        })
    }

    /// The rows of places, with rows that have no level and lie between.
    fn rows_between(&self, from: usize, to: usize) -> std::ops::Range<usize> {
        let start = if from == 0 { 0 } else { self.rows[from] };
        let end = self.rows.get(to).copied().unwrap_or(self.end);
        start..end
    }
}
