//! A TOML document as plain values that know their line.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::problem::{ConfigError, Problem};

/// A value and the line where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Flag(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What a message says instead of it: a number itself, of anything else its kind.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            other => other.kind().to_owned(),
        }
    }

    /// What a message calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A TOML table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Table {
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A key's place and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// In bytes from the document's start: entries are kept by name, and the order of some counts.
    pub(crate) key_at: usize,
    pub(crate) key_line: usize,
    pub(crate) node: Node,
}

/// Parses a document.
///
/// # Errors
///
/// The first place where it is no TOML.
pub(crate) fn parse(text: &str, file: &str) -> Result<Table, ConfigError> {
    let lines = Lines::of(text);
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(0, |span| lines.at(span.start));
        ConfigError {
            file: file.into(),
            problems: vec![Problem {
                path: String::new(),
                line,
                text: format!("is not valid TOML: {}", error.message().replace('\n', ", ")),
            }],
        }
    })?;
    Ok(table(document.get_ref(), &lines))
}

/// Byte offsets of the line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(
            std::iter::once(0)
                .chain(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(idx, _)| idx + 1))
                .collect(),
        )
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset).max(1)
    }
}

fn table(table: &DeTable<'_>, lines: &Lines) -> Table {
    let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let node = node(value, lines);
        let key_at = key.span().start;
        (key.get_ref().to_string(), Entry { key_at, key_line: lines.at(key_at), node })
    };
    Table { entries: table.iter().map(entry).collect() }
}

fn node(value: &toml::Spanned<DeValue<'_>>, lines: &Lines) -> Node {
    let line = lines.at(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            // Too big for 64 bits: no setting has such a value, and the reader of the field says what it wants.
            Err(_) => Value::Text(number.to_string()),
        },
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::Text(number.to_string()), Value::Float)
        }
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    };
    Node { line, value }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_line() {
        let table = parse("name = \"main\"\n\n[source]\ntype = \"file\"\n[[sink]]\nrows = 1_0\n", "a.toml").unwrap();
        assert_eq!(table.entries["name"].node, Node { line: 1, value: Value::Text("main".into()) });
        let Value::Table(source) = &table.entries["source"].node.value else { unreachable!("a table") };
        assert_eq!(source.entries["type"].key_line, 4);
        let Value::List(sinks) = &table.entries["sink"].node.value else { unreachable!("a list") };
        let Value::Table(sink) = &sinks[0].value else { unreachable!("a table") };
        assert_eq!(sink.entries["rows"].node, Node { line: 6, value: Value::Integer(10) });
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let error = parse("name = \"main\"\nmode = \n", "a.toml").unwrap_err();
        assert!(error.to_string().starts_with("a.toml:2: is not valid TOML: "), "{error}");
    }
}
