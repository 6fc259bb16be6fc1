//! From rows to documents: where each goes, its id, its version and its fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use memchr::memchr_iter;
use serde_json::{Map, Value};
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::RefusedRow;
use stockflow_core::{Error, Result};

use super::index::{Indices, Target};
use super::mapping;
use super::name::{DocumentId, month_of};
use super::spool::Spool;
use crate::text::write_json;

/// How the rows of one relation become documents.
#[derive(Debug)]
pub(super) struct Encoder {
    relation: RelationSchema,
    /// The column by whose month a row's index is chosen.
    month: Option<String>,
    indices: Arc<Indices>,
}

impl Encoder {
    /// # Errors
    ///
    /// [`Error::Schema`] for columns that cannot be fields, a version that is no number and no time, and a month without a time.
    pub(super) fn new(relation: &RelationSchema, by_month: bool, indices: Arc<Indices>) -> Result<Self> {
        let mut relation = relation.clone();
        mapping::properties(&relation)?;
        relation.version = relation.version.take().filter(|it| relation.has(it) && !relation.key.is_empty());
        if let Some(version) = &relation.version {
            let data_type = relation.schema.field_with_name(version)?.data_type();
            let is_time = matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
            if !is_time && !data_type.is_integer() {
                let reason = format!(
                    "its version column `{version}` has the type {data_type}, and a version is a point in time or an integer"
                );
                return Err(Error::schema(&relation.name, reason));
            }
        }
        let month = by_month.then(|| month_column(&relation)).transpose()?;
        Ok(Self { relation, month, indices })
    }

    /// The relation whose fields the indices must have.
    pub(super) fn relation(&self) -> &RelationSchema {
        &self.relation
    }

    /// The target of rows that are not told apart by month.
    pub(super) async fn only_target(&self) -> Result<Option<Arc<Target>>> {
        match self.month {
            Some(_) => Ok(None),
            None => self.indices.target(&self.relation, None).await.map(Some),
        }
    }

    /// Adds the documents of a batch; gives the names that they go to, and the rows that no document can hold.
    pub(super) async fn encode(
        &self,
        batch: &RecordBatch,
        spool: &mut Spool,
        targets: &mut BTreeSet<String>,
    ) -> Result<Vec<RefusedRow>> {
        let columns = Columns::new(self, batch)?;
        let mut by_month = BTreeMap::new();
        for month in columns.months.iter().flatten() {
            if !by_month.contains_key(month) {
                by_month.insert(*month, self.indices.target(&self.relation, Some(*month)).await?);
            }
        }
        let only = self.only_target().await?;
        targets.extend(by_month.values().chain(&only).map(|target| target.name.clone()));
        let mut json = Vec::with_capacity(batch.num_rows() * 320);
        write_json(batch, &mut json)?;
        let (mut refused, mut start) = (Vec::new(), 0);
        let (mut action, mut id) = (String::new(), DocumentId::default());
        for (row, end) in memchr_iter(b'\n', &json).map(|at| at + 1).enumerate() {
            let document = json.get(start..end).unwrap_or_default();
            start = end;
            let month = columns.months.get(row).copied().flatten();
            let target = month.and_then(|month| by_month.get(&month)).or(only.as_ref());
            let named = match target {
                Some(target) => columns.action(row, target, &mut id, &mut action),
                None => Err(format!(
                    "its column `{}` is NULL, and its month decides on the index",
                    self.month.as_deref().unwrap_or_default()
                )),
            };
            match named {
                Ok(()) => spool.push(action.as_bytes(), document)?,
                Err(reason) => refused.push(refused_row(&self.relation, document, reason)),
            }
        }
        Ok(refused)
    }
}

/// A time of the key, so that a key has one month; without a key any time will do.
fn month_column(relation: &RelationSchema) -> Result<String> {
    let is_time = |name: &str| {
        let found = relation.schema.field_with_name(name);
        found.is_ok_and(|field| {
            matches!(field.data_type(), DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
        })
    };
    let names: Vec<&str> = if relation.key.is_empty() {
        relation.schema.fields().iter().map(|field| field.name().as_str()).collect()
    } else {
        relation.key.iter().map(String::as_str).collect()
    };
    names.into_iter().find(|name| is_time(name)).map(str::to_owned).ok_or_else(|| {
        Error::schema(&relation.name, "`partition = \"month\"` needs a date or a point in time among the key's columns")
    })
}

/// What a batch's rows say about themselves.
struct Columns {
    key: Vec<(String, StringArray)>,
    version: Option<Version>,
    months: Vec<Option<i32>>,
}

struct Version {
    name: String,
    numbers: Int64Array,
    /// To tell what does not fit from what is not there.
    given: ArrayRef,
}

impl Columns {
    fn new(encoder: &Encoder, batch: &RecordBatch) -> Result<Self> {
        let column = |name: &String| {
            batch
                .column_by_name(name)
                .ok_or_else(|| Error::schema(&encoder.relation.name, format!("the rows have no column `{name}`")))
        };
        let key = encoder
            .relation
            .key
            .iter()
            .map(|name| Ok((name.clone(), cast(column(name)?, &DataType::Utf8)?.as_string::<i32>().clone())));
        let version = encoder.relation.version.as_ref().map(|name| {
            let given = Arc::clone(column(name)?);
            Ok::<_, Error>(Version { name: name.clone(), numbers: numbers(&given, TimeUnit::Microsecond)?, given })
        });
        let months = match &encoder.month {
            Some(name) => numbers(column(name)?, TimeUnit::Second)?.iter().map(|it| it.map(month_of)).collect(),
            None => Vec::new(),
        };
        Ok(Self { key: key.collect::<Result<_>>()?, version: version.transpose()?, months })
    }

    /// The line before a document; or why there can be none.
    fn action(&self, row: usize, target: &Target, id: &mut DocumentId, line: &mut String) -> Result<(), String> {
        line.clear();
        let name = Value::from(target.name.as_str());
        // Writing to a text does not fail.
        let _ = write!(line, "{{\"index\":{{\"_index\":{name}");
        if target.is_alias {
            line.push_str(",\"require_alias\":true");
        }
        if !self.key.is_empty() {
            id.clear();
            for (idx, (name, column)) in self.key.iter().enumerate() {
                if column.is_null(row) {
                    return Err(format!("its key column `{name}` is NULL, so the row has no name"));
                }
                id.push(idx == 0, column.value(row));
            }
            let id = id.finish();
            if id.is_empty() {
                return Err("its key is empty, so the row has no name".into());
            }
            let _ = write!(line, ",\"_id\":{}", Value::from(id));
        }
        if let Some(version) = &self.version {
            let number = match (version.numbers.is_valid(row), version.given.is_valid(row)) {
                (true, _) => version.numbers.value(row),
                // Known to be older than whatever has a version.
                (false, false) => 0,
                (false, true) => return Err(format!("its version, the column `{}`, is too large", version.name)),
            };
            if number < 0 {
                return Err(format!("its version, the column `{}`, is before 1970 or negative", version.name));
            }
            let _ = write!(line, ",\"version\":{number},\"version_type\":\"external\"");
        }
        line.push_str("}}\n");
        Ok(())
    }
}

/// Times as their distance from 1970 in a unit, integers as they are.
fn numbers(column: &ArrayRef, unit: TimeUnit) -> Result<Int64Array> {
    let column = match column.data_type() {
        DataType::Timestamp(_, zone) => cast(column, &DataType::Timestamp(unit, zone.clone()))?,
        DataType::Date32 | DataType::Date64 => cast(column, &DataType::Timestamp(unit, None))?,
        _ => Arc::clone(column),
    };
    Ok(cast(&column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// A document that was refused.
pub(super) fn refused_row(relation: &RelationSchema, document: &[u8], reason: String) -> RefusedRow {
    let fields: Map<String, Value> = serde_json::from_slice(document).unwrap_or_default();
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        None | Some(Value::Null) => None,
        Some(other) => Some(other.to_string()),
    };
    RefusedRow {
        key: relation.key.iter().map(|name| (name.clone(), text(name).unwrap_or_else(|| "NULL".into()))).collect(),
        symbol: text("symbol"),
        reason,
        payload: String::from_utf8_lossy(document.trim_ascii_end()).into_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stockflow_core::schema::bar_relation;
    use stockflow_core::testing::bars;

    use super::*;

    fn target(is_alias: bool) -> Target {
        Target::for_test("bars", is_alias)
    }

    fn columns(relation: &RelationSchema, batch: &RecordBatch) -> Columns {
        let version = relation.version.as_ref().map(|name| {
            let given = Arc::clone(batch.column_by_name(name).unwrap());
            Version { name: name.clone(), numbers: numbers(&given, TimeUnit::Microsecond).unwrap(), given }
        });
        let key = relation.key.iter().map(|name| {
            let text = cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
            (name.clone(), text.as_string::<i32>().clone())
        });
        Columns { key: key.collect(), version, months: Vec::new() }
    }

    #[test]
    fn a_bar_is_named_by_its_key_and_versioned_by_as_of() {
        let (relation, mut line) = (bar_relation("bars"), String::new());
        let columns = columns(&relation, &bars("A\"B", &[(0, 1.0)], 1_500_000).unwrap());
        columns.action(0, &target(true), &mut DocumentId::default(), &mut line).unwrap();
        let expected = r#"{"index":{"_index":"bars","require_alias":true,"_id":"A\"B|1d|2024-01-01T00:00:00Z","version":1500000,"version_type":"external"}}"#;
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn rows_without_a_key_are_named_by_the_server() {
        let mut line = String::new();
        let relation = RelationSchema::new("r", bar_relation("bars").schema);
        let columns = columns(&relation, &bars("A", &[(0, 1.0)], 1).unwrap());
        columns.action(0, &target(false), &mut DocumentId::default(), &mut line).unwrap();
        assert_eq!(line, "{\"index\":{\"_index\":\"bars\"}}\n");
    }

    #[test]
    fn what_has_no_name_or_version_is_refused() {
        let relation = bar_relation("bars");
        let refused = |columns: Columns| {
            columns.action(0, &target(false), &mut DocumentId::default(), &mut String::new()).unwrap_err()
        };
        let early = columns(&relation, &bars("A", &[(0, 1.0)], -1).unwrap());
        assert!(refused(early).contains("`as_of`, is before 1970"));
        let mut null = columns(&relation, &bars("A", &[(0, 1.0)], 1).unwrap());
        null.key[0].1 = StringArray::from(vec![None::<&str>]);
        assert!(refused(null).contains("key column `symbol` is NULL"));
    }

    #[test]
    fn a_refused_row_has_its_key() {
        let row = refused_row(&bar_relation("bars"), b"{\"symbol\":\"A\",\"interval\":null,\"ts\":7}\n", "no".into());
        assert_eq!(row.key[1], ("interval".into(), "NULL".into()));
        assert_eq!(row.key[2].1, "7");
        assert_eq!(
            (row.symbol.as_deref(), row.payload.as_str()),
            (Some("A"), "{\"symbol\":\"A\",\"interval\":null,\"ts\":7}")
        );
    }

    #[test]
    fn times_are_counted_in_the_unit() {
        let date: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![Some(1), None]));
        let seconds = numbers(&date, TimeUnit::Second).unwrap();
        assert_eq!((seconds.value(0), seconds.is_null(1)), (86_400, true));
        let wide: ArrayRef = Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX, 3]));
        let numbers = numbers(&wide, TimeUnit::Second).unwrap();
        assert_eq!((numbers.is_null(0), numbers.value(1)), (true, 3));
    }
}
