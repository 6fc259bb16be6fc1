//! The checkpoint store: one numbered log of small objects in any object store.
//!
//! ```text
//! <root>/log/00000000000000000001.json    claim, intent, read, commit, abandon: created, never changed
//! <root>/head.json                        where the log's end was: a hint, overwritten
//! <root>/checkpoints/<epoch>.json         snapshot of a checkpoint, now and then
//! <root>/definitions/<fingerprint>.json   what the pipeline looked like
//! <root>/epochs/<epoch>/<attempt>/…       what an attempt left: spooled input, dead letters, state
//! <root>/replays/<runner>-<epoch>/…       what a replay of dead letters reads, until it is committed
//! ```
//!
//! Each log record is written with create-if-absent and a nonce, because the local file system knows no conditional update
//! and because an object store may answer "already exists" to our own retried write.
//! A new runner claims the next number; an older runner's next write meets that claim and stops: that is the fence.
//! Guarantees are for crashes of the process, not of the machine: the local file system is not synced.

mod letter;
mod log;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

pub(crate) use letter::{Kept, LETTERS, Lines, ndjson};
pub use letter::{LetterFilter, LetterReader, Purged, RefusedBy, StoredLetter};
pub use log::{Head, Log};
pub use record::{Commit, EpochKind, Intent, Read, Record, RecordBody, StateRef};

use crate::error::{Error, Result};

/// Where a pipeline keeps what must survive it: any object store and a folder in it.
#[derive(Debug, Clone)]
pub struct CheckpointStore {
    store: Arc<dyn ObjectStore>,
    root: Path,
}

impl CheckpointStore {
    /// A store at `root`; nothing is read or written yet.
    pub fn new(store: Arc<dyn ObjectStore>, root: impl Into<Path>) -> Self {
        Self { store, root: root.into() }
    }

    /// A store that lives as long as the process: for tests and throw-away runs.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(object_store::memory::InMemory::new()), Path::default())
    }

    /// The object store below.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The path of an object of this store.
    pub fn path(&self, relative: &str) -> Path {
        let mut path = self.root.clone();
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            path = path.join(part);
        }
        path
    }

    /// Reads an object; `None` if it is not there.
    pub(crate) async fn get(&self, relative: &str) -> Result<Option<Bytes>> {
        let path = self.path(relative);
        let failed = |source| Error::Store { operation: "read", path: path.to_string(), source: Box::new(source) };
        match self.store.get(&path).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Writes an object, whatever is there.
    pub(crate) async fn put(&self, relative: &str, bytes: impl Into<PutPayload>) -> Result<()> {
        let path = self.path(relative);
        self.store.put(&path, bytes.into()).await.map(drop).map_err(|source| Error::Store {
            operation: "write",
            path: path.to_string(),
            source: Box::new(source),
        })
    }

    /// Writes an object if it is not there; says whether it did.
    pub(crate) async fn create(&self, relative: &str, bytes: impl Into<PutPayload>) -> Result<bool> {
        let path = self.path(relative);
        match self.store.put_opts(&path, bytes.into(), PutOptions::from(PutMode::Create)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(Error::Store { operation: "create", path: path.to_string(), source: Box::new(source) }),
        }
    }

    /// Removes the objects below a folder that are not wanted any more.
    pub(crate) async fn remove(&self, folder: &str, unwanted: impl Fn(&str) -> bool) -> Result<()> {
        let folder = self.path(folder);
        let failed = |source| Error::Store { operation: "remove", path: folder.to_string(), source: Box::new(source) };
        let found: Vec<_> =
            self.store.list(Some(&folder)).map_ok(|meta| meta.location).try_collect().await.map_err(failed)?;
        for path in found.iter().filter(|path| unwanted(path.as_ref())) {
            self.store.delete(path).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self, relative: &str, bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::StoreCorrupt { path: self.path(relative).to_string(), reason: error.to_string() })
    }
}

/// JSON of a record of ours.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| Error::internal(format!("a record does not serialise: {error}")))
}
