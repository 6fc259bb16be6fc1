//! How long a bar is, read off its `interval`.

use chrono::{DateTime, Months, Utc};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The length of a bar: months vary, the rest is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Micros(i64),
    Months(u32),
}

impl Length {
    /// `5m`, `1h`, `1d`, `1wk`, `1mo`, `1y`; `None` if it is none of these.
    pub(super) fn parse(interval: &str) -> Option<Self> {
        let digits = interval.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = interval.split_at(digits);
        let count: u32 = if count.is_empty() { 1 } else { count.parse().ok()? };
        let micros = |unit: i64| Some(Self::Micros(unit.checked_mul(i64::from(count))?));
        match unit {
            "s" | "sec" => micros(SECOND),
            "m" | "min" => micros(60 * SECOND),
            "h" | "hr" => micros(3600 * SECOND),
            "d" | "day" => micros(DAY),
            "wk" | "w" => micros(7 * DAY),
            "mo" | "M" => Some(Self::Months(count)),
            "q" => Some(Self::Months(count.checked_mul(3)?)),
            "y" => Some(Self::Months(count.checked_mul(12)?)),
            _ => None,
        }
    }

    /// Whether such a bar is shorter than a day.
    pub(super) fn is_intraday(self) -> bool {
        matches!(self, Self::Micros(micros) if micros < DAY)
    }

    /// When a bar that opens at `ts` (µs since 1970, UTC) closes.
    pub(super) fn close(self, ts: i64) -> Option<i64> {
        match self {
            Self::Micros(micros) => ts.checked_add(micros),
            Self::Months(months) => DateTime::<Utc>::from_timestamp_micros(ts)?.checked_add_months(Months::new(months)).map(|close| close.timestamp_micros()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_usual_intervals() {
        assert_eq!(Length::parse("5m"), Some(Length::Micros(300 * SECOND)));
        assert_eq!(Length::parse("1mo"), Some(Length::Months(1)));
        assert_eq!(Length::parse("1wk"), Some(Length::Micros(7 * DAY)));
        assert_eq!(Length::parse("x"), None);
        assert_eq!(Length::parse("7"), None);
        assert_eq!(Length::parse("1h").map(Length::is_intraday), Some(true));
        assert_eq!(Length::parse("1d").map(Length::is_intraday), Some(false));
        assert_eq!(Length::Months(1).close(0), Some(31 * DAY));
    }
}
