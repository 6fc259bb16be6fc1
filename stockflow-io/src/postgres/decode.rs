//! Values as the server sends them in binary, into Arrow's arrays.

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use stockflow_core::{Error, Result};
use tokio_postgres::types::{FromSql, Type};

use super::encode::{EPOCH_DAYS, EPOCH_MICROS};
use super::types::Wire;

/// The bytes of a value of any type.
pub(super) struct Raw<'a>(pub(super) Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

enum Values {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric(Float64Builder),
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Time(Time64MicrosecondBuilder),
}

/// A column while it is read.
pub(super) struct Decoder {
    wire: Wire,
    values: Values,
}

fn garbled(wire: Wire) -> Error {
    Error::internal(format!("the server sent a value that is no {wire:?}"))
}

fn fixed<const N: usize>(raw: &[u8], wire: Wire) -> Result<[u8; N]> {
    raw.try_into().map_err(|_| garbled(wire))
}

impl Decoder {
    pub(super) fn new(wire: Wire) -> Self {
        let values = match wire {
            Wire::Bool => Values::Bool(BooleanBuilder::new()),
            Wire::Int2 => Values::Int2(Int16Builder::new()),
            Wire::Int4 => Values::Int4(Int32Builder::new()),
            Wire::Int8 => Values::Int8(Int64Builder::new()),
            Wire::Float4 => Values::Float4(Float32Builder::new()),
            Wire::Float8 => Values::Float8(Float64Builder::new()),
            Wire::Numeric => Values::Numeric(Float64Builder::new()),
            Wire::Text | Wire::Json => Values::Text(StringBuilder::new()),
            Wire::Jsonb => Values::Jsonb(StringBuilder::new()),
            Wire::Bytea => Values::Bytes(BinaryBuilder::new()),
            Wire::Date => Values::Date(Date32Builder::new()),
            Wire::Timestamp | Wire::Timestamptz => {
                Values::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(wire.read_as()))
            }
            Wire::Time => Values::Time(Time64MicrosecondBuilder::new()),
        };
        Self { wire, values }
    }

    /// Adds a value. Infinite dates and times have no counterpart and are NULL.
    ///
    /// # Errors
    ///
    /// Internal, for bytes that are no value of the type.
    pub(super) fn push(&mut self, raw: Option<&[u8]>) -> Result<()> {
        let wire = self.wire;
        match (&mut self.values, raw) {
            (Values::Bool(values), raw) => {
                values.append_option(raw.map(|raw| fixed::<1>(raw, wire).map(|byte| byte != [0])).transpose()?);
            }
            (Values::Int2(values), raw) => {
                values.append_option(raw.map(|raw| fixed(raw, wire).map(i16::from_be_bytes)).transpose()?);
            }
            (Values::Int4(values), raw) => {
                values.append_option(raw.map(|raw| fixed(raw, wire).map(i32::from_be_bytes)).transpose()?);
            }
            (Values::Int8(values), raw) => {
                values.append_option(raw.map(|raw| fixed(raw, wire).map(i64::from_be_bytes)).transpose()?);
            }
            (Values::Float4(values), raw) => {
                values.append_option(raw.map(|raw| fixed(raw, wire).map(f32::from_be_bytes)).transpose()?);
            }
            (Values::Float8(values), raw) => {
                values.append_option(raw.map(|raw| fixed(raw, wire).map(f64::from_be_bytes)).transpose()?);
            }
            (Values::Numeric(values), raw) => {
                values.append_option(raw.map(|raw| numeric(raw).ok_or_else(|| garbled(wire))).transpose()?);
            }
            (Values::Text(values), raw) => {
                let text = raw.map(|raw| std::str::from_utf8(raw).map_err(|_| garbled(wire))).transpose()?;
                values.append_option(text);
            }
            (Values::Jsonb(values), raw) => {
                // Its version stands before it.
                let text = raw.map(|raw| raw.split_first().and_then(|(_, text)| std::str::from_utf8(text).ok()));
                values.append_option(text.map(|text| text.ok_or_else(|| garbled(wire))).transpose()?);
            }
            (Values::Bytes(values), raw) => values.append_option(raw),
            (Values::Date(values), raw) => {
                let days = raw.map(|raw| fixed(raw, wire).map(i32::from_be_bytes)).transpose()?;
                values.append_option(
                    days.and_then(|days| days.checked_add(EPOCH_DAYS))
                        .filter(|_| days != Some(i32::MIN) && days != Some(i32::MAX)),
                );
            }
            (Values::Timestamp(values), raw) => {
                let time = raw.map(|raw| fixed(raw, wire).map(i64::from_be_bytes)).transpose()?;
                values.append_option(
                    time.and_then(|time| time.checked_add(EPOCH_MICROS)).filter(|_| time != Some(i64::MIN)),
                );
            }
            (Values::Time(values), raw) => {
                values.append_option(raw.map(|raw| fixed(raw, wire).map(i64::from_be_bytes)).transpose()?);
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        use arrow::array::ArrayBuilder;
        match &mut self.values {
            Values::Bool(values) => ArrayBuilder::finish(values),
            Values::Int2(values) => ArrayBuilder::finish(values),
            Values::Int4(values) => ArrayBuilder::finish(values),
            Values::Int8(values) => ArrayBuilder::finish(values),
            Values::Float4(values) => ArrayBuilder::finish(values),
            Values::Float8(values) | Values::Numeric(values) => ArrayBuilder::finish(values),
            Values::Text(values) | Values::Jsonb(values) => ArrayBuilder::finish(values),
            Values::Bytes(values) => ArrayBuilder::finish(values),
            Values::Date(values) => ArrayBuilder::finish(values),
            Values::Timestamp(values) => ArrayBuilder::finish(values),
            Values::Time(values) => ArrayBuilder::finish(values),
        }
    }
}

/// A decimal number as the nearest float.
fn numeric(raw: &[u8]) -> Option<f64> {
    let word = |idx: usize| raw.get(2 * idx..2 * idx + 2)?.try_into().ok().map(i16::from_be_bytes);
    let (count, weight, sign) = (usize::try_from(word(0)?).ok()?, i32::from(word(1)?), word(2)?);
    match sign.to_be_bytes() {
        [0xc0, 0] => return Some(f64::NAN),
        [0xd0, 0] => return Some(f64::INFINITY),
        [0xf0, 0] => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    // Written out and read again: then it is the nearest one.
    let mut text = String::with_capacity(4 * count + 8);
    if sign != 0 {
        text.push('-');
    }
    text.push('0');
    for idx in 0..count {
        text.push_str(&format!("{:04}", word(4 + idx)?));
    }
    let exponent = 4 * (weight + 1 - i32::try_from(count).ok()?);
    text.push_str(&format!("e{exponent}"));
    text.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Array, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };

    use super::super::encode::{prepare, put_row};
    use super::*;

    /// What is written is read again.
    #[track_caller]
    fn check(array: ArrayRef, wire: Wire, expected: ArrayRef) {
        let prepared = prepare(&array, wire, "a column", false).unwrap();
        let columns = [prepared.column];
        let mut decoder = Decoder::new(wire);
        for row in 0..array.len() {
            let mut out = Vec::new();
            put_row(&columns, row, &mut out);
            let length = i32::from_be_bytes(out[2..6].try_into().unwrap());
            decoder.push((length >= 0).then(|| &out[6..])).unwrap();
        }
        assert_eq!(&decoder.finish(), &expected);
    }

    #[test]
    fn values_survive_the_wire() {
        let floats = vec![Some(0.0), None, Some(-12345.678), Some(1e-9), Some(1e22), Some(0.1), Some(f64::INFINITY)];
        let array: ArrayRef = Arc::new(Float64Array::from(floats));
        check(array.clone(), Wire::Float8, array.clone());
        check(array.clone(), Wire::Numeric, array);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("é"), None, Some("")]));
        check(texts.clone(), Wire::Text, texts.clone());
        check(texts.clone(), Wire::Jsonb, texts);
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None, Some(19_723), Some(-1)]));
        check(dates.clone(), Wire::Date, dates);
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), None, Some(-1)]));
        check(times.clone(), Wire::Timestamp, times);
        let decimals: ArrayRef =
            Arc::new(Decimal128Array::from(vec![12_345, -1, 0]).with_precision_and_scale(20, 3).unwrap());
        check(decimals, Wire::Numeric, Arc::new(Float64Array::from(vec![12.345, -0.001, 0.0])));
        let ints: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, 10_000, 0]));
        check(ints, Wire::Numeric, Arc::new(Float64Array::from(vec![i64::MIN as f64, 10_000.0, 0.0])));
    }
}
