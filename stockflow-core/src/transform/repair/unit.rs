//! Prices in another unit: pounds among pence, rand among cents.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::number::{log, median, spread_near};
use super::{Column, Rule, Work};

/// Pence to the pound, cents to the rand, agorot to the shekel.
const UNIT: f64 = 100.0;

/// How far a ratio may be from 100, as a share of ln 100, where the prices come back: a factor of 3.2. Between trade (a
/// move of a few percent) and the error (a factor of 100) lies nothing, so that the border may lie about in the middle.
const LOOSE: f64 = 0.25;

/// How far a ratio may be from 100 where the prices do not come back, in volatilities and in logarithms. There the only
/// evidence is the exact ratio, and a share may really lose all: a bank that fails goes from 106 to 0.40.
const TIGHT: f64 = 5.0;
const TIGHT_AT_LEAST: f64 = 0.1;
const TIGHT_AT_MOST: f64 = 0.3;

/// After so many traded bars a new unit is the unit: about a month. Shorter, and it is a row of bad bars at the end.
const ESTABLISHED: usize = 20;

/// Fewer bars cannot outvote each other.
const LEAST_BARS: usize = 3;

/// Brings prices that are 100 times too large or too small to the unit of the series.
///
/// # Formula
///
/// Bars are walked in order of time. The level is the median of the last bar's prices in the first bar's unit; each price `x`
/// gets the exponent
///
/// ```text
/// n = round(ln(x / level) / ln 100), within −1..=1, if |ln(x / level) − n ln 100| ≤ ln 100 / 4, else 0
/// ```
///
/// relative to the level, so runs of any length keep one exponent. A change of exponent that never comes back counts only if the
/// ratio is within 5 volatilities of 100 (10 % to 35 %). The right exponent is that of the newest traded bar if 20 traded bars
/// or the most of them have it, else that of the most traded bars. Every price with another exponent is multiplied by 100 or
/// 1/100. A low or high so made that lies inside of open and close is set to the outermost of these: it had been
/// rounded in the coarse unit. The adjusted close has exponents of its own.
///
/// # Reason
///
/// A median filter of fixed length finds single bars and not the runs of weeks in which sources make this error; a walk finds both.
/// Bars without trade repeat an old price, often in the wrong unit, so bars with volume say which unit is
/// right. Of two units that both have been in use for long the newer is today's. Single cells need no rule of
/// their own.
///
/// # Basis
///
/// Any. Volume is left as it is.
pub(super) fn apply(work: &mut Work) {
    if work.bars.len() < LEAST_BARS {
        return;
    }
    let prices = Exponents::of(work, &Column::PRICES);
    let adjusted = Exponents::of(work, &[Column::AdjClose]);
    let Some(right) = prices.right(work) else { return };
    let up: Arc<str> = Arc::from("100 times too small: in another unit than the series");
    let down: Arc<str> = Arc::from("100 times too large: in another unit than the series");
    let why = |too_low: bool| if too_low { &up } else { &down };
    let of_adjusted = adjusted.where_right(&prices, right);
    for row in 0..work.bars.len() {
        let mut changed = [false; 4];
        for (place, column) in Column::PRICES.into_iter().enumerate() {
            let Some(exponent) = prices.cell(row, place).filter(|it| *it != right) else { continue };
            changed[place] = true;
            work.scale(row, column, UNIT.powi(right - exponent), Rule::Unit, why(exponent < right));
        }
        if changed.contains(&true) {
            restore_order(work, row, changed);
        }
        if let (Some(exponent), Some(right)) = (adjusted.cell(row, 0), of_adjusted)
            && exponent != right
        {
            work.scale(row, Column::AdjClose, UNIT.powi(right - exponent), Rule::Unit, why(exponent < right));
        }
    }
}

/// Puts a changed high and low outside of open and close.
fn restore_order(work: &mut Work, row: usize, [_, high, low, _]: [bool; 4]) {
    let why: Arc<str> = Arc::from("rounded in the other unit: taken from open and close");
    let bar = work.bars[row];
    let ends = || [bar.open, bar.close].into_iter().flatten();
    if let Some(value) = bar.low.filter(|_| low) {
        work.set(row, Column::Low, Some(ends().fold(value, f64::min)), Rule::Unit, &why);
    }
    if let Some(value) = bar.high.filter(|_| high) {
        work.set(row, Column::High, Some(ends().fold(value, f64::max)), Rule::Unit, &why);
    }
}

/// The exponents of all prices to the base of 100, up to a common one.
struct Exponents {
    cells: Vec<Vec<Option<i32>>>,
    rows: Vec<Option<i32>>,
}

impl Exponents {
    fn of(work: &Work, columns: &[Column]) -> Self {
        let unit = UNIT.ln();
        let mut level: Option<f64> = None;
        let mut base = 0;
        let mut cells = Vec::with_capacity(work.bars.len());
        let mut rows = Vec::with_capacity(work.bars.len());
        let mut levels = Vec::with_capacity(work.bars.len());
        for bar in &work.bars {
            let logs: Vec<Option<f64>> = columns.iter().map(|it| log(bar.get(*it))).collect();
            let mut known: Vec<f64> = logs.iter().flatten().copied().collect();
            let Some(at) = level.or(median(&mut known)) else {
                cells.push(vec![None; columns.len()]);
                rows.push(None);
                continue;
            };
            let own: Vec<Option<i32>> = logs.iter().map(|it| it.map(|it| exponent(it - at, unit))).collect();
            let mut plain: Vec<f64> =
                logs.iter().zip(&own).filter_map(|(log, own)| Some((*log)? - f64::from((*own)?) * unit)).collect();
            level = median(&mut plain).or(level);
            base = most(own.iter().flatten().map(|it| (*it, 1))).unwrap_or(base);
            rows.push(own.iter().any(Option::is_some).then_some(base));
            cells.push(own);
            levels.push(level.unwrap_or(at));
        }
        let mut found = Self { cells, rows };
        found.drop_lasting(&levels);
        found
    }

    /// Takes back changes that never come back and are not exact.
    fn drop_lasting(&mut self, levels: &[f64]) {
        let unit = UNIT.ln();
        let known: Vec<(usize, i32)> = self.rows.iter().enumerate().filter_map(|(row, it)| Some((row, (*it)?))).collect();
        let Some((_, newest)) = known.last().copied() else { return };
        // From the end: the exponent that stands from here on, after the corrections found so far.
        let mut later: BTreeMap<i32, ()> = BTreeMap::from([(newest, ())]);
        let earlier: Vec<BTreeMap<i32, usize>> = Vec::new();
        let _ = earlier;
        let mut shift = 0;
        let mut shifts: Vec<(usize, i32)> = Vec::new();
        let mut seen: BTreeMap<i32, usize> = BTreeMap::new();
        for (_, exponent) in &known {
            *seen.entry(*exponent).or_default() += 1;
        }
        for place in (1..known.len()).rev() {
            let (row, now) = known[place];
            let (_, before) = known[place - 1];
            if let Some(count) = seen.get_mut(&now) {
                *count = count.saturating_sub(1);
            }
            later.insert(now, ());
            if now == before {
                continue;
            }
            let returns = later.contains_key(&before) || seen.get(&now).is_some_and(|it| *it > 0);
            // The walk has taken the jump out of the levels: what is left is how far it was from exact.
            let rest = levels.get(place).zip(levels.get(place - 1)).map_or(0.0, |(a, b)| (a - b).abs());
            let bound = (TIGHT * spread_near(levels, place)).clamp(TIGHT_AT_LEAST, TIGHT_AT_MOST);
            if !returns && rest > bound {
                shift += now - before;
                shifts.push((row, shift));
                later = BTreeMap::from([(before, ())]);
            }
        }
        let _ = unit;
        for (end, by) in shifts.iter().rev().copied() {
            // Runs of the oldest shift first, so that each row gets the shift of the nearest boundary behind it.
            let from = shifts.iter().filter(|(row, _)| *row < end).map(|(row, _)| *row).max().unwrap_or(0);
            for row in from..end {
                self.rows[row] = self.rows[row].map(|it| it + by);
                self.cells[row].iter_mut().flatten().for_each(|it| *it += by);
            }
        }
    }

    fn cell(&self, row: usize, place: usize) -> Option<i32> {
        *self.cells.get(row)?.get(place)?
    }

    /// The exponent of the unit that the series is in.
    fn right(&self, work: &Work) -> Option<i32> {
        let traded = |row: usize| work.bars[row].volume.is_none_or(|it| it > 0.0);
        let any_traded = (0..work.bars.len()).any(traded);
        let counts = |row: usize| !any_traded || traded(row);
        let votes = || self.rows.iter().enumerate().filter(|(row, _)| counts(*row)).filter_map(|(_, it)| *it);
        let newest = votes().last()?;
        let (all, same) = (votes().count(), votes().filter(|it| *it == newest).count());
        if same >= ESTABLISHED || same * 2 > all {
            return Some(newest);
        }
        most(votes().enumerate().map(|(place, it)| (it, if place + 1 == all { 2 } else { 2 - usize::from(place == 0) })))
    }

    /// The exponent that the most of these have where the others are right.
    fn where_right(&self, others: &Self, right: i32) -> Option<i32> {
        most(self.rows.iter().zip(&others.rows).filter(|(_, it)| **it == Some(right)).filter_map(|(own, _)| Some(((*own)?, 1))))
    }
}

fn exponent(distance: f64, unit: f64) -> i32 {
    let n = (distance / unit).round().clamp(-1.0, 1.0);
    if (distance - n * unit).abs() <= LOOSE * unit { n as i32 } else { 0 }
}

/// The key with the greatest weight.
fn most(votes: impl Iterator<Item = (i32, usize)>) -> Option<i32> {
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    for (key, weight) in votes {
        *counts.entry(key).or_default() += weight;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(key, _)| key)
}
