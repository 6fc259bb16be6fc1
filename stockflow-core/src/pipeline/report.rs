//! What a run did: for people and machines.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::guarantee::Guarantee;
use super::replay::NotReplayed;
use crate::schema::DeadLetter;
use crate::source::LeftOut;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The runner's generation.
    pub generation: u64,
    /// The epochs that this run committed, in order.
    pub epochs: Vec<EpochReport>,
    /// Nothing was new.
    pub up_to_date: bool,
    /// The run was asked to stop before it had reached its target.
    pub interrupted: bool,
    /// Dead letters that were to be replayed and cannot be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_replayed: Vec<NotReplayed>,
    /// How long it took.
    #[serde(rename = "seconds", serialize_with = "seconds", deserialize_with = "from_seconds")]
    pub elapsed: Duration,
}

impl RunReport {
    /// Dead letters of all epochs.
    pub fn dead_letters(&self) -> u64 {
        self.epochs.iter().map(|epoch| epoch.dead_letters).sum()
    }

    /// Dead letters that were replayed and are closed.
    pub fn replayed(&self) -> u64 {
        self.epochs.iter().filter_map(|epoch| epoch.replayed).map(|replayed| replayed.closed).sum()
    }

    /// Dead letters that were replayed and refused again.
    pub fn refused_again(&self) -> u64 {
        self.epochs.iter().filter_map(|epoch| epoch.replayed).map(|replayed| replayed.refused_again).sum()
    }

    /// Partitions (symbols, files) that were left out.
    pub fn left_out(&self) -> impl Iterator<Item = &LeftOut> {
        self.epochs.iter().flat_map(|epoch| &epoch.left_out)
    }

    /// Warnings of all epochs.
    pub fn warnings(&self) -> impl Iterator<Item = &Note> {
        self.epochs.iter().flat_map(|epoch| &epoch.notes).filter(|note| note.level == NoteLevel::Warning)
    }

    /// Everything that was read was delivered.
    pub fn is_complete(&self) -> bool {
        self.dead_letters() == 0 && self.left_out().next().is_none()
    }
}

/// What one epoch did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch's number.
    pub epoch: u64,
    /// `run`, `backfill`, `rebuild`, `replay`.
    pub kind: String,
    /// It had been begun by an earlier run.
    pub resumed: bool,
    /// The epoch's clock.
    pub now: DateTime<Utc>,
    /// Rows read from the source, by relation.
    pub read: BTreeMap<String, u64>,
    /// Bars that are new or corrected; `None` without a history relation.
    pub changed: Option<u64>,
    /// Bars that the history holds as they are.
    pub unchanged: Option<u64>,
    /// Symbols with a bar that is new.
    pub fresh_symbols: u64,
    /// Symbols with a bar that is late or corrected: computed again from that bar on.
    pub late_symbols: Vec<String>,
    /// The sinks, in the pipeline's order.
    pub sinks: Vec<SinkReport>,
    /// Refused rows.
    pub dead_letters: u64,
    /// The first few of them.
    pub first_dead_letters: Vec<DeadLetter>,
    /// Partitions (symbols, files) that could not be read.
    pub left_out: Vec<LeftOut>,
    /// Counts and warnings of the transforms.
    pub notes: Vec<Note>,
    /// Bytes that its windows put on disk because memory was short.
    #[serde(default)]
    pub spilled_bytes: u64,
    /// What became of the dead letters that it replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    /// Seconds by step.
    pub steps: BTreeMap<String, f64>,
}

/// What became of the dead letters of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Letters that went through: what they held stands in the sinks, or in new letters.
    pub closed: u64,
    /// Letters that were refused at the same place for the same reason, and stay open.
    pub refused_again: u64,
}

/// What one sink got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkReport {
    /// The sink's name.
    pub sink: String,
    /// The relation that it takes.
    pub relation: String,
    /// What is promised.
    pub guarantee: Guarantee,
    /// Rows that became visible.
    pub rows: u64,
    /// Bytes, where the sink knows.
    pub bytes: Option<u64>,
    /// Where a person finds them.
    pub location: String,
    /// The sink held the epoch already: an earlier attempt had committed it.
    pub held: bool,
}

/// A count or a warning of a transform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The step's name.
    pub step: String,
    /// What is counted, such as `clean.volume`.
    pub kind: String,
    /// The symbol, if it belongs to one.
    pub symbol: Option<String>,
    /// How many rows.
    pub rows: i64,
    /// How bad it is.
    pub level: NoteLevel,
    /// The sentence.
    pub text: String,
}

/// How bad a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteLevel {
    /// A count.
    Info,
    /// Somebody should look.
    Warning,
    /// The epoch must not be committed.
    Fail,
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(elapsed.as_secs_f64())
}

fn from_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)
}
