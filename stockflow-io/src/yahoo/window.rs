//! Which requests a range of bars takes: what Yahoo keeps of an interval, and how much of it one reply holds.

use chrono::{DateTime, Duration, NaiveTime, Utc};
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

/// A request, and which bars of its reply count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// What is asked for.
    pub(super) asked: Window,
    /// The bars that begin within it are taken. The parts of a range have each moment once.
    pub(super) taken: Window,
}

/// On both sides of a cut so much is asked for that the bars next to it come whole: Yahoo's first and last bar of a window
/// may be cut off, and a cut at midnight UTC is one in the midst of a session in Sydney or of a coin.
const OVERLAP: Duration = Duration::days(1);

/// The requests for a range, in their order; none if nothing of it is kept.
///
/// Ranges that one reply does not hold are cut at midnights UTC.
pub(super) fn windows(interval: Interval, range: Window, now: DateTime<Utc>) -> Vec<Part> {
    let start = earliest(interval, now).map_or(range.start, |earliest| earliest.max(range.start));
    if start >= range.end {
        return Vec::new();
    }
    let whole = Window { start, end: range.end };
    let span = match limits(interval) {
        Some((_, span)) if whole.end - whole.start > Duration::days(span) => Duration::days(span) - OVERLAP * 2,
        _ => return vec![Part { asked: whole, taken: whole }],
    };
    let mut found = Vec::new();
    let mut next = start;
    while next < whole.end {
        let cut = midnight_before(next + span);
        // A rest that is shorter than the overlap would be asked for twice.
        let end = if cut + OVERLAP >= whole.end { whole.end } else { cut };
        let taken = Window { start: next, end };
        let asked = Window { start: (next - OVERLAP).max(start), end: (end + OVERLAP).min(whole.end) };
        found.push(Part { asked, taken });
        next = end;
    }
    found
}

fn midnight_before(at: DateTime<Utc>) -> DateTime<Utc> {
    at.date_naive().and_time(NaiveTime::MIN).and_utc()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::days(20_000 + day)
    }

    fn interval(text: &str) -> Interval {
        text.parse().unwrap()
    }

    #[test]
    fn limited_intervals_begin_where_they_are_kept() {
        let whole = Window { start: at(-3000), end: at(0) };
        let only = |window| vec![Part { asked: window, taken: window }];
        assert_eq!(windows(interval("1d"), whole, at(0)), only(whole));
        assert_eq!(windows(interval("5m"), whole, at(0)), only(Window { start: at(-59), end: at(0) }));
        assert_eq!(windows(interval("1m"), Window { start: at(-90), end: at(-60) }, at(0)), []);
        let week = Window { start: at(-8), end: at(-1) };
        assert_eq!(windows(interval("1m"), week, at(0)), only(week));
    }

    #[test]
    fn cuts_are_at_midnight_and_leave_no_moment_out() {
        let evening = at(0) + Duration::hours(21);
        for (text, n_parts, most) in [("1m", 6, 7), ("1h", 3, 365)] {
            let parts = windows(interval(text), Window { start: at(-3000), end: evening }, evening);
            assert_eq!(parts.len(), n_parts, "{parts:?}");
            assert_eq!(parts.first().map(|it| it.taken.start), earliest(interval(text), evening));
            assert_eq!(parts.last().map(|it| (it.taken.end, it.asked.end)), Some((evening, evening)));
            for (part, next) in parts.iter().zip(&parts[1..]) {
                assert_eq!(part.taken.end, next.taken.start);
                assert_eq!(part.taken.end.time(), NaiveTime::MIN);
                assert_eq!((part.asked.end - part.taken.end, next.taken.start - next.asked.start), (OVERLAP, OVERLAP));
            }
            assert!(parts.iter().all(|it| it.asked.end - it.asked.start <= Duration::days(most)), "{parts:?}");
        }
    }
}
