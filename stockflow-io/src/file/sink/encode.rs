//! Writes rows as one object: Parquet, CSV or NDJSON.

use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use stockflow_core::{Error, Result};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::log::DataFile;
use crate::columnar::{ColumnarWriter, ParquetCompression, properties};
use crate::file::format::FileFormat;
use crate::location::{Location, origin, refuse};
use crate::text::{write_csv, write_json};

/// Rows of a row group: a tenth of a second of decoding, and the unit that readers share out.
const ROW_GROUP: usize = 256 << 10;
/// Bytes of one part of an upload.
const PART: usize = 8 << 20;

/// Fails for columns that the format has no words for.
pub(super) fn check(format: FileFormat, schema: &SchemaRef, output: &str) -> Result<()> {
    let is_bad = |data_type: &DataType| match format {
        FileFormat::Csv => data_type.is_nested() || data_type.is_binary() || matches!(data_type, DataType::Union(..)),
        FileFormat::Ndjson => matches!(data_type, DataType::Union(..)),
        FileFormat::Parquet => matches!(data_type, DataType::Union(..)),
    };
    match schema.fields().iter().find(|field| is_bad(field.data_type())) {
        Some(field) => {
            let reason = format!(
                "column `{}` has the type {}, which {format} cannot hold; leave it out or cast it",
                field.name(),
                field.data_type()
            );
            Err(refuse(output, reason))
        }
        None => Ok(()),
    }
}

/// Writes all rows of a stream to `place`; on an error nothing is left there.
pub(super) async fn write(
    place: &Location,
    file: String,
    format: FileFormat,
    schema: &SchemaRef,
    rows: SendableRecordBatchStream,
    footer: Vec<KeyValue>,
    compression: ParquetCompression,
) -> Result<DataFile> {
    let inner = BufWriter::with_capacity(Arc::clone(place.store()), place.path().clone(), PART);
    let mut writer = Hashed { inner, hash: Sha256::new(), bytes: 0 };
    let written = match format {
        FileFormat::Parquet => parquet(&mut writer, place, schema, rows, footer, compression).await,
        FileFormat::Csv | FileFormat::Ndjson => text(&mut writer, place, format, schema, rows).await,
    };
    match written {
        Ok(rows) => Ok(DataFile { file, rows, bytes: writer.bytes, sha256: hex(writer.hash) }),
        Err((error, is_open)) => {
            if is_open && let Err(error) = writer.inner.abort().await {
                tracing::debug!(%error, "an upload could not be given up");
            }
            Err(error)
        }
    }
}

/// An error, and whether the upload is still open.
type Broken = (Error, bool);

async fn parquet(
    writer: &mut Hashed,
    place: &Location,
    schema: &SchemaRef,
    mut rows: SendableRecordBatchStream,
    footer: Vec<KeyValue>,
    compression: ParquetCompression,
) -> Result<u64, Broken> {
    let failed = |error: ParquetError| Error::connector(origin(place.text()), "write", error);
    let properties = properties(schema, compression)
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_key_value_metadata(Some(footer))
        .build();
    let mut parquet =
        ColumnarWriter::try_new(writer, Arc::clone(schema), properties).map_err(|error| (failed(error), true))?;
    let mut n = 0;
    while let Some(batch) = rows.try_next().await.map_err(|error| (error.into(), true))? {
        n += batch.num_rows() as u64;
        parquet.write(&batch).await.map_err(|error| (failed(error), true))?;
    }
    parquet.end().await.map_err(|error| (failed(error), true))?;
    parquet.complete().await.map_err(|error| (failed(error), false))?;
    Ok(n)
}

async fn text(
    writer: &mut Hashed,
    place: &Location,
    format: FileFormat,
    schema: &SchemaRef,
    mut rows: SendableRecordBatchStream,
) -> Result<u64, Broken> {
    let failed = |error: std::io::Error| Error::connector(origin(place.text()), "write", error);
    let mut n = 0;
    let mut is_first = true;
    loop {
        let batch = rows.try_next().await.map_err(|error| (error.into(), true))?;
        let is_last = batch.is_none();
        let batch = match batch {
            Some(batch) => batch,
            // The header stands there even if no row does.
            None if is_first => RecordBatch::new_empty(Arc::clone(schema)),
            None => break,
        };
        n += batch.num_rows() as u64;
        let bytes = encode(format, &batch, is_first).map_err(|error| (error.into(), true))?;
        writer.write_all(&bytes).await.map_err(|error| (failed(error), true))?;
        is_first = false;
        if is_last {
            break;
        }
    }
    writer.shutdown().await.map_err(|error| (failed(error), false))?;
    Ok(n)
}

/// A batch as text.
pub(crate) fn encode(format: FileFormat, batch: &RecordBatch, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::with_capacity(batch.num_rows() * 64);
    match format {
        FileFormat::Csv => write_csv(batch, header, &mut bytes)?,
        _ => write_json(batch, &mut bytes)?,
    }
    Ok(bytes)
}

/// A hash as the log keeps it.
pub(crate) fn hex(hash: Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Counts and hashes what goes through.
struct Hashed {
    inner: BufWriter,
    hash: Sha256,
    bytes: u64,
}

impl AsyncWrite for Hashed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(n)) = written {
            self.hash.update(&buf[..n]);
            self.bytes += n as u64;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
