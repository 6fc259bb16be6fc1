//! Prices in another unit: pounds among pence, rand among cents.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::number::{log, median, spread_near};
use super::{Column, Context, Rule, Work};

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
/// Bars are walked in order of time. The level is the median of the last bar's prices in the first bar's unit; each
/// price `x`
/// gets the exponent
///
/// ```text
/// n = round(ln(x / level) / ln 100)    if |ln(x / level) − n ln 100| ≤ ln 100 / 4, else 0
/// ```
///
/// relative to the level, so runs of any length keep one exponent. A change of exponent that never comes back counts
/// only if the
/// ratio is within 5 volatilities of 100 (10 % to 35 %). The right exponent is that of the newest traded bar if 20
/// traded bars
/// or the most of them have it, else that of the most traded bars. Every price with another exponent is multiplied by
/// 100 or
/// 1/100. A low or high so made that lies inside of open and close is set to the outermost of these: it had been
/// rounded in the coarse unit. The adjusted close has exponents of its own.
///
/// # Reason
///
/// A median filter of fixed length finds single bars and not the runs of weeks in which sources make this error; a walk
/// finds both.
/// Bars without trade repeat an old price, often in the wrong unit, so bars with volume say which unit is
/// right. Of two units that both have been in use for long the newer is today's. Single cells need no rule of
/// their own.
///
/// # Basis
///
/// Split-adjusted; on prices as traded whose splits are not told only what comes back is an error. Volume is left as it is.
pub(super) fn apply(work: &mut Work, context: Context<'_>) {
    if work.bars.len() < LEAST_BARS {
        return;
    }
    let prices = Exponents::of(work, &Column::PRICES, &BTreeMap::new(), context.may_have_splits);
    let adjusted = Exponents::of(work, &[Column::AdjClose], &prices.lasting, context.may_have_splits);
    let Some(right) = prices.right(work) else { return };
    let up: Arc<str> = Arc::from("100 times too small: in another unit than the series");
    let down: Arc<str> = Arc::from("100 times too large: in another unit than the series");
    let why = |too_low: bool| if too_low { &up } else { &down };
    let of_adjusted = adjusted.where_right(&prices, right);
    for row in 0..work.bars.len() {
        let mut changed = [false; 4];
        for (place, column) in Column::PRICES.into_iter().enumerate() {
            let Some(exponent) = prices.cell(row, place).filter(|it| (it - right).abs() == 1) else { continue };
            changed[place] = true;
            work.scale(row, column, UNIT.powi(right - exponent), Rule::Unit, why(exponent < right));
        }
        if changed.contains(&true) {
            restore_order(work, row, changed);
        }
        if let (Some(exponent), Some(right)) = (adjusted.cell(row, 0), of_adjusted)
            && (exponent - right).abs() == 1
        {
            work.scale(row, Column::AdjClose, UNIT.powi(right - exponent), Rule::Unit, why(exponent < right));
        }
    }
}

/// Puts a changed high and low outside of open and close.
fn restore_order(work: &mut Work, row: usize, [_, high, low, _]: [bool; 4]) {
    let why: Arc<str> = Arc::from("rounded in the other unit: taken from open and close");
    let bar = work.bars[row];
    let ends = || [bar.open, bar.close].into_iter().flatten().filter(|it| *it > 0.0 && it.is_finite());
    if let Some(value) = bar.low.filter(|_| low) {
        work.set(row, Column::Low, Some(ends().fold(value, f64::min)), Rule::Unit, &why);
    }
    if let Some(value) = bar.high.filter(|_| high) {
        work.set(row, Column::High, Some(ends().fold(value, f64::max)), Rule::Unit, &why);
    }
}

/// The exponents of all prices to the base of 100, in the unit of the first bar.
struct Exponents {
    cells: Vec<Vec<Option<i32>>>,
    rows: Vec<Option<i32>>,
    /// The rows with a change that never comes back, and whether it counts.
    lasting: BTreeMap<usize, bool>,
}

impl Exponents {
    /// Walks the bars. `decided`: what other columns have found of lasting changes; close and adjusted close go
    /// together.
    fn of(work: &Work, columns: &[Column], decided: &BTreeMap<usize, bool>, may_have_splits: bool) -> Self {
        let mut found = Self { cells: Vec::new(), rows: Vec::new(), lasting: BTreeMap::new() };
        let mut level: Option<f64> = None;
        let mut levels = Vec::new();
        for bar in &work.bars {
            let logs: Vec<Option<f64>> = columns.iter().map(|it| log(bar.get(*it))).collect();
            let mut known: Vec<f64> = logs.iter().flatten().copied().collect();
            let Some(at) = level.or_else(|| median(&mut known)) else {
                found.cells.push(vec![None; columns.len()]);
                found.rows.push(None);
                continue;
            };
            let far: Vec<Option<i32>> = logs.iter().map(|it| it.map(|it| exponent(it - at))).collect();
            let row = most(far.iter().flatten().copied());
            // Two units off is a bad tick.
            let near = |it: i32| row.filter(|row| (it - row).abs() > 1).unwrap_or(it);
            let cells: Vec<Option<i32>> = far.into_iter().map(|it| it.map(near)).collect();
            let mut plain: Vec<f64> =
                logs.iter().zip(&cells).filter_map(|(log, n)| Some((*log)? - f64::from((*n)?) * UNIT.ln())).collect();
            level = median(&mut plain).or(level);
            if row.is_some() {
                levels.push(level.unwrap_or(at));
            }
            found.rows.push(row);
            found.cells.push(cells);
        }
        found.drop_lasting(&levels, decided, may_have_splits);
        found
    }

    /// Takes back the changes that never come back and are not exact: all that is older moves along.
    fn drop_lasting(&mut self, levels: &[f64], decided: &BTreeMap<usize, bool>, may_have_splits: bool) {
        let known: Vec<(usize, i32)> = self.rows.iter().enumerate().filter_map(|(row, n)| Some((row, (*n)?))).collect();
        let mut earlier = Counts::of(known.iter().map(|(_, n)| *n));
        let mut later = Counts::default();
        let mut shift = 0;
        let mut newer_end = self.rows.len();
        for place in (1..known.len()).rev() {
            let ((row, now), (_, before)) = (known[place], known[place - 1]);
            earlier.remove(now);
            later.add(now);
            if now == before || later.has(before) || earlier.has(now) {
                continue;
            }
            // The walk took the jump out of the levels: what is left is how far it was from exact.
            let rest = (levels[place] - levels[place - 1]).abs();
            let bound = (TIGHT * spread_near(levels, place)).clamp(TIGHT_AT_LEAST, TIGHT_AT_MOST);
            let counts = !may_have_splits && decided.get(&row).copied().unwrap_or(rest <= bound);
            self.lasting.insert(row, counts);
            if !counts {
                self.shift(row, newer_end, shift);
                newer_end = row;
                shift += now - before;
            }
        }
        self.shift(0, newer_end, shift);
    }

    fn shift(&mut self, from: usize, to: usize, by: i32) {
        self.rows[from..to].iter_mut().flatten().for_each(|it| *it += by);
        self.cells[from..to].iter_mut().flatten().flatten().for_each(|it| *it += by);
    }

    fn cell(&self, row: usize, place: usize) -> Option<i32> {
        *self.cells.get(row)?.get(place)?
    }

    /// The exponent of the unit that the series is in.
    fn right(&self, work: &Work) -> Option<i32> {
        let traded = |row: usize| work.bars[row].volume.is_none_or(|it| it > 0.0);
        let none_traded = !(0..work.bars.len()).any(|row| self.rows[row].is_some() && traded(row));
        let votes: Vec<i32> =
            (0..work.bars.len()).filter(|row| none_traded || traded(*row)).filter_map(|row| self.rows[row]).collect();
        let newest = votes.last().copied()?;
        let same = votes.iter().filter(|it| **it == newest).count();
        if same >= ESTABLISHED { Some(newest) } else { most(votes.into_iter()) }
    }

    /// The exponent that the most of these have where the others are right.
    fn where_right(&self, others: &Self, right: i32) -> Option<i32> {
        most(self.rows.iter().zip(&others.rows).filter(|(_, it)| **it == Some(right)).filter_map(|(own, _)| *own))
    }
}

/// How many units of 100 a distance of logarithms is.
fn exponent(distance: f64) -> i32 {
    let n = (distance / UNIT.ln()).round().clamp(-2.0, 2.0);
    if (distance - n * UNIT.ln()).abs() <= LOOSE * UNIT.ln() { n as i32 } else { 0 }
}

/// The most frequent one; of equally many the one that comes last.
fn most(votes: impl Iterator<Item = i32>) -> Option<i32> {
    let mut counts: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
    for (place, vote) in votes.enumerate() {
        let (count, last) = counts.entry(vote).or_default();
        *count += 1;
        *last = place;
    }
    counts.into_iter().max_by_key(|(_, weight)| *weight).map(|(vote, _)| vote)
}

#[derive(Debug, Default)]
struct Counts(BTreeMap<i32, usize>);

impl Counts {
    fn of(values: impl Iterator<Item = i32>) -> Self {
        let mut counts = Self::default();
        values.for_each(|it| counts.add(it));
        counts
    }

    fn add(&mut self, value: i32) {
        *self.0.entry(value).or_default() += 1;
    }

    fn remove(&mut self, value: i32) {
        if let Some(count) = self.0.get_mut(&value) {
            *count = count.saturating_sub(1);
        }
    }

    fn has(&self, value: i32) -> bool {
        self.0.get(&value).is_some_and(|it| *it > 0)
    }
}
