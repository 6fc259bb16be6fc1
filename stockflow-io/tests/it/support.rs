//! What the tests share: a folder to write to, sources read to their end, and epochs for sinks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, Sink, Written};
use stockflow_core::source::{EpochLimit, ScanOutcome, Source};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_io::file::FileSource;

/// A folder that is gone after the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and gives it the time of `age` seconds after an old date, so that tests decide on the order.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>, age: u64) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + age);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        path
    }

    pub(crate) fn source(&self, name: &str) -> FileSource {
        FileSource::new(self.at(name)).unwrap()
    }
}

/// One epoch of a source, read to its end.
pub(crate) struct Read {
    pub(crate) table: String,
    pub(crate) rows: usize,
    pub(crate) outcome: ScanOutcome,
}

impl Read {
    pub(crate) fn reasons(&self) -> Vec<String> {
        self.outcome
            .rejects
            .iter()
            .map(|letter| format!("{}@{} {}", letter.partition, letter.position, letter.reason))
            .collect()
    }

    pub(crate) fn left_out(&self) -> Vec<String> {
        self.outcome.left_out.iter().map(|left| format!("{}: {}", left.partition, left.reason)).collect()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        self.outcome.reached.iter().map(|(file, _)| file.to_owned()).collect()
    }
}

/// Reads one epoch with a query over `input`; `None` if nothing is new. The scan is read twice: it must not differ.
pub(crate) async fn read_from(source: &dyn Source, from: &Checkpoint, limit: &EpochLimit, sql: &str) -> Option<Read> {
    let plan = source.plan(from, limit).await.unwrap()?;
    let plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    let scan = source.scan(&plan).await.unwrap();
    let context = SessionContext::new();
    for (name, table) in &scan.relations {
        context.register_table(name.as_str(), Arc::clone(table)).unwrap();
    }
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let again = context.sql(sql).await.unwrap().collect().await.unwrap();
    let table = pretty_format_batches(&batches).unwrap().to_string();
    // Partitions are read side by side: which comes first is nobody's promise.
    let sorted = |table: &str| table.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    let again = pretty_format_batches(&again).unwrap().to_string();
    assert_eq!(sorted(&table), sorted(&again), "a second reading of the same scan differs");
    let outcome = scan.end.outcome().await.unwrap();
    Some(Read { table, rows: batches.iter().map(RecordBatch::num_rows).sum(), outcome })
}

pub(crate) async fn read(source: &dyn Source, sql: &str) -> Read {
    read_from(source, &Checkpoint::new(), &EpochLimit::default(), sql).await.expect("something to read")
}

/// Compares a printed table with lines, indentation aside.
#[track_caller]
pub(crate) fn check_table(table: &str, expected: &[&str]) {
    let lines: Vec<&str> = table.lines().filter(|line| !line.starts_with('+')).collect();
    let rows: Vec<String> = lines
        .iter()
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(rows, expected, "\n{table}");
}

pub(crate) fn sink_id() -> SinkId {
    SinkId::new("main", "bars")
}

pub(crate) fn token(epoch: u64) -> EpochToken {
    EpochToken { epoch, hash: 0x5eed + epoch }
}

/// Rows (symbol, n, close) over several partitions.
pub(crate) fn rows(partitions: &[&[(&str, i64, Option<f64>)]]) -> EpochRows {
    let batches: Vec<Vec<RecordBatch>> = partitions
        .iter()
        .map(|rows| {
            let columns: Vec<(&str, Arc<dyn arrow::array::Array>, bool)> = vec![
                ("symbol", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0))), true),
                ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))), true),
                ("close", Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))), true),
            ];
            vec![RecordBatch::try_from_iter_with_nullable(columns).unwrap()]
        })
        .collect();
    let schema = batches[0][0].schema();
    let table = MemTable::try_new(Arc::clone(&schema), batches).unwrap();
    let frame = SessionContext::new().read_table(Arc::new(table)).unwrap();
    EpochRows::new(RelationSchema::new("bars", schema), frame)
}

pub(crate) async fn write(sink: &dyn Sink, epoch: u64, rows: &EpochRows) -> Written {
    let staged = sink.stage(&token(epoch), rows).await.unwrap();
    sink.commit(staged).await.unwrap()
}

pub(crate) async fn open(sink: &dyn Sink, generation: u64) -> Option<EpochToken> {
    sink.open(&sink_id(), Generation(generation)).await.unwrap()
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    compress(|reader| Box::new(async_compression::tokio::bufread::GzipEncoder::new(reader)), text)
}

pub(crate) fn zstd(text: &[u8]) -> Vec<u8> {
    compress(|reader| Box::new(async_compression::tokio::bufread::ZstdEncoder::new(reader)), text)
}

fn compress<'a>(
    encoder: impl FnOnce(&'a [u8]) -> Box<dyn tokio::io::AsyncRead + Unpin + 'a>,
    text: &'a [u8],
) -> Vec<u8> {
    let mut encoder = encoder(text);
    futures::executor::block_on(async {
        let mut out = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut encoder, &mut out).await.unwrap();
        out
    })
}

/// A part of the shared data; counted as left out where it is not there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STOCKFLOW_SHARED");
    if root.is_none() {
        left_out(&format!("{path} (STOCKFLOW_SHARED is not set)"));
    }
    Some(Path::new(&root?).join(path))
}

/// Notes that a test could not be run here: `scripts/test` counts these lines, and CI fails unless there is none.
pub(crate) fn left_out(reason: &str) {
    println!("left out: {reason}");
    if let Ok(path) = std::env::var("STOCKFLOW_LEFT_OUT_FILE") {
        let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("left out: {reason}\n").as_bytes()).unwrap();
    }
}
