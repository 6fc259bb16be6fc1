//! One day of trade, from local hours to points in time.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// One exchange's trading on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The exchange's local trading date.
    pub date: NaiveDate,
    /// When trading opens; for futures on the evening before `date`.
    pub open: DateTime<Utc>,
    /// When continuous trading closes. A closing auction, where there is one, is some minutes later.
    pub close: DateTime<Utc>,
    /// The pause for lunch, from its start to its end.
    pub pause: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Whether it closes earlier than usual.
    pub is_half_day: bool,
}

/// Hours of trade in minutes after local midnight; negative ones are on the day before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hours {
    pub(super) open: i32,
    pub(super) pause: Option<(i32, i32)>,
    pub(super) close: i32,
}

impl Hours {
    /// The session of a day with these hours; `usual` are those of other days.
    pub(super) fn on(self, date: NaiveDate, zone: Tz, usual: Hours) -> Option<Session> {
        let pause = match self.pause {
            Some((start, end)) => Some((instant(zone, date, start)?, instant(zone, date, end)?)),
            None => None,
        };
        Some(Session {
            date,
            open: instant(zone, date, self.open)?,
            close: instant(zone, date, self.close)?,
            pause,
            is_half_day: self.close < usual.close,
        })
    }
}

/// The local date at a point in time; `None` at the ends of what a date can be.
pub(super) fn local_date(zone: Tz, ts: DateTime<Utc>) -> Option<NaiveDate> {
    let utc = ts.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix()).map(|it| it.date())
}

/// Local midnight of a day.
pub(super) fn midnight(zone: Tz, date: NaiveDate) -> Option<DateTime<Utc>> {
    instant(zone, date, 0)
}

/// A local time as a point in time. Of an hour that comes twice it is the first one; in an hour that clocks skip, they
/// are taken to have gone on.
fn instant(zone: Tz, date: NaiveDate, minute: i32) -> Option<DateTime<Utc>> {
    let local = date.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::try_minutes(minute.into())?)?;
    match zone.from_local_datetime(&local) {
        LocalResult::Single(one) | LocalResult::Ambiguous(one, _) => Some(one.to_utc()),
        LocalResult::None => {
            let offset = zone.offset_from_utc_datetime(&local.checked_sub_days(Days::new(1))?).fix();
            Some(local.checked_sub_offset(offset)?.and_utc())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(zone: Tz, date: &str, minute: i32, expected: &str) {
        let found = instant(zone, date.parse().unwrap(), minute).unwrap();
        assert_eq!(found, expected.parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn local_times_follow_the_clocks() {
        check(Tz::America__New_York, "2024-03-08", 570, "2024-03-08T14:30:00Z");
        check(Tz::America__New_York, "2024-03-11", 570, "2024-03-11T13:30:00Z");
        check(Tz::America__Chicago, "2024-03-11", -420, "2024-03-10T22:00:00Z");
        check(Tz::UTC, "2024-02-29", 1440, "2024-03-01T00:00:00Z");
    }

    #[test]
    fn hours_that_are_skipped_or_come_twice_have_a_time() {
        check(Tz::America__New_York, "2024-03-10", 150, "2024-03-10T07:30:00Z");
        check(Tz::America__New_York, "2024-11-03", 90, "2024-11-03T05:30:00Z");
        check(Tz::America__Sao_Paulo, "2018-11-04", 0, "2018-11-04T03:00:00Z");
        assert_eq!(instant(Tz::UTC, NaiveDate::MAX, 1440), None);
        assert_eq!(instant(Tz::Asia__Tokyo, NaiveDate::MIN, 0), None);
    }
}
