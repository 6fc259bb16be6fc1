//! Names in SQL.

use std::fmt;

use stockflow_core::{Error, Result};

/// PostgreSQL cuts longer names off, and then two may be one.
const LONGEST: usize = 63;

/// A name as SQL needs it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names as SQL needs them, separated by commas.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// A text as SQL needs it.
pub(super) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Checks that PostgreSQL takes a name as it is.
///
/// # Errors
///
/// Class config.
pub(super) fn check(what: &str, name: &str) -> Result<()> {
    let reason = match name.len() {
        0 => "must not be empty".to_owned(),
        length if length > LONGEST => format!("`{name}` has {length} bytes, and PostgreSQL keeps {LONGEST} of a name"),
        _ if name.contains('\0') => "must not hold a NUL".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::parameter("postgres", what, reason))
}

/// `TABLE` or `SCHEMA.TABLE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    pub(super) schema: Option<String>,
    pub(super) table: String,
}

impl TableName {
    pub(super) fn parse(name: &str) -> Result<Self> {
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(schema.to_owned()), table.to_owned()),
            None => (None, name.to_owned()),
        };
        for part in schema.iter().chain([&table]) {
            check("table", part)?;
        }
        Ok(Self { schema, table })
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.table)
    }
}

/// A table in a schema that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) schema: String,
    pub(super) table: String,
}

impl Located {
    /// Another table of the same schema.
    pub(super) fn beside(&self, table: &str) -> Self {
        Self { schema: self.schema.clone(), table: table.to_owned() }
    }

    /// `"schema"."table"`.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_too_long_ones_refused() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(text("it's"), "'it''s'");
        let name = TableName::parse("market.bars").unwrap();
        assert_eq!((name.schema.as_deref(), name.table.as_str()), (Some("market"), "bars"));
        assert!(TableName::parse("").is_err());
        assert!(TableName::parse("a.").is_err());
        assert!(TableName::parse(&"x".repeat(64)).unwrap_err().to_string().contains("64 bytes"));
    }
}
