//! JSON: one object a row.
//!
//! A field that is missing or null is NULL; an object or a list is text (its JSON). Text in a column of numbers is read
//! like a cell of CSV. A field that no column was planned for refuses the row (unless the shape ignores such fields), and
//! so does a field that is there twice: nothing is dropped silently.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::cell::{Cell, Kind, parse};
use super::csv::{payload, symbol};
use super::object::Objects;
use super::rows::{Rows, Shape};

/// Reads the lines of a buffer that begins at a line; gives the bytes and lines that were read.
pub(crate) fn parse_lines(buf: &[u8], first_line: u64, eof: bool, shape: &Shape, rows: &mut Rows<'_>) -> (usize, u64) {
    let (mut reader, mut objects) = (ObjectReader::new(shape), Objects::new(shape));
    let (mut pos, mut line) = (0, first_line);
    while pos < buf.len() {
        let (end, next) = match memchr(b'\n', &buf[pos..]) {
            Some(offset) => (pos + offset, pos + offset + 1),
            None if eof => (buf.len(), buf.len()),
            None => break,
        };
        let text = &buf[pos..end];
        if objects.read(text, rows) {
            rows.added(line);
        } else if !text.iter().all(u8::is_ascii_whitespace) {
            match reader.read(text) {
                Ok(cells) => {
                    rows.push(line, cells);
                    objects.learn(text);
                }
                Err((reason, symbol)) => rows.refuse(line, symbol, reason, payload(text)),
            }
        }
        pos = next;
        line += 1;
    }
    (pos, line - first_line)
}

/// Reads objects into cells, one for each column of a shape.
pub(crate) struct ObjectReader<'s, 'a> {
    shape: &'s Shape,
    cells: Vec<Cell<'a>>,
    seen: Vec<bool>,
}

impl<'s, 'a> ObjectReader<'s, 'a> {
    pub(crate) fn new(shape: &'s Shape) -> Self {
        Self { shape, cells: vec![Cell::Null; shape.columns.len()], seen: vec![false; shape.columns.len()] }
    }

    /// The cells of one object; or why it is refused, with its symbol if that much could be read.
    pub(crate) fn read(&mut self, text: &'a [u8]) -> Result<&mut [Cell<'a>], (String, Option<String>)> {
        self.cells.fill(Cell::Null);
        self.seen.fill(false);
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let object = Object { shape: self.shape, cells: &mut self.cells, seen: &mut self.seen };
        let read = object.deserialize(&mut deserializer).and_then(|wrong| deserializer.end().map(|()| wrong));
        match read {
            Ok(None) => Ok(&mut self.cells),
            Ok(Some(reason)) => Err((reason, symbol(self.shape, &self.cells))),
            Err(error) if error.is_data() => Err(("it is no JSON object".into(), None)),
            Err(_) if std::str::from_utf8(text).is_err() => Err(("it is not UTF-8 text".into(), None)),
            Err(error) => Err((format!("it is no JSON: {}", without_place(&error)), None)),
        }
    }
}

/// The parser counts lines from this one's start, which would mislead.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} at column {}", error.column()),
        None => text,
    }
}

/// Reads one object; gives the reason why its row is refused, if it is.
struct Object<'r, 'de> {
    shape: &'r Shape,
    cells: &'r mut [Cell<'de>],
    seen: &'r mut [bool],
}

impl<'de> DeserializeSeed<'de> for Object<'_, 'de> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut first_error = None;
        // Fields mostly come in the columns' order.
        let mut next = 0;
        while let Some(name) = map.next_key_seed(Name)? {
            let is_next = self.shape.columns.get(next).is_some_and(|column| column.name == *name);
            let idx = if is_next { Some(next) } else { self.shape.find(&name) };
            let was_there =
                idx.and_then(|idx| self.seen.get_mut(idx)).is_some_and(|seen| std::mem::replace(seen, true));
            let read = match idx.and_then(|idx| self.shape.columns.get(idx)) {
                _ if was_there => {
                    map.next_value::<IgnoredAny>()?;
                    Err(format!("field `{name}` is there twice (case does not count)"))
                }
                None => match (map.next_value_seed(IsNull)?, self.shape.unknown) {
                    (false, Some(reason)) => Err(format!("field `{name}` {reason}")),
                    _ => continue,
                },
                Some(column) => match Kind::of(&column.data_type) {
                    Some(kind) => {
                        map.next_value_seed(OneCell(kind))?.map_err(|error| format!("field `{name}`: {error}"))
                    }
                    None => {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                },
            };
            match (read, idx.and_then(|idx| self.cells.get_mut(idx))) {
                (Ok(cell), Some(target)) => *target = cell,
                (Ok(_), None) => {}
                (Err(error), _) => {
                    first_error.get_or_insert(error);
                }
            }
            next = idx.map_or(next, |idx| idx + 1);
        }
        Ok(first_error)
    }
}

/// A field's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Whether a value is null; any value is read to its end.
struct IsNull;

impl<'de> DeserializeSeed<'de> for IsNull {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        Option::<IgnoredAny>::deserialize(deserializer).map(|value| value.is_none())
    }
}

/// One value as a cell; or what it is not.
struct OneCell(Kind);

impl OneCell {
    fn parse<'de>(&self, text: &str) -> Result<Cell<'de>, String> {
        Ok(match parse(text, self.0)? {
            Cell::Text(text) => Cell::Owned(text.to_owned()),
            Cell::Null => Cell::Null,
            Cell::Owned(text) => Cell::Owned(text),
            Cell::Integer(value) => Cell::Integer(value),
            Cell::Number(value) => Cell::Number(value),
            Cell::Boolean(value) => Cell::Boolean(value),
            Cell::Date(value) => Cell::Date(value),
            Cell::Instant(value) => Cell::Instant(value),
        })
    }
}

impl<'de> DeserializeSeed<'de> for OneCell {
    type Value = Result<Cell<'de>, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneCell {
    type Value = Result<Cell<'de>, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Ok(Cell::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(match self.0 {
            Kind::Boolean => Ok(Cell::Boolean(value)),
            _ => self.parse(if value { "true" } else { "false" }),
        })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(match self.0 {
            Kind::Integer => Ok(Cell::Integer(value)),
            Kind::Number => Ok(Cell::Number(value as f64)),
            _ => self.parse(&value.to_string()),
        })
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(match (self.0, i64::try_from(value)) {
            (Kind::Integer, Ok(value)) => Ok(Cell::Integer(value)),
            (Kind::Number, _) => Ok(Cell::Number(value as f64)),
            _ => self.parse(&value.to_string()),
        })
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(match self.0 {
            Kind::Number => Ok(Cell::Number(value)),
            _ => self.parse(&Value::from(value).to_string()),
        })
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(parse(text, self.0))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.parse(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(SeqAccessDeserializer::new(seq)).map(|value| self.parse(&value.to_string()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Value::deserialize(MapAccessDeserializer::new(map)).map(|value| self.parse(&value.to_string()))
    }
}

/// One line's fields in their order, doubled names included.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// The fields of one line as text, for guessing types; nothing if the line is no object.
pub(crate) fn cells_of(line: &[u8]) -> Vec<(String, String)> {
    let text = |(name, value): (String, Value)| {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text,
            other => other.to_string(),
        };
        (name, text)
    };
    serde_json::from_slice::<Fields>(line).map(|fields| fields.0.into_iter().map(text).collect()).unwrap_or_default()
}
