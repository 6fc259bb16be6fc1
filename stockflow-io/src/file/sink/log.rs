//! The numbered log of an output: who may write, and which files are visible.
//!
//! ```text
//! <output>/_stockflow/log/00000000000000000001.json    created, never changed
//! ```
//!
//! Each entry tells all there is to know (older files by the names of [segments](super::segment)), so readers follow the
//! newest one. An entry is written with create-if-absent at the number after the newest: a runner that was overtaken meets
//! the other's entry there and stops. This needs no conditional update, which the local file system lacks.
//!
//! Old entries are removed, so a runner that slept long enough finds its number free again. An entry therefore counts only
//! if no higher number is there once it is written: the newest entry is never removed, so then there never was one.

use chrono::{DateTime, Utc};
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, ErrorClass, Result};
use uuid::Uuid;

use super::SinkMode;
use crate::file::format::FileFormat;
use crate::file::pin::ColumnPin;
use crate::location::{Location, origin};

/// So many entries stay when older ones are removed.
const KEEP: u64 = 64;

/// What an output holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The epoch that was written last, in the text form of [`EpochToken`].
    pub(crate) token: String,
    /// The union over the epochs.
    pub(crate) columns: Vec<ColumnPin>,
    /// Lists of older files (mode append).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) segments: Vec<String>,
    /// The files since the newest segment.
    pub(crate) files: Vec<DataFile>,
}

impl Contents {
    pub(super) fn token(&self) -> Option<EpochToken> {
        self.token.parse().ok()
    }
}

/// One object of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    /// Its path below the output.
    pub(crate) file: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Tells our own entry from another's where a store answers "already exists" to our own retried write.
    nonce: String,
    /// `pipeline/sink`.
    sink: String,
    pub(super) generation: u64,
    at: DateTime<Utc>,
    pub(super) mode: SinkMode,
    pub(crate) format: FileFormat,
    /// What is visible; `None` before the first epoch.
    pub(crate) visible: Option<Contents>,
    /// What becomes visible when the object is moved to its place (mode overwrite).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<Contents>,
}

impl Entry {
    pub(super) fn new(sink: &SinkId, generation: Generation, mode: SinkMode, format: FileFormat) -> Self {
        let nonce = Uuid::new_v4().to_string();
        Self {
            nonce,
            sink: sink.to_string(),
            generation: generation.0,
            at: Utc::now(),
            mode,
            format,
            visible: None,
            next: None,
        }
    }

    pub(super) fn with_visible(mut self, visible: Option<Contents>) -> Self {
        self.visible = visible;
        self
    }

    pub(super) fn with_next(mut self, next: Option<Contents>) -> Self {
        self.next = next;
        self
    }

    pub(super) fn sink(&self) -> &str {
        &self.sink
    }
}

/// The log at a place.
#[derive(Debug, Clone)]
pub(crate) struct TableLog(Location);

impl TableLog {
    /// The log of an output that is a folder.
    pub(crate) fn of_folder(output: &Location) -> Self {
        Self(output.join("_stockflow/log"))
    }

    /// The log of an output that is one object: beside it.
    pub(super) fn of_object(output: &Location) -> Self {
        Self(beside(output).join("log"))
    }

    async fn numbers(&self) -> Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self
            .0
            .list()
            .await?
            .iter()
            .filter_map(|meta| meta.location.filename()?.strip_suffix(".json")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn place(&self, number: u64) -> Location {
        self.0.join(&format!("{number:020}.json"))
    }

    /// The newest entry and its number.
    pub(crate) async fn newest(&self) -> Result<Option<(u64, Entry)>> {
        loop {
            let Some(number) = self.numbers().await?.pop() else { return Ok(None) };
            // Between listing and reading it may have been removed, if newer ones were written.
            if let Some(entry) = self.read(number).await? {
                return Ok(Some((number, entry)));
            }
        }
    }

    async fn read(&self, number: u64) -> Result<Option<Entry>> {
        let place = self.place(number);
        let bytes = match self.0.store().get(place.path()).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                let reason = format!(
                    "`{}` is no entry of stockflow's log: {error}; restore it, or write to another path",
                    place.text()
                );
                Error::refused(origin(place.text()), ErrorClass::Config, reason)
            }),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::connector(origin(place.text()), "read", error)),
        }
    }

    /// Writes an entry at a number; false if another's is there, or a newer one.
    pub(super) async fn append(&self, number: u64, entry: &Entry) -> Result<bool> {
        let place = self.place(number);
        let bytes = serde_json::to_vec(entry)
            .map_err(|error| Error::internal(format!("a log entry cannot be written: {error}")))?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let is_ours = match self.0.store().put_opts(place.path(), bytes.into(), options).await {
            Ok(_) => true,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                self.read(number).await?.is_some_and(|there| there.nonce == entry.nonce)
            }
            Err(error) => return Err(Error::connector(origin(place.text()), "write", error)),
        };
        Ok(is_ours && self.numbers().await?.last() == Some(&number))
    }

    /// Removes all but the newest entries.
    pub(super) async fn prune(&self, newest: u64) -> Result<()> {
        for number in self.numbers().await?.into_iter().take_while(|number| number + KEEP < newest) {
            self.0.delete(self.place(number).path()).await?;
        }
        Ok(())
    }
}

/// Where log and staged object of an output that is one object are.
pub(super) fn beside(output: &Location) -> Location {
    let name = output.path().filename().unwrap_or("output").to_owned();
    match output.parent() {
        Some(parent) => parent.join(&format!("_stockflow/{name}")),
        None => output.join("_stockflow"),
    }
}
