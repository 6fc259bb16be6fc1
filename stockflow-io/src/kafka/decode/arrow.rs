//! One Arrow IPC stream a message.

use std::panic::catch_unwind;

use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array, new_null_array};
use arrow::buffer::Buffer;
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;

use super::{Decoder, Refused};

pub(super) fn decode(decoder: &Decoder, value: &[u8], batches: &mut Vec<Vec<ArrayRef>>) -> Result<usize, Refused> {
    let broken = |reason: String| Refused::new(format!("it is no Arrow IPC stream: {reason}"));
    // The reader of the library believes what a stream says of its own lengths, and panics if it is not so.
    let read = catch_unwind(|| read(value));
    let read = read.map_err(|_| broken("lengths in it are wrong".into()))?;
    let mut decoded = Vec::new();
    let mut n = 0;
    for batch in read.map_err(|error| broken(error.to_string()))? {
        // A row takes a bit and more; of a column that is missing the rows would have to be made.
        if batch.num_rows() / 8 > value.len() {
            return Err(broken(format!("it says that {} bytes are {} rows", value.len(), batch.num_rows())));
        }
        decoded.push(columns(decoder, &batch)?);
        n += batch.num_rows();
    }
    batches.extend(decoded);
    Ok(n)
}

/// All batches of a stream. Not by a `StreamReader`: that reserves as much memory as the stream says that it has.
fn read(value: &[u8]) -> Result<Vec<RecordBatch>, ArrowError> {
    let (mut stream, mut rest) = (StreamDecoder::new(), Buffer::from(value));
    let mut batches = Vec::new();
    while let Some(batch) = stream.decode(&mut rest)? {
        batches.push(batch);
    }
    stream.finish()?;
    match stream.schema() {
        Some(_) => Ok(batches),
        None => Err(ArrowError::IpcError("it has no schema".into())),
    }
}

/// The declared columns of a batch, by name.
pub(super) fn columns(decoder: &Decoder, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Refused> {
    let theirs = batch.schema();
    for (idx, field) in theirs.fields().iter().enumerate() {
        if !decoder.ignores_unknown && decoder.shape.find(field.name()).is_none() {
            return Err(Refused::new(format!("column `{}` {}", field.name(), super::UNPLANNED)));
        }
        let twice = theirs.fields().iter().take(idx).any(|other| other.name().eq_ignore_ascii_case(field.name()));
        if twice {
            return Err(Refused::new(format!("column `{}` is there twice (case does not count)", field.name())));
        }
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let mut arrays = Vec::with_capacity(decoder.schema.fields().len());
    for field in decoder.schema.fields() {
        let found = theirs.fields().iter().position(|theirs| theirs.name().eq_ignore_ascii_case(field.name()));
        let array = match found {
            Some(idx) => cast_with_options(batch.column(idx), field.data_type(), &options)
                .map_err(|error| Refused::new(format!("column `{}`: {error}", field.name())))?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        arrays.push(array);
    }
    match decoder.missing(|idx| arrays.get(idx).is_none_or(|array| array.logical_null_count() > 0)) {
        Some(reason) => Err(Refused::new(reason)),
        None => Ok(arrays),
    }
}

/// All batches as one.
pub(super) fn concatenate(schema: &SchemaRef, batches: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>, ArrowError> {
    let column = |idx: usize| {
        let parts: Vec<&dyn Array> = batches.iter().filter_map(|batch| batch.get(idx)).map(AsRef::as_ref).collect();
        match parts.as_slice() {
            [] => Ok(new_empty_array(schema.field(idx).data_type())),
            parts => concat(parts),
        }
    };
    (0..schema.fields().len()).map(column).collect()
}
