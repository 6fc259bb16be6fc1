//! How far a symbol has come: from which date on its bars were asked for, and up to which moment.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};

use super::CONNECTOR;

/// A symbol's position: `2020-01-01..2024-06-28T20:00:00Z`, or `..2024-06-28T20:00:00Z` from its first bar on; with ` stooq`
/// behind it, if another provider than Yahoo served it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The first date that was asked for; `None` is all there is.
    pub(super) from: Option<NaiveDate>,
    /// Everything that was finished then has been read.
    pub(super) upto: DateTime<Utc>,
    /// Which provider has served it.
    pub(super) provider: String,
}

impl Position {
    /// Whether an earlier start is covered.
    pub(super) fn covers(&self, from: Option<NaiveDate>) -> bool {
        match (self.from, from) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(from)) => own <= from,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(from) = self.from {
            write!(f, "{from}")?;
        }
        write!(f, "..{}", self.upto.to_rfc3339_opts(SecondsFormat::Secs, true))?;
        if self.provider != CONNECTOR {
            write!(f, " {}", self.provider)?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no position of a symbol; it looks like `2020-01-01..2024-06-28T20:00:00Z`");
        let (from, upto) = text.split_once("..").ok_or_else(wrong)?;
        let from = match from {
            "" => None,
            date => Some(date.parse().map_err(|_| wrong())?),
        };
        let (upto, provider) = upto.split_once(' ').unwrap_or((upto, CONNECTOR));
        Ok(Self { from, upto: upto.parse().map_err(|_| wrong())?, provider: provider.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for text in ["2020-01-01..2024-06-28T20:00:00Z", "..2024-06-28T20:00:00Z", "..2024-06-28T20:00:00Z stooq"] {
            assert_eq!(text.parse::<Position>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "2024-06-28", "x..2024-06-28T20:00:00Z", "2020-01-01..later"] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_earlier_start_is_not_covered() {
        let of = |text: &str| text.parse::<Position>().ok();
        let (all, some) = (of("..2024-06-28T20:00:00Z"), of("2020-01-02..2024-06-28T20:00:00Z"));
        let day = |day| NaiveDate::from_ymd_opt(2020, 1, day);
        assert!(all.as_ref().is_some_and(|it| it.covers(None) && it.covers(day(1))));
        assert!(some.as_ref().is_some_and(|it| it.covers(day(2)) && !it.covers(day(1)) && !it.covers(None)));
    }
}
