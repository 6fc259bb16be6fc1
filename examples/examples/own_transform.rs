//! Shows a transform of your own, as a closure, between steps that come with stockflow; rows go to a CSV file.
//!
//! Run it from the repository's folder with `cargo run -p stockflow-examples --example own_transform`.
//!
//! ```text
//! symbol,date,close,change
//! AAPL,2000-09-29,0.83,-51.87
//! ```

use std::error::Error;

use datafusion::functions::expr_fn::round;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::ExprFunctionExt;
use datafusion::prelude::{col, lit};
use stockflow_core::pipeline::{Mode, Pipeline, RunOptions, SinkStep};
use stockflow_core::relation::Relation;
use stockflow_core::transform::{Adjust, Clean, Normalize, Outputs, SymbolFrom, transform_fn};
use stockflow_io::file::{FileSink, FileSource, SinkMode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Days on which a symbol lost more than 40 percent, splits aside. The name stands for what the closure does: give it
    // another one when its results change.
    let crashes = transform_fn("crashes", |inputs, _epoch| async move {
        let bars = inputs.input()?;
        let before = lag(col("close"), None, None)
            .partition_by(vec![col("symbol")])
            .order_by(vec![col("ts").sort(true, false)])
            .build()?;
        let rows = bars.frame.clone().window(vec![before.alias("before")])?;
        let change = round(vec![(col("close") / col("before") - lit(1.0)) * lit(100.0), lit(2)]);
        let rows = rows.select(vec![
            col("symbol"),
            col("date"),
            round(vec![col("close"), lit(2)]).alias("close"),
            change.alias("change"),
        ])?;
        Ok(Outputs::one(Relation::new(rows.filter(col("change").lt(lit(-40.0)))?)))
    });
    let pipeline = Pipeline::builder("crashes")
        .mode(Mode::Full)
        .source(FileSource::new("examples/data/*.csv")?)
        .transform("normalized", Normalize::new().with_symbol(SymbolFrom::FileName))
        .transform("bars", Clean::new())
        .transform("adjusted", Adjust::by_ratio())
        .transform("crashes", crashes)
        .sink(SinkStep::new("file", FileSink::csv("example-data/crashes.csv", SinkMode::Overwrite)?))
        .build()?;
    pipeline.run(RunOptions::default()).await?;
    print!("{}", std::fs::read_to_string("example-data/crashes.csv")?);
    Ok(())
}
