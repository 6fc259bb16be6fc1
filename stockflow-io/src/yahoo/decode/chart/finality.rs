//! Which bars are finished.
//!
//! A bar is finished when its end has passed and Yahoo knows of it. Quotes of many exchanges come up to half an hour late, so
//! the clock alone does not tell: either a trade after the end has been seen, or a later bar, or half an hour has gone by.
//!
//! Never finished: the latest price that Yahoo appends as a row, behind the asked range, off the grid of the intervals, or flat
//! and outside every listed session. A row wrongly held back comes with the next reply; one wrongly let through is stored.
//! Within the day it is given the stamp of the bar that it belongs to: a key of its own would stay for ever.

use chrono::{DateTime, Days, Duration, Months, NaiveDate, Utc};

use super::facts::{Facts, Period};
use super::rows::Row;
use super::session::Sessions;
use super::{ChartRequest, Zone};
use stockflow_core::transform::{Interval, IntervalUnit};

/// How late quotes may come.
const DELAY: Duration = Duration::minutes(30);

#[derive(Debug)]
pub(super) struct Finality<'a> {
    facts: &'a Facts,
    request: &'a ChartRequest,
    sessions: &'a Sessions,
    /// The local date of `as_of`.
    today: NaiveDate,
    /// The local date of the running or next session.
    session_date: Option<NaiveDate>,
}

impl<'a> Finality<'a> {
    pub(super) fn new(facts: &'a Facts, request: &'a ChartRequest, zone: Zone, sessions: &'a Sessions) -> Self {
        let session_date = facts.regular.map(|period| zone.date(period.start));
        Self { facts, request, sessions, today: zone.date(request.as_of), session_date }
    }

    /// Flags the rows, which are in the order of time; says whether the last one is an appended latest price.
    pub(super) fn mark(&self, rows: &mut [Row]) -> bool {
        let is_live = self.is_live(rows);
        if let Some((last, before)) = rows.split_last_mut().filter(|_| is_live && self.request.interval.is_intraday()) {
            last.at = self.on_grid(last, before);
        }
        let last_priced = rows.iter().rposition(Row::has_price).unwrap_or(0);
        let latest = rows.get(last_priced).map(|row| row.at);
        let last_idx = rows.len().saturating_sub(1);
        for (idx, row) in rows.iter_mut().enumerate() {
            // Another row of the same bar tells nothing of its end.
            let has_later = idx < last_priced && latest != Some(row.at);
            row.is_final = self.is_over(row, has_later) && !(is_live && idx == last_idx);
        }
        is_live
    }

    /// When the bar begins that the latest price belongs to.
    fn on_grid(&self, live: &Row, before: &[Row]) -> DateTime<Utc> {
        let width = self.request.interval.seconds().unwrap_or(60).max(1);
        let after = |start: DateTime<Utc>| start + Duration::seconds((live.at - start).num_seconds() / width * width);
        let newest = before.last().filter(|row| row.at <= live.at);
        let within = newest.filter(|row| (live.at - row.at).num_seconds() < width);
        let is_quote = live.at.timestamp() % 60 != 0 || live.is_flat();
        match (within, self.sessions.listed_at(live.at)) {
            (Some(row), _) => row.at,
            // On a full minute, with prices and a volume: a bar behind a break that is not of its width.
            _ if !is_quote => live.at,
            (None, Some((period, _))) => after(period.start),
            (None, None) => match newest.filter(|row| row.date == live.date) {
                Some(row) => after(row.at),
                None => self.facts.regular.filter(|it| it.contains(live.at)).map_or(live.at, |it| after(it.start)),
            },
        }
    }

    /// Whether the last row is no bar but the latest price.
    fn is_live(&self, rows: &[Row]) -> bool {
        let Some((last, before)) = rows.split_last() else { return false };
        if self.request.end.is_some_and(|end| last.at > end) {
            return true;
        }
        if !self.request.interval.is_intraday() {
            // The running day has the time of its last trade for a stamp. Later it means that the day saw one trade only.
            return self.facts.last_trade == Some(last.at) && self.today <= last.date;
        }
        let listed = self.sessions.listed_at(last.at);
        if listed.is_some_and(|(period, _)| period.start == last.at) {
            return false;
        }
        let width = self.request.interval.seconds().unwrap_or(60);
        let step = before.last().map_or(0, |row| (last.at - row.at).num_seconds());
        let is_off_grid = last.at.timestamp() % 60 != 0 || step % width != 0;
        is_off_grid || (self.sessions.are_listed() && listed.is_none() && last.is_flat())
    }

    fn is_over(&self, row: &Row, has_later: bool) -> bool {
        // A row behind the asked range is there by chance, and not for long.
        if self.request.end.is_some_and(|end| row.at > end) {
            return false;
        }
        let interval = self.request.interval;
        if interval.is_intraday() {
            return self.is_past(self.end_of(row), has_later);
        }
        if interval == Interval::DAY {
            return match self.facts.regular.zip(self.session_date) {
                Some((period, date)) if date == row.date => self.is_past(close_of(period), has_later),
                Some((_, date)) if date > row.date => true,
                _ => self.today > row.date,
            };
        }
        next_first_day(row.date, interval)
            .is_some_and(|next| self.today >= next || self.session_date.is_some_and(|date| date >= next))
    }

    fn end_of(&self, row: &Row) -> DateTime<Utc> {
        let end = row.at + Duration::seconds(self.request.interval.seconds().unwrap_or(60));
        match self.sessions.listed_at(row.at) {
            Some((period, _)) => end.min(period.end),
            None => end,
        }
    }

    fn is_past(&self, end: DateTime<Utc>, has_later: bool) -> bool {
        let as_of = self.request.as_of;
        let is_seen = has_later || self.facts.last_trade.is_some_and(|last| last >= end);
        end <= as_of && (is_seen || end + DELAY <= as_of)
    }
}

/// The end of a day's trading; around the clock it is midnight, which Yahoo gives as a minute before.
fn close_of(period: Period) -> DateTime<Utc> {
    if period.is_all_day() { period.end.max(period.start + Duration::days(1)) } else { period.end }
}

/// The first day after a bar.
pub(super) fn next_first_day(date: NaiveDate, interval: Interval) -> Option<NaiveDate> {
    let n = interval.n();
    match interval.unit() {
        // Five trading days are a week.
        IntervalUnit::Day if n > 1 => date.checked_add_days(Days::new(u64::from(n) + 2)),
        IntervalUnit::Week => date.checked_add_days(Days::new(7 * u64::from(n))),
        IntervalUnit::Month => date.checked_add_months(Months::new(n)),
        IntervalUnit::Year => date.checked_add_months(Months::new(12 * n)),
        _ => date.succ_opt(),
    }
}
