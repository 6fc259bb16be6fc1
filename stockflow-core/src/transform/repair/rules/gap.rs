//! Zeros that stand for nothing, and bars that finer bars can give back.

use std::sync::Arc;

use super::number::{log, median, price};
use super::{Bar, Column, Context, Rule, Work};

/// How far the closes of the finer bars may lie from those of the bars, in logarithms. Auctions and rounding make less;
/// another basis or another unit makes more.
const SAME_BASIS: f64 = 0.01;

/// How near two factors of adjustment must be to be one: sources print seven digits, a dividend moves the fourth.
const SAME_FACTOR: f64 = 5e-6;

/// Gives back what can be known of missing values, and marks the rest as missing.
///
/// # Formula
///
/// 1. A price that is zero or not finite becomes missing, if the prices of the series are above zero.
/// 2. A bar without any price is made of the finer bars between its start and the start of the next bar: first open,
///    highest
///    high, lowest low, last close, sum of volumes. Only if finer bars of other days give the closes that are there,
///    within 1 %.
/// 3. Adjusted close out of close, and close out of adjusted close, by the factor `adj_close / close` of the next bars
///    before and after, if that is the same.
///
/// # Reason
///
/// A price that nobody has paid is not data: the neighbours of a missing bar say what it may have been, not what it
/// was,
/// so nothing is interpolated, and the row stays as one without prices. The factor of adjustment, on the contrary, is
/// a constant between two dividends and can be known.
///
/// # Basis
///
/// Any; finer bars on the same.
pub(super) fn apply(work: &mut Work, context: Context<'_>) {
    clear_zeros(work);
    if !context.finer.is_empty() {
        rebuild(work, context.finer);
    }
    fill_adjusted(work);
}

fn clear_zeros(work: &mut Work) {
    let prices = || work.bars.iter().flat_map(|bar| Column::PRICES.map(|it| bar.get(it))).flatten();
    let (above, below) = prices().fold((0_usize, 0_usize), |(above, below), it| {
        (above + usize::from(it.is_finite() && it > 0.0), below + usize::from(it < 0.0))
    });
    // Spreads and some futures do trade at zero and below.
    let positive = above > 0 && below == 0;
    let zero: Arc<str> = Arc::from("zero stands for no price");
    let broken: Arc<str> = Arc::from("not a number");
    for row in 0..work.bars.len() {
        for column in [Column::Open, Column::High, Column::Low, Column::Close, Column::AdjClose] {
            match work.bars[row].get(column) {
                Some(it) if !it.is_finite() => work.set(row, column, None, Rule::Gap, &broken),
                Some(it) if it == 0.0 && positive => work.set(row, column, None, Rule::Gap, &zero),
                _ => {}
            }
        }
        let volume = work.bars[row].volume;
        if volume.is_some_and(|it| !it.is_finite()) {
            work.set(row, Column::Volume, None, Rule::Gap, &broken);
        }
    }
}

fn is_empty(bar: &Bar) -> bool {
    Column::PRICES.iter().all(|it| bar.get(*it).is_none())
}

fn rebuild(work: &mut Work, finer: &[Bar]) {
    if !work.bars.iter().any(is_empty) {
        return;
    }
    let mut finer: Vec<Bar> = finer.to_vec();
    finer.sort_by_key(|it| it.ts);
    let within = |work: &Work, row: usize| {
        let start = work.bars[row].ts;
        let end = work.bars.get(work.bars.partition_point(|it| it.ts <= start)).map(|it| it.ts);
        let from = finer.partition_point(|it| it.ts < start);
        let to = end.map_or(finer.len(), |end| finer.partition_point(|it| it.ts < end));
        sum_up(finer.get(from..to).unwrap_or_default(), work.bars[row])
    };
    let mut distances: Vec<f64> = (0..work.bars.len())
        .filter_map(|row| Some((log(work.bars[row].close)? - log(within(work, row)?.close)?).abs()))
        .collect();
    if median(&mut distances).is_none_or(|it| it > SAME_BASIS) {
        return;
    }
    let why: Arc<str> = Arc::from("made of finer bars");
    for row in 0..work.bars.len() {
        if !is_empty(&work.bars[row]) {
            continue;
        }
        let Some(made) = within(work, row) else { continue };
        for column in [Column::Open, Column::High, Column::Low, Column::Close, Column::Volume] {
            work.set(row, column, made.get(column), Rule::Gap, &why);
        }
    }
}

/// One bar of several. The last one has no known end, so only bars of the same date count there.
fn sum_up(finer: &[Bar], like: Bar) -> Option<Bar> {
    let priced = || finer.iter().filter(|it| price(it.close).is_some() && it.date == like.date);
    let (first, last) = (priced().next()?, priced().next_back()?);
    let high = priced().filter_map(|it| price(it.high).or(it.close)).fold(f64::NEG_INFINITY, f64::max);
    let low = priced().filter_map(|it| price(it.low).or(it.close)).fold(f64::INFINITY, f64::min);
    let volume = priced().filter_map(|it| it.volume).fold(None, |sum: Option<f64>, it| Some(sum.unwrap_or(0.0) + it));
    Some(Bar {
        open: price(first.open).or(first.close),
        high: Some(high),
        low: Some(low),
        close: last.close,
        volume: volume.filter(|it| it.is_finite()).or(like.volume),
        ..like
    })
}

fn factor(bar: &Bar) -> Option<f64> {
    price(Some(price(bar.adj_close)? / price(bar.close)?))
}

fn fill_adjusted(work: &mut Work) {
    let why: Arc<str> = Arc::from("the factor of adjustment is the same before and after");
    let mut after: Vec<Option<f64>> = vec![None; work.bars.len()];
    let mut next = None;
    for row in (0..work.bars.len()).rev() {
        after[row] = next;
        next = factor(&work.bars[row]).or(next);
    }
    let mut before = None;
    for (row, after) in after.into_iter().enumerate() {
        let bar = work.bars[row];
        let same = |(a, b): &(f64, f64)| (a / b - 1.0).abs() < SAME_FACTOR;
        if let Some((_, by)) = before.zip(after).filter(same) {
            match (price(bar.close), price(bar.adj_close)) {
                (Some(close), None) => work.set(row, Column::AdjClose, price(Some(close * by)), Rule::Gap, &why),
                (None, Some(adjusted)) => work.set(row, Column::Close, price(Some(adjusted / by)), Rule::Gap, &why),
                _ => {}
            }
        }
        before = factor(&bar).or(before);
    }
}
