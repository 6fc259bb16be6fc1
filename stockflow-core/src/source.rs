//! Where rows come from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::NaiveDate;
use datafusion::datasource::TableProvider;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::consumed::Consumed;
use crate::error::Result;
use crate::pipeline::Note;
use crate::relation::RelationSchema;
use crate::schema::DeadLetter;

/// Where rows come from: something that can be read again from a known place.
///
/// # Guarantees
///
/// `plan` pins everything that makes the epoch repeatable; `scan` of one plan gives the same rows each time where
/// [`Source::replay`] says [`Replay::Exact`]. `commit` comes after every sink and the store hold the epoch.
#[async_trait]
pub trait Source: Debug + Send + Sync {
    /// What it gives: one relation or more. A source that learns its columns only by opening something (files) declares an
    /// empty schema here; the schema of the scanned table counts.
    fn relations(&self) -> Vec<RelationSchema>;

    /// How far one epoch would reach, starting after `from`, with everything pinned that makes it repeatable (offsets,
    /// file versions, table versions); `None` when nothing is new.
    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>>;

    /// The rows in `(from, upto]` as DataFusion tables. Undecodable input is rows of the scan's rejects, never an `Err`.
    async fn scan(&self, plan: &EpochPlan) -> Result<Scan>;

    /// Everything up to `upto` is durable downstream; the source may release it.
    async fn commit(&self, upto: &Checkpoint) -> Result<()>;

    /// The same in the words of its system, where an epoch's sinks may write it down together with the rows.
    fn consumed(&self, _upto: &Checkpoint) -> Option<Consumed> {
        None
    }

    /// Same plan, same rows? Decides what the pipeline can promise.
    fn replay(&self) -> Replay;

    /// How many partitions an epoch takes where the pipeline does not say: what a crash costs at most. `None` is all that are new.
    fn partitions_per_epoch(&self) -> Option<usize> {
        None
    }

    /// How many rows an epoch takes where the pipeline does not say, if the source cuts its partitions by rows. Such a
    /// source keeps [`EpochLimit::max_rows`] and [`EpochLimit::upto`]; `None`: a partition is read as it is.
    fn rows_per_epoch(&self) -> Option<u64> {
        None
    }

    /// Decodes what it refused once more, as it is now: the first step of a replay of dead letters. What it refuses again has
    /// the same place as before. `known` is the last commit's checkpoint, for a source that keeps its columns there.
    ///
    /// Also asked without any letter, for the columns of its relations; a relation that it leaves out has those of
    /// [`Source::relations`].
    async fn redecode(&self, letters: &[DeadLetter], known: &Checkpoint) -> Result<Redecoded> {
        let _ = known;
        let reason =
            "this source cannot decode a letter by itself: mend the input, and let a run or a backfill read it again";
        let unable = letters.iter().map(|letter| (letter.clone(), reason.to_owned())).collect();
        Ok(Redecoded { unable, ..Redecoded::default() })
    }

    /// The fields of its definition that say only how its input is decoded, not which input it is: what may be mended before a
    /// replay.
    fn decoding(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the source is, as plain data without secrets: part of the pipeline's identity. Has a field `type`.
    fn definition(&self) -> serde_json::Value;
}

/// Refused input that was decoded once more.
#[derive(Debug, Clone, Default)]
pub struct Redecoded {
    /// The rows by relation, with the relation's columns.
    pub rows: BTreeMap<String, (SchemaRef, Vec<RecordBatch>)>,
    /// What is refused again.
    pub rejects: Vec<DeadLetter>,
    /// What the source cannot decode from the letter alone, and why.
    pub unable: Vec<(DeadLetter, String)>,
}

/// Whether a plan gives the same rows when it is scanned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replay {
    /// The same rows, always.
    Exact,
    /// Not surely; the engine spools what was read before anything is delivered.
    BestEffort,
}

/// How much one epoch may take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochLimit {
    /// At most this many partitions (files, symbols) an epoch; `None` is no limit.
    pub max_partitions: Option<usize>,
    /// About so many rows an epoch, for a source that cuts its partitions; `None` is no limit.
    #[serde(default)]
    pub max_rows: Option<u64>,
    /// A source that cuts its partitions plans none of them beyond this; partitions that it does not name have no limit.
    #[serde(default)]
    pub upto: Option<Checkpoint>,
    /// Read everything there is, whatever the checkpoint says (`mode = "full"`, backfills and rebuilds).
    pub everything: bool,
    /// Bars outside of this window are not wanted; a source may leave them out, the engine does in any case.
    pub window: Option<Window>,
    /// Partitions that this run has tried already and could not read.
    #[serde(default)]
    pub skip: BTreeSet<String>,
}

/// Which bars a backfill is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First trading date.
    pub from: Option<NaiveDate>,
    /// Last trading date, included.
    pub to: Option<NaiveDate>,
    /// Only these symbols; empty means all.
    #[serde(default)]
    pub symbols: Vec<String>,
}

/// What one epoch will read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochPlan {
    /// Where it starts: after this checkpoint.
    pub from: Checkpoint,
    /// Where it ends, if every partition can be read.
    pub upto: Checkpoint,
    /// Whatever the source needs to read exactly this again: plain data, stored in the intent.
    pub pins: serde_json::Value,
    /// About how many rows that is, if the source can tell: for progress bars only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The window of a backfill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
}

/// One epoch's rows.
#[derive(Debug)]
pub struct Scan {
    /// A table for each relation of the source. Each may be read more than once.
    pub relations: BTreeMap<String, Arc<dyn TableProvider>>,
    /// Asked after the relations have been read to their end.
    pub end: Arc<dyn ScanEnd>,
}

/// What is known once a scan has been read.
#[async_trait]
pub trait ScanEnd: Debug + Send + Sync {
    /// How far it really reached, what it refused, what it left out.
    async fn outcome(&self) -> Result<ScanOutcome>;
}

/// The end of a scan.
#[derive(Debug, Clone, Default)]
pub struct ScanOutcome {
    /// Partition by partition how far it really came; partitions that failed stay at their old position.
    pub reached: Checkpoint,
    /// Undecodable input. Reading a relation twice does not double it.
    pub rejects: Vec<DeadLetter>,
    /// Partitions that could not be read, with the reason; they make exit code 3.
    pub left_out: Vec<LeftOut>,
    /// What is to be told of what was read.
    pub notes: Vec<Note>,
}

/// A partition (a symbol, a file) that an epoch had to leave out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The partition.
    pub partition: String,
    /// Why.
    pub reason: String,
}

/// A scan that reached its plan's end and refused nothing.
#[derive(Debug)]
pub struct ReachedAll(pub Checkpoint);

#[async_trait]
impl ScanEnd for ReachedAll {
    async fn outcome(&self) -> Result<ScanOutcome> {
        Ok(ScanOutcome { reached: self.0.clone(), ..ScanOutcome::default() })
    }
}
