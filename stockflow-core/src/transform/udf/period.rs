//! `stockflow_period(ts, zone, start, width)`: the start of the period within the day that a point in time belongs to.

use std::sync::{Arc, LazyLock};

use arrow::array::TimestampMicrosecondArray;
use arrow::array::timezone::Tz;
use chrono::{DateTime, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike, Utc};
use datafusion::common::cast::as_timestamp_microsecond_array;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, lit};

use super::{Simple, array_arg, literal_arg, zone};
use crate::transform::expr::instant;

static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Simple::udf("stockflow_period", 4, instant(), call));

/// The start of the period of `width` seconds that `ts` belongs to.
///
/// Periods are counted from `start` seconds after the midnight of `zone`, forwards and backwards, and begin anew with each
/// local day: the first and the last of a day may be shorter.
pub(crate) fn period(ts: Expr, zone: &str, start: i64, width: i64) -> Expr {
    UDF.call(vec![ts, lit(zone), lit(start.to_string()), lit(width.to_string())])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn call(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let stamps = array_arg(args, 0)?;
    let number = |place| -> Result<i64> {
        let text = literal_arg(args, place)?;
        let number = text.and_then(|it| it.parse().ok());
        number.ok_or_else(|| DataFusionError::Internal(format!("argument {place} of stockflow_period is no number")))
    };
    let zone = zone(&literal_arg(args, 1)?.unwrap_or_default())?;
    let (start, width) = (number(2)?, number(3)?.max(1));
    let starts = as_timestamp_microsecond_array(&stamps)?.iter().map(|it| {
        it.and_then(DateTime::from_timestamp_micros).map(|it| start_of(it, zone, start, width).timestamp_micros())
    });
    Ok(ColumnarValue::Array(Arc::new(starts.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))))
}

fn start_of(ts: DateTime<Utc>, zone: Tz, start: i64, width: i64) -> DateTime<Utc> {
    let local = ts.with_timezone(&zone).naive_local();
    let second = i64::from(local.num_seconds_from_midnight());
    let begin = (start + (second - start).div_euclid(width) * width).max(0);
    let at = TimeDelta::try_seconds(begin).and_then(|it| local.date().and_time(NaiveTime::MIN).checked_add_signed(it));
    at.and_then(|at| at_or_before(at, zone, ts)).unwrap_or(ts)
}

/// A local time as a point in time: of an hour that comes twice the later one that is not after `ts`.
fn at_or_before(local: NaiveDateTime, zone: Tz, ts: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(one) => Some(one.to_utc()),
        LocalResult::Ambiguous(first, second) => Some(if second <= ts { second } else { first }.to_utc()),
        // The clocks skipped it: the period begins when they go on.
        LocalResult::None => {
            let later = local.checked_add_signed(TimeDelta::try_hours(1)?)?;
            zone.from_local_datetime(&later).earliest().map(|it| it.to_utc()).filter(|it| *it <= ts)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(ts: &str, zone_name: &str, start: i64, minutes: i64, expected: &str) {
        let ts: DateTime<Utc> = ts.parse().unwrap();
        let found = start_of(ts, zone(zone_name).unwrap(), start * 60, minutes * 60);
        assert_eq!(found, expected.parse::<DateTime<Utc>>().unwrap());
    }

    #[test]
    fn sessions_keep_their_local_time_when_clocks_change() {
        // New York: 14:30 UTC in winter and 13:30 in summer are both 9:30.
        check("2024-03-08T15:45:00Z", "America/New_York", 570, 120, "2024-03-08T14:30:00Z");
        check("2024-03-11T14:45:00Z", "America/New_York", 570, 120, "2024-03-11T13:30:00Z");
        check("2024-03-11T13:29:00Z", "America/New_York", 570, 120, "2024-03-11T11:30:00Z");
        // The hour that comes twice is two hours, the one that is skipped is none.
        check("2024-11-03T05:30:00Z", "America/New_York", 0, 60, "2024-11-03T05:00:00Z");
        check("2024-11-03T06:30:00Z", "America/New_York", 0, 60, "2024-11-03T06:00:00Z");
        check("2024-03-10T07:30:00Z", "America/New_York", 0, 120, "2024-03-10T07:00:00Z");
    }

    #[test]
    fn each_day_begins_anew() {
        check("2024-01-02T23:59:00Z", "UTC", 0, 50, "2024-01-02T23:20:00Z");
        check("2024-01-03T00:00:00Z", "UTC", 0, 50, "2024-01-03T00:00:00Z");
        check("2024-01-03T00:10:00Z", "UTC", 30, 60, "2024-01-03T00:00:00Z");
        check("1969-12-31T23:59:59Z", "UTC", 0, 60, "1969-12-31T23:00:00Z");
    }
}
