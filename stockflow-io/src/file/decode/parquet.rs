//! Parquet: batches cast to the planned columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use stockflow_core::{Error, ErrorClass};

use super::place::{Names, Place};
use super::{BATCH_ROWS, MAX_REJECTS, Out};
use crate::file::format::{Compression, FileFormat};
use crate::file::listing::version;
use crate::file::open::{ReadError, range};
use crate::file::pin::FilePin;
use crate::location::{Location, origin};
use crate::text::{Reject, Shape, is_null_word, payload, shorten};

type Builder = ParquetRecordBatchStreamBuilder<ParquetReader>;

/// Reads ranges of the pinned version only.
pub(crate) struct ParquetReader {
    place: Location,
    pin: FilePin,
}

impl ParquetReader {
    pub(crate) fn new(place: &Location, pin: FilePin) -> Self {
        Self { place: place.clone(), pin }
    }
}

/// A Parquet object as it is now.
pub(crate) fn pin_of(place: &Location, meta: &object_store::ObjectMeta) -> FilePin {
    FilePin {
        file: meta.location.filename().unwrap_or_default().to_owned(),
        path: meta.location.to_string(),
        version: version(meta, place.local_path().is_some()),
        size: meta.size,
        modified: meta.last_modified,
        e_tag: meta.e_tag.clone(),
        format: FileFormat::Parquet,
        compression: Compression::None,
        left_out: None,
    }
}

impl AsyncFileReader for ParquetReader {
    fn get_bytes(&mut self, bytes: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            if bytes.end > self.pin.size {
                return Err(ParquetError::EOF(format!("bytes up to {} of {} are asked for", bytes.end, self.pin.size)));
            }
            range(&self.place, &self.pin, bytes).await.map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let size = self.pin.size;
            let reader =
                ParquetMetaDataReader::new().with_arrow_reader_options(options).with_prefetch_hint(Some(64 << 10));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

async fn open(place: &Location, pin: &FilePin) -> Result<Builder, ReadError> {
    if pin.size < 12 {
        return Err(ReadError::Damage(format!("it has {} bytes, which is no Parquet file", pin.size)));
    }
    Builder::new(ParquetReader::new(place, pin.clone())).await.map_err(failure)
}

/// The store's error, or the file's fault.
fn failure(error: ParquetError) -> ReadError {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(own) => ReadError::Failed(*own),
            Err(inner) => ReadError::Damage(format!("it is no sound Parquet file: {inner}")),
        },
        error => ReadError::Damage(format!("it is no sound Parquet file: {error}")),
    }
}

/// The columns that the file's footer names.
pub(crate) async fn schema(place: &Location, pin: &FilePin) -> Result<SchemaRef, ReadError> {
    Ok(Arc::clone(open(place, pin).await?.schema()))
}

/// Decodes a Parquet file into batches of the shape; gives the rows whose values do not fit.
pub(crate) async fn decode(
    place: &Location,
    pin: &FilePin,
    idx: usize,
    shape: &Shape,
    out: &Out,
) -> Result<Vec<Reject>, ReadError> {
    let builder = open(place, pin).await?;
    let schema = Arc::clone(builder.schema());
    let mut stream = builder.with_batch_size(BATCH_ROWS).build().map_err(failure)?;
    // Column of the shape -> column of the file.
    let mut sources: Vec<Option<usize>> = vec![None; shape.columns.len()];
    for (from, field) in schema.fields().iter().enumerate() {
        if let Some(to) = shape.find(field.name()) {
            sources[to].get_or_insert(from);
        }
    }
    let mut rejects = Vec::new();
    let names = Names::default();
    let mut row = 0u64;
    while let Some(batch) = stream.try_next().await.map_err(failure)? {
        let first = row + 1;
        row += batch.num_rows() as u64;
        let (batch, mut refused) = cast(&batch, first, &sources, Place { file: &pin.file, names: &names, idx }, shape)
            .map_err(|error| ReadError::Failed(error.into()))?;
        rejects.append(&mut refused);
        if rejects.len() > MAX_REJECTS {
            let reason = format!("more than {MAX_REJECTS} rows have values of the wrong type");
            return Err(ReadError::Failed(Error::refused(origin(&pin.file), ErrorClass::Data, reason)));
        }
        if batch.num_rows() > 0 {
            out.send(batch).await?;
        }
    }
    Ok(rejects)
}

fn cast(
    batch: &RecordBatch,
    first: u64,
    sources: &[Option<usize>],
    place: Place<'_>,
    shape: &Shape,
) -> Result<(RecordBatch, Vec<Reject>), arrow::error::ArrowError> {
    let mut arrays: Vec<Option<ArrayRef>> = Vec::with_capacity(sources.len());
    let mut bad: Vec<Option<String>> = Vec::new();
    for (column, source) in shape.columns.iter().zip(sources) {
        let Some(source) = source else {
            arrays.push(None);
            continue;
        };
        let given = batch.column(*source);
        if given.data_type() == &column.data_type {
            arrays.push(Some(Arc::clone(given)));
            continue;
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let cast = cast_with_options(given, &column.data_type, &options)?;
        if cast.null_count() > given.logical_null_count() {
            bad.resize(batch.num_rows(), None);
            note_lost(&column.name, given, &cast, &mut bad)?;
        }
        arrays.push(Some(cast));
    }
    let n = if shape.wants_lines() { batch.num_rows() } else { 0 };
    let lines: Vec<i64> = (0..n).map(|n| (first + n as u64) as i64).collect();
    let cast = place.batch(shape, batch.num_rows(), lines, |idx| arrays[idx].clone())?;
    if bad.iter().all(Option::is_none) {
        return Ok((cast, Vec::new()));
    }
    let mut rejects = Vec::new();
    for (n, reason) in bad.iter().enumerate() {
        if let Some(reason) = reason {
            let symbol = shape.symbol().and_then(|idx| arrays[idx].as_ref()).and_then(|array| {
                let array = array.as_string_opt::<i32>()?;
                array.is_valid(n).then(|| array.value(n).to_owned())
            });
            rejects.push(Reject {
                line: first + n as u64,
                symbol,
                reason: reason.clone(),
                payload: json(&batch.slice(n, 1)),
            });
        }
    }
    let keep: BooleanArray = bad.iter().map(|reason| Some(reason.is_none())).collect();
    Ok((filter_record_batch(&cast, &keep)?, rejects))
}

/// Marks the rows whose value the cast lost.
fn note_lost(
    name: &str,
    given: &ArrayRef,
    cast: &ArrayRef,
    bad: &mut [Option<String>],
) -> Result<(), arrow::error::ArrowError> {
    let given_nulls = given.logical_nulls();
    let text = arrow::compute::cast(given, &DataType::Utf8)?;
    let text = text.as_string::<i32>();
    for (n, reason) in bad.iter_mut().enumerate() {
        let was_null = given_nulls.as_ref().is_some_and(|nulls| nulls.is_null(n));
        if was_null || cast.is_valid(n) || text.is_null(n) {
            continue;
        }
        let value = text.value(n).trim();
        if !value.is_empty() && !is_null_word(value) {
            reason.get_or_insert_with(|| {
                format!("column `{name}`: `{}` is not {}", shorten(value, 80), cast.data_type())
            });
        }
    }
    Ok(())
}

fn json(row: &RecordBatch) -> String {
    let mut bytes = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut bytes);
    if writer.write(row).and_then(|()| writer.finish()).is_err() {
        return format!("{row:?}");
    }
    payload(&bytes)
}
