//! Rows as binary COPY wants them, written straight from Arrow's arrays.
//!
//! A column is brought to the type of its wire form by one vectorised cast; what the cast cannot represent makes its row a refused
//! one. Each row is then written value by value without an allocation.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, LargeStringArray, PrimitiveArray, StringArray, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Float64Type, TimeUnit};
use arrow::json::writer::{EncoderOptions, make_encoder};
use stockflow_core::Result;

use super::types::Wire;

/// What every COPY in binary begins with: the signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What it ends with.
pub(super) const TRAILER: &[u8] = &[0xff, 0xff];

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL begins to count.
pub(super) const EPOCH_DAYS: i32 = 10_957;

/// The same in µs.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The values of a column, and how they are written.
enum Values {
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Bytes(BinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Timestamp(TimestampMicrosecondArray),
    Time(Time64MicrosecondArray),
    Decimal(Decimal128Array, u8),
    NumericFloat(Float64Array),
    NumericInt(Int64Array),
}

/// A column that is ready to be written.
pub(super) struct Column {
    values: Values,
    nulls: Option<NullBuffer>,
    /// jsonb begins with its version.
    is_jsonb: bool,
}

/// A column with the rows whose value it does not take.
pub(super) struct Prepared {
    pub(super) column: Column,
    /// Row and reason, in ascending order.
    pub(super) refused: Vec<(usize, String)>,
}

/// Brings a column to its wire form.
///
/// `lossy`: a text with a NUL, which PostgreSQL cannot hold, gets a sign in its place instead of being refused.
pub(super) fn prepare(array: &ArrayRef, wire: Wire, target: &str, lossy: bool) -> Result<Prepared> {
    let Some(wanted) = wire.takes(array.data_type()) else {
        return Err(stockflow_core::Error::internal(format!("a {} was to be written as {target}", array.data_type())));
    };
    let mut refused = Vec::new();
    let cast = match (array.data_type(), wire) {
        (
            DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(..),
            Wire::Json | Wire::Jsonb,
        ) => as_json(array)?,
        (from, _) if *from == wanted => array.clone(),
        (DataType::Timestamp(unit, _), _) => {
            // A cast from a zone to none would convert; the number is the same in every zone.
            let plain = relabelled(array, *unit)?;
            cast_with_options(&plain, &wanted, &CastOptions::default())?
        }
        _ => cast_with_options(array, &wanted, &CastOptions::default())?,
    };
    let fits = |idx: usize| array.is_null(idx) || cast.is_valid(idx);
    if cast.null_count() != array.logical_null_count() || array.data_type().is_floating() && wanted.is_integer() {
        let fraction = (array.data_type().is_floating() && wanted.is_integer())
            .then(|| cast_with_options(array, &DataType::Float64, &CastOptions::default()))
            .transpose()?;
        let is_whole = |idx: usize| {
            fraction.as_ref().is_none_or(|values| {
                let values = values.as_primitive::<Float64Type>();
                values.is_null(idx) || values.value(idx).fract() == 0.0
            })
        };
        for idx in 0..array.len() {
            if !fits(idx) || !is_whole(idx) {
                refused.push((idx, format!("the value does not fit {target}")));
            }
        }
    }
    let cast = if wire_is_text(wire) { without_nul(cast, lossy, &mut refused) } else { cast };
    let nulls = cast.logical_nulls();
    let values = values(&cast, wire)?;
    if let Values::Timestamp(times) = &values {
        // The two ends of the range are infinities there, and the first years lie before what it counts.
        let out = |time: i64| time.checked_sub(EPOCH_MICROS).is_none_or(|time| time == i64::MAX || time == i64::MIN);
        refused.extend(
            (0..times.len())
                .filter(|&idx| times.is_valid(idx) && out(times.value(idx)))
                .map(|idx| (idx, format!("the value does not fit {target}"))),
        );
    }
    refused.sort_unstable();
    Ok(Prepared { column: Column { values, nulls, is_jsonb: wire == Wire::Jsonb }, refused })
}

fn wire_is_text(wire: Wire) -> bool {
    matches!(wire, Wire::Text | Wire::Json | Wire::Jsonb)
}

fn relabelled(array: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().data_type(DataType::Timestamp(unit, None)).build()?;
    Ok(arrow::array::make_array(data))
}

/// Nested values as JSON.
fn as_json(array: &ArrayRef) -> Result<ArrayRef> {
    let field = std::sync::Arc::new(arrow::datatypes::Field::new("value", array.data_type().clone(), true));
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(&field, array.as_ref(), &options)?;
    let mut text = Vec::new();
    let mut values = arrow::array::StringBuilder::with_capacity(array.len(), 64 * array.len());
    for idx in 0..array.len() {
        if array.is_null(idx) {
            values.append_null();
            continue;
        }
        text.clear();
        encoder.encode(idx, &mut text);
        values.append_value(String::from_utf8_lossy(&text));
    }
    Ok(std::sync::Arc::new(values.finish()))
}

/// Texts hold no NUL in PostgreSQL.
fn without_nul(array: ArrayRef, lossy: bool, refused: &mut Vec<(usize, String)>) -> ArrayRef {
    fn texts(array: &ArrayRef) -> Box<dyn Iterator<Item = Option<&str>> + '_> {
        match array.data_type() {
            DataType::LargeUtf8 => Box::new(array.as_string::<i64>().iter()),
            DataType::Utf8View => Box::new(array.as_string_view().iter()),
            _ => Box::new(array.as_string::<i32>().iter()),
        }
    }
    let has_nul = match array.as_string_opt::<i32>() {
        // One look at all bytes.
        Some(plain) => memchr::memchr(0, plain.value_data()).is_some(),
        None => texts(&array).flatten().any(|text| memchr::memchr(0, text.as_bytes()).is_some()),
    };
    if !has_nul {
        return array;
    }
    if lossy {
        let replaced: StringArray = texts(&array).map(|text| text.map(|text| text.replace('\0', "\u{2400}"))).collect();
        return std::sync::Arc::new(replaced);
    }
    let is_bad = |(idx, text): (usize, Option<&str>)| text.is_some_and(|text| text.contains('\0')).then_some(idx);
    let reason = "a text holds a NUL, which PostgreSQL cannot store";
    refused.extend(texts(&array).enumerate().filter_map(is_bad).map(|idx| (idx, reason.to_owned())));
    array
}

fn values(array: &ArrayRef, wire: Wire) -> Result<Values> {
    let lost = || stockflow_core::Error::internal(format!("a {} has no wire form {wire:?}", array.data_type()));
    Ok(match (wire, array.data_type()) {
        (Wire::Bool, _) => Values::Bool(array.as_boolean_opt().ok_or_else(lost)?.clone()),
        (Wire::Int2, _) => Values::Int2(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Int4, _) => Values::Int4(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Int8, _) => Values::Int8(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Float4, _) => Values::Float4(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Float8, _) => Values::Float8(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Text | Wire::Json | Wire::Jsonb, DataType::LargeUtf8) => {
            Values::LargeText(array.as_string_opt().ok_or_else(lost)?.clone())
        }
        (Wire::Text | Wire::Json | Wire::Jsonb, DataType::Utf8View) => {
            Values::TextView(array.as_string_view_opt().ok_or_else(lost)?.clone())
        }
        (Wire::Text | Wire::Json | Wire::Jsonb, _) => Values::Text(array.as_string_opt().ok_or_else(lost)?.clone()),
        (Wire::Bytea, _) => Values::Bytes(array.as_binary_opt().ok_or_else(lost)?.clone()),
        (Wire::Date, _) => Values::Date(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Timestamp | Wire::Timestamptz, _) => {
            Values::Timestamp(array.as_primitive_opt().ok_or_else(lost)?.clone())
        }
        (Wire::Time, _) => Values::Time(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Numeric, DataType::Decimal128(_, scale)) => Values::Decimal(
            array.as_primitive_opt().ok_or_else(lost)?.clone(),
            u8::try_from(*scale).map_err(|_| lost())?,
        ),
        (Wire::Numeric, DataType::Float64) => Values::NumericFloat(array.as_primitive_opt().ok_or_else(lost)?.clone()),
        (Wire::Numeric, _) => Values::NumericInt(array.as_primitive_opt().ok_or_else(lost)?.clone()),
    })
}

/// Writes a row.
pub(super) fn put_row(columns: &[Column], row: usize, out: &mut Vec<u8>) {
    put(out, i16::try_from(columns.len()).unwrap_or(i16::MAX).to_be_bytes());
    for column in columns {
        column.put(row, out);
    }
}

/// Fixed bytes.
#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    out.extend_from_slice(&bytes);
}

/// Fixed bytes with their length before them.
#[inline]
fn put_fixed<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    put(out, (N as i32).to_be_bytes());
    put(out, bytes);
}

impl Column {
    #[inline]
    fn put(&self, row: usize, out: &mut Vec<u8>) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            put(out, (-1_i32).to_be_bytes());
            return;
        }
        match &self.values {
            Values::Bool(values) => put_fixed(out, [u8::from(values.value(row))]),
            Values::Int2(values) => put_fixed(out, values.value(row).to_be_bytes()),
            Values::Int4(values) => put_fixed(out, values.value(row).to_be_bytes()),
            Values::Int8(values) => put_fixed(out, values.value(row).to_be_bytes()),
            Values::Float4(values) => put_fixed(out, values.value(row).to_be_bytes()),
            Values::Float8(values) => put_fixed(out, values.value(row).to_be_bytes()),
            Values::Text(values) => self.put_bytes(values.value(row).as_bytes(), out),
            Values::LargeText(values) => self.put_bytes(values.value(row).as_bytes(), out),
            Values::TextView(values) => self.put_bytes(values.value(row).as_bytes(), out),
            Values::Bytes(values) => self.put_bytes(values.value(row), out),
            Values::Date(values) => put_fixed(out, values.value(row).wrapping_sub(EPOCH_DAYS).to_be_bytes()),
            Values::Timestamp(values) => put_fixed(out, values.value(row).wrapping_sub(EPOCH_MICROS).to_be_bytes()),
            Values::Time(values) => put_fixed(out, values.value(row).to_be_bytes()),
            Values::Decimal(values, scale) => {
                let value = values.value(row);
                put_numeric(out, value < 0, &value.unsigned_abs().to_string(), usize::from(*scale));
            }
            Values::NumericInt(values) => {
                let value = values.value(row);
                put_numeric(out, value < 0, &value.unsigned_abs().to_string(), 0);
            }
            Values::NumericFloat(values) => put_numeric_float(out, values.value(row)),
        }
    }

    #[inline]
    fn put_bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        // An array's value is shorter than 2 GiB, and the server refuses one above 1 GiB.
        let length = i32::try_from(bytes.len() + usize::from(self.is_jsonb)).unwrap_or(i32::MAX);
        put(out, length.to_be_bytes());
        if self.is_jsonb {
            out.push(1);
        }
        out.extend_from_slice(bytes);
    }
}

fn put_numeric_float(out: &mut Vec<u8>, value: f64) {
    let sign: u16 = match value {
        _ if value.is_nan() => 0xc000,
        f64::INFINITY => 0xd000,
        f64::NEG_INFINITY => 0xf000,
        _ => {
            // The shortest decimal number that is this float.
            let text = value.abs().to_string();
            let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            return put_numeric(out, value.is_sign_negative(), &text.replace('.', ""), scale);
        }
    };
    put(out, 8_i32.to_be_bytes());
    put(out, [0; 4]);
    put(out, sign.to_be_bytes());
    put(out, [0; 2]);
}

/// A decimal number: its digits, of which the last `scale` stand behind the point.
fn put_numeric(out: &mut Vec<u8>, is_negative: bool, digits: &str, scale: usize) {
    let digits = digits.trim_start_matches('0');
    // Four digits make one of base 10,000, counted from the point.
    let before = digits.len().saturating_sub(scale);
    let behind = digits.len() - before;
    let lead = (4 - before % 4) % 4;
    let gap = scale - behind;
    let mut decimal = Vec::with_capacity(digits.len() + 8);
    decimal.extend(std::iter::repeat_n(b'0', lead));
    decimal.extend(digits.bytes().take(before));
    // Zeros between the point and the first digit.
    decimal.extend(std::iter::repeat_n(b'0', gap));
    decimal.extend(digits.bytes().skip(before));
    decimal.extend(std::iter::repeat_n(b'0', (4 - scale % 4) % 4));
    let mut groups: Vec<i16> = decimal
        .chunks(4)
        .map(|chunk| chunk.iter().fold(0, |value, digit| value * 10 + i16::from(digit - b'0')))
        .collect();
    let mut weight = i16::try_from((lead + before) / 4).unwrap_or(i16::MAX) - 1;
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight -= i16::try_from(zeros).unwrap_or(i16::MAX);
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let count = groups.len();
    put(out, i32::try_from(8 + 2 * count).unwrap_or(i32::MAX).to_be_bytes());
    put(out, i16::try_from(count).unwrap_or(i16::MAX).to_be_bytes());
    put(out, weight.to_be_bytes());
    put(out, if is_negative && count > 0 { [0x40, 0] } else { [0, 0] });
    put(out, i16::try_from(scale).unwrap_or(i16::MAX).to_be_bytes());
    for group in groups {
        put(out, group.to_be_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn numeric(value: f64) -> Vec<i16> {
        let mut out = Vec::new();
        put_numeric_float(&mut out, value);
        out[4..].chunks(2).map(|pair| i16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    #[test]
    fn decimal_numbers_are_written_in_base_ten_thousand() {
        // Count, weight, sign, scale, groups.
        assert_eq!(numeric(0.0), [0, 0, 0, 0]);
        assert_eq!(numeric(1.0), [1, 0, 0, 0, 1]);
        assert_eq!(numeric(-12345.5), [3, 1, 0x4000, 1, 1, 2345, 5000]);
        assert_eq!(numeric(0.0001), [1, -1, 0, 4, 1]);
        assert_eq!(numeric(0.00001), [1, -2, 0, 5, 1000]);
        assert_eq!(numeric(10000.0), [1, 1, 0, 0, 1]);
        assert_eq!(numeric(81.23), [2, 0, 0, 2, 81, 2300]);
        assert_eq!(numeric(f64::NAN)[2], 0xc000_u16 as i16);
    }

    #[test]
    fn a_decimal_keeps_its_scale() {
        let mut out = Vec::new();
        put_numeric(&mut out, false, "120", 2);
        assert_eq!(out[4..], [0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x07, 0xd0]);
    }

    #[track_caller]
    fn check_refused(array: ArrayRef, wire: Wire, rows: &[usize]) {
        let prepared = prepare(&array, wire, "its column", false).unwrap();
        assert_eq!(prepared.refused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), rows);
    }

    #[test]
    fn what_does_not_fit_is_told_row_by_row() {
        check_refused(Arc::new(Float64Array::from(vec![Some(1.0), Some(1.5), None, Some(1e30)])), Wire::Int8, &[1, 3]);
        check_refused(Arc::new(Int64Array::from(vec![1, 40_000, -40_000])), Wire::Int2, &[1, 2]);
        check_refused(Arc::new(StringArray::from(vec!["a", "b\0c"])), Wire::Text, &[1]);
        check_refused(Arc::new(StringViewArray::from(vec![Some("b\0c"), None, Some("")])), Wire::Text, &[0]);
        check_refused(Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MIN, i64::MAX])), Wire::Timestamptz, &[1]);
    }

    #[test]
    fn a_lossy_text_gets_a_sign_for_its_nul() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["b\0c"]));
        let prepared = prepare(&array, Wire::Text, "text", true).unwrap();
        assert!(prepared.refused.is_empty());
        let mut out = Vec::new();
        put_row(&[prepared.column], 0, &mut out);
        assert_eq!(&out[6..], "b\u{2400}c".as_bytes());
    }

    #[test]
    fn a_row_is_written_as_the_protocol_says() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("AB"), None]));
        let date: ArrayRef = Arc::new(arrow::array::Date32Array::from(vec![EPOCH_DAYS + 1, 0]));
        let columns = [
            prepare(&text, Wire::Text, "text", false).unwrap().column,
            prepare(&date, Wire::Date, "date", false).unwrap().column,
        ];
        let mut out = Vec::new();
        put_row(&columns, 0, &mut out);
        assert_eq!(out, [0, 2, 0, 0, 0, 2, b'A', b'B', 0, 0, 0, 4, 0, 0, 0, 1]);
        out.clear();
        put_row(&columns, 1, &mut out);
        assert_eq!(out[..6], [0, 2, 255, 255, 255, 255]);
    }
}
