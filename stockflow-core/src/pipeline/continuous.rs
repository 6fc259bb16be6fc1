//! A run that does not end by itself: when its next epoch begins.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::builder::Mode;
use super::run::Runner;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::source::{EpochLimit, EpochPlan};

/// How many epochs such a run remembers for its report.
const REMEMBERED: usize = 100;

/// A source that cuts its partitions is asked so often within the time between two epochs, at least each second.
const LOOKS: u32 = 10;
const LOOK: Duration = Duration::from_secs(1);

/// A run goes on after what was new has been delivered, until it is asked to stop.
///
/// The next epoch begins as soon as a whole one waits at the source (its limit of rows or bytes), at the latest `every` after
/// the last one began. What waits beyond the limit stays at the source: memory is bounded by one epoch, and a sink that is
/// slow or away slows the source. The report names the last hundred epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Continuous {
    /// The longest time between the beginnings of two epochs while something is new.
    pub every: Duration,
}

impl Runner<'_> {
    /// Waits for the next epoch; false if the run was asked to stop.
    pub(super) async fn wait(&mut self, continuous: Continuous, began: Instant) -> Result<bool> {
        let surplus = self.epochs.len().saturating_sub(REMEMBERED);
        self.epochs.drain(..surplus);
        let looks = self.pipeline.source.rows_per_epoch().is_some() && self.pipeline.mode != Mode::Full;
        let pause = if looks { (continuous.every / LOOKS).min(LOOK) } else { continuous.every };
        let due = began + continuous.every;
        loop {
            let shutdown = self.options.shutdown.clone();
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(false),
                () = tokio::time::sleep_until(due.min(Instant::now() + pause)) => {}
            }
            if Instant::now() >= due {
                return Ok(true);
            }
            match if looks { self.whole_epoch_waits().await } else { Ok(false) } {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // No epoch is open: there is nothing to finish.
                Err(error) if error.is_interrupted() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether more is new at the source than an epoch may take.
    async fn whole_epoch_waits(&self) -> Result<bool> {
        let from = self.log.head.checkpoint.clone();
        let none = BTreeSet::new();
        let upto = |plan: Option<EpochPlan>| plan.map_or_else(Checkpoint::new, |plan| plan.upto);
        let epoch = upto(self.plan(&from, &self.limit(&none)).await?);
        let everything = EpochLimit { max_partitions: None, max_rows: None, ..self.limit(&none) };
        Ok(epoch != upto(self.plan(&from, &everything).await?))
    }
}
