//! Computes a relation once for several readers: kept in memory, then on disk.

use datafusion::datasource::MemTable;
use datafusion::prelude::DataFrame;
use std::sync::Arc;

use crate::context::EpochContext;
use crate::error::Result;

pub(crate) async fn share(epoch: &EpochContext, frame: DataFrame) -> Result<DataFrame> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let partitions = frame.collect_partitioned().await?;
    Ok(epoch.session.read_table(Arc::new(MemTable::try_new(schema, partitions)?))?)
}
