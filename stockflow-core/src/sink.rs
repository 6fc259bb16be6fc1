//! Where rows go.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream, execute_stream_partitioned};
use datafusion::prelude::DataFrame;
use serde::{Deserialize, Serialize};

use crate::consumed::Consumed;
use crate::error::Result;
use crate::relation::RelationSchema;
use crate::token::{EpochToken, Generation, SinkId};

/// Where rows go. One epoch becomes visible as a whole or not at all, and doing it again changes nothing.
///
/// The engine calls `open`, then for each epoch `stage` and `commit` (or `abort`). After a failed `commit` it calls `open`
/// again: if the token is held, the epoch is done, else it is staged again.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// Takes over writing: fences older generations, removes what older attempts left, says which epoch is durably held.
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>>;

    /// Writes the epoch where no reader sees it. A transactional sink refuses rows here (see [`Staged::refused`]).
    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged>;

    /// Makes the staged epoch visible, all of it or nothing, together with its token. Refuses if a newer generation has
    /// opened the sink, where it can (see [`Sink::fence`]).
    async fn commit(&self, staged: Staged) -> Result<Written>;

    /// Removes what was staged.
    async fn abort(&self, staged: Staged) -> Result<()>;

    /// How it keeps a repeated epoch from being doubled.
    fn idempotence(&self) -> Idempotence;

    /// What a commit does to the rows that are there.
    fn write_mode(&self) -> WriteMode;

    /// How it keeps an older runner from writing.
    fn fence(&self) -> Fence;

    /// What the sink is, as plain data without secrets. Has a field `type`.
    fn definition(&self) -> serde_json::Value;
}

/// How a sink keeps a repeated epoch from being doubled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Idempotence {
    /// Rows and token become visible together: a repeated epoch is recognised.
    Transactional,
    /// Rows are written by key and version: a repeated epoch writes the same rows again.
    Keyed,
    /// A repeated epoch is written twice.
    None,
}

/// What a commit does to the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteMode {
    /// They stay; new ones are added.
    Append,
    /// Rows of equal key are replaced by a higher version.
    Merge,
    /// They are replaced by the epoch: needs a source that is read in full.
    Overwrite,
}

/// How a sink keeps an older runner from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fence {
    /// The generation is checked in the same atomic step as the commit.
    Atomic,
    /// The generation is checked right before the commit; a runner that stalls in between may still write.
    Checked,
    /// Not at all.
    None,
}

/// The rows of one epoch for one sink: partitioned, and readable again.
#[derive(Debug, Clone)]
pub struct EpochRows {
    relation: RelationSchema,
    frame: DataFrame,
    whole: bool,
    consumed: Option<Arc<Consumed>>,
}

impl EpochRows {
    /// Rows of a relation; the schema is that of the frame.
    pub fn new(mut relation: RelationSchema, frame: DataFrame) -> Self {
        relation.schema = Arc::new(frame.schema().as_arrow().clone());
        Self { relation, frame, whole: false, consumed: None }
    }

    /// Says that these are all rows that the relation has, not only new ones: a rebuild.
    #[must_use]
    pub fn whole(mut self, whole: bool) -> Self {
        self.whole = whole;
        self
    }

    /// Whether these are all rows that the relation has: columns that are gone may go from the sink, too.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Says how far the epoch has read its source.
    #[must_use]
    pub fn with_consumed(mut self, consumed: Option<Arc<Consumed>>) -> Self {
        self.consumed = consumed;
        self
    }

    /// How far the epoch has read its source, if that is of use to a sink of the same system.
    pub fn consumed(&self) -> Option<&Arc<Consumed>> {
        self.consumed.as_ref()
    }

    /// Columns, key and version of the rows.
    pub fn relation(&self) -> &RelationSchema {
        &self.relation
    }

    /// The rows as a lazy frame, for a sink that wants to join or filter them.
    pub fn frame(&self) -> &DataFrame {
        &self.frame
    }

    /// The same relation over other rows.
    #[must_use]
    pub fn with_frame(&self, frame: DataFrame) -> Self {
        Self::new(self.relation.clone(), frame).whole(self.whole).with_consumed(self.consumed.clone())
    }

    async fn plan(&self) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
        let task = Arc::new(self.frame.task_ctx());
        let plan = self.frame.clone().create_physical_plan().await?;
        Ok((plan, task))
    }

    /// All partitions, to be read side by side.
    pub async fn partitions(&self) -> Result<Vec<SendableRecordBatchStream>> {
        let (plan, task) = self.plan().await?;
        Ok(execute_stream_partitioned(plan, task)?)
    }

    /// All rows as one stream.
    pub async fn stream(&self) -> Result<SendableRecordBatchStream> {
        let (plan, task) = self.plan().await?;
        Ok(execute_stream(plan, task)?)
    }
}

/// What `stage` left for `commit`.
pub struct Staged {
    /// The epoch it belongs to.
    pub token: EpochToken,
    /// Rows that were staged.
    pub rows: u64,
    /// Rows that the system would refuse: they were left out and become dead letters.
    pub refused: Vec<RefusedRow>,
    /// The sink's own: whatever `commit` and `abort` need.
    pub payload: Box<dyn Any + Send + Sync>,
}

impl Staged {
    /// A staged epoch without refused rows.
    pub fn new(token: EpochToken, rows: u64, payload: impl Any + Send + Sync) -> Self {
        Self { token, rows, refused: Vec::new(), payload: Box::new(payload) }
    }

    /// Takes the sink's own part out.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Internal`] if it is of another type: the `Staged` of another sink.
    pub fn into_payload<T: 'static>(self) -> Result<T> {
        self.payload
            .downcast::<T>()
            .map(|payload| *payload)
            .map_err(|_| crate::Error::internal("a sink was given what another sink staged"))
    }
}

impl Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged")
            .field("token", &self.token)
            .field("rows", &self.rows)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Rows that became visible.
    pub rows: u64,
    /// Bytes written, where the sink knows.
    pub bytes: Option<u64>,
    /// Where a person finds them: a path, a URL, a version.
    pub location: String,
    /// Rows that the system refused in `commit`. A transactional sink that refuses here has rolled back and made nothing
    /// visible; a keyed sink has written the others.
    pub refused: Vec<RefusedRow>,
}

/// A row that a sink's system refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// The row's key: column to value as text.
    pub key: Vec<(String, String)>,
    /// The symbol, if the row has one.
    pub symbol: Option<String>,
    /// The system's reason.
    pub reason: String,
    /// The row as JSON.
    pub payload: String,
}
