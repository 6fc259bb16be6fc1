//! Column types: guessed from text, and united over files.

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, TimeUnit};
use stockflow_core::schema::bar_column;

use crate::text::{grouped, is_null_word};

/// What a column's name alone says about its type.
enum Known {
    /// A price or a volume: a number, and fractional sooner or later.
    Number,
    /// A symbol, a date, …: text, because `007` is no number and dates have many forms.
    Text,
    Nothing,
}

fn known(name: &str) -> Known {
    match bar_column(name) {
        Some("open" | "high" | "low" | "close" | "volume" | "adj_close") => Known::Number,
        Some("is_final") | None => Known::Nothing,
        Some(_) => Known::Text,
    }
}

/// What the cells of one column looked like.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnSample {
    values: u64,
    integers: u64,
    numbers: u64,
    /// Numbers with commas between their thousands.
    grouped: u64,
    booleans: u64,
    codes: u64,
}

impl ColumnSample {
    /// Takes one cell in.
    pub(super) fn add(&mut self, cell: &str) {
        let cell = cell.trim();
        if cell.is_empty() || is_null_word(cell) {
            return;
        }
        self.values += 1;
        if grouped(cell).is_some() {
            self.grouped += 1;
        } else if cell.parse::<f64>().is_ok() {
            self.numbers += 1;
            let digits = cell.trim_start_matches(['+', '-']);
            // `000660` and `1e5` as a name are codes; so is a number that Float64 would change and Int64 cannot hold.
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                self.codes += 1;
            } else if cell.parse::<i64>().is_ok() {
                self.integers += 1;
            } else if digits.bytes().all(|byte| byte.is_ascii_digit()) {
                self.codes += 1;
            }
        } else if cell.eq_ignore_ascii_case("true") || cell.eq_ignore_ascii_case("false") {
            self.booleans += 1;
        }
    }

    /// The type; `Null` if no cell told anything.
    pub(super) fn data_type(&self, name: &str) -> DataType {
        match known(name) {
            // One bad cell in the sample must not turn prices into text; it is a reject like any later one.
            Known::Number if (self.numbers + self.grouped) * 2 >= self.values => DataType::Float64,
            Known::Number | Known::Text => DataType::Utf8,
            Known::Nothing if self.values == 0 => DataType::Null,
            Known::Nothing if self.codes > 0 => DataType::Utf8,
            Known::Nothing if self.integers == self.values => DataType::Int64,
            Known::Nothing if self.numbers == self.values => DataType::Float64,
            Known::Nothing if self.booleans == self.values => DataType::Boolean,
            Known::Nothing => DataType::Utf8,
        }
    }
}

/// One type for a column of two files, if both can be read as it.
///
/// Numbers of different kinds become Int64 or Float64, points in time microseconds, and what has nothing in common text;
/// but prices and volumes stay numbers, and their text is parsed.
pub(super) fn unite(name: &str, a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType as T;
    let (a, b) = (plain(a), plain(b));
    if a == b || b == T::Null {
        return Some(a);
    }
    if a == T::Null {
        return Some(b);
    }
    let united = match (&a, &b) {
        (a, b) if a.is_integer() && b.is_integer() => T::Int64,
        (a, b) if a.is_numeric() && b.is_numeric() => T::Float64,
        (T::Timestamp(_, zone), T::Timestamp(_, other)) => {
            T::Timestamp(TimeUnit::Microsecond, zone.as_ref().or(other.as_ref()).map(|_| "UTC".into()))
        }
        (T::Timestamp(..), date) if is_date(date) => T::Timestamp(TimeUnit::Microsecond, None),
        (date, T::Timestamp(..)) if is_date(date) => T::Timestamp(TimeUnit::Microsecond, None),
        (a, b) if is_date(a) && is_date(b) => T::Date32,
        (T::Utf8, number) | (number, T::Utf8) if number.is_numeric() && matches!(known(name), Known::Number) => {
            T::Float64
        }
        (T::Utf8, other) | (other, T::Utf8) if !other.is_nested() && !other.is_binary() => T::Utf8,
        _ => return None,
    };
    (can_cast_types(&a, &united) && can_cast_types(&b, &united)).then_some(united)
}

/// The plain form of a type: text is Utf8, however it is encoded.
pub(super) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) => plain(value),
        other => other.clone(),
    }
}

fn is_date(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, cells: &[&str], expected: DataType) {
        let mut sample = ColumnSample::default();
        cells.iter().for_each(|cell| sample.add(cell));
        assert_eq!(sample.data_type(name), expected, "{name} {cells:?}");
    }

    #[test]
    fn guesses_by_name_and_cells() {
        check("Open", &["1", "2"], DataType::Float64);
        check("Open", &["1.5", "abc", "2"], DataType::Float64);
        check("Open", &["$1.5", "$2"], DataType::Utf8);
        check("Open", &["999.5", "1,001.5", "1,002"], DataType::Float64);
        check("x", &["1,001", "2"], DataType::Utf8);
        check("Volume", &[], DataType::Float64);
        check("Symbol", &["1", "2"], DataType::Utf8);
        check("Date", &["20240102"], DataType::Utf8);
        check("id", &["1", "-2", "N/A", ""], DataType::Int64);
        check("id", &["000660"], DataType::Utf8);
        check("id", &["99999999999999999999"], DataType::Utf8);
        check("x", &["1", "2.5", "NaN"], DataType::Float64);
        check("x", &["true", "FALSE"], DataType::Boolean);
        check("x", &["true", "1"], DataType::Utf8);
        check("x", &["", "null"], DataType::Null);
    }

    #[test]
    fn unites_types() {
        use DataType as T;
        let us = |zone: Option<&str>| T::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
        assert_eq!(unite("x", &T::Int32, &T::Int64), Some(T::Int64));
        assert_eq!(unite("x", &T::Int64, &T::Float64), Some(T::Float64));
        assert_eq!(unite("close", &T::Utf8View, &T::Float64), Some(T::Float64));
        assert_eq!(unite("x", &T::Utf8, &T::Float64), Some(T::Utf8));
        assert_eq!(unite("x", &T::Null, &T::Boolean), Some(T::Boolean));
        assert_eq!(unite("x", &us(None), &us(Some("UTC"))), Some(us(Some("UTC"))));
        assert_eq!(unite("x", &T::Date32, &us(None)), Some(us(None)));
        assert_eq!(unite("close", &T::new_list(T::Int64, true), &T::Float64), None);
    }
}
