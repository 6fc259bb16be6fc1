//! Units of the calendar: for ticks on the time axis and for summing up dense bars.

use chrono::{Datelike, NaiveDateTime, Timelike};

/// A stretch of time that begins at round times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Minutes(i64),
    Day,
    Week,
    Months(i64),
    Years(i64),
}

/// Every unit that a tick may stand for, finest first.
pub(super) const LADDER: [Unit; 22] = [
    Unit::Minutes(1),
    Unit::Minutes(5),
    Unit::Minutes(15),
    Unit::Minutes(30),
    Unit::Minutes(60),
    Unit::Minutes(120),
    Unit::Minutes(240),
    Unit::Day,
    Unit::Week,
    Unit::Months(1),
    Unit::Months(2),
    Unit::Months(3),
    Unit::Months(6),
    Unit::Years(1),
    Unit::Years(2),
    Unit::Years(5),
    Unit::Years(10),
    Unit::Years(20),
    Unit::Years(50),
    Unit::Years(100),
    Unit::Years(1_000),
    Unit::Years(100_000),
];

impl Unit {
    /// A number that two times share exactly if they lie in the same unit.
    pub(super) fn key(self, ts: NaiveDateTime) -> i64 {
        let day = i64::from(ts.num_days_from_ce());
        let month = i64::from(ts.year()) * 12 + i64::from(ts.month0());
        match self {
            Self::Minutes(n) => (day * 1440 + i64::from(ts.hour() * 60 + ts.minute())).div_euclid(n),
            Self::Day => day,
            // Day 1 of the common era was a Monday.
            Self::Week => (day - 1).div_euclid(7),
            Self::Months(n) => month.div_euclid(n),
            Self::Years(n) => i64::from(ts.year()).div_euclid(n),
        }
    }

    /// The unit named on the second line of the axis, to which labels of this one belong.
    pub(super) fn context(self) -> Option<Self> {
        match self {
            Self::Minutes(_) => Some(Self::Day),
            Self::Day | Self::Week => Some(Self::Months(1)),
            Self::Months(_) => Some(Self::Years(1)),
            Self::Years(_) => None,
        }
    }

    /// A tick's label: `09:30`, `4`, `Mar`, `2013`.
    pub(super) fn label(self, ts: NaiveDateTime) -> String {
        match self {
            Self::Minutes(_) => format!("{:02}:{:02}", ts.hour(), ts.minute()),
            Self::Day | Self::Week => ts.day().to_string(),
            Self::Months(_) => month_name(ts).to_owned(),
            Self::Years(_) => ts.year().to_string(),
        }
    }

    /// A context's label: `4 Mar 2013`, `Mar 2013`, `2013`.
    pub(super) fn context_label(self, ts: NaiveDateTime) -> String {
        match self {
            Self::Minutes(_) | Self::Day | Self::Week => {
                format!("{} {} {}", ts.day(), month_name(ts), ts.year())
            }
            Self::Months(_) => format!("{} {}", month_name(ts), ts.year()),
            Self::Years(_) => ts.year().to_string(),
        }
    }

    /// Pixels that a label of this unit needs with the space around it.
    pub(super) fn label_room(self) -> f64 {
        match self {
            Self::Minutes(_) => 62.0,
            Self::Day | Self::Week => 44.0,
            Self::Months(_) => 56.0,
            Self::Years(_) => 62.0,
        }
    }

    /// In words: `15 minutes`, `week`, `3 months`.
    pub(super) fn name(self) -> String {
        let (n, word) = match self {
            Self::Minutes(n) if n % 60 == 0 => (n / 60, "hour"),
            Self::Minutes(n) => (n, "minute"),
            Self::Day => (1, "day"),
            Self::Week => (1, "week"),
            Self::Months(3) => (1, "quarter"),
            Self::Months(n) => (n, "month"),
            Self::Years(n) => (n, "year"),
        };
        if n == 1 { word.to_owned() } else { format!("{n} {word}s") }
    }
}

fn month_name(ts: NaiveDateTime) -> &'static str {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES.get(ts.month0() as usize).copied().unwrap_or("")
}

/// How many runs of equal units the times make.
pub(super) fn runs(unit: Unit, times: impl Iterator<Item = NaiveDateTime>) -> usize {
    let mut last = None;
    times
        .filter(|ts| {
            let key = Some(unit.key(*ts));
            let is_new = key != last;
            last = key;
            is_new
        })
        .count()
}
