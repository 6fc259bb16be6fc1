//! Rows of a query, written while they come.

use std::io::Write;

use arrow::csv;
use arrow::datatypes::SchemaRef;
use arrow::json;
use arrow::json::writer::{JsonArray, LineDelimited};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::table::Table;
use crate::args::RowFormat;

/// Writes batches in one of the formats.
pub(crate) enum RowWriter<W: Write + Send> {
    Table(Table<W>),
    Csv(Box<csv::Writer<W>>),
    Json(Box<json::Writer<W, JsonArray>>),
    Ndjson(Box<json::Writer<W, LineDelimited>>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> RowWriter<W> {
    /// A writer for rows of this schema.
    pub(crate) fn new(format: RowFormat, out: W, schema: &SchemaRef) -> Result<Self, DataFusionError> {
        Ok(match format {
            RowFormat::Table => Self::Table(Table::of_schema(out, schema)),
            RowFormat::Csv => Self::csv(out, schema)?,
            // A NULL is written: every object has the same fields.
            RowFormat::Json => Self::Json(Box::new(json::WriterBuilder::new().with_explicit_nulls(true).build(out))),
            RowFormat::Ndjson => {
                Self::Ndjson(Box::new(json::WriterBuilder::new().with_explicit_nulls(true).build(out)))
            }
            RowFormat::Parquet => {
                let level = ZstdLevel::try_new(3)?;
                let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
                Self::Parquet(Box::new(ArrowWriter::try_new(out, schema.clone(), Some(properties))?))
            }
        })
    }

    /// The header is written even if no row comes.
    fn csv(out: W, schema: &SchemaRef) -> Result<Self, DataFusionError> {
        let mut writer = csv::WriterBuilder::new().with_header(true).build(out);
        writer.write(&RecordBatch::new_empty(schema.clone()))?;
        Ok(Self::Csv(Box::new(writer)))
    }

    /// Writes some rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), DataFusionError> {
        match self {
            Self::Table(table) => table.batch(batch)?,
            Self::Csv(writer) => writer.write(batch)?,
            Self::Json(writer) => writer.write(batch)?,
            Self::Ndjson(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Ends the document; gives the output back, to be flushed.
    pub(crate) fn finish(self) -> Result<W, DataFusionError> {
        Ok(match self {
            Self::Table(table) => table.finish()?,
            Self::Csv(writer) => writer.into_inner(),
            Self::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Ndjson(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
            Self::Parquet(writer) => writer.into_inner()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[track_caller]
    fn check(format: RowFormat, batches: usize, expected: &str) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("symbol", DataType::Utf8, false),
            Field::new("close", DataType::Float64, true),
        ]));
        let mut writer = RowWriter::new(format, Vec::new(), &schema).unwrap();
        for idx in 0..batches {
            let close = if idx == 0 { Some(1.5) } else { None };
            let batch = RecordBatch::try_new(
                schema.clone(),
                vec![Arc::new(StringArray::from(vec!["A,B"])), Arc::new(Float64Array::from(vec![close]))],
            )
            .unwrap();
            writer.write(&batch).unwrap();
        }
        assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), expected);
    }

    #[test]
    fn rows_are_written_in_every_format() {
        check(RowFormat::Csv, 2, "symbol,close\n\"A,B\",1.5\n\"A,B\",\n");
        check(RowFormat::Ndjson, 2, "{\"symbol\":\"A,B\",\"close\":1.5}\n{\"symbol\":\"A,B\",\"close\":null}\n");
        check(RowFormat::Json, 2, "[{\"symbol\":\"A,B\",\"close\":1.5},{\"symbol\":\"A,B\",\"close\":null}]");
        check(RowFormat::Table, 2, "symbol  close\n------  -----\nA,B       1.5\nA,B\n");
    }

    #[test]
    fn no_rows_are_a_whole_document() {
        check(RowFormat::Csv, 0, "symbol,close\n");
        check(RowFormat::Ndjson, 0, "");
        check(RowFormat::Json, 0, "[]");
        check(RowFormat::Table, 0, "symbol  close\n------  -----\n");
    }
}
