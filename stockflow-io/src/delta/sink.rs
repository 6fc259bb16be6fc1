//! The sink: its settings, and the four steps of the contract.

use async_trait::async_trait;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, Result};
use tokio::sync::Mutex;

use super::attempt::{Attempt, Settings};
use super::commit::commit;
use super::open::{Opened, open};
use super::partition::PartitionBy;
use super::place::Place;
use crate::columnar::ParquetCompression;

/// Writes a relation to a Delta table.
///
/// # Guarantees
///
/// Rows, new columns and the epoch's token become visible in one Delta commit, and a repeated epoch is recognised by the token.
/// Whoever opened the table last may commit; a commit of anyone else fails in the same atomic step in which it would have become
/// visible. A runner that is killed leaves files that no reader sees; the next `open` removes them.
///
/// # Errors
///
/// A column that is gone or of another type is refused with the difference; a new column is added, older rows have NULL there.
/// Rows with a NULL in their key are refused rows.
///
/// # Example
///
/// ```
/// use stockflow_core::sink::{Sink, WriteMode};
/// use stockflow_io::delta::DeltaSink;
///
/// let bars = DeltaSink::new("./stockflow-data/bars")?;
/// assert_eq!(bars.write_mode(), WriteMode::Merge);
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug)]
pub struct DeltaSink {
    settings: Settings,
    opened: Mutex<Option<Opened>>,
}

impl DeltaSink {
    /// A sink for the table at a path or URL, which is made if it is not there: rows are merged by the relation's key.
    ///
    /// # Errors
    ///
    /// Class config: a text that is no path and no known URL.
    pub fn new(url: impl AsRef<str>) -> Result<Self> {
        Ok(Self { settings: Settings::new(Place::parse(url.as_ref())?), opened: Mutex::default() })
    }

    /// Rows have no identity: they are only ever appended.
    #[must_use]
    pub fn keyless(self) -> Self {
        self.with_mode(WriteMode::Append)
    }

    /// What a commit does to the rows that are there; by default rows are merged by key.
    ///
    /// `Overwrite` replaces the whole table, columns and partitions included, by the epoch.
    #[must_use]
    pub fn with_mode(mut self, mode: WriteMode) -> Self {
        self.settings.mode = mode;
        self
    }

    /// Partitions a new table by these columns (none: one folder), each of them part of the relation's key.
    ///
    /// By default bars and what is computed from them are partitioned by `interval` and [`super::SPAN`], other relations not at all.
    #[must_use]
    pub fn with_partition_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.settings.partition_by = PartitionBy::Columns(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Begins a new file at about this many bytes; by default 128 MiB.
    #[must_use]
    pub fn with_target_file_size(mut self, bytes: u64) -> Self {
        self.settings.target_file_size = bytes.max(1);
        self
    }

    /// Compresses new files in another way than by zstd; no part of the definition.
    #[must_use]
    pub fn with_compression(mut self, compression: ParquetCompression) -> Self {
        self.settings.compression = compression;
        self
    }
}

fn not_open() -> Error {
    Error::internal("a Delta sink was used before it was opened")
}

#[async_trait]
impl Sink for DeltaSink {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        let mut opened = self.opened.lock().await;
        let now = open(&self.settings.place, sink, generation, opened.as_ref()).await?;
        let token = now.table.held().token();
        *opened = Some(now);
        Ok(token)
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let mut opened = self.opened.lock().await;
        let opened = opened.as_mut().ok_or_else(not_open)?;
        let mut attempt = Attempt::write(&self.settings, opened, epoch, rows).await?;
        let mut staged = Staged::new(*epoch, attempt.rows, ());
        staged.refused = std::mem::take(&mut attempt.refused);
        staged.payload = Box::new(attempt);
        Ok(staged)
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let token = staged.token;
        let attempt: Attempt = staged.into_payload()?;
        let mut opened = self.opened.lock().await;
        commit(&self.settings, opened.as_mut().ok_or_else(not_open)?, &token, attempt).await
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        staged.into_payload::<Attempt>()?.discard().await
    }

    fn idempotence(&self) -> Idempotence {
        Idempotence::Transactional
    }

    fn write_mode(&self) -> WriteMode {
        self.settings.mode
    }

    fn fence(&self) -> Fence {
        Fence::Atomic
    }

    fn definition(&self) -> serde_json::Value {
        let mode = match self.settings.mode {
            WriteMode::Append => "append",
            WriteMode::Merge => "merge",
            WriteMode::Overwrite => "overwrite",
        };
        let mut definition = serde_json::json!({ "type": "delta", "url": self.settings.place.text, "mode": mode });
        if let PartitionBy::Columns(columns) = &self.settings.partition_by {
            definition["partition_by"] = serde_json::json!(columns);
        }
        definition
    }
}
