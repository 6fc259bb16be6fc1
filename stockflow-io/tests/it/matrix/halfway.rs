//! A sink that is given its rows in small pieces, so that something can strike when half of them are taken.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use stockflow_core::Result;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};

use super::fault::{At, Striker};

/// Rows of a piece.
const PIECE: usize = 20;

/// Hands all calls on; where somebody may strike in the middle of a stage, the rows come in pieces.
#[derive(Debug)]
pub(super) struct Halfway {
    inner: Arc<dyn Sink>,
    striker: Option<Arc<Striker>>,
}

impl Halfway {
    pub(super) fn new(inner: Arc<dyn Sink>, striker: Option<Arc<Striker>>) -> Self {
        Self { inner, striker }
    }
}

#[derive(Debug)]
struct Pieces {
    rows: EpochRows,
    schema: SchemaRef,
    striker: Arc<Striker>,
    after: usize,
}

impl PartitionStream for Pieces {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (rows, striker, after) = (self.rows.clone(), Arc::clone(&self.striker), self.after);
        let batches = stream::once(async move { rows.stream().await.map_err(DataFusionError::from) }).try_flatten();
        let pieces = batches.map_ok(|batch| {
            let starts = (0..batch.num_rows()).step_by(PIECE);
            stream::iter(starts.map(move |start| Ok(batch.slice(start, PIECE.min(batch.num_rows() - start)))))
        });
        let mut taken = 0;
        let watched =
            pieces.try_flatten().inspect(move |piece: &Result<arrow::array::RecordBatch, DataFusionError>| {
                // Whoever asks for the next piece has taken the one before.
                if taken >= after {
                    striker.reached(&At::Rows(after));
                }
                taken += piece.as_ref().map_or(0, |piece| piece.num_rows());
            });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), watched))
    }
}

#[async_trait]
impl Sink for Halfway {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.inner.open(sink, generation).await
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let striker = self.striker.as_ref().and_then(|striker| Some((Arc::clone(striker), striker.rows()?)));
        let Some((striker, after)) = striker else { return self.inner.stage(epoch, rows).await };
        let schema = Arc::clone(&rows.relation().schema);
        let pieces = Pieces { rows: rows.clone(), schema: Arc::clone(&schema), striker, after };
        let table = StreamingTable::try_new(schema, vec![Arc::new(pieces)])?;
        let frame = SessionContext::new().read_table(Arc::new(table))?;
        self.inner.stage(epoch, &rows.with_frame(frame)).await
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        self.inner.commit(staged).await
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
