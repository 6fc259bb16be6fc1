//! Sinks that break a promise, by which the oracle is judged.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stockflow_core::Result;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Flaw {
    /// Holds no token, so that an epoch that is run again is written again.
    ForgetsTheToken,
    /// Says that it has committed, and does so when it stages the next epoch: the checkpoint is stored before the rows.
    CommitsAfterTheStore,
}

impl Flaw {
    pub(super) fn of(self, inner: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(Flawed { flaw: self, inner, held_back: Mutex::default() })
    }
}

#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    inner: Arc<dyn Sink>,
    held_back: Mutex<Option<Staged>>,
}

#[async_trait]
impl Sink for Flawed {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.inner.open(sink, generation).await?;
        Ok(None)
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let held_back = self.held_back.lock().unwrap().take();
        if let Some(staged) = held_back {
            self.inner.commit(staged).await?;
        }
        match self.flaw {
            Flaw::CommitsAfterTheStore => self.inner.stage(epoch, rows).await,
            // To the sink below each attempt is another epoch.
            Flaw::ForgetsTheToken => {
                let hash = uuid::Uuid::new_v4().as_u64_pair().0 >> 1;
                self.inner.stage(&EpochToken { hash, ..*epoch }, rows).await
            }
        }
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        if self.flaw == Flaw::ForgetsTheToken {
            return self.inner.commit(staged).await;
        }
        let written = Written { rows: staged.rows, ..Written::default() };
        *self.held_back.lock().unwrap() = Some(staged);
        Ok(written)
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        self.inner.abort(staged).await
    }

    /// Whoever keeps the checkpoint before the rows compares no tokens: the engine would find out by them.
    fn idempotence(&self) -> Idempotence {
        match self.flaw {
            Flaw::ForgetsTheToken => self.inner.idempotence(),
            Flaw::CommitsAfterTheStore => Idempotence::Keyed,
        }
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
