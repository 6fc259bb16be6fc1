//! Any DataFusion table, listing or frame as a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::datasource::TableProvider;
use datafusion::prelude::DataFrame;
use serde_json::json;

use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::relation::RelationSchema;
use crate::source::{EpochLimit, EpochPlan, ReachedAll, Replay, Scan, Source};

/// A DataFusion table that is read as a whole, once a run.
///
/// One relation with one partition of the relation's name; the position counts how often it was read.
/// What has not changed since the last run is dropped at the history relation, where the pipeline has one; else let the
/// sink merge, or read it with `mode = "full"` and overwrite.
///
/// # Guarantees
///
/// Replay is best effort, because a table may change between two scans: the engine spools what it has read.
///
/// # Example
///
/// ```
/// # use stockflow_core::{table::TableSource, pipeline::{Pipeline, SinkStep}, memory::MemorySink, sink::WriteMode};
/// # use datafusion::prelude::SessionContext;
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// let frame = SessionContext::new().sql("SELECT 'AAPL' AS symbol, 184.2 AS close").await?;
/// let pipeline = Pipeline::builder("one_line")
///     .source(TableSource::of_frame("prices", frame))
///     .sink(SinkStep::new("out", MemorySink::new(WriteMode::Append)))
///     .build()?;
/// assert_eq!(pipeline.run(Default::default()).await?.epochs[0].read["prices"], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?; Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TableSource {
    relation: RelationSchema,
    table: Arc<dyn TableProvider>,
}

impl TableSource {
    /// A table as the relation of this name.
    pub fn new(name: impl Into<String>, table: Arc<dyn TableProvider>) -> Self {
        Self { relation: RelationSchema::new(name, table.schema()), table }
    }

    /// A query that is run again each time: its plan, not its result, is kept.
    pub fn of_frame(name: impl Into<String>, frame: DataFrame) -> Self {
        Self::new(name, frame.into_view())
    }

    /// What names a row, and what decides between two rows of one key.
    #[must_use]
    pub fn with_key(mut self, key: impl IntoIterator<Item = impl Into<String>>, version: Option<&str>) -> Self {
        self.relation.key = key.into_iter().map(Into::into).collect();
        self.relation.version = version.map(str::to_owned);
        self
    }
}

#[async_trait]
impl Source for TableSource {
    fn relations(&self) -> Vec<RelationSchema> {
        vec![self.relation.clone()]
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        let name = self.relation.name.as_str();
        if limit.skip.contains(name) {
            return Ok(None);
        }
        let reads: u64 = from.get(name).and_then(|reads| reads.parse().ok()).unwrap_or(0);
        let mut upto = from.clone();
        upto.set(name, (reads + 1).to_string());
        // Each reading is another one: nobody can tell whether the table has changed.
        let pins = json!({"reading": uuid::Uuid::new_v4().simple().to_string()});
        Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: None, window: limit.window.clone() }))
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let relations = BTreeMap::from([(self.relation.name.clone(), Arc::clone(&self.table))]);
        Ok(Scan { relations, end: Arc::new(ReachedAll(plan.upto.clone())) })
    }

    /// There is nothing to release.
    async fn commit(&self, _upto: &Checkpoint) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Replay {
        Replay::BestEffort
    }

    fn definition(&self) -> serde_json::Value {
        json!({"type": "table", "relation": self.relation.name, "columns": self.table.schema().fields().iter().map(|field| field.name()).collect::<Vec<_>>()})
    }
}
