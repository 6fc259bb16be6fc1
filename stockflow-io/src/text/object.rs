//! The ordinary JSON object, read without a detour.
//!
//! Objects of one writer have their fields in one order, and mostly hold short ASCII text, plain numbers and times. Such an
//! object goes straight into the columns. Whatever else it is (another order, an escape, an exponent, a list) is left to the
//! tolerant [`ObjectReader`](super::ObjectReader). So both give the same rows, and only the time differs.

use super::cell::{Cell, Kind};
use super::fast::{date, digits};
use super::json::cells_of;
use super::rows::{Rows, Shape, Values};

/// How often another order of fields is learned; objects without any order are not learned from.
const LESSONS: usize = 16;
/// A longer number is left to the tolerant reader.
const LONGEST_NUMBER: usize = 40;
/// Years whose instants the tolerant reader takes.
const YEARS: std::ops::RangeInclusive<i32> = 1678..=2261;

/// Reads objects whose fields come in the order of an earlier one.
pub(crate) struct Objects<'s> {
    shape: &'s Shape,
    fields: Vec<Field>,
    /// Columns of the shape that such an object does not have.
    absent: Vec<usize>,
    lessons: usize,
}

struct Field {
    /// `"name":`
    literal: Vec<u8>,
    /// Its column and what its cells are; none if nobody asks for it.
    target: Option<(usize, Kind)>,
}

impl<'s> Objects<'s> {
    pub(crate) fn new(shape: &'s Shape) -> Self {
        Self { shape, fields: Vec::new(), absent: Vec::new(), lessons: 0 }
    }

    /// Adds the cells of an ordinary object to the columns; of any other nothing is added.
    pub(crate) fn read(&self, text: &[u8], rows: &mut Rows<'_>) -> bool {
        let is_ordinary = !self.fields.is_empty() && self.object(text, rows.values()).is_some();
        if !is_ordinary && !self.fields.is_empty() {
            rows.take_back();
        }
        is_ordinary
    }

    /// Learns the order of fields from an object that was read by others; one that is odd teaches nothing.
    pub(crate) fn learn(&mut self, text: &[u8]) {
        if self.lessons == LESSONS || !self.shape.has_plain_names() {
            return;
        }
        self.lessons += 1;
        if let Some((fields, absent)) = self.order_of(text) {
            (self.fields, self.absent) = (fields, absent);
        }
    }

    /// The fields of an object in their order, and the columns that it does not have.
    fn order_of(&self, text: &[u8]) -> Option<(Vec<Field>, Vec<usize>)> {
        let mut absent: Vec<usize> = (0..self.shape.columns.len()).collect();
        let mut fields = Vec::new();
        for (name, _) in cells_of(text) {
            // Such a name is written by escapes.
            if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
                return None;
            }
            let target = match self.shape.find(&name) {
                Some(idx) => {
                    let kind = Kind::of(&self.shape.columns.get(idx)?.data_type)?;
                    // A field that is there twice refuses its row.
                    let place = absent.iter().position(|column| *column == idx)?;
                    absent.remove(place);
                    Some((idx, kind))
                }
                None if self.shape.unknown.is_some() => return None,
                None => None,
            };
            fields.push(Field { literal: format!("\"{name}\":").into_bytes(), target });
        }
        Some((fields, absent))
    }

    fn object(&self, text: &[u8], columns: &mut [Values]) -> Option<()> {
        let mut at = after(text, 0, b'{')?;
        for (n, field) in self.fields.iter().enumerate() {
            if n > 0 {
                at = after_blank(text, after(text, at, b',')?);
            }
            at = text.get(at..)?.starts_with(&field.literal).then(|| at + field.literal.len())?;
            at = after_blank(text, at);
            at = match field.target {
                Some((idx, kind)) => value(text, at, kind, columns.get_mut(idx)?)?,
                None => passed_over(text, at)?,
            };
        }
        at = after(text, at, b'}')?;
        for idx in &self.absent {
            columns.get_mut(*idx)?.push(Cell::Null);
        }
        (at == text.len()).then_some(())
    }
}

fn after(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (*text.get(at)? == byte).then_some(at + 1)
}

fn after_blank(text: &[u8], at: usize) -> usize {
    after(text, at, b' ').unwrap_or(at)
}

/// Where the text behind a quote ends; none if it holds an escape, a control character or what is not ASCII.
fn quoted(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f | 0x80..))?;
    (rest.get(len) == Some(&b'"')).then_some(at + len)
}

/// Reads a plain value into its column; gives where it ends.
fn value(text: &[u8], at: usize, kind: Kind, column: &mut Values) -> Option<usize> {
    match *text.get(at)? {
        b'"' => {
            let (start, end) = (at + 1, quoted(text, at + 1)?);
            match kind {
                Kind::Text if start == end => column.push(Cell::Null),
                Kind::Text => column.push_ascii(text, start, end),
                Kind::Date => column.push_date(date(text, start).filter(|_| start + 10 == end)?),
                Kind::Instant => column.push(Cell::Instant(instant(text.get(start..end)?)?)),
                Kind::Integer | Kind::Number | Kind::Boolean => return None,
            }
            Some(end + 1)
        }
        b'-' | b'0'..=b'9' => match kind {
            Kind::Number => number(text, at, column),
            Kind::Integer => integer(text, at, column),
            Kind::Text | Kind::Date | Kind::Instant | Kind::Boolean => None,
        },
        b'n' => {
            let end = word(text, at, b"null")?;
            column.push(Cell::Null);
            Some(end)
        }
        b't' if kind == Kind::Boolean => {
            let end = word(text, at, b"true")?;
            column.push(Cell::Boolean(true));
            Some(end)
        }
        b'f' if kind == Kind::Boolean => {
            let end = word(text, at, b"false")?;
            column.push(Cell::Boolean(false));
            Some(end)
        }
        _ => None,
    }
}

fn word(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    text.get(at..)?.starts_with(word).then_some(at + word.len())
}

/// Whether what stands there is a number as JSON writes it, given that it is digits with at most one point, and nothing follows.
fn is_json(text: &[u8], at: usize, end: usize) -> bool {
    let start = at + usize::from(text.get(at) == Some(&b'-'));
    let leads_with_zero = text.get(start) == Some(&b'0') && text.get(start + 1).is_some_and(u8::is_ascii_digit);
    let is_whole = end > start && text.get(start) != Some(&b'.') && text.get(end - 1) != Some(&b'.');
    is_whole && !leads_with_zero && text.get(end).is_some_and(|byte| matches!(byte, b',' | b'}'))
}

/// Digits and a point, as JSON writes a number; where it ends.
fn plain_number(text: &[u8], at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?;
    let len = rest.iter().position(|byte| !matches!(byte, b'-' | b'.' | b'0'..=b'9'))?;
    let number = std::str::from_utf8(rest.get(..len.min(LONGEST_NUMBER + 1))?).ok()?;
    (len <= LONGEST_NUMBER && is_json(text, at, at + len)).then_some((number, at + len))
}

fn number(text: &[u8], at: usize, column: &mut Values) -> Option<usize> {
    if let Some(read) = digits(text, at).filter(|read| is_json(text, at, read.end)) {
        column.push_number(read.float());
        return Some(read.end);
    }
    // Of more digits, or near the text's end.
    let (number, end) = plain_number(text, at)?;
    column.push_number(number.parse().ok()?);
    Some(end)
}

fn integer(text: &[u8], at: usize, column: &mut Values) -> Option<usize> {
    let (number, end) = plain_number(text, at)?;
    let value = number.parse().ok()?;
    // `-0` is no whole number for the tolerant reader.
    if value == 0 && number.starts_with('-') {
        return None;
    }
    column.push_integer(value);
    Some(end)
}

/// `2024-02-29T16:00:00.123456Z` in µs; the fraction may be missing or shorter.
fn instant(text: &[u8]) -> Option<i64> {
    let days = date(text, 0)?;
    let two = |at: usize| match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some(i64::from((tens - b'0') * 10 + (ones - b'0'))),
        _ => None,
    };
    let year = two(0)? * 100 + two(2)?;
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let is_time = text.get(10) == Some(&b'T') && text.get(13) == Some(&b':') && text.get(16) == Some(&b':');
    if !is_time || hour > 23 || minute > 59 || second > 59 || !YEARS.contains(&i32::try_from(year).ok()?) {
        return None;
    }
    let fraction = text.get(19..)?.strip_suffix(b"Z")?;
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let read = digits.iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
            read * 10_i64.pow(6 - digits.len() as u32)
        }
        _ => return None,
    };
    Some((i64::from(days) * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000 + micros)
}

/// Where a plain value that nobody asks for ends.
fn passed_over(text: &[u8], at: usize) -> Option<usize> {
    match *text.get(at)? {
        b'"' => Some(quoted(text, at + 1)? + 1),
        b'-' | b'0'..=b'9' => {
            let (number, end) = plain_number(text, at)?;
            number.parse::<f64>().is_ok().then_some(end)
        }
        b'n' => word(text, at, b"null"),
        b't' => word(text, at, b"true"),
        b'f' => word(text, at, b"false"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field as ArrowField, Schema, TimeUnit};
    use arrow::record_batch::RecordBatch;
    use proptest::prelude::*;

    use super::super::{Column, ObjectReader};
    use super::*;

    const NAMES: [&str; 9] = ["symbol", "ts", "day", "close", "n", "up", "other", "a\\\"b", "a\"b"];

    fn shape(ignores_unknown: bool) -> Shape {
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let types = [DataType::Utf8, instant, DataType::Date32, DataType::Float64, DataType::Int64, DataType::Boolean];
        let columns: Arc<[Column]> =
            NAMES.iter().zip(types).map(|(name, data_type)| Column { name: (*name).into(), data_type }).collect();
        let fields = columns.iter().map(|it| ArrowField::new(&it.name, it.data_type.clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let mut shape = Shape::new(Arc::clone(&columns), (0..columns.len()).collect(), schema);
        shape.unknown = (!ignores_unknown).then_some("is unknown");
        shape
    }

    /// The rows of objects, how many were ordinary, and the reasons for those that are refused.
    fn read(shape: &Shape, texts: &[String], is_fast: bool) -> (RecordBatch, usize, Vec<String>) {
        let mut rows = Rows::new(shape, 1);
        let (mut objects, mut ordinary, mut reasons) = (Objects::new(shape), 0, Vec::new());
        for text in texts {
            if is_fast && objects.read(text.as_bytes(), &mut rows) {
                ordinary += 1;
                rows.added(0);
                continue;
            }
            match ObjectReader::new(shape).read(text.as_bytes()) {
                Ok(cells) => {
                    rows.push(0, cells);
                    objects.learn(text.as_bytes());
                }
                Err((reason, symbol)) => reasons.push(format!("{symbol:?} {reason}")),
            }
        }
        let columns = rows.finish().unwrap().arrays.into_iter().map(Option::unwrap).collect();
        (RecordBatch::try_new(Arc::clone(&shape.schema), columns).unwrap(), ordinary, reasons)
    }

    fn bar(close: &str) -> String {
        format!(
            "{{\"symbol\":\"AAPL\",\"ts\":\"2024-02-29T16:00:00.5Z\",\"day\":\"2024-02-29\",\"close\":{close},\"n\":-7,\"up\":true}}"
        )
    }

    #[test]
    fn objects_of_one_order_are_ordinary_after_the_first() {
        let spaced = |close: &str| bar(close).replace(',', ", ").replace("\":", "\": ");
        for write in [&bar as &dyn Fn(&str) -> String, &spaced] {
            let texts: Vec<String> = ["1.5", "182.52000427246094", "-0.0", "null", "7", "0.1"].map(write).into();
            let (rows, ordinary, refused) = read(&shape(false), &texts, true);
            assert_eq!((ordinary, refused.len()), (5, 0));
            assert_eq!(rows, read(&shape(false), &texts, false).0);
        }
    }

    #[test]
    fn fields_that_nobody_asks_for_are_passed_over() {
        let text = "{\"other\":\"x\",\"close\":1.5,\"more\":-12.25,\"flag\":null}".to_owned();
        let (rows, ordinary, _) = read(&shape(true), &[text.clone(), text.clone(), text], true);
        assert_eq!((rows.num_rows(), ordinary), (3, 2));
    }

    fn any_value() -> impl Strategy<Value = String> {
        const TOLD: &[&str] = &[
            "1.5",
            "-0",
            "0",
            "-0.0",
            "00",
            "01.5",
            "1.",
            ".5",
            "1e3",
            "1E-2",
            "-",
            "123456789012345678901234567890.5",
            "0.1",
            "182.52000427246094",
            "9007199254740993",
            "18446744073709551615",
            "-7",
            "1-2",
            "1.2.3",
            "null",
            "true",
            "false",
            "nul",
            "\"\"",
            "\"A\"",
            "\"a b\"",
            "\"1.5\"",
            "\"ä\"",
            "\"a\\\"b\"",
            "\"a\u{1}b\"",
            "\"2024-02-29\"",
            "\"2023-02-29\"",
            "\"2024-02-29T16:00:00Z\"",
            "\"2024-02-29T24:00:00Z\"",
            "\"2024-02-29T16:00:60Z\"",
            "\"2024-02-29T16:00:00.123456Z\"",
            "\"2024-02-29T16:00:00.1234567Z\"",
            "\"1969-12-31T23:59:59.5Z\"",
            "\"1600-01-01T00:00:00Z\"",
            "\"2262-01-01T00:00:00Z\"",
            "\"2024-02-29T16:00:00\"",
            "\"2024-02-29 16:00:00Z\"",
            "\"2024-02-29T16:00:00.Z\"",
            "\"0000-01-01\"",
            "\"9999-12-31\"",
            "[1]",
            "{\"a\":1}",
            "",
            " 1",
            "\"open",
        ];
        prop_oneof![proptest::sample::select(TOLD).prop_map(str::to_owned), any::<f64>().prop_map(|it| format!("{it}"))]
    }

    fn any_object() -> impl Strategy<Value = String> {
        let fields = proptest::collection::vec((0..NAMES.len(), any_value()), 0..7);
        let usual = proptest::collection::vec(any_value(), NAMES.len())
            .prop_map(|values| values.into_iter().enumerate().collect());
        let separators = proptest::sample::select(&[(",", ":"), (", ", ": "), (" ,", " :"), (",  ", ":")][..]);
        let ends = proptest::sample::select(&["}", "}", "}", "} ", "", "},", "]"][..]);
        (prop_oneof![fields, usual], separators, ends).prop_map(|(fields, (comma, colon), end)| {
            let fields: Vec<String> = fields
                .into_iter()
                .map(|(idx, value): (usize, String)| format!("\"{}\"{colon}{value}", NAMES[idx]))
                .collect();
            format!("{{{}{end}", fields.join(comma))
        })
    }

    proptest! {
        #[test]
        fn both_readers_agree(texts in proptest::collection::vec(any_object(), 1..12), ignores_unknown in any::<bool>()) {
            let shape = shape(ignores_unknown);
            // The order of the columns is learned first, so that much is ordinary.
            let texts: Vec<String> = std::iter::once(bar("1.5")).chain(texts).collect();
            let (fast, _, fast_refused) = read(&shape, &texts, true);
            let (slow, _, slow_refused) = read(&shape, &texts, false);
            prop_assert_eq!(fast, slow);
            prop_assert_eq!(fast_refused, slow_refused);
        }

        #[test]
        fn both_readers_agree_on_one_changed_value(idx in 0..6_usize, value in any_value()) {
            let shape = shape(false);
            let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&bar("1.5")).unwrap();
            let mut fields: Vec<(String, String)> = fields.into_iter().map(|(name, value)| (name, value.to_string())).collect();
            let write = |fields: &[(String, String)]| {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            };
            let usual = write(&fields);
            fields[idx].1 = value;
            let texts = [usual.clone(), write(&fields), usual];
            let (fast, _, fast_refused) = read(&shape, &texts, true);
            let (slow, _, slow_refused) = read(&shape, &texts, false);
            prop_assert_eq!(fast, slow);
            prop_assert_eq!(fast_refused, slow_refused);
        }
    }
}
