//! Stamps and the exchange's calendar.

use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, Offset, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::json::text;
use super::number::whole;

/// How long to wait by a `retry-after` header: seconds, or a date. `None` if it is neither.
pub fn retry_after(header: &str, now: DateTime<Utc>) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(header).ok()?;
    Some(until.signed_duration_since(now).to_std().unwrap_or(Duration::ZERO))
}

/// A point in time that can be one of a market: within the years 1800 to 2199.
///
/// Milliseconds taken for seconds and other slips fall outside.
pub(super) fn instant(seconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(seconds, 0).filter(|at| (1800..2200).contains(&at.year()))
}

/// The exchange's clock.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone {
    Named(Tz),
    /// Only when the reply names no zone that is known: wrong by an hour in the other half of the year.
    Fixed(FixedOffset),
}

impl Zone {
    /// The zone of a reply: `exchangeTimezoneName`, else `gmtoffset`, else UTC.
    pub(super) fn of(meta: &Value) -> Self {
        if let Some(zone) = text(meta.get("exchangeTimezoneName")).and_then(|name| name.parse().ok()) {
            return Self::Named(zone);
        }
        let offset = whole(meta.get("gmtoffset")).and_then(|seconds| i32::try_from(seconds).ok()).unwrap_or(0);
        Self::Fixed(FixedOffset::east_opt(offset).unwrap_or_else(|| Utc.fix()))
    }

    /// The clock on the wall; far outside of the market's centuries UTC, since at the end of chrono's time an offset overflows.
    pub(super) fn local(&self, at: DateTime<Utc>) -> NaiveDateTime {
        match self {
            _ if instant(at.timestamp()).is_none() => at.naive_utc(),
            Self::Named(zone) => at.with_timezone(zone).naive_local(),
            Self::Fixed(offset) => at.with_timezone(offset).naive_local(),
        }
    }

    /// The date on the wall.
    pub(super) fn date(&self, at: DateTime<Utc>) -> NaiveDate {
        self.local(at).date()
    }

    /// The trading date of a stamp that stands for a whole day.
    ///
    /// A full hour of 22:00 or 23:00 is midnight of the next day: around changes of the clock Yahoo slips by an hour or two.
    pub(super) fn trading_date(&self, at: DateTime<Utc>) -> NaiveDate {
        let local = self.local(at);
        let slipped = local.hour() >= 22 && local.minute() == 0 && local.second() == 0;
        if slipped { local.date().succ_opt().unwrap_or_else(|| local.date()) } else { local.date() }
    }
}

/// Days since 1970: Arrow's `Date32`.
pub(super) fn days(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// Microseconds of a date at 00:00 UTC.
pub(super) fn midnight_micros(date: NaiveDate) -> i64 {
    i64::from(days(date)) * 86_400_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after() {
        let now = instant(1_700_000_000).unwrap();
        assert_eq!(retry_after(" 30 ", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Tue, 14 Nov 2023 22:13:30 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Tue, 14 Nov 2000 22:13:30 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn dates_are_those_of_the_exchange() {
        let zone = |name: &str| Zone::of(&serde_json::json!({"exchangeTimezoneName": name, "gmtoffset": 0}));
        let date = |name: &str, seconds| zone(name).trading_date(instant(seconds).unwrap()).to_string();
        // 2024-07-01 23:00 UTC: midnight of a London currency in summer.
        assert_eq!(date("Europe/London", 1_719_874_800), "2024-07-02");
        // 2024-01-01 23:00 UTC: opening in Sydney on the 2nd.
        assert_eq!(date("Australia/Sydney", 1_704_150_000), "2024-01-02");
        // 2024-03-30 23:00 London time: a slip for the 31st.
        assert_eq!(date("Europe/London", 1_711_839_600), "2024-03-31");
        assert_eq!(days(NaiveDate::default()), 0);
        assert!(instant(1_598_880_600_000).is_none());
    }
}
