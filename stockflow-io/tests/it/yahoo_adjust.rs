//! From our raw bars and actions come Yahoo's own `close` and `adjclose` again. Switched on by `STOCKFLOW_SHARED`.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type};
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{Mode, Pipeline, RunOptions, SinkStep, Step};
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::{ACTION_KEY, Basis, action_schema, bar_relation};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::transform::{Adjust, Interval};
use stockflow_io::yahoo::decode::{ChartRequest, chart, undo_splits, undo_splits_of_actions};

use crate::support::shared;
use crate::yahoo_decode::Recording;

/// The closes by date.
fn closes(bars: &RecordBatch, column: &str) -> BTreeMap<i32, f64> {
    let dates = bars.column_by_name("date").unwrap().as_primitive::<Date32Type>();
    let values = bars.column_by_name(column).unwrap().as_primitive::<Float64Type>();
    (0..bars.num_rows()).filter(|&row| values.is_valid(row)).map(|row| (dates.value(row), values.value(row))).collect()
}

async fn adjusted(bars: &RecordBatch, actions: &RecordBatch, target: Basis) -> RecordBatch {
    let actions_relation = RelationSchema::new("actions", action_schema()).with_key(ACTION_KEY).with_version("as_of");
    let source = MemorySource::new([bar_relation("bars"), actions_relation]);
    source.push("p", "bars", bars.clone());
    source.push("p", "actions", actions.clone());
    let sink = MemorySink::new(WriteMode::Overwrite);
    let pipeline = Pipeline::builder("adjusted")
        .source(source)
        .mode(Mode::Full)
        .step(Step::new("adjusted", Adjust::by_actions(target, "actions")).input("bars"))
        .sink(SinkStep::new("out", sink.clone()).relation("adjusted"))
        .store(CheckpointStore::in_memory())
        .build()
        .unwrap();
    pipeline.run(RunOptions::default()).await.unwrap();
    sink.read().unwrap().unwrap()
}

/// The greatest difference, relative, after the constant factor of the last bar is taken out.
fn worst(ours: &BTreeMap<i32, f64>, yahoo: &BTreeMap<i32, f64>) -> f64 {
    assert_eq!(ours.len(), yahoo.len());
    let (last, theirs) = yahoo.last_key_value().unwrap();
    let constant = theirs / ours[last];
    yahoo.iter().map(|(date, theirs)| (ours[date] * constant / theirs - 1.0).abs()).fold(0.0, f64::max)
}

#[tokio::test]
async fn raw_bars_and_actions_give_yahoos_closes_again() {
    let Some(folder) = shared("data/yahoo/chart") else { return };
    for (name, symbol, bars, actions) in [
        ("historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json", "MSFT", 252, 4),
        ("yafin-AAPL-1d-1y.body.json", "AAPL", 250, 4),
        ("chart-AAPL-2020-08-31-to-2020-11-07.json", "AAPL", 49, 2),
        ("pricehist-ibm-long-partial.body.json", "IBM", 10, 17),
    ] {
        let recording = Recording::read(&folder.join(name));
        let reply = chart(&recording.reply, &ChartRequest::new(symbol, Interval::DAY, recording.as_of)).unwrap();
        assert_eq!((reply.bars.num_rows(), reply.actions.num_rows()), (bars, actions), "{name}");
        let raw = undo_splits(&reply.bars, &reply.actions).unwrap();
        let paid = undo_splits_of_actions(&reply.actions, &reply.actions).unwrap();
        let split = adjusted(&raw, &paid, Basis::Split).await;
        let difference = worst(&closes(&split, "close"), &closes(&reply.bars, "close"));
        assert!(difference < 1e-12, "{name}: close differs by {difference}");
        if symbol == "IBM" {
            // Decades of bars are missing in it, and so the closes before most dividends.
            continue;
        }
        for bars in [&raw, &reply.bars] {
            let total = adjusted(bars, &paid, Basis::Total).await;
            let difference = worst(&closes(&total, "close"), &closes(&reply.bars, "adj_close"));
            assert!(difference < 1e-6, "{name}: adj_close differs by {difference}");
        }
    }
}
