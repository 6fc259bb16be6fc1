//! The columns of a source: united over the files of an epoch, and remembered from epoch to epoch.
//!
//! A column that was delivered once stays, and its type never becomes narrower, whatever the files of a later epoch have:
//! queries and tables downstream rely on it. The checkpoint remembers it, within the position of one of the files:
//!
//! ```text
//! AAPL.csv    1043-20240628T201500.000000Z columns=[["Date","Utf8"],["Close","Float64"]]
//! ```
//!
//! Only a file that changed the columns says them; all that say some are united.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::{DataType, TimeUnit};
use stockflow_core::checkpoint::Checkpoint;

use crate::file::infer::unite;
use crate::file::pin::ColumnPin;
use crate::text::Kind;

/// Between a file's version and the columns in its position.
const MARK: &str = " columns=";

/// The file's version in a position.
pub(super) fn version_of(position: &str) -> &str {
    position.split_once(MARK).map_or(position, |(version, _)| version)
}

/// The columns that were delivered up to a checkpoint; none if it was written before they were remembered.
pub(super) fn remembered(checkpoint: &Checkpoint) -> Vec<(String, DataType)> {
    let said = checkpoint.iter().filter_map(|(_, position)| {
        let columns: Vec<(String, String)> = serde_json::from_str(position.split_once(MARK)?.1).ok()?;
        let typed = columns.into_iter().filter_map(|(name, data_type)| Some((name, data_type.parse().ok()?)));
        Some(typed.collect::<Vec<(String, DataType)>>())
    });
    let mut said: Vec<_> = said.collect();
    // New columns come last: the longest list has the order.
    said.sort_by_key(|columns| std::cmp::Reverse(columns.len()));
    let mut united = Columns::default();
    for columns in said {
        // They were united before; what does not fit is of an older definition.
        let _ = united.fit(&columns, &HashSet::new(), false);
    }
    united.order
}

/// Makes a checkpoint remember the columns, in the position of one of these files, unless it does.
pub(in crate::file) fn remember<'f>(
    checkpoint: &mut Checkpoint,
    columns: &[ColumnPin],
    mut files: impl Iterator<Item = &'f str>,
) {
    let known = remembered(checkpoint);
    let is_known = |(column, (name, data_type)): (&ColumnPin, &(String, DataType))| {
        column.name == *name && column.data_type == data_type.to_string()
    };
    if known.len() == columns.len() && columns.iter().zip(&known).all(is_known) {
        return;
    }
    let pairs: Vec<_> = columns.iter().map(|column| (&column.name, &column.data_type)).collect();
    let Ok(text) = serde_json::to_string(&pairs) else { return };
    if let Some((file, version)) = files.find_map(|file| Some((file, version_of(checkpoint.get(file)?).to_owned()))) {
        checkpoint.set(file, format!("{version}{MARK}{text}"));
    }
}

/// Columns in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Columns {
    order: Vec<(String, DataType)>,
    by_name: BTreeMap<String, usize>,
}

impl Columns {
    pub(super) fn add(&mut self, name: &str, data_type: DataType) {
        self.by_name.entry(name.to_lowercase()).or_insert_with(|| {
            self.order.push((name.to_owned(), data_type));
            self.order.len() - 1
        });
    }

    /// Takes a file's columns in, all or none.
    pub(super) fn fit(
        &mut self,
        columns: &[(String, DataType)],
        declared: &HashSet<String>,
        is_text: bool,
    ) -> Result<(), String> {
        let mut changes = Vec::new();
        for (name, data_type) in columns {
            let key = name.to_lowercase();
            let Some(&idx) = self.by_name.get(&key) else { continue };
            let known = &self.order[idx].1;
            if declared.contains(&key) {
                if !is_text && !arrow::compute::can_cast_types(data_type, known) {
                    return Err(format!("column `{name}` has the type {data_type}, which is not {known} as declared"));
                }
                continue;
            }
            match unite(name, known, data_type) {
                Some(united) if !is_text || Kind::of(&simple(&united)).is_some() => changes.push((idx, united)),
                _ => {
                    return Err(format!(
                        "column `{name}` has the type {data_type} here and {known} in the other files"
                    ));
                }
            }
        }
        for (idx, united) in changes {
            self.order[idx].1 = united;
        }
        for (name, data_type) in columns {
            self.add(name, data_type.clone());
        }
        Ok(())
    }

    pub(super) fn pins(self, has_text: bool) -> Vec<ColumnPin> {
        let pin = |(name, data_type): (String, DataType)| {
            let data_type = match data_type {
                DataType::Null => DataType::Utf8,
                other if has_text => simple(&other),
                other => other,
            };
            ColumnPin { name, data_type: data_type.to_string() }
        };
        self.order.into_iter().map(pin).collect()
    }
}

/// The type that text, too, can be read into.
fn simple(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null => DataType::Utf8,
        integer if integer.is_integer() => DataType::Int64,
        number if number.is_numeric() => DataType::Float64,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(columns: &[(&str, DataType)]) -> Vec<ColumnPin> {
        let pin = |(name, data_type): &(&str, DataType)| ColumnPin {
            name: (*name).to_owned(),
            data_type: data_type.to_string(),
        };
        columns.iter().map(pin).collect()
    }

    #[test]
    fn a_checkpoint_remembers_columns_in_one_position() {
        let first = pins(&[("k", DataType::Int64)]);
        let both = pins(&[("k", DataType::Float64), ("y", DataType::Utf8)]);
        let mut checkpoint = Checkpoint::from_iter([("a.csv", "1"), ("b.csv", "2")]);
        assert!(remembered(&checkpoint).is_empty());
        remember(&mut checkpoint, &first, ["b.csv"].into_iter());
        assert_eq!(checkpoint.to_string(), r#"{a.csv@1, b.csv@2 columns=[["k","Int64"]]}"#);
        let same = checkpoint.clone();
        remember(&mut checkpoint, &first, ["a.csv"].into_iter());
        assert_eq!(checkpoint, same, "nothing new to remember");
        remember(&mut checkpoint, &both, ["gone.csv", "a.csv"].into_iter());
        assert_eq!(remembered(&checkpoint), [("k".into(), DataType::Float64), ("y".into(), DataType::Utf8)]);
        assert_eq!(checkpoint.iter().map(|(_, position)| version_of(position)).collect::<Vec<_>>(), ["1", "2"]);
    }
}
