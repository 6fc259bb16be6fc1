//! `stockflow_stamp(value, order, zone)`: a date or a point in time, in whatever form it arrives.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, BooleanBuilder, Date32Builder, StructArray, TimestampMicrosecondBuilder};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use datafusion::common::cast::{
    as_date32_array, as_float64_array, as_int64_array, as_string_array, as_timestamp_microsecond_array,
};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, lit};
use datafusion::scalar::ScalarValue;
use serde::{Deserialize, Serialize};

use super::{Simple, array_arg, literal_arg};
use crate::error::Error;
use crate::transform::expr::instant;

static UDF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Simple::udf("stockflow_stamp", 3, DataType::Struct(fields()), call));

/// Which of two numbers is the month in `01/02/2024` and `01-02-2024`: decided once, never guessed row by row.
///
/// `02.01.2024` is always the second of January, `2024-01-02` and `2024/01/02` are always year, month, day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// The first: the second of January, as in the United States.
    #[default]
    MonthFirst,
    /// The second: the first of February.
    DayFirst,
}

/// A struct of `ts` (Timestamp(us, UTC)), `date` (local), `timed` (has a time of day), `midnight` (that time is 00:00 local).
///
/// All four are NULL if the value is NULL, a blank or nonsense. `value` is Utf8, Int64, Float64, Date32 or Timestamp(us).
pub(crate) fn stamp(value: Expr, order: DateOrder, zone: Option<&str>) -> Expr {
    let order = match order {
        DateOrder::MonthFirst => "month_first",
        DateOrder::DayFirst => "day_first",
    };
    UDF.call(vec![value, lit(order), lit(ScalarValue::Utf8(zone.map(str::to_string)))])
}

/// Checks a time zone's name: `UTC`, `America/New_York`, `+02:00`.
///
/// # Errors
///
/// [`Error::InvalidParameter`] if nobody knows it.
pub(crate) fn zone(name: &str) -> Result<Tz, Error> {
    Tz::from_str(name).map_err(|_| {
        Error::parameter(
            "normalize",
            "timezone",
            format!("`{name}` is no time zone; write `UTC`, `America/New_York` or `+02:00`"),
        )
    })
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("ts", instant(), true),
        Field::new("date", DataType::Date32, true),
        Field::new("timed", DataType::Boolean, true),
        Field::new("midnight", DataType::Boolean, true),
    ])
}

fn call(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let values = array_arg(args, 0)?;
    let reader = Reader {
        order: if literal_arg(args, 1)?.as_deref() == Some("day_first") {
            DateOrder::DayFirst
        } else {
            DateOrder::MonthFirst
        },
        zone: literal_arg(args, 2)?.map(|name| zone(&name)).transpose()?,
    };
    let mut out = Builders::new(values.len());
    match values.data_type() {
        DataType::Utf8 => as_string_array(&values)?.iter().for_each(|it| out.append(it.and_then(|it| reader.text(it)))),
        DataType::Int64 => {
            as_int64_array(&values)?.iter().for_each(|it| out.append(it.and_then(|it| reader.whole_number(it))))
        }
        DataType::Float64 => {
            as_float64_array(&values)?.iter().for_each(|it| out.append(it.and_then(|it| reader.number(it))))
        }
        DataType::Date32 => {
            as_date32_array(&values)?.iter().for_each(|it| out.append(it.and_then(days).and_then(|it| reader.day(it))))
        }
        DataType::Timestamp(TimeUnit::Microsecond, own) => {
            let own = own.as_deref().map(zone).transpose()?;
            as_timestamp_microsecond_array(&values)?
                .iter()
                .for_each(|it| out.append(it.and_then(|it| reader.timestamp(it, own))));
        }
        other => return Err(DataFusionError::Internal(format!("stockflow_stamp does not read {other}"))),
    }
    out.finish()
}

/// What a value says about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    micros: i64,
    date: NaiveDate,
    timed: bool,
    midnight: bool,
}

struct Builders {
    ts: TimestampMicrosecondBuilder,
    date: Date32Builder,
    timed: BooleanBuilder,
    midnight: BooleanBuilder,
}

impl Builders {
    fn new(n: usize) -> Self {
        Self {
            ts: TimestampMicrosecondBuilder::with_capacity(n).with_timezone("UTC"),
            date: Date32Builder::with_capacity(n),
            timed: BooleanBuilder::with_capacity(n),
            midnight: BooleanBuilder::with_capacity(n),
        }
    }

    fn append(&mut self, stamp: Option<Stamp>) {
        self.ts.append_option(stamp.map(|it| it.micros));
        self.date.append_option(stamp.map(|it| it.date.signed_duration_since(NaiveDate::default()).num_days() as i32));
        self.timed.append_option(stamp.map(|it| it.timed));
        self.midnight.append_option(stamp.map(|it| it.midnight));
    }

    fn finish(mut self) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.ts.finish()),
            Arc::new(self.date.finish()),
            Arc::new(self.timed.finish()),
            Arc::new(self.midnight.finish()),
        ];
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(fields(), columns, None)?)))
    }
}

fn days(days: i32) -> Option<NaiveDate> {
    NaiveDate::default().checked_add_signed(chrono::TimeDelta::try_days(i64::from(days))?)
}

/// Reads values under one option of order and zone.
struct Reader {
    order: DateOrder,
    zone: Option<Tz>,
}

impl Reader {
    /// A date without a time of day.
    fn day(&self, date: NaiveDate) -> Option<Stamp> {
        let ts = date.and_time(NaiveTime::MIN).and_utc();
        plausible(date).then_some(Stamp { micros: ts.timestamp_micros(), date, timed: false, midnight: true })
    }

    /// A local time without a zone: it is meant in the option's zone, else in UTC.
    fn local(&self, local: NaiveDateTime) -> Option<Stamp> {
        let ts = match self.zone {
            // The hour that a change of clocks skips does not exist; of the doubled one the first is meant.
            Some(zone) => zone.from_local_datetime(&local).earliest()?.to_utc(),
            None => local.and_utc(),
        };
        self.stamp(ts, local)
    }

    /// A point in time that was written with an offset: its date is that of the option's zone, else as written.
    fn fixed(&self, ts: DateTime<FixedOffset>) -> Option<Stamp> {
        self.stamp(ts.to_utc(), self.zone.map_or(ts.naive_local(), |zone| ts.with_timezone(&zone).naive_local()))
    }

    fn stamp(&self, ts: DateTime<Utc>, local: NaiveDateTime) -> Option<Stamp> {
        let stamp = Stamp {
            micros: ts.timestamp_micros(),
            date: local.date(),
            timed: true,
            midnight: local.time() == NaiveTime::MIN,
        };
        plausible(stamp.date).then_some(stamp)
    }

    fn timestamp(&self, micros: i64, own: Option<Tz>) -> Option<Stamp> {
        let ts = DateTime::from_timestamp_micros(micros)?;
        match own {
            Some(own) => {
                let ts = ts.with_timezone(&own);
                self.fixed(ts.with_timezone(&ts.offset().fix()))
            }
            None => self.local(ts.naive_utc()),
        }
    }

    /// `20240102`, or seconds, milli-, micro- or nanoseconds since 1970, told apart by their size.
    fn whole_number(&self, value: i64) -> Option<Stamp> {
        // Eight digits are a date or nothing, so seconds count from March 1973 (and before 1970, below zero).
        if (10_000_000..100_000_000).contains(&value) {
            return self.day(compact_date(value)?);
        }
        let ts = match value.unsigned_abs() {
            // The first year of the epoch: rather a count or a nonsense than a time.
            0..31_536_000 => return None,
            31_536_000..100_000_000_000 => DateTime::from_timestamp(value, 0)?,
            100_000_000_000..100_000_000_000_000 => DateTime::from_timestamp_millis(value)?,
            100_000_000_000_000..100_000_000_000_000_000 => DateTime::from_timestamp_micros(value)?,
            _ => DateTime::from_timestamp_nanos(value),
        };
        self.fixed(ts.fixed_offset())
    }

    fn number(&self, value: f64) -> Option<Stamp> {
        if value.fract() == 0.0 && value.abs() < 9e18 {
            return self.whole_number(value as i64);
        }
        // Seconds with a fraction, as Python's clock gives them.
        let seconds = (31_536_000.0..1e11).contains(&value.abs());
        if seconds {
            self.fixed(DateTime::from_timestamp_micros((value * 1e6).round() as i64)?.fixed_offset())
        } else {
            None
        }
    }

    fn text(&self, text: &str) -> Option<Stamp> {
        let text = text.trim();
        // The form of most files.
        if let Some(date) = iso_date(text) {
            return self.day(date);
        }
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.')
            && let Some(stamp) = self.digits(text)
        {
            return Some(stamp);
        }
        let (date, time) = split_time(text);
        let date = self.date(date)?;
        match time {
            None => self.day(date),
            Some(time) => self.with_time(date, time),
        }
    }

    /// Digits only: `20240102`, `202401021530`, `20240102153000`, or a number since 1970.
    fn digits(&self, text: &str) -> Option<Stamp> {
        let unsigned = text.bytes().all(|b| b.is_ascii_digit());
        if unsigned && matches!(text.len(), 12 | 14) {
            let date = compact_date(text.get(..8)?.parse().ok()?);
            let time = compact_time(text.get(8..)?);
            if let (Some(date), Some(time)) = (date, time) {
                return self.local(date.and_time(time));
            }
        }
        match text.parse::<i64>() {
            Ok(value) => self.whole_number(value),
            Err(_) => self.number(text.parse().ok()?),
        }
    }

    fn with_time(&self, date: NaiveDate, text: &str) -> Option<Stamp> {
        let (clock, zone) = split_zone(text);
        let local = date.and_time(clock_time(clock)?);
        match zone {
            None => self.local(local),
            Some(name) => {
                let zone = if matches!(name, "Z" | "z" | "UTC" | "GMT") {
                    Tz::from_str("UTC").ok()?
                } else {
                    Tz::from_str(name).ok()?
                };
                let ts = zone.from_local_datetime(&local).earliest()?;
                self.fixed(ts.with_timezone(&ts.offset().fix()))
            }
        }
    }

    /// A date in words or numbers, without a time.
    fn date(&self, text: &str) -> Option<NaiveDate> {
        let mut parts: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || matches!(c, '-' | '/' | '.' | ','))
            .filter(|it| !it.is_empty())
            .collect();
        if parts.len() == 4 && is_weekday(parts[0]) {
            parts.remove(0);
        }
        match parts.as_slice() {
            [one] => compact_date(one.parse().ok()?),
            [first, second, third] => self.three_parts(text, first, second, third),
            _ => None,
        }
    }

    fn three_parts(&self, text: &str, first: &str, second: &str, third: &str) -> Option<NaiveDate> {
        if let Some(month) = month_of(first) {
            return ymd(year_of(third)?, month, number_of(second)?);
        }
        if let Some(month) = month_of(second) {
            let year_first = first.len() == 4;
            let (year, day) = if year_first { (first, third) } else { (third, first) };
            return ymd(year_of(year)?, month, number_of(day)?);
        }
        let (first_number, second_number) = (number_of(first)?, number_of(second)?);
        if first.len() == 4 {
            return ymd(i32::try_from(first_number).ok()?, second_number, number_of(third)?);
        }
        let day_first = text.contains('.') || self.order == DateOrder::DayFirst;
        let (month, day) = if day_first { (second_number, first_number) } else { (first_number, second_number) };
        // `24-01-02` could be anything.
        if third.len() != 4 && text.contains('-') {
            return None;
        }
        ymd(year_of(third)?, month, day)
    }
}

/// Whether bars can be of this day; everything else is a misreading.
fn plausible(date: NaiveDate) -> bool {
    (1792..=2200).contains(&date.year())
}

fn ymd(year: i32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month, day)
}

/// `2024-01-02` and nothing else.
fn iso_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = bytes else { return None };
    let digit = |b: &u8| b.is_ascii_digit().then(|| u32::from(b - b'0'));
    let year = digit(y0)? * 1000 + digit(y1)? * 100 + digit(y2)? * 10 + digit(y3)?;
    ymd(i32::try_from(year).ok()?, digit(m0)? * 10 + digit(m1)?, digit(d0)? * 10 + digit(d1)?)
}

/// The date that a number such as 20240102 spells.
fn compact_date(value: i64) -> Option<NaiveDate> {
    let value = u32::try_from(value).ok().filter(|it| (17_920_101..=22_001_231).contains(it))?;
    ymd(i32::try_from(value / 10_000).ok()?, value / 100 % 100, value % 100)
}

/// `1530` or `153000`.
fn compact_time(text: &str) -> Option<NaiveTime> {
    let two = |at: usize| text.get(at..at + 2)?.parse().ok();
    match text.len() {
        4 => NaiveTime::from_hms_opt(two(0)?, two(2)?, 0),
        6 => NaiveTime::from_hms_opt(two(0)?, two(2)?, two(4)?),
        _ => None,
    }
}

/// Date and time of day, parted before the clock's hour.
fn split_time(text: &str) -> (&str, Option<&str>) {
    let clock = match text.find(':') {
        // The hour begins after the last blank or `T` before the first colon.
        Some(colon) => text.get(..colon).and_then(|it| it.rfind([' ', 'T', 't'])),
        // `20240102T153000`.
        None => text
            .get(..9)
            .filter(|it| it.bytes().take(8).all(|b| b.is_ascii_digit()))
            .and_then(|it| it.find(['T', 't', ' '])),
    };
    match clock {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    }
}

/// The clock and the zone behind it: `15:30:00Z`, `15:30 -05:00`, `09:30 America/New_York`.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    let begins = |at: usize, c: char| match c {
        '+' | '-' => true,
        'Z' | 'z' => at + 1 == text.len(),
        _ => false,
    };
    let at = text.char_indices().find(|(at, c)| begins(*at, *c)).map(|(at, _)| at);
    let named = text
        .find(' ')
        .filter(|at| text.get(at + 1..).is_some_and(|it| !it.to_ascii_uppercase().ends_with('M') || it.contains('/')));
    let at = match (at, named) {
        (Some(at), Some(named)) => Some(at.min(named)),
        (at, named) => at.or(named),
    };
    match at {
        Some(at) => (text.get(..at).unwrap_or_default().trim(), text.get(at..).map(str::trim)),
        None => (text, None),
    }
}

/// `15:30`, `15:30:00.250`, `3:30 PM`, `153000`.
fn clock_time(text: &str) -> Option<NaiveTime> {
    let text = text.trim();
    if !text.contains(':') {
        return compact_time(text);
    }
    ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p"]
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(text, format).ok())
}

fn number_of(text: &str) -> Option<u32> {
    let short = text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    if short { text.parse().ok() } else { None }
}

/// A year of four digits, or of two: up to 68 in this century, as POSIX has it.
fn year_of(text: &str) -> Option<i32> {
    let year = i32::try_from(number_of(text)?).ok()?;
    match text.len() {
        4 => Some(year),
        2 if year <= 68 => Some(2000 + year),
        2 => Some(1900 + year),
        _ => None,
    }
}

fn month_of(text: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let text = text.to_ascii_lowercase();
    if text == "sept" {
        return Some(9);
    }
    let fits = |month: &&str| text == **month || (text.len() == 3 && month.starts_with(&text));
    MONTHS.iter().position(fits).and_then(|at| u32::try_from(at + 1).ok())
}

fn is_weekday(text: &str) -> bool {
    text.parse::<chrono::Weekday>().is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn read(text: &str, order: DateOrder, zone: Option<&str>) -> Option<Stamp> {
        Reader { order, zone: zone.map(|it| it.parse().unwrap()) }.text(text)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        check_in(text, DateOrder::MonthFirst, None, expected);
    }

    /// `date` for a day, `date ts` for a point in time, `-` for nonsense.
    #[track_caller]
    fn check_in(text: &str, order: DateOrder, zone: Option<&str>, expected: &str) {
        let found = match read(text, order, zone) {
            None => "-".to_string(),
            Some(it) if it.timed => format!(
                "{} {}",
                it.date,
                DateTime::from_timestamp_micros(it.micros).unwrap().format("%Y-%m-%dT%H:%M:%S%.f")
            ),
            Some(it) => it.date.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn reads_days_in_many_forms() {
        for text in [
            "2024-01-02",
            "2024/01/02",
            "2024.01.02",
            "20240102",
            "01/02/2024",
            "1/2/2024",
            "01-02-2024",
            "02.01.2024",
            "2.1.24",
            "1/2/24",
            "2-Jan-2024",
            "Jan 2, 2024",
            "January 2 2024",
            "2 January 2024",
            "Tue, 2 Jan 2024",
            "2024-Jan-02",
            "02-JAN-24",
            " 2024-01-02 ",
        ] {
            check(text, "2024-01-02");
        }
    }

    #[test]
    fn the_option_alone_decides_what_is_the_month() {
        check_in("01/02/2024", DateOrder::DayFirst, None, "2024-02-01");
        check_in("02.01.2024", DateOrder::DayFirst, None, "2024-01-02");
        check_in("2024-01-02", DateOrder::DayFirst, None, "2024-01-02");
        check("13/02/2024", "-");
        check_in("02/13/2024", DateOrder::DayFirst, None, "-");
    }

    #[test]
    fn reads_points_in_time() {
        check("2024-01-02T15:30:00Z", "2024-01-02 2024-01-02T15:30:00");
        check("2024-01-02 15:30:00", "2024-01-02 2024-01-02T15:30:00");
        check("2024-01-02 15:30", "2024-01-02 2024-01-02T15:30:00");
        check("2024-01-02T15:30:00.250+01:00", "2024-01-02 2024-01-02T14:30:00.250");
        check("2024-01-02 20:00:00-0500", "2024-01-02 2024-01-03T01:00:00");
        check("2024-01-02 09:30:00 America/New_York", "2024-01-02 2024-01-02T14:30:00");
        check("01/02/2024 3:30 PM", "2024-01-02 2024-01-02T15:30:00");
        check("Jan 2, 2024 3:30 PM", "2024-01-02 2024-01-02T15:30:00");
        check("20240102T153000", "2024-01-02 2024-01-02T15:30:00");
        check("20240102153000", "2024-01-02 2024-01-02T15:30:00");
        check("20240102 15:30:00", "2024-01-02 2024-01-02T15:30:00");
        check("1704209400", "2024-01-02 2024-01-02T15:30:00");
        check("1704209400000", "2024-01-02 2024-01-02T15:30:00");
        check("1704209400000000000", "2024-01-02 2024-01-02T15:30:00");
        check("1704209400.5", "2024-01-02 2024-01-02T15:30:00.500");
        check("-252322200", "1962-01-02 1962-01-02T14:30:00");
    }

    #[test]
    fn a_zone_gives_local_times_their_meaning_and_points_in_time_their_date() {
        let zone = Some("America/New_York");
        check_in("2024-01-02 09:30:00", DateOrder::MonthFirst, zone, "2024-01-02 2024-01-02T14:30:00");
        check_in("2024-01-03T01:00:00Z", DateOrder::MonthFirst, zone, "2024-01-02 2024-01-03T01:00:00");
        check_in("2024-03-10 02:30:00", DateOrder::MonthFirst, zone, "-");
        check_in("2024-11-03 01:30:00", DateOrder::MonthFirst, zone, "2024-11-03 2024-11-03T05:30:00");
        assert!(
            read("2024-01-02 00:00:00-05:00", DateOrder::MonthFirst, None).unwrap().midnight,
            "the midnight of the place where it was written"
        );
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in [
            "",
            "-",
            ".",
            "abc",
            "2024-13-01",
            "2024-02-30",
            "24-01-02",
            "12",
            "0",
            "99999999",
            "2024-01",
            "2024-01-02T25:00",
            "2024-01-02 12:00 Mars/Base",
            "0001-01-01",
            "9999-12-31",
            "20240230",
            "1/2",
            "2024-01-02-03",
            "--",
            "1e9",
            "Foo 2, 2024",
            "2024-01-02T",
            "é2024:01",
            "99999999999999999999999",
        ] {
            check(text, "-");
        }
    }

    #[test]
    fn numbers_are_told_apart_by_their_size() {
        let reader = Reader { order: DateOrder::MonthFirst, zone: None };
        assert_eq!(reader.number(20_240_102.0).unwrap().date, ymd(2024, 1, 2).unwrap());
        assert!(
            reader.number(f64::NAN).is_none()
                && reader.number(1e300).is_none()
                && reader.number(f64::INFINITY).is_none()
        );
        assert!(reader.whole_number(i64::MIN).is_none() && reader.whole_number(7).is_none());
    }
}
