//! A small pipeline over the twins: bars in, bars and a moving average out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::record_batch::RecordBatch;
use datafusion::datasource::TableProvider;
use stockflow_core::history::History;
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{Builder, Pipeline, RunOptions, RunReport, SinkStep, Step};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{bars, bars_relation, table_of};
use stockflow_core::transform::{Outputs, Scope, Transform};
use stockflow_core::{Error, Result};

/// The mean of the last three closes, by a plain window: kind *history*.
#[derive(Debug)]
pub struct Mean3;

#[async_trait::async_trait]
impl Transform for Mean3 {
    async fn apply(
        &self,
        inputs: &stockflow_core::relation::Relations,
        epoch: &stockflow_core::context::EpochContext,
    ) -> Result<Outputs> {
        let input = inputs.input()?;
        let session = epoch.session.clone();
        let name = format!("mean3_{}", uuid::Uuid::new_v4().simple());
        session.register_table(name.as_str(), input.frame.clone().into_view())?;
        let sql = format!(
            "SELECT symbol, \"interval\", ts, avg(close) OVER (PARTITION BY symbol ORDER BY ts ROWS 2 PRECEDING) AS mean3 FROM {name}"
        );
        let frame = session.sql(&sql).await?;
        Ok(Outputs::one(input.with_frame(frame).with_version(Some("revision".into()))))
    }

    fn scope(&self) -> Scope {
        Scope::Symbol
    }

    fn definition(&self) -> serde_json::Value {
        serde_json::json!({"type": "indicators", "list": ["mean3"]})
    }
}

/// Passes its input on; refuses nothing.
#[derive(Debug)]
pub struct Same;

#[async_trait::async_trait]
impl Transform for Same {
    async fn apply(
        &self,
        inputs: &stockflow_core::relation::Relations,
        _epoch: &stockflow_core::context::EpochContext,
    ) -> Result<Outputs> {
        Ok(Outputs::one(inputs.input()?.clone()))
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn definition(&self) -> serde_json::Value {
        serde_json::json!({"type": "same"})
    }
}

/// The lake's table, and how often somebody looked into it.
#[derive(Debug, Clone)]
pub struct Watched {
    lake: MemorySink,
    pub n_looks: Arc<AtomicUsize>,
}

impl Watched {
    pub fn new(lake: &MemorySink) -> Self {
        Self { lake: lake.clone(), n_looks: Arc::default() }
    }
}

#[async_trait::async_trait]
impl History for Watched {
    async fn version(&self) -> Result<Option<String>> {
        self.lake.version().await
    }

    async fn table(&self, version: &str, symbols: Option<&[String]>) -> Result<Arc<dyn TableProvider>> {
        self.n_looks.fetch_add(1, Ordering::SeqCst);
        self.lake.table(version, symbols).await
    }
}

/// Everything that outlives a process.
#[derive(Debug, Clone)]
pub struct World {
    pub source: MemorySource,
    pub bars: MemorySink,
    pub means: MemorySink,
    pub letters: MemorySink,
    pub store: CheckpointStore,
}

impl Default for World {
    fn default() -> Self {
        Self {
            source: MemorySource::new([bars_relation()]),
            bars: MemorySink::new(WriteMode::Merge),
            means: MemorySink::new(WriteMode::Merge),
            letters: MemorySink::new(WriteMode::Append),
            store: CheckpointStore::in_memory(),
        }
    }
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }

    /// Bars of one symbol into the partition of that name.
    pub fn push(&self, symbol: &str, closes: &[(i32, f64)]) {
        // When it was learned grows with every push.
        static CLOCK: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(1);
        let as_of = CLOCK.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.source.push(symbol, "bars", bars(symbol, closes, as_of).unwrap());
    }

    /// bars -> `clean` (history) -> `means`.
    pub fn builder(&self) -> Builder {
        Pipeline::builder("test")
            .source(self.source.clone())
            .step(Step::new("clean", Same))
            .step(Step::new("means", Mean3))
            .sink(SinkStep::new("bars", self.bars.clone()).relation("clean"))
            .sink(SinkStep::new("means", self.means.clone()))
            .dead_letters(self.letters.clone())
            .history("clean", Arc::new(self.bars.clone()))
            .store(self.store.clone())
    }

    pub async fn run(&self) -> Result<RunReport> {
        self.builder().build()?.run(RunOptions::default()).await
    }

    pub fn bars_seen(&self) -> Vec<String> {
        seen(&self.bars)
    }

    pub fn means_seen(&self) -> Vec<String> {
        seen(&self.means)
    }
}

pub fn seen(sink: &MemorySink) -> Vec<String> {
    let batches: Vec<RecordBatch> = sink.read().unwrap().into_iter().collect();
    table_of(&batches).unwrap()
}

/// The values of `mean3` by symbol and day, as a full computation gives them.
pub fn means_of(bars: &[(&str, &[(i32, f64)])]) -> Vec<String> {
    let mut lines = Vec::new();
    for (symbol, closes) in bars {
        let mut closes = closes.to_vec();
        closes.sort_by_key(|(day, _)| *day);
        for idx in 0..closes.len() {
            let window = &closes[idx.saturating_sub(2)..=idx];
            let mean = window.iter().map(|(_, close)| close).sum::<f64>() / window.len() as f64;
            let date = chrono::NaiveDate::from_ymd_opt(2024, 1, 1).unwrap() + chrono::Days::new(closes[idx].0 as u64);
            lines.push(format!("symbol={symbol} interval=1d ts={date}T00:00:00Z mean3={mean:?}"));
        }
    }
    lines.sort();
    lines
}

pub fn text(error: &Error) -> String {
    error.chain().join(": ")
}
