//! Any split into epochs, with restarts, corrections and late bars among them, gives what one epoch gives: over the whole
//! catalogue of indicators.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stockflow_core::indicator::sample::sample_select_flat;
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{Pipeline, RunOptions, SinkStep, Step};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{bars, bars_relation};
use stockflow_core::transform::{Clean, Sql};

/// Long enough for the longest lookback of the catalogue (101 rows).
const N_DAYS: i32 = 120;
const SYMBOLS: [&str; 2] = ["AAA", "BBB"];

/// How far two values may be apart, relative and absolute.
const TOLERANCE: f64 = 1e-9;

/// What outlives a process: every epoch is run by a new pipeline over it.
struct World {
    source: MemorySource,
    bars: MemorySink,
    indicators: MemorySink,
    store: CheckpointStore,
}

impl World {
    fn new() -> Self {
        Self {
            source: MemorySource::new([bars_relation()]),
            bars: MemorySink::new(WriteMode::Merge),
            indicators: MemorySink::new(WriteMode::Merge),
            store: CheckpointStore::in_memory(),
        }
    }

    async fn run(&self) {
        let query = sample_select_flat(
            &["symbol", "\"interval\"", "ts"],
            "input",
            "PARTITION BY symbol, \"interval\" ORDER BY ts",
        );
        let catalogue = Sql::new(query).unwrap().with_key(["symbol", "interval", "ts"]).with_version("revision");
        let pipeline = Pipeline::builder("property")
            .source(self.source.clone())
            .step(Step::new("clean", Clean::default()))
            .step(Step::new("catalogue", catalogue))
            .history("clean", Arc::new(self.bars.clone()))
            .sink(SinkStep::new("bars", self.bars.clone()).relation("clean"))
            .sink(SinkStep::new("catalogue", self.indicators.clone()))
            .store(self.store.clone())
            .build()
            .unwrap();
        pipeline.run(RunOptions::default()).await.unwrap();
    }
}

/// A close for each day of a symbol: a wave with noise from the seed, never flat.
fn close(symbol: usize, day: i32, seed: u64) -> f64 {
    let mut noise = seed ^ (symbol as u64) << 32 ^ (day as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    noise ^= noise >> 29;
    noise = noise.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    noise ^= noise >> 32;
    50.0 + 10.0 * symbol as f64 + 5.0 * (f64::from(day) / 9.0).sin() + (noise % 1000) as f64 / 250.0
}

/// In which epoch a bar comes, and whether a wrong one came before.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    /// Ends of the epochs, in days.
    cuts: Vec<i32>,
    /// Bars that come one epoch late.
    late: Vec<(usize, i32)>,
    /// Bars that come wrong and are corrected in the next epoch.
    corrected: Vec<(usize, i32)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let bar = || (0..SYMBOLS.len(), 0..N_DAYS);
    let cuts = prop::collection::btree_set(1..N_DAYS, 1..3).prop_map(|cuts| cuts.into_iter().collect::<Vec<_>>());
    (any::<u64>(), cuts, prop::collection::vec(bar(), 0..3), prop::collection::vec(bar(), 0..3))
        .prop_map(|(seed, cuts, late, corrected)| Plan { seed, cuts, late, corrected })
}

/// What one epoch brings: for each of [`SYMBOLS`] days and closes.
type Closes = [Vec<(i32, f64)>; SYMBOLS.len()];

/// Epoch by epoch; the last one brings what is still missing.
fn epochs_of(plan: &Plan) -> Vec<Closes> {
    let mut epochs = vec![Closes::default(); plan.cuts.len() + 2];
    for (symbol, day) in (0..SYMBOLS.len()).flat_map(|symbol| (0..N_DAYS).map(move |day| (symbol, day))) {
        let regular = plan.cuts.iter().filter(|cut| **cut <= day).count();
        let right = close(symbol, day, plan.seed);
        if plan.corrected.contains(&(symbol, day)) {
            epochs[regular][symbol].push((day, right * 1.25));
            epochs[regular + 1][symbol].push((day, right));
        } else {
            let epoch = regular + usize::from(plan.late.contains(&(symbol, day)));
            epochs[epoch][symbol].push((day, right));
        }
    }
    epochs
}

async fn split(plan: &Plan) -> RecordBatch {
    let world = World::new();
    for (epoch, closes) in epochs_of(plan).into_iter().enumerate() {
        for (symbol, closes) in SYMBOLS.into_iter().zip(closes).filter(|(_, closes)| !closes.is_empty()) {
            world.source.push(symbol, "bars", bars(symbol, &closes, epoch as i64 + 1).unwrap());
        }
        world.run().await;
    }
    world.indicators.read().unwrap().unwrap()
}

async fn whole(plan: &Plan) -> RecordBatch {
    let world = World::new();
    for (idx, symbol) in SYMBOLS.iter().enumerate() {
        let closes: Vec<(i32, f64)> = (0..N_DAYS).map(|day| (day, close(idx, day, plan.seed))).collect();
        world.source.push(symbol, "bars", bars(symbol, &closes, 1).unwrap());
    }
    world.run().await;
    world.indicators.read().unwrap().unwrap()
}

/// The first difference, with its column and row; `None` if there is none.
fn difference(a: &RecordBatch, b: &RecordBatch) -> Option<String> {
    if a.num_rows() != b.num_rows() || a.num_columns() != b.num_columns() {
        return Some(format!(
            "{} rows x {} columns against {} x {}",
            a.num_rows(),
            a.num_columns(),
            b.num_rows(),
            b.num_columns()
        ));
    }
    for (idx, field) in a.schema().fields().iter().enumerate().filter(|(_, field)| field.name() != "revision") {
        let (left, right) = (a.column(idx), b.column(idx));
        for row in 0..a.num_rows() {
            let same = left.is_null(row) == right.is_null(row)
                && (left.is_null(row)
                    || match field.data_type() {
                        DataType::Float64 => {
                            let (x, y) = (
                                left.as_primitive::<Float64Type>().value(row),
                                right.as_primitive::<Float64Type>().value(row),
                            );
                            (x - y).abs() <= TOLERANCE * x.abs().max(y.abs()).max(1.0)
                        }
                        DataType::Int32 => {
                            left.as_primitive::<Int32Type>().value(row) == right.as_primitive::<Int32Type>().value(row)
                        }
                        _ => left.slice(row, 1).to_data() == right.slice(row, 1).to_data(),
                    });
            if !same {
                return Some(format!(
                    "`{}` of row {row}: {:?} against {:?}",
                    field.name(),
                    left.slice(row, 1),
                    right.slice(row, 1)
                ));
            }
        }
    }
    None
}

#[test]
fn any_split_into_epochs_is_one_epoch() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&plans(), |plan| {
        let (split, whole) = runtime.block_on(async { (split(&plan).await, whole(&plan).await) });
        prop_assert!(
            split.num_columns() > 237,
            "the whole catalogue is in one pipeline: {} columns",
            split.num_columns()
        );
        prop_assert_eq!(split.num_rows(), SYMBOLS.len() * N_DAYS as usize);
        prop_assert_eq!(difference(&split, &whole), None);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[tokio::test]
async fn a_planted_difference_is_found() {
    let plan = Plan { seed: 1, cuts: vec![100], late: vec![], corrected: vec![] };
    let (one, other) = (whole(&plan).await, whole(&Plan { seed: 2, ..plan }).await);
    assert!(difference(&one, &other).is_some());
    assert_eq!(difference(&one, &one), None);
}
