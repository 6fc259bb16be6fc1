//! When a bar is complete, and so known.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::Calendar;
use super::session::{local_date, midnight};
use crate::transform::{Interval, IntervalUnit};

/// When the bars of one exchange and one interval are complete.
///
/// It remembers the day or period of the last bar: bars that are sorted by time, or nearly so, cost a comparison each.
#[derive(Debug, Clone)]
pub struct BarCloses<'a> {
    calendar: &'a Calendar,
    interval: Interval,
    width: Option<TimeDelta>,
    last: Span,
}

/// A span of stamps `from..until` that have the same rule.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    rule: Rule,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Nothing is known of these days.
    Unknown,
    /// All bars of the span end together.
    Together(DateTime<Utc>),
    /// A bar ends by its width, and at this point at the latest.
    ByWidth(DateTime<Utc>),
}

impl<'a> BarCloses<'a> {
    /// For the bars of an exchange.
    pub fn new(calendar: &'a Calendar, interval: Interval) -> Self {
        let width = interval.seconds().and_then(TimeDelta::try_seconds);
        let nowhere = DateTime::<Utc>::UNIX_EPOCH;
        Self { calendar, interval, width, last: Span { from: nowhere, until: nowhere, rule: Rule::Unknown } }
    }

    /// When the bar that is stamped `ts` is complete; `None` if unknown.
    ///
    /// * Within the day: `ts` and the interval, but no later than the session's close. Bars before the open and after
    ///   the close end by their interval alone, as do bars on days without trade.
    /// * A day and more: `ts` is midnight UTC of a trading date (a bar's `ts`, not the stamp of a provider). The bar
    ///   ends with the close of the last session of its period: the day for `1d`, five days from `ts` on for `5d`, the
    ///   week that begins on Monday for `1wk`, the calendar month, or that and the next two, for `1mo` and `3mo`, the
    ///   year for `1y`. Half days close early.
    ///
    /// Unknown are days outside [`Calendar::years`] (for longer bars: if any day of the period is) or before
    /// [`Calendar::hours_since`], and periods without any trade.
    pub fn at(&mut self, ts: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if ts < self.last.from || ts >= self.last.until {
            self.last = if self.interval.is_intraday() { self.part_of_day(ts) } else { self.period(ts) }?;
        }
        match self.last.rule {
            Rule::Unknown => None,
            Rule::Together(close) => Some(close),
            Rule::ByWidth(latest) => ts.checked_add_signed(self.width?).map(|it| it.min(latest)),
        }
    }

    /// The part of a local day around `ts` in which one rule holds.
    fn part_of_day(&self, ts: DateTime<Utc>) -> Option<Span> {
        let zone = self.calendar.zone;
        let date = local_date(zone, ts)?;
        let next = date.succ_opt()?;
        let (from, until) = (midnight(zone, date)?, midnight(zone, next)?);
        let has_hours = self.calendar.hours_since().is_some_and(|it| it <= date);
        let Some(trades) = self.calendar.is_session(date).filter(|_| has_hours) else {
            return Some(Span { from, until, rule: Rule::Unknown });
        };
        let close = if trades { Some(self.calendar.session(date)?.close) } else { None };
        if let Some(close) = close.filter(|it| ts < *it) {
            return Some(Span { from, until: close, rule: Rule::ByWidth(close) });
        }
        let from = close.unwrap_or(from);
        let evening = self.calendar.begins_the_evening_before().then(|| self.calendar.session(next)).flatten();
        Some(match evening.filter(|it| it.open < until) {
            Some(it) if it.open <= ts => Span { from: from.max(it.open), until, rule: Rule::ByWidth(it.close) },
            Some(it) => Span { from, until: it.open, rule: Rule::ByWidth(DateTime::<Utc>::MAX_UTC) },
            None => Span { from, until, rule: Rule::ByWidth(DateTime::<Utc>::MAX_UTC) },
        })
    }

    /// The days of a longer bar; every stamp within one day, week, month or year has the same.
    fn period(&self, ts: DateTime<Utc>) -> Option<Span> {
        let (date, unit) = (ts.date_naive(), self.interval.unit());
        let (first, after) = days_of(date, unit, self.interval.n())?;
        let last = self.calendar.last_session(first, after.pred_opt()?);
        let close = last.and_then(|it| self.calendar.session(it)).map(|it| it.close);
        let (from, until) = days_of(date, unit, 1)?;
        let start = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        Some(Span { from: start(from), until: start(until), rule: close.map_or(Rule::Unknown, Rule::Together) })
    }
}

/// The days of `n` units around or from a date: the first one and the one after the last.
fn days_of(date: NaiveDate, unit: IntervalUnit, n: u32) -> Option<(NaiveDate, NaiveDate)> {
    let (first, months) = match unit {
        IntervalUnit::Week => {
            let monday = date.checked_sub_days(Days::new(date.weekday().num_days_from_monday().into()))?;
            return Some((monday, monday.checked_add_days(Days::new(u64::from(n) * 7))?));
        }
        IntervalUnit::Month => (date.with_day(1)?, n),
        IntervalUnit::Year => (date.with_ordinal(1)?, n.checked_mul(12)?),
        _ => return Some((date, date.checked_add_days(Days::new(n.into()))?)),
    };
    Some((first, first.checked_add_months(Months::new(months))?))
}
