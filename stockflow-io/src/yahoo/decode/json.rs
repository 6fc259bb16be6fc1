//! Ways through a JSON value that never fail: what is not there, or is of another kind, is simply not found.

use serde_json::Value;

/// The value behind a chain of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The elements of a list, if it is one.
pub(super) fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first element of a list, or the object itself: Yahoo writes one thing in both ways.
pub(super) fn first(value: &Value) -> Option<&Value> {
    match value {
        Value::Array(list) => list.first(),
        Value::Object(_) => Some(value),
        _ => None,
    }
}

/// Text that says something.
pub(super) fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// At most so many characters of a text, without control characters.
pub(super) fn shorten(text: &str, chars: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut short: String = text.chars().take(chars).map(clean).collect();
    if text.chars().nth(chars).is_some() {
        short.push('…');
    }
    short
}
