//! A source's table that goes to its one reader as it is read, and counts its rows on the way.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::exec_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::progress::Progress;

/// Rows by partition, as far as each has been read the last time.
#[derive(Debug, Default)]
pub(crate) struct RowCount(Mutex<Vec<Arc<AtomicU64>>>);

impl RowCount {
    /// All rows that were read.
    pub(crate) fn total(&self) -> u64 {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().map(|it| it.load(Ordering::Relaxed)).sum()
    }

    /// A partition is read from its start.
    fn restart(&self, partition: usize) -> Arc<AtomicU64> {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.len() <= partition {
            parts.resize_with(partition + 1, Arc::default);
        }
        let count = Arc::<AtomicU64>::default();
        if let Some(part) = parts.get_mut(partition) {
            *part = Arc::clone(&count);
        }
        count
    }
}

/// A table whose rows are counted when they are read.
pub(crate) struct CountedTable {
    inner: Arc<dyn TableProvider>,
    count: Arc<RowCount>,
    progress: Arc<dyn Progress>,
}

impl CountedTable {
    pub(crate) fn new(inner: Arc<dyn TableProvider>, count: Arc<RowCount>, progress: Arc<dyn Progress>) -> Self {
        Self { inner, count, progress }
    }
}

impl fmt::Debug for CountedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedTable").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for CountedTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    /// Every row counts, so none may be left out by the reader.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Unsupported; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = self.inner.scan(state, projection, filters, limit).await?;
        Ok(Arc::new(CountedExec { input, count: Arc::clone(&self.count), progress: Arc::clone(&self.progress) }))
    }
}

/// Passes rows on and counts them.
struct CountedExec {
    input: Arc<dyn ExecutionPlan>,
    count: Arc<RowCount>,
    progress: Arc<dyn Progress>,
}

impl fmt::Debug for CountedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedExec").field("input", &self.input).finish_non_exhaustive()
    }
}

impl DisplayAs for CountedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountedExec")
    }
}

impl ExecutionPlan for CountedExec {
    fn name(&self) -> &'static str {
        "CountedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| exec_datafusion_err!("CountedExec has one input"))?;
        Ok(Arc::new(Self { input, count: Arc::clone(&self.count), progress: Arc::clone(&self.progress) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (schema, count, progress) = (input.schema(), self.count.restart(partition), Arc::clone(&self.progress));
        let counted = input.inspect(move |batch| {
            if let Ok(batch) = batch {
                count.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                progress.rows(batch.num_rows() as u64);
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, counted)))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
