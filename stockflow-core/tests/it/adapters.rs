//! What wraps a source or a sink and is one, and tables as sources.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{Mode, Pipeline, RunOptions, SinkStep, Step};
use stockflow_core::relation::Relations;
use stockflow_core::retry::{Backoff, RateLimit, Retry};
use stockflow_core::sink::WriteMode;
use stockflow_core::table::TableSource;
use stockflow_core::transform::{Outputs, transform_fn};

use crate::support::*;

#[tokio::test]
async fn retry_waits_out_an_outage_of_either_end() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.source.set_outage(2);
    world.bars.set_outage(2);
    let backoff = Backoff { initial: Duration::from_millis(1), ..Backoff::default() };
    // The engine itself does not retry here: the adapters do.
    let pipeline = Pipeline::builder("retry")
        .source(Retry::new(world.source.clone(), backoff))
        .sink(SinkStep::new("out", Retry::new(world.bars.clone(), backoff)))
        .backoff(Backoff::none())
        .build()
        .unwrap();
    pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!(world.bars.n_rows(), 1);
}

#[tokio::test]
async fn a_rate_limit_makes_calls_wait_for_their_turn() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let every = Duration::from_millis(40);
    let pipeline = Pipeline::builder("slow")
        .source(RateLimit::new(world.source.clone(), every))
        .sink(SinkStep::new("out", RateLimit::new(world.bars.clone(), every)))
        .build()
        .unwrap();
    let start = std::time::Instant::now();
    pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!(world.bars.n_rows(), 1);
    // plan twice, scan; stage, commit: three waits of the source at least, one of the sink.
    assert!(start.elapsed() >= every * 3, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_table_is_a_source_and_what_is_unchanged_is_dropped() {
    let world = World::new();
    let batch = stockflow_core::testing::bars("AAA", &[(0, 1.0), (1, 2.0)], 1).unwrap();
    let table = Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap());
    let pipeline = Pipeline::builder("table")
        .source(TableSource::new("bars", table).with_key(["symbol", "interval", "ts"], Some("as_of")))
        .step(Step::new("clean", Same))
        .history("clean", Arc::new(world.bars.clone()))
        .sink(SinkStep::new("bars", world.bars.clone()))
        .store(world.store.clone())
        .build()
        .unwrap();
    let first = pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!((first.epochs.len(), first.epochs[0].changed), (1, Some(2)), "read once a run");
    let again = pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!((again.epochs[0].changed, again.epochs[0].unchanged), (Some(0), Some(2)));
    assert_eq!(world.bars.n_rows(), 2);
}

#[tokio::test]
async fn a_frame_is_run_again_each_time_it_is_read_in_full() {
    let out = MemorySink::new(WriteMode::Overwrite);
    let frame = SessionContext::new().sql("SELECT 'AAA' AS symbol, 1.5 AS close").await.unwrap();
    let pipeline = Pipeline::builder("frame")
        .source(TableSource::of_frame("prices", frame))
        .sink(SinkStep::new("out", out.clone()))
        .mode(Mode::Full)
        .build()
        .unwrap();
    for _ in 0..2 {
        assert_eq!(pipeline.run(RunOptions::default()).await.unwrap().epochs.len(), 1);
    }
    assert_eq!((seen(&out), out.commits()), (vec!["symbol=AAA close=1.5".to_owned()], 2));
}

#[tokio::test]
async fn a_relation_with_several_readers_is_computed_once() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    let calls = Arc::new(AtomicU32::new(0));
    let counted = {
        let calls = Arc::clone(&calls);
        transform_fn("counted", move |inputs: Relations, _| {
            let calls = Arc::clone(&calls);
            async move { Ok(Outputs::one(counting(inputs.input()?, calls)?)) }
        })
    };
    let sink = || MemorySink::new(WriteMode::Append);
    let pipeline = Pipeline::builder("readers")
        .source(world.source.clone())
        .step(Step::new("counted", counted))
        .step(Step::new("one", Same))
        .step(Step::new("two", Same).input("counted"))
        .sink(SinkStep::new("counted", sink()).relation("counted"))
        .sink(SinkStep::new("one", sink()).relation("one"))
        .sink(SinkStep::new("two", sink()).relation("two"))
        .build()
        .unwrap();
    let report = pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!(report.epochs[0].sinks.iter().map(|sink| sink.rows).collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(calls.load(Ordering::SeqCst), 2, "each row passed once");
}

/// Counts the rows that are really computed.
fn counting(
    input: &stockflow_core::relation::Relation,
    calls: Arc<AtomicU32>,
) -> stockflow_core::Result<stockflow_core::relation::Relation> {
    use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
    let count = create_udf(
        "counted",
        vec![arrow::datatypes::DataType::Float64],
        arrow::datatypes::DataType::Float64,
        Volatility::Immutable,
        Arc::new(move |arguments: &[ColumnarValue]| {
            if let ColumnarValue::Array(array) = &arguments[0] {
                calls.fetch_add(u32::try_from(array.len()).unwrap(), Ordering::SeqCst);
            }
            Ok(arguments[0].clone())
        }),
    );
    let frame = input.frame.clone().with_column("close", count.call(vec![datafusion::prelude::col("close")]))?;
    Ok(input.with_frame(frame))
}
