//! Rows that have to wait: in memory as long as the session's pool allows, then on disk.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::SpillFile;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::MemoryReservation;

/// Bytes that the operators of a session have put on disk; an extension of its config, for who wants to tell.
#[derive(Debug, Default)]
pub(crate) struct Spilled(pub(crate) AtomicU64);

/// Rows in the order in which they came.
pub(super) struct Keep {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    in_memory: usize,
    budget: usize,
    reservation: MemoryReservation,
    disk: Arc<DiskManager>,
    file: Option<(Arc<dyn SpillFile>, StreamWriter<File>)>,
    /// Bytes on disk.
    pub(super) spilled: usize,
    pub(super) peak: usize,
}

impl std::fmt::Debug for Keep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keep")
            .field("in_memory", &self.in_memory)
            .field("spilled", &self.spilled)
            .finish_non_exhaustive()
    }
}

impl Keep {
    pub(super) fn new(
        schema: SchemaRef,
        budget: usize,
        reservation: MemoryReservation,
        disk: Arc<DiskManager>,
    ) -> Self {
        Self { schema, batches: Vec::new(), in_memory: 0, budget, reservation, disk, file: None, spilled: 0, peak: 0 }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let size = batch.get_array_memory_size();
        if self.file.is_none() && self.in_memory + size <= self.budget && self.reservation.try_grow(size).is_ok() {
            self.in_memory += size;
            self.peak = self.peak.max(self.in_memory);
            self.batches.push(batch);
            return Ok(());
        }
        if self.file.is_none() {
            self.file = Some(create(&self.disk, &self.schema)?);
            // The order is that of coming, so what is in memory goes first.
            for batch in std::mem::take(&mut self.batches) {
                self.write(&batch)?;
            }
            self.reservation.free();
            self.in_memory = 0;
        }
        self.write(&batch)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some((_, writer)) = &mut self.file {
            writer.write(batch)?;
            self.spilled += batch.get_array_memory_size();
        }
        Ok(())
    }

    pub(super) fn is_on_disk(&self) -> bool {
        self.file.is_some()
    }

    /// All rows, and the memory that they take until they are gone.
    pub(super) fn replay(mut self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
        let mut on_disk = None;
        if let Some((file, mut writer)) = self.file.take() {
            writer.finish()?;
            let path = file.path().ok_or_else(|| exec_datafusion_err!("a spill file without a path"))?;
            let reader = StreamReader::try_new(BufReader::with_capacity(1 << 20, File::open(path)?), None)?;
            on_disk = Some(OnDisk { reader, _file: file });
        }
        let reservation = self.reservation;
        let in_memory = self.batches.into_iter().map(move |batch| {
            let size = batch.get_array_memory_size();
            reservation.shrink(size.min(reservation.size()));
            Ok(batch)
        });
        Ok(in_memory.chain(on_disk.into_iter().flatten()))
    }
}

/// Rows that come back from disk.
struct OnDisk {
    reader: StreamReader<BufReader<File>>,
    /// The file lives as long as somebody reads it.
    _file: Arc<dyn SpillFile>,
}

impl Iterator for OnDisk {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next().map(|batch| Ok(batch?))
    }
}

fn create(disk: &Arc<DiskManager>, schema: &SchemaRef) -> Result<(Arc<dyn SpillFile>, StreamWriter<File>)> {
    let file = disk.create_tmp_file("rows of symbols that wait for their order")?;
    let path = file.path().ok_or_else(|| exec_datafusion_err!("a spill file without a path"))?;
    let writer = StreamWriter::try_new(File::create(path)?, schema)?;
    Ok((file, writer))
}
