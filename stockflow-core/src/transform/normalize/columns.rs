//! Which foreign column is which column of a bar.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, FieldRef, Fields};

use crate::error::{Error, Result};
use crate::schema::{bar_column, bar_schema, squeeze};

/// The columns that the file source adds: where a row came from.
pub(super) const SOURCE_FILE: &str = "source_file";
/// The line that a row begins in.
pub(super) const SOURCE_LINE: &str = "source_line";
/// The row's place among all rows of the epoch, growing.
pub(crate) const SOURCE_SEQ: &str = "source_seq";

/// The foreign fields by the name that they have in a bar, and those that have none.
#[derive(Debug)]
pub(super) struct Mapped {
    by_name: BTreeMap<&'static str, FieldRef>,
    /// Foreign columns that have no place in a bar.
    pub(super) left_out: Vec<String>,
}

impl Mapped {
    /// Finds the columns by the alias table; what is given explicitly comes first.
    ///
    /// Of two columns with one meaning the one with our own name wins, then the first; `Name` only where nothing better
    /// names the symbol.
    pub(super) fn find(fields: &Fields, given: &BTreeMap<String, String>) -> Result<Self> {
        let mut by_name = explicit(fields, given)?;
        let taken: Vec<String> = by_name.values().map(|it| it.name().clone()).collect();
        let mut ranked: Vec<(u8, &'static str, &FieldRef)> = fields
            .iter()
            .filter(|it| !taken.contains(it.name()))
            .filter_map(|field| bar_column(field.name()).map(|name| (rank(field.name(), name), name, field)))
            .collect();
        ranked.sort_by_key(|(rank, _, _)| *rank);
        for (_, name, field) in ranked {
            by_name.entry(name).or_insert_with(|| field.clone());
        }
        let used: Vec<&String> = by_name.values().map(|it| it.name()).collect();
        let own = |name: &str| is_of_source(name) || name.starts_with("source_");
        let left_out =
            fields.iter().map(|it| it.name()).filter(|name| !used.contains(name) && !own(name)).cloned().collect();
        Ok(Self { by_name, left_out })
    }

    pub(super) fn get(&self, name: &str) -> Option<&FieldRef> {
        self.by_name.get(name)
    }

    /// Checks that what no bar can be without is there.
    pub(super) fn require(&self, step: &str, fields: &Fields) -> Result<()> {
        let mut missing: Vec<&str> =
            ["open", "high", "low", "close"].into_iter().filter(|it| self.get(it).is_none()).collect();
        if self.get("date").is_none() && self.get("ts").is_none() {
            missing.insert(0, "date");
        }
        if missing.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "no column is known to be `{}`; the input has `{}`; say which it is with `columns`, as in `columns = {{ {} = \"…\" }}`",
            missing.join("`, `"),
            names(fields),
            missing.first().copied().unwrap_or("close")
        );
        Err(Error::schema(step, reason))
    }
}

fn explicit(fields: &Fields, given: &BTreeMap<String, String>) -> Result<BTreeMap<&'static str, FieldRef>> {
    let known = bar_schema();
    let mut found = BTreeMap::new();
    for (ours, foreign) in given {
        let refuse = |reason: String| Error::parameter("normalize", "columns", reason);
        let Some(name) = bar_column(ours).filter(|it| *it == ours.as_str()) else {
            let all: Vec<_> = known.fields().iter().map(|it| it.name().as_str()).collect();
            return Err(refuse(format!("a bar has no column `{ours}`; it has `{}`", all.join("`, `"))));
        };
        let exact = fields.iter().find(|it| it.name() == foreign);
        let field = exact.or_else(|| fields.iter().find(|it| squeeze(it.name()) == squeeze(foreign)));
        let field = field.ok_or_else(|| {
            refuse(format!("the input has no column `{foreign}` for `{ours}`; it has `{}`", names(fields)))
        })?;
        found.insert(name, field.clone());
    }
    Ok(found)
}

/// How well a foreign name fits: the lower, the better.
fn rank(foreign: &str, ours: &str) -> u8 {
    let squeezed = squeeze(foreign);
    if squeezed == squeeze(ours) {
        0
    } else if squeezed == "name" {
        2
    } else {
        1
    }
}

/// The names of the input's own columns, for a message; those that say where a row comes from are not its own.
pub(super) fn names(fields: &Fields) -> String {
    let own = fields.iter().map(|it| it.name().as_str()).filter(|name| !is_of_source(name));
    own.collect::<Vec<_>>().join("`, `")
}

/// Whether a column is not of the data, but says where a row comes from.
fn is_of_source(name: &str) -> bool {
    [SOURCE_FILE, SOURCE_LINE, SOURCE_SEQ].contains(&name)
}

/// Whether the type is text of some kind.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}
