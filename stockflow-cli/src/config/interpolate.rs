//! `${NAME}` and `${NAME:-default}` inside string values, after parsing: a variable can never change the document's shape.

use super::problem::Problems;
use super::tree::{Node, Table, Value};

/// Looks up an environment variable.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable that a file uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name.
    pub(crate) name: String,
    /// The fields that use it.
    pub(crate) paths: Vec<String>,
    /// Whether the file's default was taken.
    pub(crate) is_default: bool,
}

/// Replaces the variables of every string; all that are missing become problems.
pub(crate) fn interpolate(table: &mut Table, env: Env<'_>, problems: &Problems) -> Vec<Variable> {
    let mut pass = Pass { env, problems, used: Vec::new() };
    pass.table(table, "");
    pass.used
}

struct Pass<'a> {
    env: Env<'a>,
    problems: &'a Problems,
    used: Vec<Variable>,
}

impl Pass<'_> {
    fn table(&mut self, table: &mut Table, path: &str) {
        for (key, entry) in &mut table.entries {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            self.node(&mut entry.node, &path);
        }
    }

    fn node(&mut self, node: &mut Node, path: &str) {
        match &mut node.value {
            Value::Text(text) => {
                if text.contains("${") {
                    *text = self.text(text, path, node.line);
                }
            }
            Value::List(items) => {
                for (idx, item) in items.iter_mut().enumerate() {
                    self.node(item, &format!("{path}[{idx}]"));
                }
            }
            Value::Table(table) => self.table(table, path),
            Value::Integer(_) | Value::Float(_) | Value::Flag(_) | Value::Date(_) => {}
        }
    }

    fn text(&mut self, text: &str, path: &str, line: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            // `$${` is a literal `${`.
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start - 1]);
                out.push_str("${");
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else {
                self.problems.add(
                    path,
                    line,
                    format!("has `${{` without `}}` in `{text}`; write `$${{` for the two characters themselves"),
                );
                return out;
            };
            let inner = &rest[start + 2..start + end];
            out.push_str(&self.variable(inner, path, line));
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
        out
    }

    fn note(&mut self, name: &str, path: &str, is_default: bool) {
        match self.used.iter_mut().find(|used| used.name == name) {
            Some(used) => used.paths.push(path.into()),
            None => self.used.push(Variable { name: name.into(), paths: vec![path.into()], is_default }),
        }
    }

    fn variable(&mut self, inner: &str, path: &str, line: usize) -> String {
        let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        if !is_name(name) {
            self.problems.add(path, line, format!("has `${{{inner}}}`, and `{name}` cannot be a variable's name; write `${{NAME}}` or `${{NAME:-default}}`"));
            return String::new();
        }
        // As in a shell, `:-` also stands in for a variable that is set to nothing.
        let value = (self.env)(name).filter(|value| default.is_none() || !value.is_empty());
        self.note(name, path, value.is_none());
        match value.or_else(|| default.map(str::to_owned)) {
            Some(value) => value,
            None => {
                self.problems.add(path, line, format!("needs the environment variable `{name}`, which is not set; set it or write `${{{name}:-default}}`"));
                String::new()
            }
        }
    }
}

fn is_name(name: &str) -> bool {
    name.chars().enumerate().all(|(idx, c)| c == '_' || c.is_ascii_alphabetic() || (idx > 0 && c.is_ascii_digit()))
        && !name.is_empty()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let mut table = parse(&format!("path = '{text}'"), "a.toml").unwrap();
        let problems = Problems::default();
        let env = |name: &str| match name {
            "HOME" => Some("/home/ann".to_owned()),
            "EMPTY" => Some(String::new()),
            "SHAPE" => Some("\"\n[sink]".to_owned()),
            _ => None,
        };
        interpolate(&mut table, &env, &problems);
        match (problems.finish("a.toml"), expected) {
            (Ok(()), Ok(expected)) => assert_eq!(table.entries["path"].node.value, Value::Text(expected.into())),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (got, _) => unreachable!("{got:?} for {text}"),
        }
    }

    #[test]
    fn variables_are_replaced() {
        check("${HOME}/lake", Ok("/home/ann/lake"));
        check("a${HOME}b${HOME}c", Ok("a/home/annb/home/annc"));
        check("plain $HOME", Ok("plain $HOME"));
    }

    #[test]
    fn defaults_stand_in_for_unset_and_empty() {
        check("${NOPE:-x/y}", Ok("x/y"));
        check("${NOPE:-}", Ok(""));
        check("${EMPTY:-x}", Ok("x"));
        check("${EMPTY}", Ok(""));
    }

    #[test]
    fn a_variable_cannot_change_the_document() {
        check("${SHAPE}", Ok("\"\n[sink]"));
    }

    #[test]
    fn two_dollars_are_one() {
        check("$${HOME}", Ok("${HOME}"));
        check("a$${HOME}${HOME}", Ok("a${HOME}/home/ann"));
    }

    #[test]
    fn missing_and_misspelt_variables_are_named() {
        check("${NOPE}", Err("a.toml:1: `path` needs the environment variable `NOPE`"));
        check("${1A}", Err("cannot be a variable's name"));
        check("${HOME", Err("without `}`"));
    }

    #[test]
    fn all_missing_variables_are_listed_at_once() {
        let mut table = parse("a = '${ONE}'\nb = ['${TWO}']\n[c]\nd = '${THREE}'", "a.toml").unwrap();
        let problems = Problems::default();
        interpolate(&mut table, &|_| None, &problems);
        let text = problems.finish("a.toml").unwrap_err().to_string();
        for wanted in [
            "a.toml:1: `a` needs the environment variable `ONE`",
            "a.toml:2: `b[0]` needs the environment variable `TWO`",
            "a.toml:4: `c.d` needs",
        ] {
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }
}
