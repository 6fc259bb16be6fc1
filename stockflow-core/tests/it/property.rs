//! Any split into epochs, with restarts, an interruption, corrections and late bars among them, gives what one epoch gives:
//! over the whole catalogue of indicators, over the transforms that look at other rows, and over queries that look ahead.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stockflow_core::indicator::sample::sample_select_flat;
use stockflow_core::indicator::{IndicatorCall, IndicatorSpec, catalogue};
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{KillPoint, Pipeline, Probe, RunOptions, SinkStep, Step};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{KillOnce, bars, bars_relation};
use stockflow_core::transform::{
    Action, Adjust, Aggregate, Clean, Indicators, Interval, Period, Quality, Repair, Resample, Rule, Sql,
};

/// Long enough for the longest lookback of the catalogue (101 rows).
const N_DAYS: i32 = 120;
const SYMBOLS: [&str; 2] = ["AAA", "BBB"];

/// How far two values may be apart, relative and absolute.
const TOLERANCE: f64 = 1e-9;

/// The relations after the history relation, each with a sink of its own.
const RELATIONS: [&str; 12] = [
    "catalogue",
    "stateful",
    "carried",
    "chained",
    "adjusted",
    "indicators",
    "weeks",
    "months",
    "quality",
    "repaired",
    "ahead",
    "ranks",
];

/// What outlives a process: every epoch is run by a new pipeline over it.
struct World {
    source: MemorySource,
    bars: MemorySink,
    sinks: Vec<MemorySink>,
    store: CheckpointStore,
}

/// A query whose rows carry the bar's key.
fn query(text: &str) -> Sql {
    Sql::new(text).unwrap().with_key(["symbol", "interval", "ts"]).with_version("revision")
}

/// Every function that goes on from a state, over the usual columns of a bar.
fn stateful() -> Indicators {
    let calls = catalogue().iter().filter_map(|definition| IndicatorCall::new(definition, &[]).ok());
    let specs = calls.filter(IndicatorCall::goes_piece_by_piece).filter_map(|call| IndicatorSpec::new(call).ok());
    let specs: Vec<IndicatorSpec> = specs.collect();
    assert!(specs.len() > 180, "{} functions keep a state", specs.len());
    Indicators::new(specs).unwrap()
}

impl World {
    fn new() -> Self {
        Self {
            source: MemorySource::new([bars_relation()]),
            bars: MemorySink::new(WriteMode::Merge),
            sinks: RELATIONS.map(|_| MemorySink::new(WriteMode::Merge)).to_vec(),
            store: CheckpointStore::in_memory(),
        }
    }

    fn pipeline(&self) -> Pipeline {
        let catalogue = sample_select_flat(
            &["symbol", "\"interval\"", "ts"],
            "input",
            "PARTITION BY symbol, \"interval\" ORDER BY ts",
        );
        let list = ["sma(5)", "macd", "rsi(14)", "atr(14)", "obv", "bbands(20)"];
        // Two that look ahead or across: what they say of old rows changes when new ones come.
        let ahead = "SELECT symbol, \"interval\", ts, lead(close) OVER w AS next, close / max(close) OVER (PARTITION BY symbol) AS share FROM input WINDOW w AS (PARTITION BY symbol ORDER BY ts)";
        let ranks =
            "SELECT symbol, \"interval\", ts, rank() OVER (PARTITION BY date ORDER BY close) AS place FROM input";
        // A query that goes on from state, and one over its rows.
        let carried = "SELECT symbol, \"interval\", ts, date, volume, close / avg(close) OVER (PARTITION BY symbol ORDER BY ts ROWS 4 PRECEDING) AS share, lag(close, 2) OVER w AS before, rsi(close, 5) OVER w AS rsi, count(*) OVER (PARTITION BY symbol, date ORDER BY ts ROWS UNBOUNDED PRECEDING) AS n FROM input WHERE volume IS NOT NULL WINDOW w AS (PARTITION BY symbol ORDER BY ts)";
        let chained = "SELECT symbol, \"interval\", ts, n, volume * 2 AS twice, ema(share, 3) OVER w AS smooth FROM input WINDOW w AS (PARTITION BY symbol, \"interval\" ORDER BY ts)";
        // A price that is missing is no reason to lose the bar here: indicators must get past it.
        let clean = Clean::default().with_rule(Rule::Missing, Action::Off);
        let mut builder = Pipeline::builder("property")
            .source(self.source.clone())
            .step(Step::new("clean", clean))
            .step(Step::new("catalogue", query(&catalogue)))
            .step(Step::new("stateful", stateful()).input("clean"))
            .step(Step::new("carried", query(carried)).input("clean"))
            .step(Step::new("chained", query(chained)))
            .step(Step::new("adjusted", Adjust::by_ratio()).input("clean"))
            .step(Step::new("indicators", Indicators::parse(&list).unwrap()))
            .step(Step::new("weeks", Resample::to(Interval::WEEK)).input("clean"))
            .step(Step::new("months", Aggregate::new(Period::Month)).input("clean"))
            .step(Step::new("quality", Quality::new()).input("clean"))
            // Finds the closes that are missing beside an adjusted one.
            .step(Step::new("repaired", Repair::new()).input("clean"))
            .step(Step::new("ahead", query(ahead)).input("clean"))
            .step(Step::new("ranks", query(ranks)).input("clean"))
            .history("clean", Arc::new(self.bars.clone()))
            .sink(SinkStep::new("bars", self.bars.clone()).relation("clean"))
            .store(self.store.clone());
        for (name, sink) in RELATIONS.iter().zip(&self.sinks) {
            builder = builder.sink(SinkStep::new(*name, sink.clone()).relation(*name));
        }
        builder.build().unwrap()
    }

    async fn run(&self) {
        self.pipeline().run(RunOptions::default()).await.unwrap();
    }

    /// Runs into a kill point and dies there.
    async fn die(&self, point: KillPoint) {
        let probe = Arc::new(KillOnce::new(point.clone()));
        let options = RunOptions { probe: Some(Arc::clone(&probe) as Arc<dyn Probe>), ..RunOptions::default() };
        let killed = self.pipeline().run(options).await;
        assert!(killed.is_err() && probe.has_struck(), "the kill did not strike: {point}");
    }

    fn read(&self) -> Vec<RecordBatch> {
        self.sinks.iter().map(|sink| sink.read().unwrap().unwrap()).collect()
    }
}

/// A bar without its names.
#[derive(Debug, Clone, Copy)]
struct Bar {
    day: i32,
    open: f64,
    high: f64,
    low: f64,
    close: Option<f64>,
    volume: Option<f64>,
    adj_close: f64,
}

impl Bar {
    /// The same bar, learned wrong.
    fn wrong(self) -> Self {
        Self {
            open: self.open * 1.25,
            high: self.high * 1.25,
            low: self.low * 1.25,
            close: self.close.map(|it| it * 1.25),
            volume: self.volume.map(|it| it + 1.0),
            ..self
        }
    }
}

/// Numbers in 0..1, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that happens so often.
    fn happens(&mut self, share: f64) -> bool {
        self.next() < share
    }

    /// A step up or down.
    fn step(&mut self, size: f64) -> f64 {
        (self.next() - 0.5) * 2.0 * size
    }
}

/// A random walk with what makes candles differ: trends, gaps, dojis, long and short shadows, bodies that engulf the one
/// before, and now and then a missing close or volume.
fn walk(symbol: usize, seed: u64) -> Vec<Bar> {
    let mut noise = Noise(seed ^ (symbol as u64 + 1) << 32);
    let (mut before, mut trend) = (50.0 + 10.0 * symbol as f64, 0.0);
    let mut bars = Vec::new();
    for day in 0..N_DAYS {
        if noise.happens(0.1) {
            trend = noise.step(0.02);
        }
        let gap = if noise.happens(0.2) { noise.step(0.04) } else { noise.step(0.003) };
        let open = before * (1.0 + gap);
        let body = if noise.happens(0.15) { 0.0 } else { trend + noise.step(if day % 7 < 3 { 0.005 } else { 0.04 }) };
        let close = open * (1.0 + body);
        let mut shadow = || if noise.happens(0.3) { 0.0 } else { noise.next() * noise.next() * 0.05 };
        let (high, low) = (open.max(close) * (1.0 + shadow()), open.min(close) * (1.0 - shadow()));
        let volume = 1000.0 + (noise.next() * 5000.0).floor() * if gap.abs() > 0.01 { 3.0 } else { 1.0 };
        // Dividends before the first and the second third.
        let ratio = [0.97, 0.99, 1.0][(day * 3 / N_DAYS) as usize];
        bars.push(Bar {
            day,
            open,
            high,
            low,
            close: (!noise.happens(0.02)).then_some(close),
            volume: (!noise.happens(0.03)).then_some(volume),
            adj_close: close * ratio,
        });
        before = close;
    }
    bars
}

/// The bars of one symbol as a batch.
fn batch(symbol: &str, list: &[Bar], as_of: i64) -> RecordBatch {
    let closes: Vec<(i32, f64)> = list.iter().map(|it| (it.day, 1.0)).collect();
    let plain = bars(symbol, &closes, as_of).unwrap();
    let column =
        |value: fn(&Bar) -> Option<f64>| Arc::new(list.iter().map(value).collect::<Float64Array>()) as ArrayRef;
    let own = [
        ("open", column(|it| Some(it.open))),
        ("high", column(|it| Some(it.high))),
        ("low", column(|it| Some(it.low))),
        ("close", column(|it| it.close)),
        ("volume", column(|it| it.volume)),
        ("adj_close", column(|it| Some(it.adj_close))),
    ];
    let mut columns = plain.columns().to_vec();
    for (name, values) in own {
        columns[plain.schema().index_of(name).unwrap()] = values;
    }
    RecordBatch::try_new(plain.schema(), columns).unwrap()
}

/// In which epoch a bar comes, whether a wrong one came before, and where a run dies.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    /// Ends of the epochs, in days.
    cuts: Vec<i32>,
    /// Bars that come one epoch late.
    late: Vec<(usize, i32)>,
    /// Bars that come wrong and are corrected in the next epoch.
    corrected: Vec<(usize, i32)>,
    /// An epoch that dies at this point, and is finished by the next run.
    killed: Option<(usize, KillPoint)>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let bar = || (0..SYMBOLS.len(), 0..N_DAYS);
    let cuts = prop::collection::btree_set(1..N_DAYS, 2..=4).prop_map(|cuts| cuts.into_iter().collect::<Vec<_>>());
    let points = vec![
        KillPoint::AfterIntent,
        KillPoint::AfterApply,
        KillPoint::AfterStage("catalogue".into()),
        KillPoint::AfterState,
        KillPoint::AfterCommit("bars".into()),
        KillPoint::AfterCommit("ahead".into()),
        KillPoint::AfterStoreCommit,
    ];
    let killed = prop::option::of((0_usize..3, prop::sample::select(points)));
    let some = || prop::collection::vec(bar(), 1..3);
    (any::<u64>(), cuts, some(), some(), killed).prop_map(|(seed, cuts, late, corrected, killed)| Plan {
        seed,
        cuts,
        late,
        corrected,
        killed,
    })
}

/// What one epoch brings for each of [`SYMBOLS`].
type Brought = [Vec<Bar>; SYMBOLS.len()];

/// Epoch by epoch; the last one brings what is still missing.
fn epochs_of(plan: &Plan) -> Vec<Brought> {
    let mut epochs = vec![Brought::default(); plan.cuts.len() + 2];
    for (symbol, bar) in
        (0..SYMBOLS.len()).flat_map(|symbol| walk(symbol, plan.seed).into_iter().map(move |bar| (symbol, bar)))
    {
        let regular = plan.cuts.iter().filter(|cut| **cut <= bar.day).count();
        if plan.corrected.contains(&(symbol, bar.day)) {
            epochs[regular][symbol].push(bar.wrong());
            epochs[regular + 1][symbol].push(bar);
        } else {
            let epoch = regular + usize::from(plan.late.contains(&(symbol, bar.day)));
            epochs[epoch][symbol].push(bar);
        }
    }
    epochs
}

async fn split(plan: &Plan) -> Vec<RecordBatch> {
    let world = World::new();
    for (epoch, brought) in epochs_of(plan).into_iter().enumerate() {
        let has_rows = brought.iter().any(|list| !list.is_empty());
        for (symbol, list) in SYMBOLS.into_iter().zip(brought).filter(|(_, list)| !list.is_empty()) {
            world.source.push(symbol, "bars", batch(symbol, &list, epoch as i64 + 1));
        }
        if let Some((_, point)) = plan.killed.as_ref().filter(|(at, _)| *at == epoch && has_rows) {
            world.die(point.clone()).await;
        }
        world.run().await;
    }
    world.read()
}

async fn whole(plan: &Plan) -> Vec<RecordBatch> {
    let world = World::new();
    for (idx, symbol) in SYMBOLS.iter().enumerate() {
        world.source.push(symbol, "bars", batch(symbol, &walk(idx, plan.seed), 1));
    }
    world.run().await;
    world.read()
}

/// The first difference between the relations of two worlds.
fn differences(a: &[RecordBatch], b: &[RecordBatch]) -> Option<String> {
    let found = RELATIONS.iter().zip(a.iter().zip(b)).find_map(|(name, (a, b))| Some((name, difference(a, b)?)));
    found.map(|(name, difference)| format!("`{name}`: {difference}"))
}

/// The columns that say the same in every row, or nothing.
fn constant_columns(batch: &RecordBatch) -> Vec<String> {
    let is_constant = |column: &ArrayRef| {
        let values: BTreeSet<String> = (0..column.len())
            .filter(|row| column.is_valid(*row))
            .map(|row| arrow::util::display::array_value_to_string(column, row).unwrap())
            .collect();
        values.len() < 2
    };
    let schema = batch.schema();
    let named = schema.fields().iter().zip(batch.columns());
    named.filter(|(_, column)| is_constant(column)).map(|(field, _)| field.name().clone()).collect()
}

/// Whether a column tells when something was learned, not what.
fn learned(column: &str) -> bool {
    ["revision", "as_of"].contains(&column)
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
    for (idx, field) in a.schema().fields().iter().enumerate().filter(|(_, field)| !learned(field.name())) {
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
            split[0].num_columns() > 237,
            "the whole catalogue is in one pipeline: {} columns",
            split[0].num_columns()
        );
        prop_assert_eq!(split[0].num_rows(), SYMBOLS.len() * N_DAYS as usize);
        prop_assert_eq!(differences(&split, &whole), None);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[tokio::test]
async fn the_bars_make_the_catalogue_speak_and_a_planted_difference_is_found() {
    let plan = Plan { seed: 1, cuts: vec![100], late: vec![], corrected: vec![], killed: None };
    let (one, other) = (whole(&plan).await, whole(&Plan { seed: 2, ..plan }).await);
    let silent = constant_columns(&one[0]);
    // Some candlesticks are rarer than once in 240 bars; `interval` and `revision` are always the same.
    assert!(silent.len() <= 32, "{} of {} columns say nothing: {silent:?}", silent.len(), one[0].num_columns());
    for (idx, name) in RELATIONS.iter().enumerate().filter(|(_, name)| **name != "ranks") {
        assert!(difference(&one[idx], &other[idx]).is_some(), "{name}");
    }
    assert_eq!(differences(&one, &one), None);
}
