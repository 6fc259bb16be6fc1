//! Corporate actions beside the history: a new one brings its own symbol up to date, from its first bar on, and nobody else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, Date32Array, Float64Array, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use stockflow_core::Result;
use stockflow_core::memory::{MemorySink, MemorySource};
use stockflow_core::pipeline::{Pipeline, RunOptions, RunReport, SinkStep, Step};
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::{ACTION_KEY, Basis, action_schema};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{bars, bars_relation};
use stockflow_core::transform::{Adjust, Indicators};

use crate::support::{Same, Watched, seen, text};

/// A dividend, or a split if there is a ratio: symbol, day, dividend, ratio.
type Action = (&'static str, i32, Option<f64>, Option<f64>);

fn actions(rows: &[Action], as_of: i64) -> RecordBatch {
    let n = rows.len();
    let schema = action_schema();
    let kinds = rows.iter().map(|it| if it.3.is_some() { "split" } else { "dividend" });
    RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|it| it.0))),
            Arc::new(Date32Array::from_iter_values(rows.iter().map(|it| 19_723 + it.1))),
            Arc::new(StringArray::from_iter_values(kinds)),
            Arc::new(Float64Array::from_iter(rows.iter().map(|it| it.2))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|it| it.3))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|it| it.3.map(|_| 1.0)))),
            new_null_array(schema.field(6).data_type(), n),
            Arc::new(TimestampMicrosecondArray::from(vec![as_of; n]).with_timezone("UTC")),
        ],
    )
    .unwrap()
}

/// What one epoch brings.
#[derive(Default, Clone)]
struct Morning {
    bars: Vec<(&'static str, Vec<(i32, f64)>)>,
    actions: Vec<Action>,
}

struct World {
    source: MemorySource,
    lake: MemorySink,
    actions: MemorySink,
    adjusted: MemorySink,
    indicators: MemorySink,
    store: CheckpointStore,
    watched: Watched,
}

impl World {
    fn new() -> Self {
        let actions = RelationSchema::new("actions", action_schema()).with_key(ACTION_KEY).with_version("as_of");
        let merge = || MemorySink::new(WriteMode::Merge);
        let lake = merge();
        Self {
            source: MemorySource::new([bars_relation(), actions]),
            watched: Watched::new(&lake),
            lake,
            actions: merge(),
            adjusted: merge(),
            indicators: merge(),
            store: CheckpointStore::in_memory(),
        }
    }

    async fn run(&self, morning: &Morning, as_of: i64) -> RunReport {
        for (symbol, closes) in &morning.bars {
            self.source.push(symbol, "bars", bars(symbol, closes, as_of).unwrap());
        }
        if !morning.actions.is_empty() {
            self.source.push("actions", "actions", actions(&morning.actions, as_of));
        }
        self.watched.n_looks.store(0, Ordering::SeqCst);
        self.pipeline(true).unwrap().run(RunOptions::default()).await.unwrap()
    }

    fn pipeline(&self, remembers: bool) -> Result<Pipeline> {
        let builder = Pipeline::builder("mornings")
            .source(self.source.clone())
            .step(Step::new("clean", Same).input("bars"))
            .step(Step::new("adjusted", Adjust::by_actions(Basis::Total, "actions")))
            .step(Step::new("indicators", Indicators::parse(&["ema(3)", "sma(2)"]).unwrap()))
            .history("clean", Arc::new(self.watched.clone()))
            .sink(SinkStep::new("bars", self.lake.clone()).relation("clean"))
            .sink(SinkStep::new("actions", self.actions.clone()).relation("actions"))
            .sink(SinkStep::new("adjusted", self.adjusted.clone()).relation("adjusted"))
            .sink(SinkStep::new("indicators", self.indicators.clone()))
            .store(self.store.clone());
        let builder = if remembers { builder.companion("actions", Arc::new(self.actions.clone())) } else { builder };
        builder.build()
    }

    /// The newest revision of each symbol's first bar.
    fn revisions(&self) -> BTreeMap<String, i64> {
        let batch = self.indicators.read().unwrap().unwrap();
        let symbols = batch.column_by_name("symbol").unwrap().as_string::<i32>();
        let times = batch.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
        let revisions = batch.column_by_name("revision").unwrap().as_primitive::<TimestampMicrosecondType>();
        let first = times.iter().min().flatten();
        let rows = (0..batch.num_rows()).filter(|row| Some(times.value(*row)) == first);
        rows.map(|row| (symbols.value(row).to_owned(), revisions.value(row))).collect()
    }
}

fn closes(days: std::ops::Range<i32>, level: f64) -> Vec<(i32, f64)> {
    days.map(|day| (day, level + f64::from(day * day % 7))).collect()
}

/// The same in one epoch.
async fn at_once(mornings: &[Morning]) -> (Vec<String>, Vec<String>) {
    let world = World::new();
    let mut all = Morning::default();
    for morning in mornings {
        all.bars.extend(morning.bars.clone());
        // The later version of an action stands for the earlier one.
        all.actions.retain(|it| !morning.actions.iter().any(|new| (new.0, new.1) == (it.0, it.1)));
        all.actions.extend(morning.actions.clone());
    }
    world.run(&all, 1).await;
    (seen(&world.adjusted), seen(&world.indicators))
}

#[tokio::test]
async fn an_action_brings_its_own_symbol_up_to_date_and_nobody_else() {
    let mornings = [
        // The first load: a dividend within, and one of a day that is still to come.
        Morning {
            bars: vec![("AAA", closes(0..8, 100.0)), ("BBB", closes(0..8, 50.0)), ("CCC", closes(0..8, 20.0))],
            actions: vec![("AAA", 3, Some(2.0), None), ("CCC", 10, Some(1.0), None)],
        },
        Morning {
            bars: vec![("AAA", closes(8..9, 100.0)), ("BBB", closes(8..9, 50.0)), ("CCC", closes(8..9, 20.0))],
            actions: vec![],
        },
        // A split of A, and the old dividend is told once more.
        Morning {
            bars: vec![("AAA", closes(9..10, 50.0)), ("BBB", closes(9..10, 50.0))],
            actions: vec![("AAA", 9, None, Some(2.0)), ("AAA", 3, Some(2.0), None)],
        },
        Morning { bars: vec![("AAA", closes(10..11, 50.0)), ("BBB", closes(10..11, 50.0))], actions: vec![] },
        // A dividend that was told wrong, without any bar.
        Morning { bars: vec![], actions: vec![("AAA", 3, Some(3.0), None)] },
        Morning {
            bars: vec![("AAA", closes(11..13, 50.0)), ("BBB", closes(11..13, 50.0)), ("CCC", closes(9..12, 20.0))],
            actions: vec![("BBB", 12, Some(0.5), None)],
        },
        Morning {
            bars: vec![("AAA", closes(13..14, 50.0)), ("BBB", closes(13..14, 50.0)), ("CCC", closes(12..14, 20.0))],
            actions: vec![],
        },
    ];
    // Whose first bar is delivered again. C's dividend of day 10 lies after its new bars, so its earlier ones hang on their price.
    let again: [&[&str]; 7] = [&["AAA", "BBB", "CCC"], &["CCC"], &["AAA"], &[], &["AAA"], &["BBB", "CCC"], &[]];
    let world = World::new();
    let mut before = BTreeMap::new();
    for (idx, morning) in mornings.iter().enumerate() {
        world.run(morning, idx as i64 + 1).await;
        let now = world.revisions();
        let changed: Vec<&str> = now
            .iter()
            .filter(|(symbol, it)| before.get(*symbol) != Some(*it))
            .map(|(symbol, _)| symbol.as_str())
            .collect();
        assert_eq!(changed, again[idx], "morning {idx}");
        if again[idx].is_empty() {
            assert_eq!(world.watched.n_looks.load(Ordering::SeqCst), 0, "morning {idx} goes on from state");
        }
        let (adjusted, indicators) = at_once(&mornings[..=idx]).await;
        assert_eq!(seen(&world.adjusted), adjusted, "morning {idx}");
        assert_eq!(seen(&world.indicators), indicators, "morning {idx}");
        before = now;
    }
}

#[tokio::test]
async fn what_nobody_remembers_is_refused() {
    let reason = text(&World::new().pipeline(false).unwrap_err());
    assert!(reason.contains("of `actions` it would only see what is new"), "{reason}");
}

#[tokio::test]
async fn a_rebuild_gives_the_same() {
    let world = World::new();
    let split = Morning { bars: vec![("AAA", closes(5..8, 50.0))], actions: vec![("AAA", 5, None, Some(2.0))] };
    world.run(&Morning { bars: vec![("AAA", closes(0..5, 100.0))], actions: vec![] }, 1).await;
    world.run(&split, 2).await;
    let (adjusted, indicators) = (seen(&world.adjusted), seen(&world.indicators));
    let rebuild = RunOptions { rebuild: Some(Default::default()), ..RunOptions::default() };
    world.pipeline(true).unwrap().run(rebuild).await.unwrap();
    assert_eq!((seen(&world.adjusted), seen(&world.indicators)), (adjusted, indicators));
}
