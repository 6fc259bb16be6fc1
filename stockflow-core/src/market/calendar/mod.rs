//! Exchange calendars: on which days an exchange trades, from when to when, and when a bar is complete.
//!
//! [`Calendar::of`] finds one by MIC, by a common name or by Yahoo's `exchangeName`. Everything is a pure function over
//! a table that is compiled in; it knows more than fifty exchanges, crypto (`24/7`) and currencies (`24/5`).
//!
//! # What is unknown
//!
//! The table knows whole years, and not the same ones for each exchange ([`Calendar::years`]). Outside them every
//! answer is `None`: unknown, never "closed" and never "a gap". Hours may be known for fewer years than days
//! ([`Calendar::hours_since`]).
//!
//! # What is approximate
//!
//! * The close is that of continuous trading. Where a closing auction follows (London, Paris, Frankfurt, Hong Kong,
//!   Sydney), the price that providers call the day's close is known some 5 to 15 minutes later.
//! * Hours of past years are those the source knows. Some exchanges opened later, paused longer or closed earlier then;
//!   a close that is too late makes a bar known too late, which never looks ahead.
//! * A closure in the middle of a day (circuit breakers, outages) is not told; one that took the whole day is: Tokyo on
//!   2020-10-01 has no session, though it was to have one. India's hour of trade on Diwali evenings is none either.
//! * Where the source misses a later close, the close is too early: Korea on the day of the university entrance
//!   examination since 2021 (one hour).
//! * Years to come are what rules and announcements say today.
//!
//! # Source
//!
//! The Python package `exchange_calendars` (Apache License 2.0), by `scripts/calendars.py`.

mod closes;
mod data;
mod days;
mod gap;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Tz;

pub use closes::BarCloses;
pub use gap::Gaps;
pub use session::Session;

use crate::transform::Interval;
use days::Days;
use session::Hours;

/// One exchange's days and hours of trade.
///
/// ```
/// # fn example() -> Option<()> {
/// use chrono::NaiveDate;
/// use stockflow_core::market::calendar::Calendar;
///
/// let nyse = Calendar::of("NYSE")?;
/// let after_thanksgiving = NaiveDate::from_ymd_opt(2024, 11, 29)?;
/// assert_eq!(nyse.is_session(after_thanksgiving), Some(true));
/// assert_eq!(nyse.session(after_thanksgiving)?.close.to_string(), "2024-11-29 18:00:00 UTC");
/// assert_eq!(nyse.next_session(after_thanksgiving)?.to_string(), "2024-12-02");
/// assert_eq!(nyse.is_session(NaiveDate::from_ymd_opt(1929, 10, 29)?), None);
/// # Some(()) }
/// # example().unwrap();
/// ```
#[derive(Clone)]
pub struct Calendar {
    mic: &'static str,
    name: &'static str,
    aliases: Vec<&'static str>,
    zone: Tz,
    first: NaiveDate,
    last: NaiveDate,
    days: Days,
    /// The usual hours with the day from which they hold, in order.
    hours: Vec<(i32, Hours)>,
    /// Days with other hours, in order.
    special: Vec<(i32, Hours)>,
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Calendar({} {}..={})", self.mic, self.first, self.last)
    }
}

impl Calendar {
    /// The calendar of an exchange: by MIC (`XNYS`), common name (`NYSE`) or Yahoo's `exchangeName` (`NYQ`), in any
    /// case; `24/7` or `CCC` for crypto, `24/5` or `CCY` for currencies.
    ///
    /// `None` if nobody knows the name, or if it means two exchanges, such as `TSE` (Tokyo and Toronto).
    pub fn of(name: &str) -> Option<&'static Calendar> {
        data::find(name)
    }

    /// Every calendar.
    pub fn all() -> &'static [Calendar] {
        data::calendars()
    }

    /// Its code: the MIC, or `24/7` or `24/5`.
    pub fn mic(&self) -> &'static str {
        self.mic
    }

    /// The exchange's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The MIC and every other name that [`Calendar::of`] finds it by.
    pub fn all_names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.mic).chain(self.aliases.iter().copied())
    }

    /// The time zone of the exchange's dates and hours.
    pub fn time_zone(&self) -> Tz {
        self.zone
    }

    /// The years that are known, whole ones.
    pub fn years(&self) -> RangeInclusive<i32> {
        self.first.year()..=self.last.year()
    }

    /// The first day whose hours are known; `None` if no day's are.
    pub fn hours_since(&self) -> Option<NaiveDate> {
        self.hours.first().and_then(|(since, _)| date(*since))
    }

    /// Whether the table knows a day: whether it is in [`Calendar::years`].
    pub fn covers(&self, date: NaiveDate) -> bool {
        self.days.covers(date.num_days_from_ce())
    }

    /// Whether the exchange trades on a day; `None` if unknown.
    pub fn is_session(&self, date: NaiveDate) -> Option<bool> {
        self.days.contains(date.num_days_from_ce())
    }

    /// The first day of trade after this one; `None` if unknown.
    pub fn next_session(&self, date: NaiveDate) -> Option<NaiveDate> {
        // The day itself must be known: between an unknown day and the table's first session there may be others.
        self.is_session(date)?;
        self.days.at_or_after(date.num_days_from_ce().checked_add(1)?).and_then(self::date)
    }

    /// The last day of trade before this one; `None` if unknown.
    pub fn previous_session(&self, date: NaiveDate) -> Option<NaiveDate> {
        self.is_session(date)?;
        self.days.at_or_before(date.num_days_from_ce().checked_sub(1)?).and_then(self::date)
    }

    /// How many days of trade there are from one day to another, both included; 0 if `to` is before `from`, `None` if
    /// the table does not know both.
    pub fn sessions_between(&self, from: NaiveDate, to: NaiveDate) -> Option<i64> {
        let (start, end) = (from.num_days_from_ce(), to.num_days_from_ce());
        let here = i64::from(self.days.contains(start)?);
        let count = self.days.count(end)? - self.days.count(start)? + here;
        Some(if start <= end { count } else { 0 })
    }

    /// The days of trade from one day to another, both included, in order; `None` if the table does not know both.
    pub fn sessions(&self, from: NaiveDate, to: NaiveDate) -> Option<impl Iterator<Item = NaiveDate>> {
        (self.covers(from) && self.covers(to)).then(|| self.known_sessions(from, to))
    }

    /// The trading of a day; `None` if there is none, or if its hours are unknown.
    pub fn session(&self, date: NaiveDate) -> Option<Session> {
        let day = date.num_days_from_ce();
        self.days.contains(day)?.then_some(())?;
        let usual = self.usual_hours(day)?;
        let special = self.special.binary_search_by_key(&day, |(day, _)| *day).ok();
        let hours = special.and_then(|at| self.special.get(at)).map_or(usual, |(_, hours)| *hours);
        hours.on(date, self.zone, usual)
    }

    /// When the bar that is stamped `ts` is complete; `None` if unknown. See [`BarCloses::at`], which is faster for
    /// many.
    pub fn bar_closes_at(&self, ts: DateTime<Utc>, interval: Interval) -> Option<DateTime<Utc>> {
        BarCloses::new(self, interval).at(ts)
    }

    fn known_sessions(&self, from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDate> {
        let end = to.num_days_from_ce();
        let until = move |day: &i32| *day <= end;
        let first = self.days.at_or_after(from.num_days_from_ce()).filter(until);
        std::iter::successors(first, move |day| self.days.at_or_after(day.checked_add(1)?).filter(until))
            .filter_map(date)
    }

    fn usual_hours(&self, day: i32) -> Option<Hours> {
        let after = self.hours.partition_point(|(since, _)| *since <= day);
        self.hours.get(after.checked_sub(1)?).map(|(_, hours)| *hours)
    }

    /// The last day of trade in a span whose days are all known.
    fn last_session(&self, from: NaiveDate, to: NaiveDate) -> Option<NaiveDate> {
        if !self.covers(from) || !self.covers(to) {
            return None;
        }
        self.days.at_or_before(to.num_days_from_ce()).and_then(date).filter(|it| *it >= from)
    }

    /// Whether some sessions begin on the evening before their date.
    fn begins_the_evening_before(&self) -> bool {
        self.hours.iter().any(|(_, hours)| hours.open < 0)
    }
}

fn date(day: i32) -> Option<NaiveDate> {
    NaiveDate::from_num_days_from_ce_opt(day)
}
