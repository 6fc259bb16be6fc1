//! The width of bars by the distances between them, for replies that do not tell it.

use serde_json::Value;
use stockflow_core::transform::{Interval, IntervalUnit};

use crate::yahoo::decode::number::whole;
use crate::yahoo::decode::time::instant;

const DAY: i64 = 86_400;

/// Why these are no bars of the interval: how far apart the nearest two are. `None` if they may be.
///
/// Days lie up to four days apart (a weekend and a holiday), months 28 to 31; the clock may be put on or back by an hour. The
/// last row may be the latest price, which lies nearer: of two rows alone nothing but too wide a distance tells. One row
/// alone tells nothing.
pub(super) fn told(stamps: &[Value], interval: Interval) -> Option<String> {
    let mut stamps: Vec<i64> =
        stamps.iter().filter_map(|it| whole(Some(it))).filter(|it| instant(*it).is_some()).collect();
    stamps.sort_unstable();
    stamps.dedup();
    let is_pair = stamps.len() == 2;
    if stamps.len() > 2 {
        stamps.pop();
    }
    let nearest = stamps.iter().zip(stamps.iter().skip(1)).map(|(a, b)| b - a).min()?;
    let (least, most) = distances(interval);
    let is_wrong = nearest > most || (nearest < least && !is_pair);
    is_wrong.then(|| if nearest < DAY { format!("{nearest} s") } else { format!("{} days", nearest / DAY) })
}

/// How far apart two bars may lie at least and the nearest two at most, in seconds.
fn distances(interval: Interval) -> (i64, i64) {
    let n = i64::from(interval.n());
    // The hour of the clock.
    let days = |least: i64, most: i64| (least * DAY - 3600, most * DAY + 3600);
    match interval.unit() {
        _ if interval.is_intraday() => {
            let width = interval.seconds().unwrap_or(60);
            (width, width)
        }
        IntervalUnit::Week => days(7 * n, 7 * n),
        IntervalUnit::Month => days(28 * n, 31 * n),
        IntervalUnit::Year => days(365 * n, 366 * n),
        // Five days of trade are a week.
        _ if n > 1 => days(n, n + 4),
        _ => days(1, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(interval: &str, stamps: &[i64], expected: Option<&str>) {
        let stamps: Vec<Value> = stamps.iter().map(|it| Value::from(*it)).collect();
        assert_eq!(told(&stamps, interval.parse().unwrap()).as_deref(), expected);
    }

    #[test]
    fn the_nearest_bars_tell_the_width() {
        let days = |days: &[i64]| days.iter().map(|day| day * DAY + 52_200).collect::<Vec<_>>();
        check("1d", &days(&[1, 2, 5, 6]), None);
        // The latest price of a day, an hour after its bar.
        check("1d", &[DAY, 2 * DAY, 2 * DAY + 3600], None);
        check("1d", &days(&[0, 91, 182, 273]), Some("91 days"));
        check("1d", &days(&[0, 7, 14]), Some("7 days"));
        check("1d", &days(&[0, 7]), Some("7 days"));
        check("1d", &days(&[7]), None);
        check("1wk", &days(&[0, 7, 14, 16]), None);
        check("1wk", &days(&[0, 1, 2, 3]), Some("1 days"));
        check("1wk", &days(&[0, 1]), None);
        check("1mo", &days(&[0, 31, 59]), None);
        check("3mo", &days(&[0, 90, 181]), None);
        check("30m", &[0, 3600, 7200, 90_000], Some("3600 s"));
        check("30m", &[0, 1800, 7200, 90_000], None);
        check("60m", &[0, 3600, 7200, 7300], None);
    }
}
