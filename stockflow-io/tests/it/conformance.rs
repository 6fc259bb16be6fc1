//! The file source and the file sinks against the conformance kit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use stockflow_core::Result;
use stockflow_core::sink::Sink;
use stockflow_core::source::Source;
use stockflow_core::testing::{Failure, SinkCase, SinkPlace, SourceCase, SourcePlace, check_sink, check_source};
use stockflow_io::file::{FileSink, FileSource, ManifestTable, SinkMode};
use tempfile::TempDir;

/// A folder that files are added to.
#[derive(Debug)]
struct Folder {
    folder: TempDir,
    suffix: &'static str,
    added: AtomicUsize,
}

#[async_trait]
impl SourcePlace for Folder {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(FileSource::new(self.folder.path().display().to_string())?))
    }

    async fn add(&self, rows: usize) -> Result<()> {
        let n = self.added.fetch_add(1, Ordering::SeqCst);
        let line = |row: usize| match self.suffix {
            "csv" => format!("S{n},2024-01-{:02},{}.5\n", row + 1, row + 10),
            _ => format!("{{\"symbol\":\"S{n}\",\"date\":\"2024-01-{:02}\",\"close\":{}.5}}\n", row + 1, row + 10),
        };
        let head = if self.suffix == "csv" { "symbol,date,close\n" } else { "" };
        let text: String = std::iter::once(head.to_owned()).chain((0..rows).map(line)).collect();
        std::fs::write(self.folder.path().join(format!("part{n:03}.{}", self.suffix)), text).unwrap();
        Ok(())
    }

    async fn add_undecodable(&self) -> Result<bool> {
        self.add(1).await?;
        let broken = if self.suffix == "csv" { "one,field,too,many\n" } else { "{\"symbol\": \n" };
        let file = self.folder.path().join(format!("part000.{}", self.suffix));
        let text = std::fs::read_to_string(&file).unwrap() + broken;
        std::fs::write(file, text).unwrap();
        Ok(true)
    }
}

#[derive(Debug)]
struct Folders(&'static str);

#[async_trait]
impl SourceCase for Folders {
    async fn place(&self) -> Result<Box<dyn SourcePlace>> {
        Ok(Box::new(Folder { folder: TempDir::new().unwrap(), suffix: self.0, added: AtomicUsize::new(0) }))
    }
}

#[tokio::test]
async fn csv_source() {
    assert_eq!(check_source(&Folders("csv")).await, Vec::<Failure>::new());
}

#[tokio::test]
async fn ndjson_source() {
    assert_eq!(check_source(&Folders("ndjson")).await, Vec::<Failure>::new());
}

/// Which sink.
#[derive(Debug, Clone, Copy)]
enum Kind {
    ParquetAppend,
    ParquetOverwrite,
}

/// A place that a sink writes to.
#[derive(Debug)]
struct Place {
    folder: TempDir,
    kind: Kind,
}

impl Place {
    fn path(&self) -> PathBuf {
        match self.kind {
            Kind::ParquetOverwrite => self.folder.path().join("out.parquet"),
            Kind::ParquetAppend => self.folder.path().join("out"),
        }
    }
}

#[async_trait]
impl SinkPlace for Place {
    async fn sink(&self) -> Result<Arc<dyn Sink>> {
        let url = self.path().display().to_string();
        Ok(match self.kind {
            Kind::ParquetAppend => Arc::new(FileSink::parquet(url, SinkMode::Append)?),
            Kind::ParquetOverwrite => Arc::new(FileSink::parquet(url, SinkMode::Overwrite)?),
        })
    }

    async fn read(&self) -> Result<Vec<RecordBatch>> {
        let path = self.path();
        let url = path.display().to_string();
        let session = SessionContext::new();
        let frame = match self.kind {
            _ if !path.exists() => return Ok(Vec::new()),
            Kind::ParquetOverwrite => session.read_parquet(url, ParquetReadOptions::default()).await?,
            Kind::ParquetAppend => session.read_table(Arc::new(ManifestTable::open(&url).await?))?,
        };
        // A table may have columns of its own: what the relation has is compared, in its order.
        let wanted: Vec<String> =
            stockflow_core::schema::bar_schema().fields().iter().map(|field| field.name().clone()).collect();
        if wanted.iter().any(|column| !frame.schema().has_column_with_unqualified_name(column)) {
            return Ok(Vec::new());
        }
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let batches = frame.select_columns(&wanted)?.collect().await?;
        // Readers differ in their text type.
        let schema = stockflow_core::schema::bar_schema();
        let plain = |batch: RecordBatch| {
            let columns = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| arrow::compute::cast(column, field.data_type()))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        };
        batches.into_iter().map(plain).collect()
    }
}

#[derive(Debug)]
struct Places(Kind);

#[async_trait]
impl SinkCase for Places {
    async fn place(&self) -> Result<Box<dyn SinkPlace>> {
        Ok(Box::new(Place { folder: TempDir::new().unwrap(), kind: self.0 }))
    }
}

#[tokio::test]
async fn parquet_sink_that_appends() {
    assert_eq!(check_sink(&Places(Kind::ParquetAppend)).await, Vec::<Failure>::new());
}

#[tokio::test]
async fn parquet_sink_that_overwrites() {
    assert_eq!(check_sink(&Places(Kind::ParquetOverwrite)).await, Vec::<Failure>::new());
}
