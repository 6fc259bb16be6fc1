//! Dividends that are wrong in amount, day or number, or missing from the adjusted close.
//!
//! Three witnesses speak about a payment of `D` with the close `p` before its ex-date:
//!
//! | witness | says |
//! |---|---|
//! | the action | that there was one, when, and how much |
//! | the adjusted close | `D = p (1 − f(t−1) / f(t))`, where `f = adj_close / close` |
//! | the price | it falls by about `D` overnight; heard only where `D` stands out of the volatility |
//!
//! One of them is overruled only if the others agree, or if the price denies a payment it could not hide. Then action
//! and
//! adjusted close are brought in line. The rules run in this order: [`duplicate`], [`gain`], [`day`], [`amount`],
//! [`missing`].
//!
//! # Basis
//!
//! Prices and dividends split-adjusted, `adj_close` adjusted for both, bars of a day. Sources apply a dividend in the
//! middle
//! of a week to the wrong bar, and only days can tell: wider bars stay. Finer bars have no adjusted close.

mod amount;
mod day;
mod duplicate;
mod gain;
mod missing;

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;

use super::number::{NEARBY, first_on, price, spread};
use super::{Action, Bar, Change, Column, Kind, Rule, Width, Work};

/// How many bars, and days, from an ex-date its bars are looked for: longer holidays and suspensions hide the drop.
const REACH: usize = 7;

/// From so many volatilities of a day on the price cannot hide a payment. To deny one it must then move against it by
/// half
/// of that: on any day that is not rare, on the very day of a payment it is.
const AUDIBLE: f64 = 5.0;

/// Below this share of the price no payment is audible: news move the quietest share by that much.
const AUDIBLE_AT_LEAST: f64 = 0.05;

/// A price that falls by less than this share of a payment denies it.
const DENIED: f64 = 0.5;

/// A price that falls by a share of a payment in this range confirms it.
const CONFIRMED: std::ops::RangeInclusive<f64> = 0.75..=1.25;

/// How much better one explanation must be than the other, in squared volatilities: three of them, where they differ
/// most.
const DECIDED: f64 = 9.0;

/// How near the payment implied by the adjusted close is to one it contains: withholding and rounding, as a share of
/// it.
const CONTAINED: f64 = 0.02;

/// How near it is to nothing where it contains nothing: as a share of the payment, and of the price. The latter is a
/// cent
/// on a price of 20; a payment in another unit than the action would be more.
const NOT_CONTAINED: f64 = 0.1;
const NOTHING: f64 = 5e-4;

/// Seven printed digits in each of four prices, as a share of the price.
const ROUNDING: f64 = 1e-5;

/// How many other dividends are asked about one, on either side of it together.
const PEERS: usize = 6;

/// How far the dividends of one payer are from each other where they can vouch for an amount.
const LIKE: f64 = 2.0;

pub(super) fn apply(work: &mut Work) {
    if work.width != Width::Day || !work.actions.iter().any(|it| it.kind == Kind::Dividend) {
        return;
    }
    for rule in [duplicate::apply, gain::apply, day::apply, amount::apply, missing::apply] {
        let steps = rule(work);
        adjust(work, steps);
    }
}

/// A payment and the bars that speak about it.
#[derive(Debug, Clone, Copy)]
struct Payment {
    /// Its place among the actions.
    action: usize,
    date: NaiveDate,
    kind: Kind,
    amount: f64,
    scene: Scene,
}

/// The two bars around an ex-date.
#[derive(Debug, Clone, Copy)]
struct Scene {
    /// The first bar with a close on the new terms.
    row: usize,
    /// The close before.
    before: f64,
    /// What the adjusted close implies: the factor before over the factor from the ex-date on.
    step: Option<f64>,
    open: f64,
    low: f64,
    close: f64,
}

/// A correction of the adjusted close: all rows before `row` times `factor`.
#[derive(Debug)]
struct Step {
    row: usize,
    factor: f64,
    why: &'static str,
}

impl Scene {
    fn on(bars: &[Bar], date: NaiveDate) -> Option<Self> {
        let first = first_on(bars, date);
        let is_close = |row: &usize| bars.get(*row).is_some_and(|it| price(it.close).is_some());
        let row = (first..first.saturating_add(REACH)).find(is_close)?;
        (bars[row].date.signed_duration_since(date).num_days() <= REACH as i64).then_some(())?;
        Self::at(bars, row, first)
    }

    /// The scene of a row; the bar before is looked for below `end`.
    fn at(bars: &[Bar], row: usize, end: usize) -> Option<Self> {
        let bar = bars.get(row)?;
        let close = price(bar.close)?;
        let earlier = end.min(row);
        let last = (earlier.saturating_sub(REACH)..earlier).rev().find(|it| price(bars[*it].close).is_some())?;
        let open = price(bar.open).unwrap_or(close);
        let low = price(bar.low).unwrap_or(close).min(open).min(close);
        let step = factor(&bars[last]).zip(factor(bar)).map(|(old, new)| old / new);
        let step = price(step);
        Some(Self { row, before: price(bars[last].close)?, step, open, low, close })
    }

    /// The payment that the adjusted close contains.
    fn implied(&self) -> Option<f64> {
        self.step.map(|it| (1.0 - it) * self.before)
    }

    fn contains(&self, amount: f64) -> bool {
        self.implied().is_some_and(|it| (it - amount).abs() <= amount * CONTAINED + self.before * ROUNDING)
    }

    fn contains_nothing(&self, of: f64) -> bool {
        self.implied().is_some_and(|it| it.abs() <= (of * NOT_CONTAINED).min(self.before * NOTHING))
    }

    /// The step of an adjusted close that contains a payment.
    fn step_for(&self, amount: f64) -> f64 {
        1.0 - amount / self.before
    }

    /// Takes the adjusted close from what it contains to what it should. `held`: the payment that it is known to
    /// contain.
    fn correction(&self, held: f64, should: f64) -> Option<f64> {
        let exact = self.step_for(held);
        let measured = self.step?;
        let now = if (measured / exact - 1.0).abs() <= ROUNDING { exact } else { measured };
        price(Some(self.step_for(should) / now))
    }

    /// The volatilities of the nights and of the days around.
    fn spreads(&self, bars: &[Bar]) -> (f64, f64) {
        let from = self.row.saturating_sub(NEARBY).max(1);
        let to = (self.row + NEARBY).min(bars.len());
        let moves = |at: fn(&Bar) -> Option<f64>| -> Vec<f64> {
            (from..to)
                .filter(|it| *it != self.row)
                .filter_map(|it| Some((price(at(&bars[it]))? / price(bars[it - 1].close)?).ln()))
                .filter(|it| it.is_finite())
                .collect()
        };
        (spread(&mut moves(|it| it.open.or(it.close))), spread(&mut moves(|it| it.close)))
    }

    /// Whether the price could not hide a payment.
    fn is_audible(&self, amount: f64, bars: &[Bar]) -> bool {
        let (_, day) = self.spreads(bars);
        amount / self.before >= (AUDIBLE * day).max(AUDIBLE_AT_LEAST)
    }

    /// The largest fall of the day, as a share of a payment.
    fn fall(&self, amount: f64) -> f64 {
        (self.before - self.low) / amount
    }

    fn denies(&self, amount: f64) -> bool {
        self.fall(amount) < DENIED
    }

    /// How far the night is from what a payment would have made of it, in volatilities, squared.
    fn misfit(&self, amount: f64, night: f64) -> f64 {
        let paid = ((self.open + amount) / self.before).ln() / night;
        paid * paid
    }
}

fn factor(bar: &Bar) -> Option<f64> {
    price(Some(price(bar.adj_close)? / price(bar.close)?))
}

/// The payments by date. Those without an amount or without bars around them are not among them.
fn payments(work: &Work) -> Vec<Payment> {
    let of = |(place, action): (usize, &Action)| {
        let amount = price(action.value).filter(|_| action.kind != Kind::Split)?;
        let scene = Scene::on(&work.bars, action.date)?;
        Some(Payment { action: place, date: action.date, kind: action.kind, amount, scene })
    };
    let mut found: Vec<Payment> = work.actions.iter().enumerate().filter_map(of).collect();
    found.sort_by_key(|it| (it.date, it.action));
    found
}

/// The dividends around one, without itself: half of them before and half after, or what there is.
fn peers(dividends: &[Payment], place: usize) -> impl Iterator<Item = &Payment> {
    let last = dividends.len().saturating_sub(PEERS + 1);
    let from = place.saturating_sub(PEERS / 2).min(last);
    let to = (from + PEERS + 1).min(dividends.len());
    (from..to).filter(move |it| *it != place).filter_map(|it| dividends.get(it))
}

/// Whether the price has confirmed payments of the size before or after, clearly more often than it has denied them.
///
/// Then a day on which it denies one is the day of other news.
fn is_known_payer(work: &Work, dividends: &[Payment], place: usize) -> bool {
    let Some(amount) = dividends.get(place).map(|it| it.amount) else { return false };
    let heard = peers(dividends, place)
        .filter(|it| is_within(it.amount, amount, LIKE) && it.scene.is_audible(it.amount, &work.bars));
    let (paid, denied) =
        heard.fold(
            (0, 0),
            |(paid, denied), it| {
                if it.scene.denies(it.amount) { (paid, denied + 1) } else { (paid + 1, denied) }
            },
        );
    paid > 2 * denied
}

fn is_within(a: f64, b: f64, times: f64) -> bool {
    (a / b).ln().abs() <= times.ln()
}

/// The payments of one bar each.
fn by_row(payments: &[Payment]) -> impl Iterator<Item = &[Payment]> {
    payments.chunk_by(|a, b| a.scene.row == b.scene.row)
}

/// The rows with one payment only.
fn single_rows(payments: &[Payment]) -> BTreeSet<usize> {
    by_row(payments).filter_map(|day| if let [only] = day { Some(only.scene.row) } else { None }).collect()
}

fn sum(payments: &[Payment], kind: Kind) -> f64 {
    payments.iter().filter(|it| it.kind == kind).map(|it| it.amount).sum()
}

/// Multiplies the corrections into the adjusted close, once for all.
fn adjust(work: &mut Work, mut steps: Vec<Step>) {
    steps.sort_by_key(|it| std::cmp::Reverse(it.row));
    let mut pending = steps.into_iter().peekable();
    let mut factor = 1.0;
    let mut why: Arc<str> = Arc::from("");
    for row in (0..work.bars.len()).rev() {
        while let Some(step) = pending.next_if(|it| it.row > row) {
            factor *= step.factor;
            why = Arc::from(step.why);
        }
        if factor != 1.0 {
            work.scale(row, Column::AdjClose, factor, Rule::Dividend, &why);
        }
    }
}

/// Notes a change of an action.
fn note(work: &mut Work, date: NaiveDate, before: Option<f64>, after: Option<f64>, why: &str) {
    let (rule, column, why) = (Rule::Dividend, Column::Dividend, Arc::from(why));
    work.repairs.push(Change { date, place: None, rule, column, before, after, why });
}

/// Takes actions out.
fn remove(work: &mut Work, gone: &[usize], why: &str) {
    for place in gone {
        if let Some((date, value)) = work.actions.get(*place).map(|it| (it.date, it.value)) {
            note(work, date, value, None, why);
        }
    }
    let gone: BTreeSet<usize> = gone.iter().copied().collect();
    let mut place = 0;
    work.actions.retain(|_| {
        place += 1;
        !gone.contains(&(place - 1))
    });
}
