//! Typed reading of a table: what nobody asked for is refused with the nearest name that is known.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use stockflow_core::Error;
use stockflow_io::location::Location;

use super::problem::{Problems, hint};
use super::tree::{Node, Table, Value};
use crate::time::time;
use stockflow_io::secret::SecretRef;

/// A table of the pipeline file while it is read. Call [`Section::finish`] when every field has been asked for.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    path: String,
    line: usize,
    table: &'a Table,
    problems: &'a Problems,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(crate) fn root(table: &'a Table, problems: &'a Problems) -> Self {
        Self::new(String::new(), 1, table, problems)
    }

    fn new(path: String, line: usize, table: &'a Table, problems: &'a Problems) -> Self {
        Self { path, line, table, problems, asked: RefCell::default() }
    }

    /// A problem with a field of this table.
    pub(crate) fn problem(&self, key: &str, text: impl Into<String>) {
        let line = self.table.entries.get(key).map_or(self.line, |entry| entry.node.line);
        self.problems.add(self.path_of(key), line, text);
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.into(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    fn node(&self, key: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(key);
        self.table.entries.get(key).map(|entry| &entry.node)
    }

    fn read<T>(&self, key: &'static str, wanted: &str, take: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let node = self.node(key)?;
        let taken = take(&node.value);
        if taken.is_none() {
            self.problem(key, format!("must be {wanted}, not {}", node.value.told()));
        }
        taken
    }

    /// Refuses a path or URL that means no place. One that is empty has been told already, or is missing.
    pub(crate) fn check_place(&self, key: &str, text: &str) {
        if !text.is_empty()
            && let Err(error) = Location::parse(text)
        {
            let reason = match error {
                Error::Refused { reason, .. } => reason,
                other => other.chain().join(": "),
            };
            self.problem(key, format!("names no place: {reason}"));
        }
    }

    /// Whether the field is there.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.node(key).is_some()
    }

    /// A string.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.read(key, "a string", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    /// A string that must be there and not be empty.
    pub(crate) fn required(&self, key: &'static str) -> String {
        match self.text(key) {
            Some(text) if !text.is_empty() => return text,
            Some(_) => self.problem(key, "must not be empty"),
            None if !self.table.entries.contains_key(key) => {
                self.problems.add(self.path_of(key), self.line, "is missing")
            }
            None => {}
        }
        String::new()
    }

    /// A string that has a meaning of its own.
    pub(crate) fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, key: &'static str) -> Option<T> {
        let text = self.text(key)?;
        text.parse().map_err(|error| self.problem(key, format!("is wrong: {error}"))).ok()
    }

    /// Where a secret is kept.
    pub(crate) fn secret(&self, key: &'static str) -> Option<SecretRef> {
        let text = self.text(key)?;
        text.parse().map_err(|error: String| self.problem(key, error)).ok()
    }

    /// One of some words.
    pub(crate) fn choice<T: Clone>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| meaning.clone());
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.problem(key, format!("cannot be `{text}`; {}", hint(&text, &known)));
        }
        found
    }

    /// The `type` of a table, which must be there.
    pub(crate) fn kind<T: Clone>(&self, kinds: &[(&str, T)]) -> Option<T> {
        if !self.has("type") {
            let known: Vec<&str> = kinds.iter().map(|(kind, _)| *kind).collect();
            self.problem("type", format!("is missing; there are `{}`", known.join("`, `")));
        }
        self.choice("type", kinds)
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, key: &'static str) -> Option<u64> {
        self.count_within(key, 0..=u64::MAX)
    }

    /// A whole number within bounds.
    pub(crate) fn count_within(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let wanted = match (*bounds.start(), *bounds.end()) {
            (start, u64::MAX) => format!("a whole number from {start}"),
            (start, end) => format!("a whole number from {start} to {end}"),
        };
        self.read(key, &wanted, |value| match value {
            Value::Integer(number) => u64::try_from(*number).ok().filter(|number| bounds.contains(number)),
            _ => None,
        })
    }

    /// A time, as `500ms`, `5s`, `10m`, `1h`.
    pub(crate) fn time(&self, key: &'static str) -> Option<Duration> {
        self.read(key, "a time such as \"500ms\", \"5s\", \"10m\", \"1h\"", |value| match value {
            Value::Text(text) => time(text).ok(),
            _ => None,
        })
    }

    /// A number.
    pub(crate) fn number(&self, key: &'static str) -> Option<f64> {
        self.read(key, "a number", |value| match value {
            Value::Float(number) => Some(*number),
            #[allow(clippy::cast_precision_loss)]
            Value::Integer(number) => Some(*number as f64),
            _ => None,
        })
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, key: &'static str) -> Option<bool> {
        self.read(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A list of strings; one string is a list of one.
    pub(crate) fn texts(&self, key: &'static str) -> Option<Vec<String>> {
        self.read(key, "a list of strings", |value| match value {
            Value::Text(text) => Some(vec![text.clone()]),
            Value::List(items) => items
                .iter()
                .map(|item| if let Value::Text(text) = &item.value { Some(text.clone()) } else { None })
                .collect(),
            _ => None,
        })
    }

    /// A table of strings whose names are the user's, in the order of the file.
    pub(crate) fn pairs(&self, key: &'static str) -> Option<Vec<(String, String)>> {
        self.read(key, "a table of strings", |value| match value {
            Value::Table(table) => {
                let mut entries: Vec<_> = table.entries.iter().collect();
                entries.sort_by_key(|(_, entry)| entry.key_at);
                entries
                    .into_iter()
                    .map(|(name, entry)| {
                        if let Value::Text(text) = &entry.node.value {
                            Some((name.clone(), text.clone()))
                        } else {
                            None
                        }
                    })
                    .collect()
            }
            _ => None,
        })
    }

    /// A table within this one.
    pub(crate) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let table =
            self.read(key, "a table", |value| if let Value::Table(table) = value { Some(table) } else { None })?;
        Some(Section::new(self.path_of(key), self.line_of(key), table, self.problems))
    }

    /// A list of tables, written as `[[key]]`.
    pub(crate) fn sections(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(items) = self.read(key, "a list of tables, `[[…]]`", |value| {
            if let Value::List(items) = value { Some(items) } else { None }
        }) else {
            return Vec::new();
        };
        let section = |(idx, item): (usize, &'a Node)| match &item.value {
            Value::Table(table) => {
                Some(Section::new(format!("{}[{idx}]", self.path_of(key)), item.line, table, self.problems))
            }
            other => {
                self.problem(key, format!("must hold tables only, not {}", other.kind()));
                None
            }
        };
        items.iter().enumerate().filter_map(section).collect()
    }

    /// The tables of a table whose names are the user's, written as `[key.name]`.
    pub(crate) fn named(&self, key: &'static str) -> Vec<(String, Section<'a>)> {
        let Some(table) = self
            .read(key, "a table of tables", |value| if let Value::Table(table) = value { Some(table) } else { None })
        else {
            return Vec::new();
        };
        let section = |(name, entry): (&String, &'a super::tree::Entry)| match &entry.node.value {
            Value::Table(inner) => Some((
                name.clone(),
                Section::new(format!("{}.{name}", self.path_of(key)), entry.key_line, inner, self.problems),
            )),
            other => {
                self.problems.add(
                    format!("{}.{name}", self.path_of(key)),
                    entry.key_line,
                    format!("must be a table, not {}", other.kind()),
                );
                None
            }
        };
        table.entries.iter().filter_map(section).collect()
    }

    fn line_of(&self, key: &str) -> usize {
        self.table.entries.get(key).map_or(self.line, |entry| entry.key_line)
    }

    /// Refuses every field that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        let mut known = asked.clone();
        known.sort_unstable();
        known.dedup();
        for (key, entry) in &self.table.entries {
            if !asked.contains(&key.as_str()) {
                self.problems.add(
                    self.path_of(key),
                    entry.key_line,
                    format!("is not known here; {}", hint(key, &known)),
                );
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    #[track_caller]
    fn check(text: &str, read: impl FnOnce(Section<'_>), expected: &[&str]) {
        let table = parse(text, "a.toml").unwrap();
        let problems = Problems::default();
        read(Section::root(&table, &problems));
        let found = problems.finish("a.toml").map_or_else(|error| error.lines(), |()| Vec::new());
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_key_is_refused_with_path_line_and_the_nearest_one() {
        let read = |root: Section<'_>| {
            for step in root.sections("transform") {
                step.text("name");
                if let Some(rules) = step.section("rules") {
                    rules.text("volume");
                    rules.finish();
                }
                step.finish();
            }
            root.finish();
        };
        check(
            "[[transform]]\nname = 'a'\n[transform.rules]\nvolumme = 'drop'\n[sinc]\n",
            read,
            &[
                "a.toml:4: `transform[0].rules.volumme` is not known here; did you mean `volume`?",
                "a.toml:5: `sinc` is not known here; known here: `transform`",
            ],
        );
    }

    #[test]
    fn names_of_the_user_keep_the_order_of_the_file() {
        let read = |root: Section<'_>| {
            let names: Vec<String> = root.pairs("types").unwrap().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["symbol", "open", "close"]);
            root.finish();
        };
        check("types = { symbol = 'text', open = 'number', close = 'number' }\n", read, &[]);
        check("[types]\nsymbol = 'text'\nopen = 'number'\nclose = 'number'\n", read, &[]);
    }

    #[test]
    fn types_are_told() {
        let read = |root: Section<'_>| {
            assert_eq!(root.count("a"), None);
            assert_eq!(root.flag("b"), None);
            assert_eq!(root.texts("c"), None);
            assert_eq!(root.number("d"), Some(3.0));
            assert_eq!(root.required("e"), "");
            assert_eq!(root.choice("f", &[("drop", 1), ("fail", 2)]), None);
            root.finish();
        };
        check(
            "a = -1\nb = 'yes'\nc = [1]\nd = 3\nf = 'dorp'",
            read,
            &[
                "a.toml:1: `a` must be a whole number from 0, not -1",
                "a.toml:1: `e` is missing",
                "a.toml:2: `b` must be true or false, not a string",
                "a.toml:3: `c` must be a list of strings, not a list",
                "a.toml:5: `f` cannot be `dorp`; did you mean `drop`?",
            ],
        );
    }
}
