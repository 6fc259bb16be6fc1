//! Shows a whole pipeline in a program: CSV files to clean bars and indicators in Delta tables, only what is new each time.
//!
//! Run it from the repository's folder with `cargo run -p stockflow-examples --example csv_to_delta`; run it twice.
//!
//! ```text
//! epoch 1: 12154 rows of bars, 12154 rows of indicators
//! ```

use std::error::Error;
use std::sync::Arc;

use stockflow_core::pipeline::{Pipeline, RunOptions, SinkStep, Step};
use stockflow_core::store::CheckpointStore;
use stockflow_core::transform::{Adjust, Clean, Indicators, Normalize, SymbolFrom};
use stockflow_io::delta::{DeltaHistory, DeltaSink};
use stockflow_io::file::FileSource;
use stockflow_io::location::Location;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Location::parse("example-data/checkpoints")?;
    let pipeline = Pipeline::builder("csv_to_delta")
        .source(FileSource::new("examples/data/*.csv")?)
        .step(Step::new("normalized", Normalize::new().with_symbol(SymbolFrom::FileName)))
        .step(Step::new("bars", Clean::new()))
        // As-traded prices jump at splits: indicators see prices adjusted for splits and dividends.
        .step(Step::new("adjusted", Adjust::by_ratio()))
        .step(Step::new("indicators", Indicators::parse(&["sma(20)", "rsi(14)", "macd"])?))
        // What comes after `bars` sees all of its history, whatever an epoch brings.
        .history("bars", Arc::new(DeltaHistory::new("example-data/bars")?))
        .sink(SinkStep::new("bars", DeltaSink::new("example-data/bars")?).relation("bars"))
        .sink(SinkStep::new("indicators", DeltaSink::new("example-data/indicators")?).relation("indicators"))
        .store(CheckpointStore::new(Arc::clone(store.store()), store.path().clone()))
        .build()?;
    let report = pipeline.run(RunOptions::default()).await?;
    for epoch in &report.epochs {
        let rows: Vec<String> = epoch.sinks.iter().map(|sink| format!("{} rows of {}", sink.rows, sink.sink)).collect();
        println!("epoch {}: {}", epoch.epoch, rows.join(", "));
    }
    if report.up_to_date {
        println!("nothing new");
    }
    Ok(())
}
