//! Which type of a relation becomes which field, and what an index must be like for it.
//!
//! | Arrow | new field | also goes into |
//! |---|---|---|
//! | Utf8 of any kind, dictionaries of it | `keyword`, searchable up to 8191 characters; `text` for `reason` and `payload` of dead letters | all fields of text; `date` and `ip`, value by value |
//! | Float64, Float32, Decimal | `double`, `float`, `double` | all fields of numbers and of text |
//! | integers | `long`, `integer`, `short`, `byte` | the same |
//! | Boolean | `boolean` | fields of text |
//! | Date32, Date64 | `date` of the form `2024-01-02` | fields of time and of text |
//! | Timestamp of any unit and zone | `date`, searchable to the millisecond and kept to the microsecond | the same |
//! | Time, Binary | `keyword` (binary in hexadecimal digits) | fields of text |
//! | Struct | an object of its fields | `nested` |
//! | List | the field of its values | the same |
//! | Map | an object that is kept and not searchable | any object |
//!
//! Everything else is refused with the advice to cast it. A value that a field does not take (a number too large for `integer`, NaN,
//! a text that is no date) is a refused row, told by the server.

use arrow::datatypes::{DataType, Field};
use serde_json::{Map, Value, json};
use stockflow_core::relation::RelationSchema;
use stockflow_core::{Error, Result};

/// A longer text is kept and found by other fields only; the server's own limit is 32766 bytes.
const SEARCHABLE: u32 = 8191;

/// Columns that are sentences and not names.
const SENTENCES: [&str; 2] = ["reason", "payload"];

/// The fields for a relation's columns.
///
/// # Errors
///
/// [`Error::Schema`] for a column whose name or type has no counterpart.
pub(super) fn properties(relation: &RelationSchema) -> Result<Map<String, Value>> {
    let is_letters = relation.has("payload") && relation.has("reason") && relation.has("pipeline");
    let mut properties = Map::new();
    for column in relation.schema.fields() {
        let name = column.name();
        if name.is_empty() || name.contains('.') || name.starts_with('_') {
            let reason = format!(
                "the column `{name}` cannot be a field: a field's name has no point and does not begin with `_`; rename it in an SQL step"
            );
            return Err(Error::schema(&relation.name, reason));
        }
        let mut field = field(column).ok_or_else(|| {
            let reason = format!(
                "the column `{name}` has the type {}, which a document cannot hold; cast it in an SQL step",
                column.data_type()
            );
            Error::schema(&relation.name, reason)
        })?;
        if is_letters && SENTENCES.contains(&name.as_str()) {
            field = json!({"type": "text"});
        }
        properties.insert(name.clone(), field);
    }
    Ok(properties)
}

/// `None` for a type that no field is made for.
fn field(column: &Field) -> Option<Value> {
    of_type(column.data_type())
}

fn of_type(data_type: &DataType) -> Option<Value> {
    use DataType as T;
    let name = match data_type {
        T::Dictionary(_, values) => return of_type(values),
        T::List(values)
        | T::LargeList(values)
        | T::FixedSizeList(values, _)
        | T::ListView(values)
        | T::LargeListView(values) => {
            return field(values);
        }
        T::Struct(fields) => {
            let properties: Option<Map<String, Value>> =
                fields.iter().map(|it| Some((it.name().clone(), field(it)?))).collect();
            return Some(json!({"properties": properties?}));
        }
        T::Map(..) => return Some(json!({"type": "object", "enabled": false})),
        T::Date32 | T::Date64 => return Some(json!({"type": "date", "format": "strict_date"})),
        T::Timestamp(..) => return Some(json!({"type": "date", "format": "strict_date_optional_time_nanos"})),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null | T::Time32(_) | T::Time64(_) => {
            return Some(json!({"type": "keyword", "ignore_above": SEARCHABLE}));
        }
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
            return Some(json!({"type": "keyword", "ignore_above": SEARCHABLE}));
        }
        T::Float64 | T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => "double",
        T::Float32 | T::Float16 => "float",
        T::Int64 | T::UInt64 | T::UInt32 => "long",
        T::Int32 | T::UInt16 => "integer",
        T::Int16 | T::UInt8 => "short",
        T::Int8 => "byte",
        T::Boolean => "boolean",
        _ => return None,
    };
    Some(json!({"type": name}))
}

/// Whether a field of that type takes a column; of types that we do not know the server decides, row by row.
fn takes(field: &str, data_type: &DataType) -> bool {
    use DataType as T;
    let data_type = match data_type {
        T::Dictionary(_, values) => return takes(field, values),
        T::List(values)
        | T::LargeList(values)
        | T::FixedSizeList(values, _)
        | T::ListView(values)
        | T::LargeListView(values) => {
            return takes(field, values.data_type());
        }
        other => other,
    };
    let is_object = matches!(data_type, T::Struct(_) | T::Map(..));
    let is_time = matches!(data_type, T::Date32 | T::Date64 | T::Timestamp(..));
    match field {
        // A column that is all NULL fits anywhere.
        _ if *data_type == T::Null => true,
        "object" | "nested" | "flattened" | "passthrough" => is_object,
        "keyword" | "text" | "wildcard" | "match_only_text" | "constant_keyword" | "search_as_you_type" => !is_object,
        "double" | "float" | "half_float" | "scaled_float" | "long" | "integer" | "short" | "byte"
        | "unsigned_long" => data_type.is_numeric(),
        "boolean" => *data_type == T::Boolean,
        "date" | "date_nanos" => is_time || data_type.is_string(),
        _ => true,
    }
}

/// What a mapping that is there lacks or has otherwise.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Fields to be added.
    pub(super) missing: Map<String, Value>,
    /// Fields that do not take their column, in words.
    pub(super) misfits: Vec<String>,
}

/// What one object's fields have and another's lack, however deep.
fn missing(wanted: &Map<String, Value>, there: &Map<String, Value>) -> Map<String, Value> {
    let mut missing = Map::new();
    for (name, field) in wanted {
        let fields = |it: &Value| it.get("properties").and_then(Value::as_object).cloned();
        match there.get(name) {
            None => {
                missing.insert(name.clone(), field.clone());
            }
            Some(known) => {
                let Some(wanted) = fields(field) else { continue };
                let inner = self::missing(&wanted, &fields(known).unwrap_or_default());
                if !inner.is_empty() {
                    let mut change = json!({ "properties": inner });
                    if let Some(kind) = known.get("type") {
                        change["type"] = kind.clone();
                    }
                    missing.insert(name.clone(), change);
                }
            }
        }
    }
    missing
}

/// Compares the `properties` of a mapping with a relation.
///
/// # Errors
///
/// As [`properties`].
pub(super) fn compare(relation: &RelationSchema, there: &Map<String, Value>) -> Result<Difference> {
    let wanted = properties(relation)?;
    let mut misfits = Vec::new();
    for (name, field) in wanted.keys().filter_map(|name| Some((name, there.get(name)?))) {
        // An object says so by its fields only.
        let kind = field.get("type").and_then(Value::as_str).unwrap_or("object");
        let data_type = relation.schema.field_with_name(name)?.data_type();
        if !takes(kind, data_type) {
            misfits.push(format!("the field `{name}` is `{kind}` there and {data_type} in the rows"));
        }
    }
    // What does not fit is not changed either.
    let missing = if misfits.is_empty() { missing(&wanted, there) } else { Map::new() };
    Ok(Difference { missing, misfits })
}

/// A mapping for new indices: no other fields than the relation's, and what a search wants to know about them.
///
/// # Errors
///
/// As [`properties`].
pub(super) fn mapping(relation: &RelationSchema) -> Result<Value> {
    let columns: Vec<&String> = relation.schema.fields().iter().map(|field| field.name()).collect();
    Ok(json!({
        "dynamic": "strict",
        "_meta": {"stockflow": {"relation": relation.name, "key": relation.key, "columns": columns}},
        "properties": properties(relation)?,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Schema, TimeUnit};
    use stockflow_core::schema::{bar_relation, dead_letter_relation};

    use super::*;

    fn relation(data_type: DataType) -> RelationSchema {
        RelationSchema::new("r", Arc::new(Schema::new(vec![Field::new("c", data_type, true)])))
    }

    #[test]
    fn every_new_field_takes_what_it_was_made_for() {
        let list = |of: DataType| DataType::List(Arc::new(Field::new_list_field(of, true)));
        for (data_type, kind) in [
            (DataType::Utf8View, "keyword"),
            (DataType::Float32, "float"),
            (DataType::UInt64, "long"),
            (DataType::Int8, "byte"),
            (DataType::Decimal128(20, 4), "double"),
            (DataType::Boolean, "boolean"),
            (DataType::Date32, "date"),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "date"),
            (DataType::Time64(TimeUnit::Microsecond), "keyword"),
            (DataType::Null, "keyword"),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "keyword"),
            (list(DataType::Float64), "double"),
            (list(DataType::Utf8), "keyword"),
        ] {
            let relation = relation(data_type.clone());
            let made = properties(&relation).unwrap();
            assert_eq!(made["c"]["type"], kind, "{data_type}");
            assert_eq!(compare(&relation, &made).unwrap(), Difference::default(), "{data_type}");
        }
        assert!(
            properties(&relation(DataType::Duration(TimeUnit::Second))).unwrap_err().to_string().contains("cast it")
        );
    }

    #[test]
    fn structs_are_objects() {
        let fields = vec![Field::new("a", DataType::Float64, true), Field::new("b", DataType::Utf8, true)];
        let relation = relation(DataType::Struct(fields.into()));
        let made = properties(&relation).unwrap();
        assert_eq!(made["c"]["properties"]["a"], json!({"type": "double"}));
        assert_eq!(compare(&relation, &made).unwrap(), Difference::default());
        let there = json!({"c": {"type": "nested", "properties": {"a": {"type": "double"}}}});
        let wanted =
            json!({"c": {"type": "nested", "properties": {"b": {"type": "keyword", "ignore_above": SEARCHABLE}}}});
        let found = compare(&relation, there.as_object().unwrap()).unwrap();
        assert_eq!(Value::from(found.missing), wanted);
    }

    #[test]
    fn bars_and_dead_letters() {
        let bars = mapping(&bar_relation("bars")).unwrap();
        assert_eq!(bars["_meta"]["stockflow"]["key"], json!(["symbol", "interval", "ts"]));
        assert_eq!(bars["properties"]["close"], json!({"type": "double"}));
        assert_eq!(bars["properties"]["date"], json!({"type": "date", "format": "strict_date"}));
        let letters = mapping(&dead_letter_relation()).unwrap();
        assert_eq!(letters["properties"]["reason"], json!({"type": "text"}));
        assert_eq!(letters["properties"]["symbol"]["type"], "keyword");
    }

    #[test]
    fn differences_are_told() {
        let there = json!({"symbol": {"type": "keyword"}, "close": {"type": "boolean"}, "ts": {"properties": {}}});
        let difference = compare(&bar_relation("bars"), there.as_object().unwrap()).unwrap();
        assert_eq!(
            difference.misfits,
            [
                "the field `close` is `boolean` there and Float64 in the rows",
                "the field `ts` is `object` there and Timestamp(µs, \"UTC\") in the rows"
            ]
        );
        let there = json!({"symbol": {"type": "keyword"}, "ts": {"type": "date"}});
        let difference = compare(&bar_relation("bars"), there.as_object().unwrap()).unwrap();
        assert_eq!((difference.missing.len(), difference.misfits.len()), (15, 0));
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in ["a.b", "_id", ""] {
            let schema = Schema::new(vec![Field::new(name, DataType::Utf8, true)]);
            let error = properties(&RelationSchema::new("r", Arc::new(schema))).unwrap_err();
            assert!(error.to_string().contains("rename it"), "{error}");
        }
    }
}
