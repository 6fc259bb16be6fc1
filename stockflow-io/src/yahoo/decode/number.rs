//! Lenient numbers: a number, `{"raw": 1.5, "fmt": "1.50"}`, `{}`, null, or text such as `"Infinity"`.

use serde_json::Value;

/// What stands where a number is expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// A finite number.
    Is(f64),
    /// Nothing: no key, null, `{}`, empty text, a dash.
    Empty,
    /// An infinity or not-a-number.
    Infinite,
    /// Something else altogether.
    Bad,
}

impl Number {
    /// Reads a cell.
    pub(super) fn of(value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Empty,
            Some(Value::Object(object)) => match object.get("raw") {
                Some(Value::Object(_) | Value::Array(_)) => Self::Bad,
                Some(raw) => Self::of(Some(raw)),
                // `{}`, and `{"fmt": null}` of an empty cell.
                None if object.keys().all(|key| matches!(key.as_str(), "fmt" | "longFmt")) => Self::Empty,
                None => Self::Bad,
            },
            Some(Value::Number(number)) => number.as_f64().map_or(Self::Bad, Self::finite),
            Some(Value::String(text)) => Self::of_text(text),
            Some(Value::Bool(_) | Value::Array(_)) => Self::Bad,
        }
    }

    fn of_text(text: &str) -> Self {
        match text.trim() {
            "" | "-" | "--" | "N/A" => Self::Empty,
            text => text.parse().map_or(Self::Bad, Self::finite),
        }
    }

    fn finite(number: f64) -> Self {
        if number.is_finite() { Self::Is(number) } else { Self::Infinite }
    }

    /// The number, if it is one.
    pub(super) fn ok(self) -> Option<f64> {
        match self {
            Self::Is(number) => Some(number),
            _ => None,
        }
    }
}

/// A whole number, also when written `4.0`, `"4"` or `{"raw": 4}`; `None` for anything else.
pub(super) fn whole(value: Option<&Value>) -> Option<i64> {
    // Above 2^53 a float no longer tells neighbours apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let raw = match value {
        Some(Value::Object(object)) => object.get("raw"),
        other => other,
    };
    if let Some(whole) = raw.and_then(Value::as_i64) {
        return Some(whole);
    }
    let number = Number::of(value).ok()?;
    if number.fract() == 0.0 && number.abs() <= EXACT { Some(number as i64) } else { None }
}

/// A share as text, `"-4%"`, as a fraction of one.
pub(super) fn percent(value: Option<&Value>) -> Option<f64> {
    let text = value.and_then(Value::as_str)?.trim().strip_suffix('%')?;
    text.trim().parse().ok().filter(|share: &f64| share.is_finite()).map(|share| share / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(value: Value, expected: Number) {
        assert_eq!(Number::of(Some(&value)), expected, "{value}");
    }

    #[test]
    fn reads_every_form_of_a_number() {
        check(json!(4), Number::Is(4.0));
        check(json!({"raw": 1.5, "fmt": "1.50"}), Number::Is(1.5));
        check(json!({"raw": null, "fmt": null}), Number::Empty);
        check(json!({}), Number::Empty);
        check(json!({"fmt": null}), Number::Empty);
        check(json!(null), Number::Empty);
        check(json!(""), Number::Empty);
        check(json!("2.25"), Number::Is(2.25));
        check(json!("Infinity"), Number::Infinite);
        check(json!("-Infinity"), Number::Infinite);
        check(json!("NaN"), Number::Infinite);
        check(json!("cheap"), Number::Bad);
        check(json!(true), Number::Bad);
        check(json!([1]), Number::Bad);
        check(json!({"raw": {"raw": 1}}), Number::Bad);
        check(json!({"value": 1}), Number::Bad);
        assert_eq!(Number::of(None), Number::Empty);
    }

    #[test]
    fn reads_whole_numbers_and_percents() {
        assert_eq!(whole(Some(&json!(4.0))), Some(4));
        assert_eq!(whole(Some(&json!({"raw": 1739750400, "fmt": "2025-02-17"}))), Some(1_739_750_400));
        assert_eq!(whole(Some(&json!("-5"))), Some(-5));
        assert_eq!(whole(Some(&json!(4.5))), None);
        assert_eq!(whole(Some(&json!(1e300))), None);
        assert_eq!(percent(Some(&json!("-4%"))), Some(-0.04));
        assert_eq!(percent(Some(&json!("inf%"))), None);
        assert_eq!(percent(Some(&json!(4))), None);
    }
}
