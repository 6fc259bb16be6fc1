//! A source in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::datasource::{MemTable, TableProvider};
use serde_json::json;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, ErrorClass, Origin, Result};
use crate::relation::RelationSchema;
use crate::schema::DeadLetter;
use crate::source::{EpochLimit, EpochPlan, LeftOut, Replay, Scan, ScanEnd, ScanOutcome, Source};

/// One entry of a partition.
#[derive(Debug, Clone)]
enum Entry {
    Rows { relation: String, batch: RecordBatch },
    Undecodable { payload: String, reason: String },
}

#[derive(Debug, Default)]
struct Data {
    partitions: BTreeMap<String, Vec<Entry>>,
    unreadable: BTreeMap<String, String>,
    outage: u32,
    released: Checkpoint,
    scans: u32,
}

/// A source whose partitions are lists of batches; a position is the number of entries read.
///
/// # Guarantees
///
/// Replay is exact, unless [`MemorySource::best_effort`] makes it forget a partition's entries once they were scanned.
#[derive(Debug, Clone)]
pub struct MemorySource {
    relations: Vec<RelationSchema>,
    replay: Replay,
    data: Arc<Mutex<Data>>,
}

impl MemorySource {
    /// An empty source of these relations.
    pub fn new(relations: impl IntoIterator<Item = RelationSchema>) -> Self {
        Self { relations: relations.into_iter().collect(), replay: Replay::Exact, data: Arc::default() }
    }

    /// A source that gives its rows only once: a second scan of the same plan finds nothing.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.replay = Replay::BestEffort;
        self
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch of a relation to a partition.
    pub fn push(&self, partition: &str, relation: &str, batch: RecordBatch) {
        self.data()
            .partitions
            .entry(partition.into())
            .or_default()
            .push(Entry::Rows { relation: relation.into(), batch });
    }

    /// Appends something that cannot be decoded.
    pub fn push_undecodable(&self, partition: &str, payload: &str, reason: &str) {
        self.data()
            .partitions
            .entry(partition.into())
            .or_default()
            .push(Entry::Undecodable { payload: payload.into(), reason: reason.into() });
    }

    /// From now on a partition cannot be read; `None` mends it.
    pub fn set_unreadable(&self, partition: &str, reason: Option<&str>) {
        match reason {
            Some(reason) => self.data().unreadable.insert(partition.into(), reason.into()),
            None => self.data().unreadable.remove(partition),
        };
    }

    /// The next calls fail with a transient error.
    pub fn set_outage(&self, calls: u32) {
        self.data().outage = calls;
    }

    /// What the pipeline has told the source to release.
    pub fn released(&self) -> Checkpoint {
        self.data().released.clone()
    }

    /// How often rows were scanned.
    pub fn scans(&self) -> u32 {
        self.data().scans
    }

    fn check_outage(&self) -> Result<()> {
        let mut data = self.data();
        if data.outage == 0 {
            return Ok(());
        }
        data.outage -= 1;
        Err(Error::refused(Origin::new("memory"), ErrorClass::Transient, "the source is out of reach"))
    }
}

fn position(checkpoint: &Checkpoint, partition: &str) -> usize {
    checkpoint.get(partition).and_then(|position| position.parse().ok()).unwrap_or(0)
}

#[async_trait]
impl Source for MemorySource {
    fn relations(&self) -> Vec<RelationSchema> {
        self.relations.clone()
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.check_outage()?;
        let data = self.data();
        let start = if limit.everything { Checkpoint::new() } else { from.clone() };
        let new = data
            .partitions
            .iter()
            .filter(|(name, entries)| position(&start, name) < entries.len() && !limit.skip.contains(*name));
        let new: Vec<(&String, usize)> =
            new.map(|(name, entries)| (name, entries.len())).take(limit.max_partitions.unwrap_or(usize::MAX)).collect();
        if new.is_empty() {
            return Ok(None);
        }
        let mut upto = start.clone();
        for (name, n_entries) in &new {
            upto.set(name.as_str(), n_entries.to_string());
        }
        let pins = json!(new.iter().map(|(name, n_entries)| (name.as_str(), *n_entries)).collect::<BTreeMap<_, _>>());
        Ok(Some(EpochPlan { from: start, upto, pins, rows: None, window: limit.window.clone() }))
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        self.check_outage()?;
        let mut data = self.data();
        data.scans += 1;
        let mut reached = plan.from.clone();
        let mut outcome = ScanOutcome::default();
        let mut batches: BTreeMap<String, Vec<Vec<RecordBatch>>> = BTreeMap::new();
        let mut forgotten = BTreeSet::new();
        for (partition, upto) in plan.from.delta(&plan.upto).set {
            if let Some(reason) = data.unreadable.get(&partition) {
                outcome.left_out.push(LeftOut { partition, reason: reason.clone() });
                continue;
            }
            reached.set(partition.as_str(), upto.as_str());
            let entries = data.partitions.get(&partition).map(Vec::as_slice).unwrap_or_default();
            let range = position(&plan.from, &partition)..upto.parse().unwrap_or(0);
            for (idx, entry) in entries.iter().enumerate().filter(|(idx, _)| range.contains(idx)) {
                match entry {
                    Entry::Rows { relation, batch } => {
                        batches.entry(relation.clone()).or_default().push(vec![batch.clone()])
                    }
                    Entry::Undecodable { payload, reason } => outcome.rejects.push(DeadLetter {
                        connector: "memory".into(),
                        partition: partition.clone(),
                        position: idx.to_string(),
                        reason: reason.clone(),
                        payload: payload.clone(),
                        symbol: None,
                    }),
                }
            }
            forgotten.insert(partition);
        }
        if self.replay == Replay::BestEffort {
            for partition in forgotten {
                for entry in data.partitions.get_mut(&partition).into_iter().flatten() {
                    if let Entry::Rows { batch, .. } = entry {
                        *batch = batch.slice(0, 0);
                    }
                }
            }
        }
        outcome.reached = reached;
        let mut relations = BTreeMap::new();
        for relation in &self.relations {
            let partitions = batches.remove(&relation.name).unwrap_or_else(|| vec![Vec::new()]);
            let table: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(Arc::clone(&relation.schema), partitions)?);
            relations.insert(relation.name.clone(), table);
        }
        Ok(Scan { relations, end: Arc::new(End(outcome)) })
    }

    async fn commit(&self, upto: &Checkpoint) -> Result<()> {
        self.check_outage()?;
        self.data().released = upto.clone();
        Ok(())
    }

    fn replay(&self) -> Replay {
        self.replay
    }

    fn definition(&self) -> serde_json::Value {
        json!({"type": "memory", "relations": self.relations.iter().map(|relation| &relation.name).collect::<Vec<_>>()})
    }
}

#[derive(Debug)]
struct End(ScanOutcome);

#[async_trait]
impl ScanEnd for End {
    async fn outcome(&self) -> Result<ScanOutcome> {
        Ok(self.0.clone())
    }
}
