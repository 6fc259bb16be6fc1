//! Computes a relation once for several readers: kept in memory, then on disk.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::MemTable;
use datafusion::execution::SpillFile;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::context::EpochContext;
use crate::error::{Error, Origin, Result};
use crate::store::CheckpointStore;

/// All shared relations of an epoch together may take this much memory; what is more goes to disk.
const MEMORY: usize = 1 << 30;

/// Computes a frame once; its partitions and their order stay.
pub(crate) async fn share(epoch: &EpochContext, frame: DataFrame) -> Result<DataFrame> {
    share_seen(epoch, frame, &|_| Ok(())).await.map(|(frame, _)| frame)
}

/// What is shown each batch that passes by.
pub(crate) type Seen<'s> = &'s (dyn Fn(&RecordBatch) -> Result<()> + Sync);

/// Like [`share`]; shows the rows as they come, and tells how many there are.
pub(crate) async fn share_seen(epoch: &EpochContext, frame: DataFrame, seen: Seen<'_>) -> Result<(DataFrame, u64)> {
    let planned = frame.schema().as_arrow().clone();
    let streams = frame.execute_stream_partitioned().await?;
    let schema = as_delivered(planned, streams.first().map(|stream| stream.schema()));
    let work = streams.into_iter().map(|stream| keep(epoch, Arc::clone(&schema), stream, seen));
    let parts = futures::future::try_join_all(work).await?;
    let rows = parts.iter().map(|part| part.rows).sum();
    if parts.iter().all(|part| part.file.is_none()) {
        let batches = parts.into_iter().map(|part| part.batches).collect();
        return Ok((epoch.session.read_table(Arc::new(MemTable::try_new(schema, batches)?))?, rows));
    }
    let parts = parts.into_iter().map(|part| Arc::new(part) as Arc<dyn PartitionStream>).collect();
    Ok((epoch.session.read_table(Arc::new(StreamingTable::try_new(schema, parts)?))?, rows))
}

/// The planned columns, nullable where the rows may be: a union or an outer join is planned tighter than it gives.
fn as_delivered(planned: Schema, delivered: Option<SchemaRef>) -> SchemaRef {
    let nullable = |idx: usize| {
        delivered.as_ref().is_some_and(|schema| schema.fields().get(idx).is_some_and(|it| it.is_nullable()))
    };
    let fields = planned.fields().iter().enumerate().map(|(idx, field)| {
        if nullable(idx) && !field.is_nullable() {
            Arc::new(field.as_ref().clone().with_nullable(true))
        } else {
            Arc::clone(field)
        }
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), planned.metadata))
}

/// One partition: its first batches in memory, the others in a file.
struct Part {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    file: Option<Arc<dyn SpillFile>>,
    rows: u64,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("rows", &self.rows).field("on_disk", &self.file.is_some()).finish_non_exhaustive()
    }
}

async fn keep(
    epoch: &EpochContext,
    schema: SchemaRef,
    mut stream: SendableRecordBatchStream,
    seen: Seen<'_>,
) -> Result<Part> {
    let mut part = Part { schema: Arc::clone(&schema), batches: Vec::new(), file: None, rows: 0 };
    let mut writer: Option<StreamWriter<File>> = None;
    while let Some(batch) = stream.next().await {
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec())?;
        part.rows += batch.num_rows() as u64;
        seen(&batch)?;
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
            continue;
        }
        if epoch.reserve(batch.get_array_memory_size()) {
            part.batches.push(batch);
            continue;
        }
        let file = epoch.session.runtime_env().disk_manager.create_tmp_file("shared relation")?;
        let path = file.path().ok_or_else(|| Error::internal("a spill file without a path"))?;
        let place = || Origin::new("spool").partition(path.display().to_string());
        let opened = File::create(path).map_err(|error| Error::connector(place(), "create", error))?;
        let mut opened = StreamWriter::try_new(opened, &schema)?;
        opened.write(&batch)?;
        writer = Some(opened);
        part.file = Some(file);
    }
    if let Some(mut writer) = writer {
        writer.finish()?;
    }
    Ok(part)
}

impl PartitionStream for Part {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), 2);
        let (sender, batches, file) = (stream.tx(), self.batches.clone(), self.file.clone());
        stream.spawn_blocking(move || {
            for batch in batches {
                if sender.blocking_send(Ok(batch)).is_err() {
                    return Ok(());
                }
            }
            let Some(path) = file.as_ref().and_then(|file| file.path()) else { return Ok(()) };
            for batch in StreamReader::try_new(BufReader::new(File::open(path)?), None)? {
                if sender.blocking_send(batch.map_err(Into::into)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// Counts what shared relations of an epoch hold in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryBudget(AtomicUsize);

impl MemoryBudget {
    /// Takes a part of the budget; false if there is not enough left.
    pub(crate) fn take(&self, bytes: usize, limit: Option<usize>) -> bool {
        let limit = limit.unwrap_or(MEMORY);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= limit)
            })
            .is_ok()
    }
}

/// Parquet objects of the store, as they were spooled.
pub(crate) async fn read_objects(store: &CheckpointStore, objects: &[String]) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let mut schema = None;
    let mut batches = Vec::new();
    for object in objects {
        let corrupt = |reason: String| Error::StoreCorrupt { path: store.path(object).to_string(), reason };
        let bytes = store.get(object).await?.ok_or_else(|| corrupt("it is missing".into()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| corrupt(error.to_string()))?;
        schema.get_or_insert_with(|| Arc::clone(builder.schema()));
        for batch in builder.build().map_err(|error| corrupt(error.to_string()))? {
            batches.push(batch.map_err(|error| corrupt(error.to_string()))?);
        }
    }
    let schema = schema.ok_or_else(|| Error::internal("a spool without objects"))?;
    Ok((schema, batches))
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    fn part(first: i64) -> Vec<RecordBatch> {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |first: i64| {
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from_iter_values(first..first + 100))])
        };
        vec![batch(first).unwrap(), batch(first + 100).unwrap(), batch(first + 200).unwrap()]
    }

    #[tokio::test]
    async fn what_does_not_fit_into_memory_goes_to_disk_and_comes_back_in_order() {
        for (bytes, on_disk) in [(64 << 20, false), (3_600, true)] {
            let runtime = RuntimeEnvBuilder::new().with_memory_limit(bytes, 1.0).build_arc().unwrap();
            let session = SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime);
            let epoch = EpochContext::new("test", session, chrono::Utc::now());
            let parts = vec![part(0), part(1_000)];
            let frame = epoch.table(parts[0][0].schema(), parts.clone()).unwrap();
            let (shared, rows) = share_seen(&epoch, frame, &|_| Ok(())).await.unwrap();
            assert_eq!(rows, 600);
            let plan = shared.clone().create_physical_plan().await.unwrap();
            assert_eq!(plan.name() == "StreamingTableExec", on_disk, "{bytes} bytes: {}", plan.name());
            // Read twice, as several readers do.
            for _ in 0..2 {
                let read = shared.clone().collect_partitioned().await.unwrap();
                assert_eq!(read, parts, "{bytes} bytes");
            }
        }
    }
}
