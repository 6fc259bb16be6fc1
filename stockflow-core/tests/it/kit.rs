//! The conformance kit: the twins pass it, and each broken twin is rejected by the check that is meant for it.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use stockflow_core::Result;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::*;
use stockflow_core::source::*;
use stockflow_core::testing::*;
use stockflow_core::token::*;

/// How a sink is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Broken {
    Not,
    RepeatsAnEpoch,
    LosesTheLastBatch,
    PublishesHalfAnEpoch,
    TellsTooEarly,
    IgnoresTheFence,
    IgnoresVersions,
    /// Says that rows are found again by key, and appends them.
    KeyedInNameOnly,
    ReadsWhatIsSkipped,
    FailsOnUndecodableRows,
}

/// A twin that breaks one promise.
#[derive(Debug, Clone)]
pub struct Twin {
    pub inner: MemorySink,
    /// Written past the inner sink's protocol: rows that a reader sees as well.
    leaked: Arc<std::sync::Mutex<Vec<RecordBatch>>>,
    told: Arc<std::sync::Mutex<Option<EpochToken>>>,
    broken: Broken,
}

impl Twin {
    pub fn new(broken: Broken, mode: WriteMode) -> Self {
        let keyed = broken == Broken::KeyedInNameOnly;
        let idempotence = if keyed { Idempotence::Keyed } else { Idempotence::Transactional };
        let inner = MemorySink::new(mode).with_idempotence(idempotence);
        Self { inner, leaked: Arc::default(), told: Arc::default(), broken }
    }
}

#[async_trait]
impl Sink for Twin {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        // Every runner looks like the same one to it.
        let generation = if self.broken == Broken::IgnoresTheFence { Generation(1) } else { generation };
        let held = self.inner.open(sink, generation).await?;
        let told = *self.told.lock().unwrap();
        Ok(if self.broken == Broken::TellsTooEarly { told.or(held) } else { held })
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        *self.told.lock().unwrap() = Some(*epoch);
        let batches = rows.frame().clone().collect().await?;
        if self.broken == Broken::PublishesHalfAnEpoch {
            self.leaked.lock().unwrap().extend(batches.into_iter().take(1));
            return self.inner.stage(epoch, rows).await;
        }
        if self.broken == Broken::LosesTheLastBatch {
            let keep = batches.len().saturating_sub(1);
            let rows = rows_of(rows.relation().clone(), batches.into_iter().take(keep).collect())?;
            return self.inner.stage(epoch, &rows).await;
        }
        if self.broken == Broken::IgnoresVersions {
            let relation = RelationSchema { version: None, ..rows.relation().clone() };
            return self.inner.stage(epoch, &rows_of(relation, batches)?).await;
        }
        self.inner.stage(epoch, rows).await
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let forgetful = EpochToken { epoch: staged.token.epoch, hash: self.inner.commits().into() };
        match self.broken {
            // Each attempt looks like another epoch to it.
            Broken::RepeatsAnEpoch => self.inner.commit(Staged { token: forgetful, ..staged }).await,
            _ => self.inner.commit(staged).await,
        }
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        self.inner.abort(staged).await
    }

    fn idempotence(&self) -> Idempotence {
        self.inner.idempotence()
    }

    fn write_mode(&self) -> WriteMode {
        self.inner.write_mode()
    }

    fn fence(&self) -> Fence {
        self.inner.fence()
    }

    fn definition(&self) -> serde_json::Value {
        self.inner.definition()
    }
}

#[async_trait]
impl SinkPlace for Twin {
    async fn sink(&self) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(self.clone()))
    }

    async fn read(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.inner.read()?.into_iter().chain(self.leaked.lock().unwrap().clone()).collect())
    }
}

#[derive(Debug)]
struct TwinCase(Broken, WriteMode);

#[async_trait]
impl SinkCase for TwinCase {
    async fn place(&self) -> Result<Box<dyn SinkPlace>> {
        Ok(Box::new(Twin::new(self.0, self.1)))
    }
}

async fn failed(broken: Broken) -> Vec<&'static str> {
    check_sink(&TwinCase(broken, WriteMode::Append)).await.iter().map(|failure| failure.check).collect()
}

#[tokio::test]
async fn the_memory_sink_passes_every_check() {
    for mode in [WriteMode::Append, WriteMode::Merge, WriteMode::Overwrite] {
        assert_eq!(check_sink(&TwinCase(Broken::Not, mode)).await, Vec::new(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_sink_that_is_keyed_in_name_only_is_rejected() {
    assert_eq!(failed(Broken::KeyedInNameOnly).await, ["repeated_epoch_changes_nothing"]);
}

#[tokio::test]
async fn a_sink_that_ignores_versions_is_rejected() {
    let failures = check_sink(&TwinCase(Broken::IgnoresVersions, WriteMode::Merge)).await;
    assert_eq!(failures.iter().map(|failure| failure.check).collect::<Vec<_>>(), ["higher_version_wins"]);
}

#[tokio::test]
async fn a_sink_that_repeats_an_epoch_is_rejected() {
    let failed = failed(Broken::RepeatsAnEpoch).await;
    assert!(failed.contains(&"repeated_epoch_changes_nothing"), "{failed:?}");
}

#[tokio::test]
async fn a_sink_that_loses_the_last_batch_is_rejected() {
    let failed = failed(Broken::LosesTheLastBatch).await;
    assert!(failed.contains(&"epoch_becomes_visible_whole"), "{failed:?}");
}

#[tokio::test]
async fn a_sink_that_publishes_half_an_epoch_is_rejected() {
    let failed = failed(Broken::PublishesHalfAnEpoch).await;
    assert!(failed.contains(&"epoch_is_invisible_before_commit"), "{failed:?}");
}

#[tokio::test]
async fn a_sink_that_tells_of_an_epoch_too_early_is_rejected() {
    assert_eq!(failed(Broken::TellsTooEarly).await, ["token_is_not_told_before_commit"]);
}

#[tokio::test]
async fn a_sink_that_ignores_the_fence_is_rejected() {
    assert_eq!(failed(Broken::IgnoresTheFence).await, ["older_generation_is_fenced"]);
}

/// A source that breaks one promise.
#[derive(Debug, Clone)]
struct TwinSource {
    inner: MemorySource,
    broken: Broken,
    added: Arc<std::sync::atomic::AtomicI32>,
}

#[async_trait]
impl Source for TwinSource {
    fn relations(&self) -> Vec<RelationSchema> {
        self.inner.relations()
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        let repeat = EpochLimit { everything: true, ..limit.clone() };
        let no_skip = EpochLimit { skip: Default::default(), ..limit.clone() };
        let limit = if self.broken == Broken::ReadsWhatIsSkipped { &no_skip } else { limit };
        match self.inner.plan(from, limit).await? {
            // Whenever something is new it begins at the beginning.
            Some(_) if self.broken == Broken::RepeatsAnEpoch => self.inner.plan(from, &repeat).await,
            plan => Ok(plan),
        }
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let mut scan = self.inner.scan(plan).await?;
        if self.broken == Broken::FailsOnUndecodableRows && !scan.end.outcome().await?.rejects.is_empty() {
            return Err(stockflow_core::Error::internal("no JSON"));
        }
        if self.broken == Broken::LosesTheLastBatch {
            for table in scan.relations.values_mut() {
                let mut batches =
                    datafusion::prelude::SessionContext::new().read_table(Arc::clone(table))?.collect().await?;
                batches.pop();
                *table = Arc::new(datafusion::datasource::MemTable::try_new(table.schema(), vec![batches])?);
            }
        }
        Ok(scan)
    }

    async fn commit(&self, upto: &Checkpoint) -> Result<()> {
        self.inner.commit(upto).await
    }

    fn replay(&self) -> Replay {
        self.inner.replay()
    }

    fn definition(&self) -> serde_json::Value {
        self.inner.definition()
    }
}

#[async_trait]
impl SourcePlace for TwinSource {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.clone()))
    }

    async fn add(&self, rows: usize) -> Result<()> {
        let n = self.added.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let closes: Vec<(i32, f64)> = (0..rows as i32).map(|row| (row, f64::from(row + 1))).collect();
        let symbol = format!("S{n:02}");
        self.inner.push(&symbol, "bars", bars(&symbol, &closes, 1)?);
        Ok(())
    }

    async fn add_undecodable(&self) -> Result<bool> {
        self.add(1).await?;
        self.inner.push_undecodable("S00", "1", "no JSON");
        Ok(true)
    }
}

#[derive(Debug)]
struct SourceTwins(Broken);

#[async_trait]
impl SourceCase for SourceTwins {
    async fn place(&self) -> Result<Box<dyn SourcePlace>> {
        Ok(Box::new(TwinSource { inner: MemorySource::new([bars_relation()]), broken: self.0, added: Arc::default() }))
    }
}

async fn failed_source(broken: Broken) -> Vec<&'static str> {
    check_source(&SourceTwins(broken)).await.iter().map(|failure| failure.check).collect()
}

#[tokio::test]
async fn the_memory_source_passes_every_check() {
    assert_eq!(check_source(&SourceTwins(Broken::Not)).await, Vec::new());
}

#[tokio::test]
async fn a_source_that_repeats_an_epoch_is_rejected() {
    let failed = failed_source(Broken::RepeatsAnEpoch).await;
    assert!(failed.contains(&"every_row_is_read_once"), "{failed:?}");
}

#[tokio::test]
async fn a_source_that_loses_the_last_batch_is_rejected() {
    let failed = failed_source(Broken::LosesTheLastBatch).await;
    assert!(failed.contains(&"every_row_is_read_once"), "{failed:?}");
}

#[tokio::test]
async fn a_source_that_reads_what_is_skipped_is_rejected() {
    assert_eq!(failed_source(Broken::ReadsWhatIsSkipped).await, ["skipped_partitions_stay_out"]);
}

#[tokio::test]
async fn a_source_that_fails_on_undecodable_rows_is_rejected() {
    assert_eq!(failed_source(Broken::FailsOnUndecodableRows).await, ["undecodable_rows_are_rejects"]);
}
