//! What a transform knows about the epoch that it works in.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, SessionContext};

use crate::error::Result;
use crate::pipeline::spool::MemoryBudget;
use crate::source::Window;

/// What a transform knows about the epoch that it works in.
#[derive(Clone)]
pub struct EpochContext {
    /// The pipeline's name.
    pub pipeline: String,
    /// The epoch's number; 0 while a pipeline is only planned.
    pub epoch: u64,
    /// The intent's time: the epoch's only clock, the same when it is run again.
    pub now: DateTime<Utc>,
    /// The window of a backfill.
    pub window: Option<Window>,
    /// The session with all functions and reference tables; `now()` in it is the intent's time.
    pub session: SessionContext,
    /// Nothing is read, only types are wanted: relations are empty and nothing may be computed.
    pub planning: bool,
    /// What shared relations of the epoch hold in memory; what is more goes to disk.
    budget: Arc<MemoryBudget>,
    /// The limit of that, if the session has one: half of it, because what reads them needs some, too.
    memory: Option<usize>,
}

impl std::fmt::Debug for EpochContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochContext")
            .field("pipeline", &self.pipeline)
            .field("epoch", &self.epoch)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl EpochContext {
    /// A context for planning and for tests of single transforms: epoch 0 at `now`, a session with all indicators.
    pub fn new(pipeline: impl Into<String>, session: SessionContext, now: DateTime<Utc>) -> Self {
        let memory = match session.runtime_env().memory_pool.memory_limit() {
            MemoryLimit::Finite(bytes) => Some(bytes / 2),
            _ => None,
        };
        Self {
            pipeline: pipeline.into(),
            epoch: 0,
            now,
            window: None,
            session,
            planning: false,
            budget: Arc::default(),
            memory,
        }
    }

    /// The intent's time as a literal `Timestamp(us, UTC)`.
    pub fn now_expr(&self) -> Expr {
        lit(ScalarValue::TimestampMicrosecond(Some(self.now.timestamp_micros()), Some("UTC".into())))
    }

    /// Takes a part of the memory for shared relations; false if there is not enough left.
    pub(crate) fn reserve(&self, bytes: usize) -> bool {
        self.budget.take(bytes, self.memory)
    }

    /// Computes a frame once for several readers; its partitions and their order stay as they are.
    ///
    /// A transform that reads its input twice (to pass rows on, to count, to refuse) shares it first.
    ///
    /// # Errors
    ///
    /// Whatever computing the frame gives.
    pub async fn share(&self, frame: DataFrame) -> Result<DataFrame> {
        if self.planning {
            return Ok(frame);
        }
        crate::pipeline::spool::share(self, frame).await
    }

    /// A frame over batches in memory.
    ///
    /// # Errors
    ///
    /// If the batches do not have the schema.
    pub fn table(
        &self,
        schema: arrow::datatypes::SchemaRef,
        partitions: Vec<Vec<arrow::record_batch::RecordBatch>>,
    ) -> Result<DataFrame> {
        Ok(self.session.read_table(Arc::new(MemTable::try_new(schema, partitions)?))?)
    }
}
