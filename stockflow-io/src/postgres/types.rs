//! Column types: what a new table gets, and what of a relation goes into a column that is there.
//!
//! | Arrow | new column | also goes into |
//! |---|---|---|
//! | Utf8 of any kind, dictionaries of it | text | varchar, char, name, enums, json, jsonb, domains over them |
//! | Float64, Float32 | double precision, real | each other, numeric, integers if the value is whole and fits |
//! | Int64, Int32, Int16, Int8, unsigned ones | bigint, integer, smallint | each other if the value fits, numeric, double precision |
//! | UInt64 | numeric(20,0) | the same |
//! | Decimal128 | numeric | double precision |
//! | Boolean, Binary | boolean, bytea | |
//! | Date32, Date64 | date | |
//! | Timestamp of any unit and zone | timestamptz | timestamp (in UTC) |
//! | Time32, Time64 | time | |
//! | Struct, List, Map | jsonb | json |
//!
//! Everything else is refused with the advice to cast it. A value that does not fit is a refused row, never another value; but
//! numeric(p,s) rounds to its scale and real to its digits, as PostgreSQL does.

use arrow::datatypes::{DataType, TimeUnit};

/// How a value is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Json,
    Jsonb,
    Bytea,
    Date,
    Timestamp,
    Timestamptz,
    Time,
}

impl Wire {
    /// The wire form of a type by its OID; `typtype` is `e` for enums.
    pub(super) fn of_oid(oid: u32, typtype: char) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            18 | 19 | 25 | 1042 | 1043 => Self::Text,
            114 => Self::Json,
            3802 => Self::Jsonb,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::Timestamptz,
            1700 => Self::Numeric,
            _ if typtype == 'e' => Self::Text,
            _ => return None,
        })
    }

    /// The Arrow type that a column is brought to before it is encoded; `None` if the column does not take the type.
    pub(super) fn takes(self, data_type: &DataType) -> Option<DataType> {
        use DataType as T;
        let data_type = match data_type {
            T::Dictionary(_, values) => values.as_ref(),
            other => other,
        };
        let is_number = data_type.is_integer() || matches!(data_type, T::Float64 | T::Float32 | T::Float16);
        let is_decimal = matches!(data_type, T::Decimal128(_, scale) if *scale >= 0);
        let is_nested = matches!(data_type, T::Struct(_) | T::List(_) | T::LargeList(_) | T::Map(..));
        let null = *data_type == T::Null;
        let when = |takes: bool, wanted: DataType| (takes || null).then_some(wanted);
        let text = match data_type {
            T::LargeUtf8 | T::Utf8View => data_type.clone(),
            _ => T::Utf8,
        };
        match self {
            Self::Bool => when(*data_type == T::Boolean, T::Boolean),
            Self::Int2 => when(is_number, T::Int16),
            Self::Int4 => when(is_number, T::Int32),
            Self::Int8 => when(is_number, T::Int64),
            Self::Float4 => when(is_number, T::Float32),
            Self::Float8 => when(is_number || is_decimal, T::Float64),
            Self::Numeric => match data_type {
                T::Float16 | T::Float32 | T::Float64 => Some(T::Float64),
                T::UInt64 => Some(T::Decimal128(20, 0)),
                _ if is_decimal => Some(data_type.clone()),
                _ => when(data_type.is_integer(), T::Int64),
            },
            Self::Text => when(data_type.is_string(), text),
            Self::Json | Self::Jsonb if is_nested => Some(T::Utf8),
            Self::Json | Self::Jsonb => when(data_type.is_string(), text),
            Self::Bytea => when(data_type.is_binary(), T::Binary),
            Self::Date => when(matches!(data_type, T::Date32 | T::Date64), T::Date32),
            Self::Timestamp | Self::Timestamptz => {
                when(matches!(data_type, T::Timestamp(..)), T::Timestamp(TimeUnit::Microsecond, None))
            }
            Self::Time => when(matches!(data_type, T::Time32(_) | T::Time64(_)), T::Time64(TimeUnit::Microsecond)),
        }
    }

    /// The Arrow type that a column of this form is read as.
    pub(super) fn read_as(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 => DataType::Float32,
            Self::Float8 | Self::Numeric => DataType::Float64,
            Self::Text | Self::Json | Self::Jsonb => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Timestamptz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
        }
    }
}

/// The type of a new column; `None` for an Arrow type that PostgreSQL has nothing for.
pub(super) fn column_type(data_type: &DataType) -> Option<(String, Wire)> {
    use DataType as T;
    let (name, wire) = match data_type {
        T::Dictionary(_, values) => return column_type(values),
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Null => ("text", Wire::Text),
        T::Float64 => ("double precision", Wire::Float8),
        T::Float32 | T::Float16 => ("real", Wire::Float4),
        T::Int64 | T::UInt32 => ("bigint", Wire::Int8),
        T::Int32 | T::UInt16 => ("integer", Wire::Int4),
        T::Int16 | T::Int8 | T::UInt8 => ("smallint", Wire::Int2),
        T::UInt64 => ("numeric(20,0)", Wire::Numeric),
        T::Decimal128(precision, scale) if *scale >= 0 => {
            return Some((format!("numeric({precision},{scale})"), Wire::Numeric));
        }
        T::Boolean => ("boolean", Wire::Bool),
        T::Binary | T::LargeBinary | T::BinaryView => ("bytea", Wire::Bytea),
        T::Date32 | T::Date64 => ("date", Wire::Date),
        T::Timestamp(..) => ("timestamptz", Wire::Timestamptz),
        T::Time32(_) | T::Time64(_) => ("time", Wire::Time),
        T::Struct(_) | T::List(_) | T::LargeList(_) | T::Map(..) => ("jsonb", Wire::Jsonb),
        _ => return None,
    };
    Some((name.to_owned(), wire))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_new_column_takes_what_it_was_made_for() {
        let instant = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
        for data_type in [
            DataType::Utf8View,
            DataType::Float64,
            DataType::UInt64,
            DataType::UInt32,
            DataType::Int8,
            DataType::Decimal128(38, 4),
            DataType::Boolean,
            DataType::BinaryView,
            DataType::Date64,
            instant(None),
            instant(Some("+01:00")),
            DataType::Time32(TimeUnit::Second),
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            DataType::List(std::sync::Arc::new(arrow::datatypes::Field::new_list_field(DataType::Int64, true))),
            DataType::Null,
        ] {
            let made = column_type(&data_type).map(|(_, wire)| wire);
            assert!(made.is_some_and(|wire| wire.takes(&data_type).is_some()), "{data_type}");
        }
        assert_eq!(column_type(&DataType::Duration(TimeUnit::Second)), None);
    }

    #[test]
    fn numbers_go_into_numbers_only() {
        assert_eq!(Wire::Numeric.takes(&DataType::Float64), Some(DataType::Float64));
        assert_eq!(Wire::Int4.takes(&DataType::Utf8), None);
        assert_eq!(Wire::Text.takes(&DataType::Int64), None);
        assert_eq!(Wire::Date.takes(&DataType::Timestamp(TimeUnit::Second, None)), None);
    }
}
