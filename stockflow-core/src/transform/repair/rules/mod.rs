//! Undoes the errors that sources of prices are known for: pure functions over one series.
//!
//! A [`Series`] goes in, a [`Repaired`] comes out: the series and one [`Change`] for every value that was changed.
//! Nothing here knows a symbol, a source, a file or a clock.
//!
//! # Rules
//!
//! | rule | what it undoes | what it needs |
//! |---|---|---|
//! | [`calendar`](Rules::calendar) | bars on days without trade | [`Context::is_session`] |
//! | [`gap`](Rules::gap) | zeros that stand for "nothing" | finer bars, to do more than mark it |
//! | [`unit`](Rules::unit) | prices 100 times too large or too small | |
//! | [`split`](Rules::split) | a split not applied, applied twice, or applied to some bars only | the split among the actions |
//! | [`dividend`](Rules::dividend) | dividends wrong in amount, day or number, or missing from the adjusted close | the
//! dividends |
//!
//! They run in this order, each on what the one before has left, until nothing changes.
//!
//! # Basis
//!
//! Prices and volume adjusted for splits, dividends as well, `adj_close` adjusted for splits and dividends: what Yahoo
//! serves. Prices as traded must be split-adjusted first, or every split would be "repaired". `unit` and `gap` work on any
//! basis.
//!
//! # Guarantees
//!
//! Total: no input panics. Idempotent: a repaired series is repaired by nothing. A value is changed only if one
//! known error explains it; what has two explanations stays. Time is `O(n log n)` for `n` bars, and
//! `O(n)` more for each split.
//!
//! # What is not here
//!
//! Prices are never interpolated: a day without data has none. Errors without a shape, such as one bad tick, stay.

mod calendar;
mod dividend;
mod gap;
mod number;
mod split;
mod unit;

use std::fmt;
use std::sync::Arc;

use chrono::NaiveDate;

/// After so many rounds the series is given back as it came. Two errors on top of each other take two; more has not
/// been seen outside of random input.
const MOST_ROUNDS: usize = 8;

/// One bar. Every value may be missing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    /// Start, in microseconds since the Unix epoch, UTC.
    pub(crate) ts: i64,
    /// Trading date at the exchange.
    pub(crate) date: NaiveDate,
    /// First price.
    pub(crate) open: Option<f64>,
    /// Highest price.
    pub(crate) high: Option<f64>,
    /// Lowest price.
    pub(crate) low: Option<f64>,
    /// Last price.
    pub(crate) close: Option<f64>,
    /// Units traded.
    pub(crate) volume: Option<f64>,
    /// Close adjusted for splits and dividends.
    pub(crate) adj_close: Option<f64>,
}

/// What an [`Action`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A payment out of income.
    Dividend,
    /// A payment of a fund out of sold holdings.
    CapitalGain,
    /// New shares for old ones.
    Split,
}

/// A corporate action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Action {
    /// Ex-date: the first day on the new terms.
    pub(crate) date: NaiveDate,
    /// What it is.
    pub(crate) kind: Kind,
    /// Payment per share, for payments.
    pub(crate) value: Option<f64>,
    /// New shares, for splits.
    pub(crate) numerator: Option<f64>,
    /// Old shares, for splits.
    pub(crate) denominator: Option<f64>,
}

/// How wide the bars are, as far as the rules care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    /// Several a day.
    Intraday,
    /// One a trading day.
    Day,
    /// Weeks, months, quarters.
    Longer,
}

/// The bars and actions of one symbol, in any order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// The bars.
    pub(crate) bars: Vec<Bar>,
    /// The corporate actions that are known.
    pub(crate) actions: Vec<Action>,
    /// The width of the bars.
    pub(crate) width: Width,
}

/// Which rules run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Prices in another unit.
    pub(crate) unit: bool,
    /// Splits not applied or applied twice.
    pub(crate) split: bool,
    /// Dividends, and the adjusted close made of them.
    pub(crate) dividend: bool,
    /// Zeros and missing bars.
    pub(crate) gap: bool,
    /// Bars on days without trade.
    pub(crate) calendar: bool,
}

impl Rules {
    /// Every rule.
    #[cfg(test)]
    pub(crate) const ALL: Self = Self { unit: true, split: true, dividend: true, gap: true, calendar: true };
    /// No rule.
    pub(crate) const NONE: Self = Self { unit: false, split: false, dividend: false, gap: false, calendar: false };
}

impl FromIterator<Rule> for Rules {
    fn from_iter<T: IntoIterator<Item = Rule>>(list: T) -> Self {
        let mut rules = Self::NONE;
        for rule in list {
            match rule {
                Rule::Unit => rules.unit = true,
                Rule::Split => rules.split = true,
                Rule::Dividend => rules.dividend = true,
                Rule::Gap => rules.gap = true,
                Rule::Calendar => rules.calendar = true,
            }
        }
        rules
    }
}

/// What is known besides the series.
#[derive(Clone, Copy, Default)]
pub(crate) struct Context<'a> {
    /// Whether the exchange was open on a date; `None` where that is not known.
    pub(crate) is_session: Option<&'a dyn Fn(NaiveDate) -> Option<bool>>,
    /// Bars of the same symbol on the same basis, of a smaller width. May be empty.
    pub(crate) finer: &'a [Bar],
    /// Prices as traded, whose splits are not told: a step of 100 for good may be a split.
    pub(crate) may_have_splits: bool,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("is_session", &self.is_session.map(|_| "fn"))
            .field("finer", &self.finer.len())
            .field("may_have_splits", &self.may_have_splits)
            .finish()
    }
}

/// A rule of [`Repair`](super::Repair): one kind of error that it undoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Prices 100 times too large or too small: in another unit of the currency than the series.
    Unit,
    /// A split not applied, applied twice, or applied to some bars only.
    Split,
    /// Dividends wrong in amount, day or number, or missing from the adjusted close.
    Dividend,
    /// Zeros and values that are not finite, which stand for nothing, and bars that finer bars can give back.
    Gap,
    /// Bars on days without trade.
    Calendar,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 5] = [Self::Unit, Self::Split, Self::Dividend, Self::Gap, Self::Calendar];

    /// The word in pipeline files and in the relation of repairs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Split => "split",
            Self::Dividend => "dividend",
            Self::Gap => "gap",
            Self::Calendar => "calendar",
        }
    }
}

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Column {
    /// The open of a bar.
    Open,
    /// The high of a bar.
    High,
    /// The low of a bar.
    Low,
    /// The close of a bar.
    Close,
    /// The adjusted close of a bar.
    AdjClose,
    /// The volume of a bar.
    Volume,
    /// The amount of the dividends of a day: from or to none, if an action went or came.
    Dividend,
    /// A whole bar, which was taken out; `before` is its close.
    Row,
}

impl Column {
    /// The columns of prices, except the adjusted close.
    pub(crate) const PRICES: [Self; 4] = [Self::Open, Self::High, Self::Low, Self::Close];

    /// The name of the column.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::High => "high",
            Self::Low => "low",
            Self::Close => "close",
            Self::AdjClose => "adj_close",
            Self::Volume => "volume",
            Self::Dividend => "dividend",
            Self::Row => "row",
        }
    }
}

/// One value that was changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    /// The trading date of the bar, or the date of the action.
    pub(crate) date: NaiveDate,
    /// The place of the bar in the input; `None` for an action.
    pub(crate) place: Option<usize>,
    /// The rule.
    pub(crate) rule: Rule,
    /// The column.
    pub(crate) column: Column,
    /// The value that was served.
    pub(crate) before: Option<f64>,
    /// The value that stands there now.
    pub(crate) after: Option<f64>,
    /// The error that explains it, for people. Shared by all values of one error.
    pub(crate) why: Arc<str>,
}

/// A repaired series, and what was done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Repaired {
    /// The series. Bars are in the order in which they came.
    pub(crate) series: Series,
    /// Every change, in the order in which it was made.
    pub(crate) repairs: Vec<Change>,
    /// Whether the rules came to rest. If not, the series is none they understand, and is given back as it came.
    pub(crate) is_settled: bool,
}

/// Repairs a series.
pub(crate) fn repair(series: &Series, rules: Rules, context: Context<'_>) -> Repaired {
    let mut order: Vec<usize> = (0..series.bars.len()).collect();
    order.sort_by_key(|it| series.bars[*it].ts);
    let bars = order.iter().map(|it| series.bars[*it]).collect();
    let mut work = Work { bars, order, actions: series.actions.clone(), width: series.width, repairs: Vec::new() };
    for _ in 0..MOST_ROUNDS {
        let before = work.repairs.len();
        work.round(rules, context);
        if work.repairs.len() == before {
            return work.finish();
        }
    }
    Repaired { series: series.clone(), repairs: Vec::new(), is_settled: false }
}

/// A series under repair: bars in order of time, each with its place in the input.
#[derive(Debug)]
struct Work {
    bars: Vec<Bar>,
    order: Vec<usize>,
    actions: Vec<Action>,
    width: Width,
    repairs: Vec<Change>,
}

impl Work {
    fn round(&mut self, rules: Rules, context: Context<'_>) {
        if rules.calendar {
            calendar::apply(self, context);
        }
        if rules.gap {
            gap::apply(self, context);
        }
        if rules.split {
            // A split of 100 is no unit: those that could be mistaken for one come first.
            split::apply(self, split::Size::LikeUnits);
        }
        if rules.unit {
            unit::apply(self, context);
        }
        if rules.split {
            split::apply(self, split::Size::Any);
        }
        if rules.dividend {
            dividend::apply(self);
        }
    }

    /// Writes a value and notes it. Writing what is there already is no repair.
    fn set(&mut self, row: usize, column: Column, after: Option<f64>, rule: Rule, why: &Arc<str>) {
        let Some(bar) = self.bars.get_mut(row) else { return };
        let Some(cell) = bar.cell(column) else { return };
        let before = *cell;
        if before == after {
            return;
        }
        *cell = after;
        let (date, place) = (bar.date, self.order.get(row).copied());
        self.repairs.push(Change { date, place, rule, column, before, after, why: Arc::clone(why) });
    }

    /// Multiplies a value, if there is one and the product is a price.
    fn scale(&mut self, row: usize, column: Column, factor: f64, rule: Rule, why: &Arc<str>) {
        let Some(bar) = self.bars.get(row) else { return };
        let after = number::price(bar.get(column)).map(|it| it * factor);
        if number::price(after).is_some() {
            self.set(row, column, after, rule, why);
        }
    }

    fn finish(self) -> Repaired {
        let mut placed: Vec<(usize, Bar)> = self.order.into_iter().zip(self.bars).collect();
        placed.sort_by_key(|(place, _)| *place);
        let bars = placed.into_iter().map(|(_, bar)| bar).collect();
        let series = Series { bars, actions: self.actions, width: self.width };
        Repaired { series, repairs: self.repairs, is_settled: true }
    }
}

impl Bar {
    fn get(&self, column: Column) -> Option<f64> {
        match column {
            Column::Open => self.open,
            Column::High => self.high,
            Column::Low => self.low,
            Column::Close => self.close,
            Column::AdjClose => self.adj_close,
            Column::Volume => self.volume,
            Column::Dividend | Column::Row => None,
        }
    }

    fn cell(&mut self, column: Column) -> Option<&mut Option<f64>> {
        match column {
            Column::Open => Some(&mut self.open),
            Column::High => Some(&mut self.high),
            Column::Low => Some(&mut self.low),
            Column::Close => Some(&mut self.close),
            Column::AdjClose => Some(&mut self.adj_close),
            Column::Volume => Some(&mut self.volume),
            Column::Dividend | Column::Row => None,
        }
    }
}

#[cfg(test)]
mod tests;
