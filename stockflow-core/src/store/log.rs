//! The numbered log: claims, the fence, and finding its end.

use chrono::Utc;
use futures::TryStreamExt;
use object_store::ObjectStore;
use uuid::Uuid;

use super::record::{Commit, Intent, Read, Record, RecordBody};
use super::{CheckpointStore, json};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::token::Generation;

/// A snapshot of the checkpoint is written after this many deltas.
const SNAPSHOT_EVERY: usize = 32;

/// What the log says now.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The pipeline's UUID; `None` on an empty store.
    pub uuid: Option<String>,
    /// The newest claim.
    pub generation: u64,
    /// The last committed epoch.
    pub commit: Option<Commit>,
    /// The checkpoint of that commit.
    pub checkpoint: Checkpoint,
    /// The epoch that was begun and not finished.
    pub open: Option<Intent>,
    /// The sealed input of that epoch.
    pub read: Option<Read>,
    /// Number of the last record; 0 on an empty store.
    pub(crate) last: u64,
    pub(crate) last_commit: Option<u64>,
    pub(crate) open_intent: Option<u64>,
    pub(crate) read_record: Option<u64>,
}

/// The log as its owner sees it: claimed with a generation.
#[derive(Debug)]
pub struct Log {
    store: CheckpointStore,
    pipeline: String,
    generation: Generation,
    /// What it says; kept current with every record that is written.
    pub head: Head,
}

fn name(number: u64) -> String {
    format!("log/{number:020}.json")
}

impl CheckpointStore {
    /// Reads the log without claiming it.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] and [`Error::StoreCorrupt`].
    pub async fn head(&self) -> Result<Head> {
        let last = self.last_number().await?;
        if last == 0 {
            return Ok(Head::default());
        }
        let record = self.record(last).await?;
        let (uuid, generation) = self.claim_before(last).await?;
        let mut head = Head {
            uuid: Some(uuid),
            generation,
            last,
            last_commit: record.last_commit,
            open_intent: record.open_intent,
            read_record: record.read,
            ..Head::default()
        };
        // A record tells what was true before it; itself it may open or close an epoch.
        match &record.body {
            RecordBody::Commit(_) => head.last_commit = Some(last),
            RecordBody::Intent(_) => head.open_intent = Some(last),
            RecordBody::Read(_) => head.read_record = Some(last),
            RecordBody::Claim { .. } | RecordBody::Abandon { .. } => {}
        }
        if matches!(record.body, RecordBody::Commit(_) | RecordBody::Abandon { .. }) {
            head.open_intent = None;
            head.read_record = None;
        }
        if let Some(number) = head.last_commit {
            let commit = self.commit(number).await?;
            head.checkpoint = self.checkpoint_of(&commit).await?;
            head.commit = Some(commit);
        }
        if let Some(number) = head.open_intent {
            match self.record(number).await?.body {
                RecordBody::Intent(intent) => head.open = Some(intent),
                _ => return Err(self.corrupt(number, "an intent was expected")),
            }
        }
        if let Some(number) = head.read_record {
            match self.record(number).await?.body {
                RecordBody::Read(read) => head.read = Some(read),
                _ => return Err(self.corrupt(number, "a read record was expected")),
            }
        }
        Ok(head)
    }

    /// The head, refused where the store is another pipeline's.
    pub async fn head_of(&self, pipeline: &str) -> Result<Head> {
        let head = self.head().await?;
        if head.last > 0 {
            let owner = self.owner(&head).await?;
            if owner != pipeline {
                let difference = format!("the checkpoint store `{}` belongs to pipeline `{owner}`", self.path(""));
                return Err(Error::Mismatch { pipeline: pipeline.into(), difference });
            }
        }
        Ok(head)
    }

    /// Takes the pipeline over: the next generation, which fences every older runner.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], [`Error::StoreCorrupt`], and [`Error::Mismatch`] if the store belongs to another pipeline.
    pub async fn claim(&self, pipeline: &str) -> Result<Log> {
        loop {
            let head = self.head_of(pipeline).await?;
            let uuid = head.uuid.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
            // At least the time in ms: a runner on a new or restored store must not look older to the sinks than those before.
            let time = u64::try_from(Utc::now().timestamp_millis()).unwrap_or(0);
            let generation = Generation(time.max(head.generation + 1));
            let mut log = Log { store: self.clone(), pipeline: pipeline.into(), generation, head };
            match log.append(RecordBody::Claim { pipeline: pipeline.into(), uuid: uuid.clone() }).await {
                Ok(()) => {
                    log.head.uuid = Some(uuid);
                    log.head.generation = generation.0;
                    return Ok(log);
                }
                // Somebody wrote at the same moment: look again.
                Err(Error::Fenced { .. }) => continue,
                Err(error) => return Err(error),
            }
        }
    }

    async fn last_number(&self) -> Result<u64> {
        let hint = match self.get("head.json").await? {
            Some(bytes) => self.parse::<u64>("head.json", &bytes).unwrap_or(0),
            None => 0,
        };
        // The hint may be behind, and after a restored backup ahead: only a record that is there counts.
        let mut last = if hint > 0 && self.exists(hint).await? { hint } else { self.list_last().await? };
        while self.exists(last + 1).await? {
            last += 1;
        }
        Ok(last)
    }

    async fn list_last(&self) -> Result<u64> {
        let folder = self.path("log");
        let names: Vec<_> =
            self.object_store().list(Some(&folder)).map_ok(|meta| meta.location).try_collect().await.or_else(
                |source| match source {
                    object_store::Error::NotFound { .. } => Ok(Vec::new()),
                    source => {
                        Err(Error::Store { operation: "list", path: folder.to_string(), source: Box::new(source) })
                    }
                },
            )?;
        let numbers = names.iter().filter_map(|path| path.filename()?.strip_suffix(".json")?.parse::<u64>().ok());
        Ok(numbers.max().unwrap_or(0))
    }

    pub(crate) async fn exists(&self, number: u64) -> Result<bool> {
        let path = self.path(&name(number));
        match object_store::ObjectStoreExt::head(self.object_store(), &path).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(Error::Store { operation: "look at", path: path.to_string(), source: Box::new(source) }),
        }
    }

    pub(crate) async fn record(&self, number: u64) -> Result<Record> {
        let name = name(number);
        let bytes = self.get(&name).await?.ok_or_else(|| self.corrupt(number, "it is missing"))?;
        self.parse(&name, &bytes)
    }

    async fn commit(&self, number: u64) -> Result<Commit> {
        match self.record(number).await?.body {
            RecordBody::Commit(commit) => Ok(commit),
            _ => Err(self.corrupt(number, "a commit was expected")),
        }
    }

    fn corrupt(&self, number: u64, reason: &str) -> Error {
        Error::StoreCorrupt { path: self.path(&name(number)).to_string(), reason: reason.into() }
    }

    /// The newest claim at or before a record: who owns the log.
    async fn claim_before(&self, last: u64) -> Result<(String, u64)> {
        let generation = self.record(last).await?.generation;
        // Within one generation the claim is the first record; it is near, since commits follow it epoch by epoch,
        // but a long run has many: its generation is on every record, its UUID on the first claim.
        let first = self.record(1).await?;
        match first.body {
            RecordBody::Claim { uuid, .. } => Ok((uuid, generation)),
            _ => Err(self.corrupt(1, "a claim was expected")),
        }
    }

    async fn owner(&self, _head: &Head) -> Result<String> {
        match self.record(1).await?.body {
            RecordBody::Claim { pipeline, .. } => Ok(pipeline),
            _ => Err(self.corrupt(1, "a claim was expected")),
        }
    }

    async fn checkpoint_of(&self, commit: &Commit) -> Result<Checkpoint> {
        let mut checkpoint = match commit.snapshot {
            Some(epoch) => {
                let name = format!("checkpoints/{epoch:020}.json");
                let bytes = self.get(&name).await?.ok_or_else(|| Error::StoreCorrupt {
                    path: self.path(&name).to_string(),
                    reason: "it is missing".into(),
                })?;
                self.parse(&name, &bytes)?
            }
            None => Checkpoint::new(),
        };
        for number in &commit.deltas {
            checkpoint.apply(&self.commit(*number).await?.checkpoint);
        }
        checkpoint.apply(&commit.checkpoint);
        Ok(checkpoint)
    }

    /// The commit and checkpoint of an older epoch, found by walking back; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] and [`Error::StoreCorrupt`].
    pub async fn at_epoch(&self, epoch: u64) -> Result<Option<(Commit, Checkpoint)>> {
        let mut next = self.head().await?.last_commit;
        while let Some(number) = next {
            let record = self.record(number).await?;
            if let RecordBody::Commit(commit) = record.body {
                if commit.epoch == epoch {
                    let checkpoint = self.checkpoint_of(&commit).await?;
                    return Ok(Some((commit, checkpoint)));
                }
                if commit.epoch < epoch {
                    return Ok(None);
                }
            }
            next = record.last_commit;
        }
        Ok(None)
    }
}

impl Log {
    /// The store below.
    pub fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// This runner's generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Writes the next record.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] if a newer runner has written there, [`Error::Store`].
    pub(crate) async fn append(&mut self, body: RecordBody) -> Result<()> {
        let number = self.head.last + 1;
        let record = Record {
            nonce: Uuid::new_v4().to_string(),
            generation: self.generation.0,
            at: Utc::now(),
            last_commit: self.head.last_commit,
            open_intent: self.head.open_intent,
            read: self.head.read_record,
            body,
        };
        if !self.store.create(&name(number), json(&record)?).await? {
            let there = self.store.record(number).await?;
            if there.nonce != record.nonce {
                return Err(Error::Fenced {
                    pipeline: self.pipeline.clone(),
                    own: self.generation.0,
                    newer: there.generation,
                });
            }
        }
        self.head.last = number;
        match record.body {
            RecordBody::Commit(commit) => {
                self.head.checkpoint.apply(&commit.checkpoint);
                self.head.last_commit = Some(number);
                self.head.commit = Some(commit);
                self.close();
            }
            RecordBody::Abandon { .. } => self.close(),
            RecordBody::Intent(intent) => {
                self.close();
                self.head.open_intent = Some(number);
                self.head.open = Some(intent);
            }
            RecordBody::Read(read) => {
                self.head.read_record = Some(number);
                self.head.read = Some(read);
            }
            RecordBody::Claim { .. } => {}
        }
        // Only a hint: losing it costs a listing.
        if let Err(error) = self.store.put("head.json", number.to_string()).await {
            tracing::debug!(%error, "the hint at the log's end was not written");
        }
        Ok(())
    }

    fn close(&mut self) {
        self.head.open = None;
        self.head.open_intent = None;
        self.head.read = None;
        self.head.read_record = None;
    }

    /// Fails if a newer runner has claimed the store.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`], [`Error::Store`].
    pub async fn check_fence(&self) -> Result<()> {
        if self.store.exists(self.head.last + 1).await? {
            let newer = self.store.record(self.head.last + 1).await?.generation;
            return Err(Error::Fenced { pipeline: self.pipeline.clone(), own: self.generation.0, newer });
        }
        Ok(())
    }

    /// How the next commit refers to its checkpoint: writes a snapshot of the one before when there are many deltas.
    pub(crate) async fn checkpoint_base(&self) -> Result<(Option<u64>, Vec<u64>)> {
        let Some(commit) = &self.head.commit else { return Ok((None, Vec::new())) };
        if commit.deltas.len() + 1 < SNAPSHOT_EVERY {
            let mut deltas = commit.deltas.clone();
            deltas.extend(self.head.last_commit);
            return Ok((commit.snapshot, deltas));
        }
        let epoch = commit.epoch;
        self.store.put(&format!("checkpoints/{epoch:020}.json"), json(&self.head.checkpoint)?).await?;
        Ok((Some(epoch), Vec::new()))
    }
}
