//! NDJSON as the sinks write it: every key is there, and a number that JSON lacks is a text.

use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, LineDelimited, NullableEncoder, WriterBuilder};
use arrow::record_batch::RecordBatch;

/// Adds a batch to `out`.
pub(crate) fn write(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
    // A key without a value stays visible, so that an empty column can be read back.
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(NonFinite));
    let mut writer = builder.build::<_, LineDelimited>(out);
    writer.write(batch)?;
    writer.finish()
}

/// Writes `"NaN"`, `"inf"` and `"-inf"` where the usual encoder writes `null`, which would be another value.
#[derive(Debug)]
struct NonFinite;

impl EncoderFactory for NonFinite {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        Ok(match array.data_type() {
            DataType::Float64 => numbers(array.as_primitive::<Float64Type>(), |value| value.is_finite()),
            DataType::Float32 => numbers(array.as_primitive::<Float32Type>(), |value| value.is_finite()),
            _ => None,
        })
    }
}

/// `None` where all is finite: the usual encoder is faster.
fn numbers<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    is_finite: fn(T::Native) -> bool,
) -> Option<NullableEncoder<'_>>
where
    T::Native: std::fmt::Debug + std::fmt::Display,
{
    if array.iter().flatten().all(is_finite) {
        return None;
    }
    Some(NullableEncoder::new(Box::new(Numbers { array, is_finite }), array.nulls().cloned()))
}

struct Numbers<'a, T: ArrowPrimitiveType> {
    array: &'a PrimitiveArray<T>,
    is_finite: fn(T::Native) -> bool,
}

impl<T: ArrowPrimitiveType> Encoder for Numbers<'_, T>
where
    T::Native: std::fmt::Debug + std::fmt::Display,
{
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        let value = self.array.value(idx);
        // Their debug form is the shortest text that gives the same number, and a number of JSON.
        let text = if (self.is_finite)(value) { format!("{value:?}") } else { format!("\"{value}\"") };
        out.extend_from_slice(text.as_bytes());
    }
}
