//! Which requests a range of bars takes: what Yahoo keeps of an interval, and how much of it one reply holds.

use chrono::{DateTime, Duration, Utc};
use stockflow_core::transform::{Interval, IntervalUnit};

/// A range of time, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

/// For how many days back Yahoo keeps an interval, and how many one request may span; `None`: no limit.
///
/// A day less than Yahoo's own limits, because a window half outside of them fails as a whole.
fn limits(interval: Interval) -> Option<(i64, i64)> {
    if !interval.is_intraday() {
        return None;
    }
    Some(match (interval.unit(), interval.n()) {
        (IntervalUnit::Minute, 1) => (29, 7),
        (IntervalUnit::Minute, n) if n % 60 != 0 => (59, 59),
        _ => (729, 365),
    })
}

/// The earliest moment of which Yahoo keeps bars of this interval; `None`: all are kept.
pub(super) fn earliest(interval: Interval, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    limits(interval).map(|(kept, _)| now - Duration::days(kept))
}

/// The requests for a range, in their order; none if nothing of it is kept.
pub(super) fn windows(interval: Interval, range: Window, now: DateTime<Utc>) -> Vec<Window> {
    let start = earliest(interval, now).map_or(range.start, |earliest| earliest.max(range.start));
    let span = limits(interval).map(|(_, span)| Duration::days(span));
    let mut found = Vec::new();
    let mut next = start;
    while next < range.end {
        let end = span.map_or(range.end, |span| (next + span).min(range.end));
        found.push(Window { start: next, end });
        next = end;
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::days(20_000 + day)
    }

    #[test]
    fn limited_intervals_are_cut_and_begin_where_they_are_kept() {
        let interval = |text: &str| text.parse::<Interval>().unwrap();
        let whole = Window { start: at(-3000), end: at(0) };
        assert_eq!(windows(interval("1d"), whole, at(0)), [whole]);
        let minutes = windows(interval("1m"), whole, at(0));
        assert_eq!((minutes.len(), minutes[0].start, minutes[4].end), (5, at(-29), at(0)));
        assert!(
            minutes.iter().zip(&minutes[1..]).all(|(a, b)| a.end == b.start && a.end - a.start == Duration::days(7))
        );
        assert_eq!(windows(interval("5m"), whole, at(0)), [Window { start: at(-59), end: at(0) }]);
        assert_eq!(windows(interval("1h"), whole, at(0)).len(), 2);
        assert_eq!(windows(interval("1m"), Window { start: at(-90), end: at(-60) }, at(0)), []);
    }
}
