//! An output's columns: the union over its epochs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use stockflow_core::{Error, Result};

use crate::file::pin::ColumnPin;
use crate::location::refuse;
use crate::text::is_text;

/// Columns in the form that the log keeps.
pub(super) fn pins(schema: &Schema) -> Vec<ColumnPin> {
    schema.fields().iter().map(|field| pin(field.name(), field.data_type())).collect()
}

fn pin(name: &str, data_type: &DataType) -> ColumnPin {
    ColumnPin { name: name.to_owned(), data_type: data_type.to_string() }
}

/// The columns as a schema: all nullable, because an epoch may lack any of them.
pub(crate) fn schema(output: &str, columns: &[ColumnPin]) -> Result<SchemaRef> {
    let fields = columns.iter().map(|column| Ok(Field::new(&column.name, type_of(output, column)?, true)));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

fn type_of(output: &str, column: &ColumnPin) -> Result<DataType> {
    column.data_type.parse().map_err(|error| {
        let ColumnPin { name, data_type } = column;
        refuse(output, format!("the log of `{output}` gives the column `{name}` the type `{data_type}`: {error}"))
    })
}

/// The output's columns once rows with these columns are in it: new ones are added at the end, an Int64 may become a
/// Float64, and what an epoch lacks is NULL in its rows.
///
/// # Errors
///
/// [`Error::Schema`] with all differences, if a column is of another type.
pub(super) fn unite(relation: &str, output: &str, known: &[ColumnPin], schema: &Schema) -> Result<Vec<ColumnPin>> {
    let mut columns = known.to_vec();
    let mut differences = Vec::new();
    for field in schema.fields() {
        let Some(column) = columns.iter_mut().find(|column| &column.name == field.name()) else {
            columns.push(pin(field.name(), field.data_type()));
            continue;
        };
        let was = type_of(output, column)?;
        match united(&was, field.data_type()) {
            Some(data_type) => column.data_type = data_type.to_string(),
            None => {
                differences.push(format!("the column `{}` was {was} and is {}", field.name(), field.data_type()));
            }
        }
    }
    if differences.is_empty() {
        return Ok(columns);
    }
    Err(Error::schema(
        relation,
        format!(
            "the output `{output}` does not fit the rows: {}; write to another folder, or remove this one and fill it with \
             `run --rebuild`",
            differences.join(", ")
        ),
    ))
}

fn united(known: &DataType, new: &DataType) -> Option<DataType> {
    use DataType::{Float64, Int64};
    match (known, new) {
        (known, new) if is_same(known, new) => Some(known.clone()),
        (Int64, Float64) | (Float64, Int64) => Some(Float64),
        _ => None,
    }
}

/// Text is text, however it is laid out in memory; names of list items and nullability inside do not count.
fn is_same(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => is_same(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| a.name() == b.name() && is_same(a.data_type(), b.data_type()))
        }
        (a, b) => a == b || (is_text(a) && is_text(b)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn schema_of(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect::<Vec<_>>())
    }

    #[track_caller]
    fn check(known: &[(&str, DataType)], new: &[(&str, DataType)], expected: Result<&str, &str>) {
        let columns = unite("bars", "out", &pins(&schema_of(known)), &schema_of(new));
        let text = |columns: Vec<ColumnPin>| {
            columns.iter().map(|column| format!("{}:{}", column.name, column.data_type)).collect::<Vec<_>>().join(" ")
        };
        match expected {
            Ok(expected) => assert_eq!(columns.map(text).unwrap(), expected),
            Err(expected) => {
                let error = columns.unwrap_err().to_string();
                assert!(error.contains(expected), "{error}");
            }
        }
    }

    #[test]
    fn columns_are_united() {
        use DataType::{Boolean, Float64, Int32, Int64, Utf8, Utf8View};
        check(&[], &[("k", Int64)], Ok("k:Int64"));
        check(&[("k", Int64)], &[("y", Utf8)], Ok("k:Int64 y:Utf8"));
        check(&[("k", Int64)], &[("k", Float64)], Ok("k:Float64"));
        check(&[("k", Float64)], &[("k", Int64)], Ok("k:Float64"));
        check(&[("k", Utf8)], &[("k", Utf8View)], Ok("k:Utf8"));
        check(&[("K", Utf8)], &[("k", Utf8)], Ok("K:Utf8 k:Utf8"));
        check(&[("k", Int32)], &[("k", Int64)], Err("the column `k` was Int32 and is Int64"));
        check(
            &[("k", Utf8), ("x", Int64)],
            &[("x", Boolean), ("k", Int64)],
            Err(
                "the output `out` does not fit the rows: the column `x` was Int64 and is Boolean, the column `k` was Utf8",
            ),
        );
    }

    #[test]
    fn types_survive_their_text() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let inner = DataType::Struct(vec![Field::new("a b", DataType::Utf8, true)].into());
        let instant = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        let given = schema_of(&[("l", list), ("s", inner), ("d", DataType::Decimal128(10, 2)), ("t", instant)]);
        assert_eq!(schema("out", &pins(&given)).unwrap().as_ref(), &given);
        let bad = ColumnPin { name: "x".into(), data_type: "Nonsense".into() };
        assert!(schema("out", &[bad]).unwrap_err().to_string().contains("gives the column `x` the type `Nonsense`"));
    }
}
