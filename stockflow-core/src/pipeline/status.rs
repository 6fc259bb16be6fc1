//! Where a pipeline stands, and how to set it back.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::builder::Pipeline;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::source::EpochLimit;

/// Where a pipeline stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The pipeline's name.
    pub pipeline: String,
    /// The newest runner's generation; 0 before the first run.
    pub generation: u64,
    /// The last committed epoch.
    pub epoch: Option<u64>,
    /// When that epoch ran.
    pub committed: Option<DateTime<Utc>>,
    /// An epoch that was begun and not finished: the next run finishes it first.
    pub open_epoch: Option<u64>,
    /// How far it has come.
    pub checkpoint: Checkpoint,
    /// Partitions that the last epoch left out, with the reason.
    pub left_out: Vec<crate::source::LeftOut>,
    /// Dead letters of the last epoch.
    pub dead_letters: u64,
    /// Rows by sink in the last epoch.
    pub rows: std::collections::BTreeMap<String, u64>,
    /// What would be read next: partition and position. Empty if nothing is new.
    pub next: Checkpoint,
    /// About how many rows that is, where the source knows.
    pub next_rows: Option<u64>,
}

impl Pipeline {
    /// Where the pipeline stands and what it would read next. Claims nothing and disturbs no runner.
    ///
    /// # Errors
    ///
    /// What reading the store or planning gives.
    pub async fn status(&self) -> Result<Status> {
        let head = self.store.head().await?;
        let limit = EpochLimit { everything: self.mode == super::builder::Mode::Full, ..EpochLimit::default() };
        let from = if limit.everything { Checkpoint::new() } else { head.checkpoint.clone() };
        let mut plan = self.source.plan(&from, &limit).await?;
        if limit.everything
            && plan.as_ref().map(|plan| &plan.pins) == head.commit.as_ref().and_then(|commit| commit.pins.as_ref())
        {
            plan = None;
        }
        let commit = head.commit.as_ref();
        Ok(Status {
            pipeline: self.name.clone(),
            generation: head.generation,
            epoch: commit.map(|commit| commit.epoch),
            committed: commit.map(|commit| commit.now),
            open_epoch: head.open.as_ref().map(|intent| intent.epoch),
            left_out: commit.map(|commit| commit.left_out.clone()).unwrap_or_default(),
            dead_letters: commit.and_then(|commit| commit.dead_letters.as_ref()).map_or(0, |(_, count)| *count),
            rows: commit.map(|commit| commit.rows.clone()).unwrap_or_default(),
            next: plan.as_ref().map(|plan| Checkpoint::from_iter(plan.from.delta(&plan.upto).set)).unwrap_or_default(),
            next_rows: plan.and_then(|plan| plan.rows),
            checkpoint: head.checkpoint,
        })
    }

    /// How far the pipeline has come.
    ///
    /// # Errors
    ///
    /// What reading the store gives.
    pub async fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(self.store.head().await?.checkpoint)
    }

    /// Commits the position of an older epoch as a new epoch: what came after it is read again. Fences a running pipeline.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if the store has no such epoch.
    pub async fn rewind(&self, epoch: u64) -> Result<Checkpoint> {
        let found = self.store.at_epoch(epoch).await?;
        let Some((_, checkpoint)) = found else {
            let last = self.store.head().await?.commit.map_or(0, |commit| commit.epoch);
            return Err(Error::parameter(
                "checkpoint",
                "epoch",
                format!("{epoch} is not in the store, whose last one is {last}"),
            ));
        };
        self.commit_position(epoch, checkpoint).await
    }

    /// Commits the beginning as a new epoch: everything is read again. Fences a running pipeline.
    ///
    /// # Errors
    ///
    /// What writing the store gives.
    pub async fn reset(&self) -> Result<Checkpoint> {
        self.commit_position(0, Checkpoint::new()).await
    }
}
