//! NDJSON of ours, row by row.

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use arrow::record_batch::RecordBatch;

use super::text::{BATCH_ROWS, Damage, Rows};

pub(super) struct JsonRows {
    decoder: Decoder,
    rows: usize,
}

impl JsonRows {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, ArrowError> {
        // A key that a file lacks is NULL, and what is read as text may be written otherwise.
        let builder = ReaderBuilder::new(schema).with_batch_size(BATCH_ROWS).with_coerce_primitive(true);
        Ok(Self { decoder: builder.build_decoder()?, rows: 0 })
    }

    fn damage(&self, error: &ArrowError) -> Damage {
        format!("after row {}: {error}", self.rows)
    }

    fn flush(&mut self) -> Result<Option<RecordBatch>, Damage> {
        let batch = self.decoder.flush().map_err(|error| self.damage(&error))?;
        self.rows += batch.as_ref().map_or(0, RecordBatch::num_rows);
        Ok(batch)
    }
}

impl Rows for JsonRows {
    fn push(&mut self, mut block: &[u8]) -> Result<Vec<RecordBatch>, Damage> {
        let mut batches = Vec::new();
        while !block.is_empty() {
            let read = self.decoder.decode(block).map_err(|error| self.damage(&error))?;
            block = block.get(read..).unwrap_or_default();
            // It stops within a block only if a batch is full.
            if !block.is_empty() {
                batches.extend(self.flush()?);
            }
        }
        Ok(batches)
    }

    fn finish(&mut self) -> Result<Option<RecordBatch>, Damage> {
        self.flush()
    }
}
