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
use crate::source::{EpochLimit, EpochPlan, LeftOut, Redecoded, Replay, Scan, ScanEnd, ScanOutcome, Source};

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
    mended: BTreeMap<String, (String, RecordBatch)>,
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
    rows_per_epoch: Option<u64>,
    data: Arc<Mutex<Data>>,
}

impl MemorySource {
    /// An empty source of these relations.
    pub fn new(relations: impl IntoIterator<Item = RelationSchema>) -> Self {
        Self {
            relations: relations.into_iter().collect(),
            replay: Replay::Exact,
            rows_per_epoch: None,
            data: Arc::default(),
        }
    }

    /// A source that gives its rows only once: a second scan of the same plan finds nothing.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.replay = Replay::BestEffort;
        self
    }

    /// Cuts partitions between their entries: an epoch takes so many rows of each, and at least one entry.
    #[must_use]
    pub fn with_rows_per_epoch(mut self, rows: u64) -> Self {
        self.rows_per_epoch = Some(rows);
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

    /// From now on a payload that could not be decoded is a batch of a relation, when its letter is replayed.
    pub fn mend(&self, payload: &str, relation: &str, batch: RecordBatch) {
        self.data().mended.insert(payload.into(), (relation.into(), batch));
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

/// How many entries an epoch reads up to, from `start` on: about so many rows.
fn cut(entries: &[Entry], start: usize, rows: u64) -> usize {
    let mut left = rows;
    let taken = entries.iter().skip(start).take_while(|entry| {
        let takes = left > 0;
        left = left.saturating_sub(match entry {
            Entry::Rows { batch, .. } => batch.num_rows() as u64,
            Entry::Undecodable { .. } => 1,
        });
        takes
    });
    start + taken.count()
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
        let end = |name: &String, entries: &[Entry]| match self.rows_per_epoch {
            Some(_) => {
                let target = limit.upto.as_ref().filter(|target| target.get(name).is_some());
                let target = target.map_or(entries.len(), |target| position(target, name).min(entries.len()));
                let rows = limit.max_rows.unwrap_or(u64::MAX);
                target.min(cut(entries, position(&start, name), rows))
            }
            None => entries.len(),
        };
        let new: Vec<(&String, usize)> = new
            .map(|(name, entries)| (name, end(name, entries)))
            .filter(|(name, end)| *end > position(&start, name))
            .take(limit.max_partitions.unwrap_or(usize::MAX))
            .collect();
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

    async fn redecode(&self, letters: &[DeadLetter], _known: &Checkpoint) -> Result<Redecoded> {
        let mut again = Redecoded::default();
        for relation in &self.relations {
            again.rows.insert(relation.name.clone(), (Arc::clone(&relation.schema), Vec::new()));
        }
        let data = self.data();
        for letter in letters {
            let mended = data.mended.get(&letter.payload);
            match mended.and_then(|(relation, batch)| Some((again.rows.get_mut(relation)?, batch))) {
                Some(((_, rows), batch)) => rows.push(batch.clone()),
                None => again.rejects.push(letter.clone()),
            }
        }
        Ok(again)
    }

    fn rows_per_epoch(&self) -> Option<u64> {
        self.rows_per_epoch
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
