//! One cell of text and its typed value.

use arrow::array::types::{ArrowPrimitiveType, Date32Type, TimestampMicrosecondType};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, TimeUnit};

/// Cells that mean NULL in a column that is not text. An empty cell is NULL in every column.
pub(crate) const NULL_WORDS: [&str; 10] = ["n/a", "na", "#n/a", "null", "none", "nil", "-", "--", "\\n", "."];

/// Whether a cell of a column that is not text means NULL.
pub(crate) fn is_null_word(cell: &str) -> bool {
    cell.len() <= 4 && NULL_WORDS.iter().any(|word| word.eq_ignore_ascii_case(cell))
}

/// The types that text can be read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
    Instant,
}

impl Kind {
    /// The kind of a column's type; `None` if text cannot be read into it.
    pub(crate) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8 => Self::Text,
            DataType::Int64 => Self::Integer,
            DataType::Float64 => Self::Number,
            DataType::Boolean => Self::Boolean,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Instant,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => Self::Instant,
            _ => return None,
        })
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Date => "a date (year-month-day)",
            Self::Instant => "a point in time",
        }
    }
}

/// A typed value that may borrow from the file's bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(&'a str),
    Owned(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Date(<Date32Type as ArrowPrimitiveType>::Native),
    Instant(i64),
}

impl Cell<'_> {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Reads a cell; the error says what it is not.
pub(crate) fn parse(text: &str, kind: Kind) -> Result<Cell<'_>, String> {
    if text.is_empty() {
        return Ok(Cell::Null);
    }
    if kind == Kind::Text {
        return Ok(Cell::Text(text));
    }
    let trimmed = text.trim();
    let value = match kind {
        Kind::Text => Some(Cell::Text(text)),
        Kind::Integer => trimmed.parse().ok().map(Cell::Integer),
        Kind::Number => trimmed.parse().ok().or_else(|| grouped(trimmed)).map(Cell::Number),
        Kind::Boolean => match trimmed {
            _ if trimmed.eq_ignore_ascii_case("true") => Some(Cell::Boolean(true)),
            _ if trimmed.eq_ignore_ascii_case("false") => Some(Cell::Boolean(false)),
            _ => None,
        },
        Kind::Date => Date32Type::parse(trimmed).map(Cell::Date),
        Kind::Instant => TimestampMicrosecondType::parse(trimmed).map(Cell::Instant),
    };
    match value {
        Some(value) => Ok(value),
        None if trimmed.is_empty() || is_null_word(trimmed) => Ok(Cell::Null),
        None => Err(format!("`{}` is not {}", shorten(text, 80), kind.noun())),
    }
}

/// A number with commas between its thousands, as spreadsheets write it: `1,050.25`.
pub(crate) fn grouped(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, ""), |(whole, fraction)| (whole, fraction));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_grouped = (1..=3).contains(&first.len())
        && text.len() - unsigned.len() <= 1
        && [first, fraction].into_iter().all(digits)
        && whole.contains(',')
        && groups.all(|group| group.len() == 3 && digits(group));
    if is_grouped { text.replace(',', "").parse().ok() } else { None }
}

/// At most so many bytes of a text, cut at a character.
pub(crate) fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cells() {
        assert_eq!(parse("1.5", Kind::Number), Ok(Cell::Number(1.5)));
        assert_eq!(parse(" 1e308 ", Kind::Number), Ok(Cell::Number(1e308)));
        assert_eq!(parse("-1,234,567.5", Kind::Number), Ok(Cell::Number(-1_234_567.5)));
        for no in ["10,5", "1,2345", ",123", "1,234,", "--1,234", "1,234.5,6", "1.234,567"] {
            assert!(parse(no, Kind::Number).is_err(), "{no}");
        }
        assert!(matches!(parse("NaN", Kind::Number), Ok(Cell::Number(n)) if n.is_nan()));
        assert_eq!(parse("N/A", Kind::Number), Ok(Cell::Null));
        assert_eq!(parse("-", Kind::Integer), Ok(Cell::Null));
        assert_eq!(parse("", Kind::Text), Ok(Cell::Null));
        assert_eq!(parse("N/A", Kind::Text), Ok(Cell::Text("N/A")));
        assert_eq!(parse("abc", Kind::Number), Err("`abc` is not a number".into()));
        assert_eq!(parse("1.5", Kind::Integer), Err("`1.5` is not a whole number".into()));
        assert_eq!(parse("2024-02-29", Kind::Date), Ok(Cell::Date(19782)));
        assert!(parse("2024-02-30", Kind::Date).is_err());
        assert_eq!(parse("1970-01-01T00:00:01Z", Kind::Instant), Ok(Cell::Instant(1_000_000)));
        assert_eq!(shorten("ääää", 3), "ä… (8 bytes)");
    }
}
