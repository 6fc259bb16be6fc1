//! Bars in short form, and a table to write them to.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, NaiveDate, Utc};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use stockflow_core::Result;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::{bar_relation, bar_schema};
use stockflow_core::sink::{EpochRows, Sink, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use tempfile::TempDir;

use super::super::{DeltaSink, open_table};

/// `2024-01-02` or `2024-01-02T09:30:00Z`.
pub(super) fn at(text: &str) -> i64 {
    let day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
    let instant: DateTime<Utc> = text.parse().unwrap_or_else(|_| day(text));
    instant.timestamp_micros()
}

/// One daily bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) symbol: Option<String>,
    pub(super) interval: String,
    pub(super) ts: i64,
    pub(super) close: Option<f64>,
    pub(super) as_of: i64,
}

/// A daily bar: symbol, day, close, and the day on which we learned it.
pub(super) fn bar(symbol: &str, day: &str, close: f64, as_of: &str) -> Bar {
    Bar { symbol: Some(symbol.into()), interval: "1d".into(), ts: at(day), close: Some(close), as_of: at(as_of) }
}

pub(super) fn batch(bars: &[Bar]) -> RecordBatch {
    let text = |value: &'static str| Arc::new(StringArray::from_iter_values(bars.iter().map(|_| value))) as ArrayRef;
    let prices = || Arc::new(bars.iter().map(|bar| bar.close).collect::<Float64Array>()) as ArrayRef;
    let times = |of: fn(&Bar) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(bars.iter().map(of)).with_timezone("UTC")) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(bars.iter().map(|bar| bar.symbol.clone()).collect::<StringArray>()),
        Arc::new(StringArray::from_iter_values(bars.iter().map(|bar| &bar.interval))),
        times(|bar| bar.ts),
        Arc::new(Date32Array::from_iter_values(
            bars.iter().map(|bar| i32::try_from(bar.ts.div_euclid(86_400_000_000)).unwrap()),
        )),
        prices(),
        prices(),
        prices(),
        prices(),
        Arc::new(Float64Array::from(vec![1000.0; bars.len()])),
        prices(),
        text("USD"),
        text("test"),
        text("regular"),
        text("raw"),
        Arc::new(BooleanArray::from(vec![true; bars.len()])),
        Arc::new(TimestampMicrosecondArray::from(vec![None; bars.len()]).with_timezone("UTC")),
        times(|bar| bar.as_of),
    ];
    let nullable = bar_schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(field.is_nullable() || field.name() == "symbol"))
        .collect::<Vec<_>>();
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(nullable)), columns).unwrap()
}

/// Rows of a relation, one partition each batch.
pub(super) fn rows_of(relation: RelationSchema, batches: Vec<RecordBatch>) -> EpochRows {
    let table = MemTable::try_new(batches[0].schema(), batches.into_iter().map(|batch| vec![batch]).collect()).unwrap();
    EpochRows::new(relation, SessionContext::new().read_table(Arc::new(table)).unwrap())
}

pub(super) fn rows(bars: &[Bar]) -> EpochRows {
    rows_of(bar_relation("bars"), vec![batch(bars)])
}

pub(super) fn id() -> SinkId {
    SinkId::new("main", "bars")
}

pub(super) fn token(epoch: u64) -> EpochToken {
    EpochToken { epoch, hash: epoch * 1000 + 7 }
}

/// A folder for tables.
pub(super) struct Lake {
    pub(super) folder: TempDir,
}

impl Lake {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(super) fn url(&self, table: &str) -> String {
        self.folder.path().join(table).to_str().unwrap().to_owned()
    }

    pub(super) fn sink(&self) -> DeltaSink {
        DeltaSink::new(self.url("bars")).unwrap()
    }

    /// The data files that lie in a table's folder, whether they belong to it or not.
    pub(super) fn objects(&self, table: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().join(table)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("_delta_log") {
                    folders.push(path);
                } else if path.extension().is_some_and(|kind| kind == "parquet") {
                    found.push(path.to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// The number of commits of a table.
    pub(super) fn commits(&self, table: &str) -> usize {
        let log = std::fs::read_dir(self.folder.path().join(table).join("_delta_log")).unwrap();
        log.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|kind| kind == "json")).count()
    }
}

/// Stages and commits.
pub(super) async fn write(sink: &dyn Sink, epoch: u64, rows: &EpochRows) -> Result<Written> {
    let staged = sink.stage(&token(epoch), rows).await?;
    sink.commit(staged).await
}

/// Opens with generation 1, stages and commits.
pub(super) async fn write_new(sink: &dyn Sink, epoch: u64, rows: &EpochRows) -> Written {
    sink.open(&id(), Generation(1)).await.unwrap();
    write(sink, epoch, rows).await.unwrap()
}

/// The result of a query over a table called `t`.
pub(super) async fn query(url: &str, sql: &str) -> String {
    let session = SessionContext::new();
    session.register_table("t", open_table(url).await.unwrap()).unwrap();
    print(session.sql(sql).await.unwrap().collect().await.unwrap())
}

/// Rows as text, without the frame: `AAPL 2024-01-02 1.0 | …`.
pub(super) fn print(batches: Vec<RecordBatch>) -> String {
    let table = pretty_format_batches(&batches).unwrap().to_string();
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(" | ")
}

/// The table's bars: symbol, day, close.
pub(super) async fn closes(url: &str) -> String {
    query(url, "SELECT symbol, date, close FROM t ORDER BY symbol, ts").await
}
