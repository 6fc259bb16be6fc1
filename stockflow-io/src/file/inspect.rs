//! Looks into files before they are read: which columns they have, and of which types.

use arrow::datatypes::DataType;
use bytes::BytesMut;
use futures::TryStreamExt;
use memchr::memchr;
use std::collections::HashMap;
use stockflow_core::{ErrorClass, Result};

use super::decode::{bad_start, parquet_schema, without_bom};
use super::format::FileFormat;
use super::infer::{ColumnSample, plain};
use super::open::{ReadError, blocks};
use super::pin::FilePin;
use crate::location::Location;
use crate::text::{CsvOptions, Layout, Step, cells_of, next_record};

/// Bytes of a CSV file, and rows, that its types are guessed from.
const CSV_BYTES: usize = 256 << 10;
const CSV_ROWS: usize = 1000;
/// NDJSON has no header: more is read, so that rare fields are met.
const NDJSON_BYTES: usize = 4 << 20;
const NDJSON_ROWS: usize = 10_000;

/// The columns of one file in its order, or why it cannot be read.
pub(super) type Inspected = Result<Vec<(String, DataType)>, String>;

/// Opens one file and learns its columns.
///
/// A file that is bad or may not be read is `Ok(Err(reason))`: it is left out, the others are read. Only an outage of the
/// store is an error.
pub(super) async fn inspect(place: &Location, pin: &FilePin, csv: &CsvOptions, infer: bool) -> Result<Inspected> {
    let found = match pin.format {
        FileFormat::Parquet => parquet(place, pin).await,
        FileFormat::Csv | FileFormat::Ndjson => text(place, pin, csv, infer).await,
    };
    match found {
        Ok(columns) => Ok(Ok(columns)),
        Err(ReadError::Damage(reason)) => Ok(Err(reason)),
        Err(ReadError::Failed(error)) if error.class() == ErrorClass::Transient => Err(error),
        Err(ReadError::Failed(error)) => {
            Ok(Err(error.chain().into_iter().skip(usize::from(!error.is_pin_lost())).collect::<Vec<_>>().join(": ")))
        }
        Err(ReadError::Gone) => Ok(Ok(Vec::new())),
    }
}

async fn parquet(place: &Location, pin: &FilePin) -> Result<Vec<(String, DataType)>, ReadError> {
    let schema = parquet_schema(place, pin).await?;
    let mut columns: Vec<(String, DataType)> = Vec::new();
    for field in schema.fields() {
        let data_type = plain(field.data_type());
        // The intent keeps types as text.
        if !data_type.to_string().parse::<DataType>().is_ok_and(|parsed| parsed == data_type) {
            return Err(ReadError::Damage(format!(
                "column `{}` has the type {data_type}, which is not supported",
                field.name()
            )));
        }
        if columns.iter().any(|(name, _)| name.eq_ignore_ascii_case(field.name())) {
            return Err(ReadError::Damage(format!("column `{}` is there twice (case does not count)", field.name())));
        }
        columns.push((field.name().clone(), data_type));
    }
    Ok(columns)
}

async fn text(
    place: &Location,
    pin: &FilePin,
    csv: &CsvOptions,
    infer: bool,
) -> Result<Vec<(String, DataType)>, ReadError> {
    let limit = if pin.format == FileFormat::Csv { CSV_BYTES } else { NDJSON_BYTES };
    let mut bytes = BytesMut::new();
    let mut blocks = blocks(place, pin);
    let eof = loop {
        match blocks.try_next().await? {
            Some(block) => bytes.extend_from_slice(&block),
            None => break true,
        }
        if bytes.len() >= limit {
            break false;
        }
    };
    if let Some(reason) = bad_start(&bytes) {
        return Err(ReadError::Damage(reason.into()));
    }
    let bytes = &bytes[without_bom(&bytes)..];
    match pin.format {
        FileFormat::Csv => csv_columns(bytes, eof, csv, infer),
        _ => Ok(ndjson_columns(bytes, eof, infer)),
    }
}

fn csv_columns(bytes: &[u8], eof: bool, csv: &CsvOptions, infer: bool) -> Result<Vec<(String, DataType)>, ReadError> {
    let Some(layout) = Layout::read(bytes, eof, csv).map_err(ReadError::Damage)? else {
        return if eof { Ok(Vec::new()) } else { Err(ReadError::Damage("its first line does not end".into())) };
    };
    let mut samples = vec![ColumnSample::default(); layout.names.len()];
    let mut fields = Vec::new();
    let (mut pos, mut rows) = (layout.skip, 0);
    while infer && pos < bytes.len() && rows < CSV_ROWS {
        pos = match next_record(bytes, pos, layout.delimiter, eof, &mut fields) {
            Step::Record { next, .. } => {
                if fields.len() == samples.len() {
                    fields
                        .iter()
                        .zip(&mut samples)
                        .filter_map(|(field, sample)| Some((field.text(bytes)?, sample)))
                        .for_each(|(text, sample)| sample.add(&text));
                }
                next
            }
            Step::Blank { next } | Step::Broken { next, .. } => next,
            Step::Incomplete => break,
        };
        rows += 1;
    }
    let typed = |(name, sample): (String, ColumnSample)| {
        let data_type = if infer { sample.data_type(&name) } else { DataType::Utf8 };
        (name, data_type)
    };
    Ok(layout.names.into_iter().zip(samples).map(typed).collect())
}

fn ndjson_columns(bytes: &[u8], eof: bool, infer: bool) -> Vec<(String, DataType)> {
    let mut order: Vec<(String, ColumnSample)> = Vec::new();
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let (mut pos, mut rows) = (0, 0);
    while pos < bytes.len() && rows < NDJSON_ROWS {
        let end = match memchr(b'\n', &bytes[pos..]) {
            Some(offset) => pos + offset,
            None if eof => bytes.len(),
            None => break,
        };
        for (name, cell) in cells_of(&bytes[pos..end]) {
            let idx = *by_name.entry(name.to_lowercase()).or_insert_with(|| {
                order.push((name, ColumnSample::default()));
                order.len() - 1
            });
            order[idx].1.add(&cell);
        }
        pos = end + 1;
        rows += 1;
    }
    let typed = |(name, sample): (String, ColumnSample)| {
        let data_type = if infer { sample.data_type(&name) } else { DataType::Utf8 };
        (name, data_type)
    };
    order.into_iter().map(typed).collect()
}
