//! The table of calendars, read once from the text that is compiled in.
//!
//! `data/calendars.txt` is made by `scripts/calendars.py`. Its lines belong to the `exchange` above them; days are
//! local.
//!
//! | line | meaning |
//! |---|---|
//! | `exchange MIC NAME` | begins a calendar |
//! | `names A B C` | other names it is found by |
//! | `zone ZONE` | IANA name of the time zone of all its times |
//! | `years FIRST LAST` | the years that are known, both included |
//! | `week DATE 12345` | the days of trade in a usual week (1 is Monday) from `DATE` on |
//! | `hours DATE HOURS` | the usual hours from `DATE` on; before the first such line hours are unknown |
//! | `closed YEAR MMDD …` | days without trade, though usual ones |
//! | `open YEAR MMDD …` | days of trade, though not usual ones |
//! | `at YEAR HOURS MMDD …` | days with other hours |
//!
//! `HOURS` are `09:30-16:00`, with a pause for lunch `09:00-11:30/12:30-15:00`, and `<17:00` is on the day before.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use chrono::{Datelike, NaiveDate};
use chrono_tz::Tz;

use super::Calendar;
use super::days::Days;
use super::session::Hours;

static TEXT: &str = include_str!("data/calendars.txt");

/// All calendars and how they are found.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    // A test reads the same text, so it is never refused here.
    let calendars = parse(TEXT).unwrap_or_default();
    let by_name =
        calendars.iter().enumerate().flat_map(|(at, it)| it.all_names().map(move |name| (name, at))).collect();
    Table { calendars, by_name }
});

struct Table {
    calendars: Vec<Calendar>,
    by_name: HashMap<&'static str, usize>,
}

pub(super) fn calendars() -> &'static [Calendar] {
    &TABLE.calendars
}

pub(super) fn find(name: &str) -> Option<&'static Calendar> {
    let place = |name: &str| TABLE.by_name.get(name).and_then(|at| TABLE.calendars.get(*at));
    // Most ask by the code as it is.
    place(name).or_else(|| place(&name.trim().to_ascii_uppercase()))
}

fn parse(text: &'static str) -> Result<Vec<Calendar>, String> {
    let mut calendars = Vec::new();
    let mut draft: Option<Draft> = None;
    for (number, line) in text.lines().enumerate().filter(|(_, it)| !it.is_empty() && !it.starts_with('#')) {
        let refuse = || format!("line {}: `{line}`", number + 1);
        let (word, rest) = line.split_once(' ').ok_or_else(refuse)?;
        if word == "exchange" {
            calendars.extend(draft.take().map(Draft::finish).transpose()?);
            draft = Some(Draft::new(rest).ok_or_else(refuse)?);
        } else {
            draft.as_mut().and_then(|it| it.read(word, rest)).ok_or_else(refuse)?;
        }
    }
    calendars.extend(draft.map(Draft::finish).transpose()?);
    Ok(calendars)
}

/// A calendar of which some lines are still to come.
#[derive(Default)]
struct Draft {
    mic: &'static str,
    name: &'static str,
    names: Vec<&'static str>,
    zone: Tz,
    years: Option<(i32, i32)>,
    weeks: Vec<(i32, &'static str)>,
    hours: Vec<(i32, Hours)>,
    special: Vec<(i32, Hours)>,
    closed: HashSet<i32>,
    open: HashSet<i32>,
}

impl Draft {
    fn new(rest: &'static str) -> Option<Self> {
        let (mic, name) = rest.split_once(' ')?;
        Some(Self { mic, name, zone: Tz::UTC, ..Self::default() })
    }

    fn read(&mut self, word: &str, rest: &'static str) -> Option<()> {
        let mut items = rest.split(' ');
        match word {
            "names" => self.names = items.collect(),
            "zone" => self.zone = rest.parse().ok()?,
            "years" => self.years = Some((items.next()?.parse().ok()?, items.next()?.parse().ok()?)),
            "week" => self.weeks.push((date(items.next()?)?, items.next()?)),
            "hours" => self.hours.push((date(items.next()?)?, hours(items.next()?)?)),
            "closed" => self.closed.extend(year_days(items.next()?, items)?),
            "open" => self.open.extend(year_days(items.next()?, items)?),
            "at" => {
                let (year, hours) = (items.next()?, hours(items.next()?)?);
                self.special.extend(year_days(year, items)?.into_iter().map(|day| (day, hours)));
            }
            _ => return None,
        }
        Some(())
    }

    fn finish(mut self) -> Result<Calendar, String> {
        let refuse = || format!("calendar `{}` is incomplete", self.mic);
        let (first_year, last_year) = self.years.ok_or_else(refuse)?;
        let first = NaiveDate::from_ymd_opt(first_year, 1, 1).ok_or_else(refuse)?;
        let last = NaiveDate::from_ymd_opt(last_year, 12, 31).ok_or_else(refuse)?;
        if self.weeks.first().is_none_or(|(since, _)| *since > first.num_days_from_ce()) {
            return Err(refuse());
        }
        let days = Days::new(first.num_days_from_ce(), last.num_days_from_ce(), |day| self.is_session(day));
        self.special.sort_unstable_by_key(|(day, _)| *day);
        Ok(Calendar {
            mic: self.mic,
            name: self.name,
            aliases: self.names,
            zone: self.zone,
            first,
            last,
            days,
            hours: self.hours,
            special: self.special,
        })
    }

    fn is_session(&self, day: i32) -> bool {
        let mask = self.weeks.iter().rev().find(|(since, _)| *since <= day).map_or("", |(_, mask)| *mask);
        // Day 1 of the Common Era was a Monday.
        let usual =
            char::from_digit((day - 1).rem_euclid(7).unsigned_abs() + 1, 10).is_some_and(|it| mask.contains(it));
        (usual && !self.closed.contains(&day)) || self.open.contains(&day)
    }
}

fn date(text: &str) -> Option<i32> {
    text.parse::<NaiveDate>().ok().map(|it| it.num_days_from_ce())
}

fn year_days<'a>(year: &str, days: impl Iterator<Item = &'a str>) -> Option<Vec<i32>> {
    let year = year.parse().ok()?;
    let day = |text: &str| {
        let (month, day) = text.split_at_checked(2)?;
        Some(NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)?.num_days_from_ce())
    };
    days.map(day).collect()
}

fn hours(text: &str) -> Option<Hours> {
    let part = |text: &str| {
        let (from, to) = text.split_once('-')?;
        Some((minute(from)?, minute(to)?)).filter(|(from, to)| from < to)
    };
    let Some((morning, afternoon)) = text.split_once('/') else {
        let (open, close) = part(text)?;
        return Some(Hours { open, pause: None, close });
    };
    let ((open, pause), (resume, close)) = (part(morning)?, part(afternoon)?);
    (pause < resume).then_some(Hours { open, pause: Some((pause, resume)), close })
}

fn minute(text: &str) -> Option<i32> {
    let (text, before) = text.strip_prefix('<').map_or((text, 0), |it| (it, 1440));
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (i32, i32) = (hour.parse().ok()?, minute.parse().ok()?);
    ((0..=24).contains(&hour) && (0..60).contains(&minute)).then_some(hour * 60 + minute - before)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_table_is_well_formed_and_small() {
        let calendars = parse(TEXT).unwrap();
        assert_eq!(calendars.len(), super::calendars().len());
        assert!(calendars.len() >= 50, "{}", calendars.len());
        assert!(TEXT.len() < 200_000, "{}", TEXT.len());
        for it in &calendars {
            assert!(it.hours.is_sorted_by_key(|(since, _)| *since), "{}", it.mic);
            assert!(it.special.is_sorted_by(|a, b| a.0 < b.0), "{}: a day has two kinds of hours", it.mic);
            assert!(it.special.iter().all(|(day, _)| it.days.contains(*day) == Some(true)), "{}", it.mic);
        }
    }

    #[test]
    fn a_name_means_one_exchange() {
        let mut names: Vec<_> = super::calendars().iter().flat_map(Calendar::all_names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|it| **it == it.to_ascii_uppercase()));
    }

    #[test]
    fn a_bad_line_is_named() {
        let start = "exchange X Some\nyears 2000 2001\nweek 2000-01-01 12345\n";
        assert!(parse(start).is_ok());
        for bad in
            ["zone Nowhere", "closed 2000 1301", "hours 2000-01-01 16:00-09:30", "at 2000 9-10 0101", "x y", "open"]
        {
            let text: &'static str = format!("{start}{bad}\n").leak();
            assert_eq!(parse(text).unwrap_err(), format!("line 4: `{bad}`"));
        }
        assert_eq!(parse("closed 2000 0101").unwrap_err(), "line 1: `closed 2000 0101`");
        assert_eq!(parse("exchange X Some\nyears 2000 2001").unwrap_err(), "calendar `X` is incomplete");
    }

    #[test]
    fn hours_are_read() {
        assert_eq!(hours("09:30-16:00"), Some(Hours { open: 570, pause: None, close: 960 }));
        assert_eq!(hours("09:00-11:30/12:30-15:00"), Some(Hours { open: 540, pause: Some((690, 750)), close: 900 }));
        assert_eq!(hours("<17:00-17:00"), Some(Hours { open: -420, pause: None, close: 1020 }));
        assert_eq!(hours("00:00-24:00"), Some(Hours { open: 0, pause: None, close: 1440 }));
    }
}
