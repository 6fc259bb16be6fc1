//! A bar's width: `1m`, `1h`, `1d`, `1wk`, `1mo`.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A bar's width: a number and a unit.
///
/// Written as `5m`, `1h`, `1d`, `1wk`, `3mo`, `1y`; read in many more spellings (`5min`, `1H`, `daily`, `1D`, `1week`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    unit: IntervalUnit,
    n: u32,
}

/// The unit of an [`Interval`], from the shortest to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IntervalUnit {
    /// Seconds, `s`.
    Second,
    /// Minutes, `m`.
    Minute,
    /// Hours, `h`.
    Hour,
    /// Days, `d`.
    Day,
    /// Weeks that begin on Monday, `wk`.
    Week,
    /// Calendar months, `mo`.
    Month,
    /// Calendar years, `y`.
    Year,
}

use IntervalUnit as Unit;

impl Interval {
    /// One day.
    pub const DAY: Self = Self { unit: Unit::Day, n: 1 };
    /// One week.
    pub const WEEK: Self = Self { unit: Unit::Week, n: 1 };
    /// One month.
    pub const MONTH: Self = Self { unit: Unit::Month, n: 1 };

    /// `n` of a unit.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if `n` is 0 or above 10000.
    pub fn new(n: u32, unit: IntervalUnit) -> Result<Self, Error> {
        if !(1..=10_000).contains(&n) {
            return Err(Error::parameter("bars", "interval", format!("{n} is not in 1..=10000")));
        }
        // One way to write a width, so that equal widths are equal in the key.
        Ok(match (n, unit) {
            (n, Unit::Second) if n % 60 == 0 => Self::new(n / 60, Unit::Minute)?,
            (n, Unit::Minute) if n % 60 == 0 => Self::new(n / 60, Unit::Hour)?,
            (n, Unit::Hour) if n % 24 == 0 => Self::new(n / 24, Unit::Day)?,
            (7, Unit::Day) => Self::WEEK,
            (n, Unit::Month) if n % 12 == 0 => Self { n: n / 12, unit: Unit::Year },
            (n, unit) => Self { n, unit },
        })
    }

    /// The number before the unit.
    pub fn n(self) -> u32 {
        self.n
    }

    /// The unit.
    pub fn unit(self) -> IntervalUnit {
        self.unit
    }

    /// Whether it is shorter than a day: such bars are stamped with a time of day.
    pub fn is_intraday(self) -> bool {
        self.unit < Unit::Day
    }

    /// Its length in seconds; months and years have none.
    pub fn seconds(self) -> Option<i64> {
        let unit = match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
            Unit::Day => 86_400,
            Unit::Week => 7 * 86_400,
            Unit::Month | Unit::Year => return None,
        };
        Some(i64::from(self.n) * unit)
    }

    /// Whether bars of this width can be put together from bars of the other one without cutting any in two.
    pub fn is_made_of(self, other: Interval) -> bool {
        if self == other {
            return false;
        }
        let whole = match (self.seconds(), other.seconds()) {
            (Some(own), Some(part)) => own % part == 0,
            // Months and years begin on a day, but not on a Monday.
            (None, Some(part)) => other.unit <= Unit::Day && (86_400 % part == 0),
            (None, None) => self.months().is_multiple_of(other.months()),
            (Some(_), None) => false,
        };
        whole && self.length() > other.length()
    }

    fn months(self) -> u32 {
        if self.unit == Unit::Year { self.n * 12 } else { self.n }
    }

    /// A length to compare by, in seconds.
    fn length(self) -> i64 {
        self.seconds().unwrap_or_else(|| i64::from(self.months()) * 2_629_746)
    }

    /// How many such bars a year has, for scaling volatility: 252 days, 52 weeks, 12 months; intraday by sessions of 6.5 hours.
    pub fn per_year(self) -> f64 {
        let n = f64::from(self.n);
        match self.unit {
            Unit::Second => 252.0 * 23_400.0 / n,
            Unit::Minute => 252.0 * 390.0 / n,
            Unit::Hour => 252.0 * 6.5 / n,
            Unit::Day => 252.0 / n,
            Unit::Week => 52.0 / n,
            Unit::Month => 12.0 / n,
            Unit::Year => 1.0 / n,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => "s",
            Unit::Minute => "m",
            Unit::Hour => "h",
            Unit::Day => "d",
            Unit::Week => "wk",
            Unit::Month => "mo",
            Unit::Year => "y",
        };
        write!(f, "{}{unit}", self.n)
    }
}

impl FromStr for Interval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || {
            Error::parameter(
                "bars",
                "interval",
                format!("`{text}` is no interval; write `1m`, `5m`, `1h`, `1d`, `1wk`, `1mo`"),
            )
        };
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, word) = trimmed.split_at(split);
        let n = if digits.is_empty() { 1 } else { digits.parse().map_err(|_| refuse())? };
        // `M` is a month to some and a minute to others: only the small letter is understood.
        let unit = match word.trim() {
            "m" => Unit::Minute,
            "M" => {
                return Err(Error::parameter(
                    "bars",
                    "interval",
                    format!("`{text}` may be minutes or months; write `{n}m` or `{n}mo`"),
                ));
            }
            other => match other.to_ascii_lowercase().as_str() {
                "s" | "sec" | "second" | "seconds" => Unit::Second,
                "min" | "mins" | "minute" | "minutes" => Unit::Minute,
                "h" | "hr" | "hour" | "hours" | "hourly" => Unit::Hour,
                "d" | "day" | "days" | "daily" => Unit::Day,
                "w" | "wk" | "week" | "weeks" | "weekly" => Unit::Week,
                "mo" | "mon" | "month" | "months" | "monthly" => Unit::Month,
                "y" | "yr" | "year" | "years" | "yearly" => Unit::Year,
                _ => return Err(refuse()),
            },
        };
        if n == 0 { Err(refuse()) } else { Self::new(n, unit) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<Interval>().unwrap().to_string(), expected, "{text}");
    }

    #[test]
    fn reads_the_usual_spellings_and_writes_one() {
        for (text, expected) in [
            ("1d", "1d"),
            ("daily", "1d"),
            ("D", "1d"),
            ("5min", "5m"),
            ("60m", "1h"),
            ("24h", "1d"),
            ("7d", "1wk"),
            ("W", "1wk"),
            ("1Week", "1wk"),
            ("3mo", "3mo"),
            ("12mo", "1y"),
            ("90s", "90s"),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn refuses_what_has_no_meaning_or_two() {
        for text in ["", "0d", "1M", "d1", "1.5h", "99999d", "fortnight", "-1d", "99999999999999999999d"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn knows_what_can_be_put_together() {
        let of = |a: &str, b: &str| a.parse::<Interval>().unwrap().is_made_of(b.parse().unwrap());
        assert!(
            of("1wk", "1d")
                && of("1mo", "1d")
                && of("1h", "5m")
                && of("1d", "1m")
                && of("1y", "3mo")
                && of("1mo", "1h")
        );
        assert!(
            !of("1mo", "1wk")
                && !of("1d", "1d")
                && !of("1d", "1wk")
                && !of("1h", "25m")
                && !of("2mo", "3mo")
                && !of("1mo", "7h")
        );
    }
}
