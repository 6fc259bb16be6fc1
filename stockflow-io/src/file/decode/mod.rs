//! From the bytes of a file to rows of a scan: good rows go on, bad ones are refused with their place, and a file that is
//! damaged as a whole gives none.

mod again;
mod parquet;
mod place;
mod text;

use std::sync::Mutex;

use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use tokio::sync::mpsc::Sender;

pub(super) use again::{Line, decode_again};
pub(super) use place::letter;
pub(super) use text::{TextJob, bad_start, without_bom};

use super::open::ReadError;

/// At most so many rows in a batch.
const BATCH_ROWS: usize = 8192;
/// So many refused rows of one file are reported one by one; a file with more is not what it is said to be.
const MAX_REJECTS: usize = 100_000;

/// Where decoded batches go.
#[derive(Debug)]
pub(super) enum Out {
    /// To the reader of a scan.
    Send(Sender<Result<RecordBatch, DataFusionError>>),
    /// Nowhere: only the file's soundness and its bad rows are wanted.
    Discard,
    /// Into memory as long as they are few.
    Keep(Mutex<Kept>),
}

/// Batches in memory; `None` once they were too many.
#[derive(Debug)]
pub(super) struct Kept {
    batches: Option<Vec<RecordBatch>>,
    bytes: usize,
    limit: usize,
}

impl Out {
    pub(super) fn keep(limit: usize) -> Self {
        Self::Keep(Mutex::new(Kept { batches: Some(Vec::new()), bytes: 0, limit }))
    }

    pub(super) async fn send(&self, batch: RecordBatch) -> Result<(), ReadError> {
        match self {
            Self::Send(tx) => tx.send(Ok(batch)).await.map_err(|_| ReadError::Gone)?,
            Self::Discard => {}
            Self::Keep(kept) => {
                let mut kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                kept.bytes += batch.get_array_memory_size();
                if kept.bytes > kept.limit {
                    kept.batches = None;
                } else if let Some(batches) = &mut kept.batches {
                    batches.push(batch);
                }
            }
        }
        Ok(())
    }

    /// What was kept; `None` if it was too much.
    pub(super) fn into_kept(self) -> Option<Vec<RecordBatch>> {
        match self {
            Self::Keep(kept) => kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).batches,
            _ => None,
        }
    }
}

pub(super) use parquet::schema as parquet_schema;
/// Decodes one Parquet file.
pub(super) use parquet::{ParquetReader, decode as decode_parquet, pin_of};
/// Decodes one text file.
pub(super) use text::decode as decode_text;
