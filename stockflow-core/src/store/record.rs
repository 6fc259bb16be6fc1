//! The records of the log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::checkpoint::CheckpointDelta;
use crate::pipeline::Note;
use crate::source::{LeftOut, Window};
use crate::token::EpochToken;

/// One object of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who wrote it: on "already exists" the own nonce is success.
    pub nonce: String,
    /// The writer's generation.
    pub generation: u64,
    /// When, by the writer's clock; for people.
    pub at: DateTime<Utc>,
    /// Number of the last commit record before this one.
    pub last_commit: Option<u64>,
    /// Number of the open intent, if there is one after this record.
    pub open_intent: Option<u64>,
    /// Number of the open intent's `read` record.
    pub read: Option<u64>,
    /// What it says.
    #[serde(flatten)]
    pub body: RecordBody,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "lowercase")]
pub enum RecordBody {
    /// A runner takes over.
    Claim {
        /// The pipeline's name.
        pipeline: String,
        /// Made once, by the first claim: tells this store from another one of the same name.
        uuid: String,
    },
    /// What an epoch is going to do.
    Intent(Intent),
    /// The input of a best-effort source, spooled and sealed.
    Read(Read),
    /// The epoch is done.
    Commit(Commit),
    /// The intent was closed without having been delivered anywhere.
    Abandon {
        /// The epoch.
        epoch: u64,
        /// Why.
        reason: String,
    },
}

/// Why an epoch is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum EpochKind {
    /// What is new.
    Run,
    /// Old bars again; leaves the checkpoint where it was.
    Backfill {
        /// Which.
        window: Window,
    },
    /// Everything again, whatever the sinks hold.
    Rebuild {
        /// Only this sink.
        sink: Option<String>,
    },
    /// Dead letters once more; leaves the checkpoint where it was.
    Replay {
        /// Where what it reads is kept.
        folder: String,
        /// How many.
        letters: u64,
    },
    /// Back to an older position; delivers nothing.
    Rewind {
        /// The epoch whose position is taken; 0 is the beginning.
        to: u64,
    },
}

/// What an epoch is going to do: written before anything runs, and run again as it is after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The epoch's number, from 1.
    pub epoch: u64,
    /// Why.
    pub kind: EpochKind,
    /// The epoch's only clock; greater than that of any epoch before.
    pub now: DateTime<Utc>,
    /// Where the source starts: the last commit's checkpoint, or the beginning.
    pub from_start: bool,
    /// From there to where the source is to come.
    pub upto: CheckpointDelta,
    /// What the source needs to read exactly this again.
    pub pins: serde_json::Value,
    /// The history's version that the epoch compares with.
    pub history: Option<String>,
    /// The versions of the tables beside the history, by relation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub companions: BTreeMap<String, Option<String>>,
    /// Fingerprint of the pipeline's definition.
    pub definition: String,
    /// About how many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The source is not read: all that there is stands in the history.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_nothing: bool,
}

/// The input of a best-effort source, spooled and sealed: who finds it never scans again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// The epoch.
    pub epoch: u64,
    /// The attempt whose spool counts.
    pub attempt: String,
    /// From the last commit's checkpoint to how far the source came.
    pub reached: CheckpointDelta,
    /// Objects of the spool by relation.
    pub spool: BTreeMap<String, Vec<String>>,
    /// Partitions that could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// What is to be told of what was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// The object that holds what the source refused.
    pub rejects: Option<String>,
}

/// The epoch is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// The epoch.
    pub epoch: u64,
    /// Its kind.
    pub kind: EpochKind,
    /// The intent's time.
    pub now: DateTime<Utc>,
    /// Fingerprint of the pipeline's definition.
    pub definition: String,
    /// Per sink the token that it must hold; `None` for sinks that hold none.
    pub sinks: BTreeMap<String, Option<EpochToken>>,
    /// The checkpoint: a snapshot …
    pub snapshot: Option<u64>,
    /// … and the commits since (numbers in the log) whose deltas, and then its own, lead to it.
    pub deltas: Vec<u64>,
    /// From the commit before to this one.
    pub checkpoint: CheckpointDelta,
    /// The source's pins, kept for sources that are read in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<serde_json::Value>,
    /// The object with this epoch's dead letters, and their number.
    pub dead_letters: Option<(String, u64)>,
    /// The object with the ids of the letters that a replay has closed, and their number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<(String, u64)>,
    /// State objects that count after this epoch.
    pub state: StateRef,
    /// Partitions that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Rows by sink.
    pub rows: BTreeMap<String, u64>,
    /// Fingerprints of the reference tables that it was computed with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, String>,
}

/// The state table at an epoch: a snapshot and the deltas since, as objects of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRef {
    /// Oldest first; a later row of a key replaces an earlier one.
    pub objects: Vec<String>,
    /// Fingerprint of everything upstream of the state: state with another one is never used.
    pub fingerprint: String,
}
