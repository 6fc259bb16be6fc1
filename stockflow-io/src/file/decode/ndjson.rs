//! NDJSON: one JSON object a line.
//!
//! A field that is missing or null is NULL; an object or a list is text (its JSON). Text in a column of numbers is read
//! like a cell of CSV. A field that no column was planned for refuses the row, and so does a field that is there twice:
//! nothing is dropped silently.

use std::borrow::Cow;

use memchr::memchr;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::cell::{Cell, Kind, parse};
use super::csv::{payload, symbol};
use super::rows::{Rows, Shape};

/// Reads the lines of a buffer that begins at a line; gives the bytes and lines that were read.
pub(super) fn parse_lines(buf: &[u8], first_line: u64, eof: bool, shape: &Shape, rows: &mut Rows<'_>) -> (usize, u64) {
    let mut cells = vec![Cell::Null; shape.columns.len()];
    let mut seen = vec![false; shape.columns.len()];
    let (mut pos, mut line) = (0, first_line);
    while pos < buf.len() {
        let (end, next) = match memchr(b'\n', &buf[pos..]) {
            Some(offset) => (pos + offset, pos + offset + 1),
            None if eof => (buf.len(), buf.len()),
            None => break,
        };
        let text = &buf[pos..end];
        if !text.iter().all(u8::is_ascii_whitespace) {
            cells.fill(Cell::Null);
            match serde_json::from_slice::<Object>(text) {
                Ok(object) => match read_object(object, shape, &mut cells, &mut seen) {
                    Ok(()) => rows.push(line, &mut cells),
                    Err(reason) => rows.refuse(line, symbol(shape, &cells), reason, payload(text)),
                },
                Err(error) if error.is_data() => {
                    rows.refuse(line, None, "it is no JSON object".into(), payload(text));
                }
                Err(_) if std::str::from_utf8(text).is_err() => {
                    rows.refuse(line, None, "it is not UTF-8 text".into(), payload(text))
                }
                Err(error) => {
                    rows.refuse(line, None, format!("it is no JSON: {}", without_place(&error)), payload(text))
                }
            }
        }
        pos = next;
        line += 1;
    }
    (pos, line - first_line)
}

/// The parser counts lines from this one's start, which would mislead.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} at column {}", error.column()),
        None => text,
    }
}

/// One line's fields in their order, doubled names included.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn read_object(object: Object, shape: &Shape, cells: &mut [Cell<'_>], seen: &mut [bool]) -> Result<(), String> {
    seen.fill(false);
    let mut first_error = None;
    for (name, value) in object.0 {
        let idx = shape.find(&name);
        let was_there = idx.and_then(|idx| seen.get_mut(idx)).is_some_and(|seen| std::mem::replace(seen, true));
        let read = match idx.map(|idx| (idx, Kind::of(&shape.columns[idx].data_type))) {
            _ if was_there => Err(format!("field `{name}` is there twice (case does not count)")),
            _ if value.is_null() => continue,
            None => Err(format!(
                "field `{name}` is not among the columns that the file's first lines have; declare it under `types`"
            )),
            Some((_, None)) => continue,
            Some((idx, Some(kind))) => read_value(value, kind)
                .map(|cell| cells[idx] = cell)
                .map_err(|error| format!("field `{name}`: {error}")),
        };
        if let Err(error) = read {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn read_value(value: Value, kind: Kind) -> Result<Cell<'static>, String> {
    match (&value, kind) {
        (Value::Number(number), Kind::Number) => {
            if let Some(number) = number.as_f64() {
                return Ok(Cell::Number(number));
            }
        }
        (Value::Number(number), Kind::Integer) => {
            if let Some(number) = number.as_i64() {
                return Ok(Cell::Integer(number));
            }
        }
        _ => {}
    }
    let text = text_of(&value).into_owned();
    Ok(match parse(&text, kind)? {
        Cell::Text(_) => Cell::Owned(text),
        Cell::Null => Cell::Null,
        Cell::Owned(text) => Cell::Owned(text),
        Cell::Integer(value) => Cell::Integer(value),
        Cell::Number(value) => Cell::Number(value),
        Cell::Boolean(value) => Cell::Boolean(value),
        Cell::Date(value) => Cell::Date(value),
        Cell::Instant(value) => Cell::Instant(value),
    })
}

fn text_of(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// The fields of one line as text, for guessing types; nothing if the line is no object.
pub(crate) fn cells_of(line: &[u8]) -> Vec<(String, String)> {
    let text = |(name, value): (String, Value)| {
        (name, if value.is_null() { String::new() } else { text_of(&value).into_owned() })
    };
    serde_json::from_slice::<Object>(line).map(|object| object.0.into_iter().map(text).collect()).unwrap_or_default()
}
