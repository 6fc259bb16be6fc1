//! `stockflow_number(text, decimal)`: a number that arrives as text.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, BooleanBuilder, Float64Builder, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::cast::as_string_array;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, lit};

use super::{Simple, array_arg, literal_arg};

static UDF: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Simple::udf("stockflow_number", 2, DataType::Struct(fields()), call));

/// Words that mean that there is no value.
const NOTHING: [&str; 9] = ["", "-", "--", "null", "none", "na", "n/a", "#n/a", "nil"];

/// A struct of `value` (Float64, NULL if there is none) and `bad` (whether the text is neither a number nor a blank).
pub(crate) fn number(text: Expr, decimal_comma: bool) -> Expr {
    UDF.call(vec![text, lit(if decimal_comma { "," } else { "." })])
}

pub(super) fn udf() -> Arc<ScalarUDF> {
    Arc::clone(&UDF)
}

fn fields() -> Fields {
    Fields::from(vec![Field::new("value", DataType::Float64, true), Field::new("bad", DataType::Boolean, false)])
}

fn call(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let texts = array_arg(args, 0)?;
    let texts = as_string_array(&texts)?;
    let comma = literal_arg(args, 1)?.as_deref() == Some(",");
    let mut values = Float64Builder::with_capacity(texts.len());
    let mut bad = BooleanBuilder::with_capacity(texts.len());
    for text in texts {
        let parsed = text.map_or(Ok(None), |text| parse(text, comma));
        values.append_option(parsed.unwrap_or_default());
        bad.append_value(parsed.is_err());
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(values.finish()), Arc::new(bad.finish())];
    Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(fields(), columns, None)?)))
}

/// The text means nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
struct NoNumber;

/// Reads a number: `1.5`, `1,234.5` (with a decimal comma `1.234,5`), `$12`, `1.2M`, `5%` is refused.
fn parse(text: &str, comma: bool) -> Result<Option<f64>, NoNumber> {
    let text = text.trim();
    // What most files hold comes first.
    if !comma && let Ok(value) = text.parse() {
        return Ok(Some(value));
    }
    if NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let rest = rest.trim_start_matches(['$', '€', '£', '¥']).trim();
    let (rest, scale) = scaled(rest);
    let (group, point) = if comma { ('.', ',') } else { (',', '.') };
    let (whole, fraction) = rest.split_once(point).map_or((rest, None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = ungrouped(whole, group).ok_or(NoNumber)?;
    let plain = match fraction {
        Some(fraction) if fraction.contains(group) => return Err(NoNumber),
        Some(fraction) => format!("{digits}.{fraction}"),
        None => digits,
    };
    // No second sign, no words such as `inf` behind a currency's sign.
    if !plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(NoNumber);
    }
    plain.parse::<f64>().map(|value| Some(sign * value * scale)).map_err(|_| NoNumber)
}

/// A trailing `K`, `M`, `B` or `T` and what it stands for.
fn scaled(text: &str) -> (&str, f64) {
    let scale = match text.chars().last() {
        Some('k' | 'K') => 1e3,
        Some('m' | 'M') => 1e6,
        Some('b' | 'B') => 1e9,
        Some('t' | 'T') => 1e12,
        _ => return (text, 1.0),
    };
    (text.get(..text.len() - 1).unwrap_or_default().trim_end(), scale)
}

/// The digits without their separators, if these stand where separators of thousands stand.
fn ungrouped(whole: &str, group: char) -> Option<String> {
    if !whole.contains(group) {
        return Some(whole.to_string());
    }
    let mut parts = whole.split(group);
    let first = parts.next()?;
    let well_formed =
        (1..=3).contains(&first.len()) && parts.all(|it| it.len() == 3 && it.bytes().all(|b| b.is_ascii_digit()));
    well_formed.then(|| whole.replace(group, ""))
}

#[cfg(test)]
mod tests {
    use super::{NoNumber, parse};

    #[track_caller]
    fn check(text: &str, expected: Result<Option<f64>, NoNumber>) {
        assert_eq!(parse(text, false), expected, "{text}");
    }

    #[test]
    fn reads_numbers_as_files_write_them() {
        for (text, expected) in [
            ("1.5", 1.5),
            (" 12 ", 12.0),
            ("1,234,567.25", 1_234_567.25),
            ("-3", -3.0),
            ("$1,000", 1000.0),
            ("1.5M", 1.5e6),
            ("2e3", 2000.0),
            ("1e308", 1e308),
            (".5", 0.5),
            ("+7", 7.0),
        ] {
            check(text, Ok(Some(expected)));
        }
        assert_eq!(parse("1.234,5", true), Ok(Some(1234.5)));
        assert_eq!(parse("12", true), Ok(Some(12.0)));
        assert_eq!(parse("0,5", true), Ok(Some(0.5)));
    }

    #[test]
    fn a_blank_is_no_value_and_nonsense_is_bad() {
        for text in ["", " ", "-", "null", "N/A", "None"] {
            check(text, Ok(None));
        }
        for text in ["abc", "1,2", "12,34.5", "1.2.3", "5%", "--5", "$", "K", "$inf", "1,234,56", "1.234,5"] {
            check(text, Err(NoNumber));
        }
        assert!(
            parse("nan", false).is_ok_and(|it| it.is_some_and(f64::is_nan)),
            "Clean refuses it, by its rule for what is not finite"
        );
    }
}
