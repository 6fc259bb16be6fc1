//! What is derived from history and epoch equals what one epoch gives, however far a change reaches.

use std::sync::Arc;

use arrow::array::{Date32Array, Float64Array, RecordBatch, StringArray};
use datafusion::datasource::MemTable;
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{NoteLevel, Pipeline, RunOptions, RunReport, SinkStep, Step};
use stockflow_core::sink::WriteMode;
use stockflow_core::transform::{Repair, Sql};

use crate::support::*;

const QUERIES: [(&str, &str); 4] = [
    ("ahead", "SELECT symbol, ts, lead(close) OVER (PARTITION BY symbol ORDER BY ts) AS next FROM clean"),
    ("share", "SELECT symbol, ts, close / max(close) OVER (PARTITION BY symbol) AS share FROM clean"),
    ("ranks", "SELECT symbol, ts, rank() OVER (PARTITION BY ts ORDER BY close, symbol) AS place FROM clean"),
    (
        "priced",
        "SELECT c.symbol, c.ts, c.close * f.factor AS priced FROM clean c JOIN factors f ON c.symbol = f.symbol",
    ),
];

/// A world with a sink for each query and a table of factors.
#[derive(Debug)]
struct Derived {
    world: World,
    sinks: Vec<MemorySink>,
}

impl Derived {
    fn new() -> Self {
        Self { world: World::new(), sinks: QUERIES.iter().map(|_| MemorySink::new(WriteMode::Merge)).collect() }
    }

    async fn run(&self, factor: f64) -> RunReport {
        let factors = RecordBatch::try_from_iter([
            ("symbol", Arc::new(StringArray::from(vec!["AAA", "BBB"])) as _),
            ("factor", Arc::new(Float64Array::from(vec![factor, 1.0])) as _),
            ("date", Arc::new(Date32Array::from(vec![0, 0])) as _),
        ])
        .unwrap();
        let factors = MemTable::try_new(factors.schema(), vec![vec![factors]]).unwrap();
        let mut builder = Pipeline::builder("derived")
            .source(self.world.source.clone())
            .step(Step::new("clean", Same))
            .table("factors", Arc::new(factors))
            .sink(SinkStep::new("bars", self.world.bars.clone()).relation("clean"))
            .history("clean", Arc::new(self.world.bars.clone()))
            .store(self.world.store.clone());
        for ((name, query), sink) in QUERIES.into_iter().zip(&self.sinks) {
            builder = builder
                .step(Step::new(name, Sql::new(query).unwrap().with_key(["symbol", "ts"])).input("clean"))
                .sink(SinkStep::new(name, sink.clone()).relation(name));
        }
        builder.build().unwrap().run(RunOptions::default()).await.unwrap()
    }

    fn seen(&self) -> Vec<Vec<String>> {
        let without_revision = |line: String| line.split(" revision=").next().unwrap_or_default().to_owned();
        self.sinks.iter().map(|sink| seen(sink).into_iter().map(without_revision).collect()).collect()
    }
}

#[tokio::test]
async fn a_change_reaches_earlier_rows_and_other_symbols() {
    let pushes: [(&str, &[(i32, f64)]); 5] = [
        ("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)]),
        ("BBB", &[(0, 1.5), (1, 1.5), (2, 5.0)]),
        ("AAA", &[(3, 9.0)]),
        ("AAA", &[(1, 1.0)]),
        ("BBB", &[(3, 4.0)]),
    ];
    let (one, many) = (Derived::new(), Derived::new());
    for (symbol, closes) in pushes {
        one.world.push(symbol, closes);
        many.world.push(symbol, closes);
        many.run(2.0).await;
    }
    one.run(2.0).await;
    for ((name, _), (many, one)) in QUERIES.iter().zip(many.seen().into_iter().zip(one.seen())) {
        assert_eq!(many, one, "{name}");
    }
}

#[tokio::test]
async fn rows_that_have_not_changed_are_not_written_again() {
    let derived = Derived::new();
    derived.world.push("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)]);
    derived.run(1.0).await;
    derived.world.push("AAA", &[(3, 2.5)]);
    let report = derived.run(1.0).await;
    let rows: Vec<(&str, u64)> = report.epochs[0]
        .sinks
        .iter()
        .map(|sink| (sink.sink.as_str(), sink.rows))
        .filter(|(sink, _)| *sink != "bars")
        .collect();
    assert_eq!(rows, [("ahead", 2), ("share", 1), ("ranks", 1), ("priced", 1)]);
}

#[tokio::test]
async fn a_changed_reference_table_computes_what_reads_it_again() {
    let derived = Derived::new();
    derived.world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    derived.world.push("BBB", &[(0, 4.0)]);
    derived.run(1.0).await;
    assert!(derived.run(1.0).await.up_to_date);
    // Without a new bar, and with one.
    let report = derived.run(10.0).await;
    assert_eq!(report.epochs.len(), 1);
    assert!(derived.seen()[3].iter().any(|line| line.contains("priced=20.0")), "{:?}", derived.seen()[3]);
    assert!(derived.run(10.0).await.up_to_date);
    derived.world.push("AAA", &[(2, 3.0)]);
    derived.run(100.0).await;
    let expected = Derived::new();
    expected.world.push("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)]);
    expected.world.push("BBB", &[(0, 4.0)]);
    expected.run(100.0).await;
    assert_eq!(derived.seen(), expected.seen());
}

#[tokio::test]
async fn a_row_that_does_not_belong_any_more_is_told() {
    let world = World::new();
    let high = MemorySink::new(WriteMode::Merge);
    let run = async || {
        let query = Sql::new("SELECT symbol, ts, close FROM clean WHERE close > 5 ORDER BY ts").unwrap();
        let builder = Pipeline::builder("derived").source(world.source.clone()).step(Step::new("clean", Same));
        let builder = builder
            .step(Step::new("high", query.with_key(["symbol", "ts"])))
            .sink(SinkStep::new("bars", world.bars.clone()).relation("clean"))
            .sink(SinkStep::new("high", high.clone()));
        let builder = builder.history("clean", Arc::new(world.bars.clone())).store(world.store.clone());
        builder.build().unwrap().run(RunOptions::default()).await.unwrap()
    };
    world.push("AAA", &[(0, 9.0), (1, 8.0)]);
    run().await;
    world.push("AAA", &[(0, 1.0)]);
    let report = run().await;
    let told: Vec<_> = report.epochs[0].notes.iter().filter(|note| note.kind == "gone").collect();
    assert_eq!(told.len(), 1, "{:?}", report.epochs[0].notes);
    assert_eq!((told[0].rows, told[0].level), (1, NoteLevel::Warning));
}

#[tokio::test]
async fn repairs_and_their_record_are_the_same_in_one_epoch_and_in_many() {
    let run = async |world: &World, repaired: &MemorySink, repairs: &MemorySink| {
        let builder = Pipeline::builder("repaired").source(world.source.clone()).step(Step::new("clean", Same));
        let builder = builder
            .step(Step::new("repaired", Repair::new()))
            .sink(SinkStep::new("bars", world.bars.clone()).relation("clean"))
            .sink(SinkStep::new("repaired", repaired.clone()).relation("repaired"))
            .sink(SinkStep::new("repairs", repairs.clone()).relation("repaired.repairs"));
        let builder = builder.history("clean", Arc::new(world.bars.clone())).store(world.store.clone());
        builder.build().unwrap().run(RunOptions::default()).await.unwrap()
    };
    // Days 5 and 14 of one symbol are in another unit.
    let closes = |days: std::ops::Range<i32>, is_bad: bool| {
        let unit = |day: i32| if is_bad && [5, 14].contains(&day) { 0.01 } else { 1.0 };
        days.map(|day| (day, (50.0 + f64::from(day % 3)) * unit(day))).collect::<Vec<_>>()
    };
    let pushes = [
        ("AAA", closes(0..10, true)),
        ("BBB", closes(0..10, false)),
        ("AAA", closes(10..20, true)),
        ("BBB", closes(10..20, false)),
    ];
    let sinks = || (MemorySink::new(WriteMode::Merge), MemorySink::new(WriteMode::Merge));
    let ((one, many), (one_sinks, many_sinks)) = ((World::new(), World::new()), (sinks(), sinks()));
    for (symbol, closes) in &pushes {
        one.push(symbol, closes);
        many.push(symbol, closes);
        run(&many, &many_sinks.0, &many_sinks.1).await;
    }
    run(&one, &one_sinks.0, &one_sinks.1).await;
    // What was learned later is another time, and no other row.
    let without_times = |sink: &MemorySink| -> Vec<String> {
        let is_time = |word: &&str| !word.starts_with("revision=") && !word.starts_with("as_of=");
        seen(sink).iter().map(|line| line.split(' ').filter(is_time).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(without_times(&many_sinks.0), without_times(&one_sinks.0));
    assert_eq!(without_times(&many_sinks.1), without_times(&one_sinks.1));
    let repairs = without_times(&one_sinks.1);
    assert!(repairs.len() >= 8 && repairs.iter().all(|it| it.contains("symbol=AAA")), "{repairs:?}");
    assert!(!seen(&one_sinks.0).iter().any(|it| it.contains("close=0.5")));
}
