//! Dead letters: kept, read newest first, replayed from the border that refused them, removed.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use datafusion::logical_expr::{col, lit};
use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use stockflow_core::memory::{MemorySink, MemorySource, RefuseIn};
use stockflow_core::pipeline::{
    Builder, KillPoint, LatePolicy, Mode, Pipeline, Rebuild, ReplayLetters, RunOptions, RunReport, SinkStep, Step,
};
use stockflow_core::relation::{RelationSchema, Relations};
use stockflow_core::sink::{Idempotence, WriteMode};
use stockflow_core::store::{CheckpointStore, LetterFilter, RefusedBy, StoredLetter};
use stockflow_core::testing::{KillOnce, bars};
use stockflow_core::transform::{Interval, Normalize, Outputs, Scope, Transform, reject_frame};
use stockflow_core::{Error, Result};

use crate::support::*;

/// Refuses bars that close above its limit.
#[derive(Debug)]
struct Below(f64);

#[async_trait::async_trait]
impl Transform for Below {
    async fn apply(&self, inputs: &Relations, epoch: &stockflow_core::context::EpochContext) -> Result<Outputs> {
        let input = inputs.input()?;
        let rows = epoch.share(input.frame.clone()).await?;
        let high = rows.clone().filter(col("close").gt(lit(self.0)))?;
        let mut outputs = Outputs::one(input.with_frame(rows.filter(col("close").lt_eq(lit(self.0)))?));
        let position = datafusion::functions::string::expr_fn::concat_ws(
            lit("|"),
            vec![col("symbol"), datafusion::logical_expr::cast(col("ts"), arrow::datatypes::DataType::Utf8)],
        );
        outputs.rejects.push(reject_frame(high, "bars", position, col("symbol"), lit("too high"))?);
        Ok(outputs)
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn definition(&self) -> serde_json::Value {
        serde_json::json!({"type": "below", "limit": self.0})
    }
}

/// bars -> `clean` (history; refuses closes above 50) -> `means`; a sink `copy` refuses the symbol CCC.
#[derive(Debug, Clone)]
struct Place {
    world: World,
    copy: MemorySink,
    limit: f64,
    late: LatePolicy,
}

impl Place {
    fn new() -> Self {
        let copy = MemorySink::new(WriteMode::Append).refusing(RefuseIn::Stage, "symbol", "CCC");
        Self { world: World::new(), copy, limit: 50.0, late: LatePolicy::Recompute }
    }

    fn builder(&self) -> Builder {
        Pipeline::builder("test")
            .source(self.world.source.clone())
            .step(Step::new("clean", Below(self.limit)))
            .step(Step::new("means", Mean3))
            .sink(SinkStep::new("bars", self.world.bars.clone()).relation("clean"))
            .sink(SinkStep::new("copy", self.copy.clone()).relation("clean"))
            .sink(SinkStep::new("means", self.world.means.clone()))
            .dead_letters(self.world.letters.clone())
            .history("clean", Arc::new(self.world.bars.clone()))
            .late(self.late)
            .store(self.world.store.clone())
    }

    async fn run(&self, options: RunOptions) -> Result<RunReport> {
        self.builder().build()?.run(options).await
    }

    async fn open(&self) -> Vec<StoredLetter> {
        letters(&self.world.store, &LetterFilter::default()).await
    }

    /// A first epoch in which each border refuses something.
    async fn with_letters() -> Self {
        let place = Self::new();
        let world = &place.world;
        world.push("AAA", &[(0, 1.0), (1, 99.0), (2, 3.0)]);
        world.push("CCC", &[(0, 7.0)]);
        world.source.push_undecodable("BBB", "x", "no JSON");
        let report = place.run(RunOptions::default()).await.unwrap();
        assert_eq!(report.dead_letters(), 3);
        place
    }

    /// Everything that refused something takes it now.
    fn mend(&mut self) {
        self.limit = 100.0;
        self.copy.mend();
        self.world.source.mend("x", "bars", bars("BBB", &[(0, 5.0), (1, 6.0)], 1).unwrap());
    }

    fn seen(&self) -> [Vec<String>; 3] {
        [self.world.bars_seen(), seen(&self.copy), self.world.means_seen()]
    }

    /// What is there if nothing is refused.
    fn whole() -> [Vec<String>; 3] {
        let means = means_of(&[
            ("AAA", &[(0, 1.0), (1, 99.0), (2, 3.0)]),
            ("BBB", &[(0, 5.0), (1, 6.0)]),
            ("CCC", &[(0, 7.0)]),
        ]);
        let all =
            [("AAA", [(0, 1.0), (1, 99.0), (2, 3.0)].as_slice()), ("BBB", &[(0, 5.0), (1, 6.0)]), ("CCC", &[(0, 7.0)])];
        let batches: Vec<RecordBatch> = all.iter().map(|(symbol, closes)| bars(symbol, closes, 1).unwrap()).collect();
        let bars = stockflow_core::testing::table_of(&batches).unwrap();
        [bars.clone(), bars, means]
    }
}

async fn letters(store: &CheckpointStore, filter: &LetterFilter) -> Vec<StoredLetter> {
    let (mut found, mut reader) = (Vec::new(), store.letters().await.unwrap());
    while let Some(letter) = reader.next().await.unwrap() {
        if filter.matches(&letter) {
            found.push(letter);
        }
    }
    found
}

fn all() -> LetterFilter {
    LetterFilter { replayed: true, ..LetterFilter::default() }
}

fn replay(mended: bool) -> RunOptions {
    RunOptions { letters: Some(ReplayLetters { mended, ..ReplayLetters::default() }), ..RunOptions::default() }
}

fn kinds(report: &RunReport) -> Vec<(u64, &str)> {
    report.epochs.iter().map(|epoch| (epoch.epoch, epoch.kind.as_str())).collect()
}

#[tokio::test]
async fn letters_of_each_border_go_on_from_there_once() {
    let mut place = Place::with_letters().await;
    let by: Vec<_> = place.open().await.iter().map(|letter| letter.refused_by.unwrap()).collect();
    assert_eq!(by, [RefusedBy::Step, RefusedBy::Sink, RefusedBy::Source]);
    let before = place.builder().build().unwrap().checkpoint().await.unwrap();
    place.mend();
    let report = place.run(replay(true)).await.unwrap();
    assert_eq!((kinds(&report), report.replayed(), report.refused_again()), (vec![(2, "replay")], 3, 0));
    assert_eq!(place.seen(), Place::whole());
    assert_eq!(place.builder().build().unwrap().checkpoint().await.unwrap(), before, "nothing new was read");
    assert!(place.open().await.is_empty());
    let closed = letters(&place.world.store, &all()).await;
    assert!(closed.len() == 3 && closed.iter().all(|letter| letter.replayed == Some(2) && letter.epoch == 1));
    // Once more changes nothing, and the next run goes on with the mended definition.
    let report = place.run(replay(true)).await.unwrap();
    assert!(report.epochs.is_empty());
    assert!(place.run(RunOptions::default()).await.unwrap().up_to_date);
    assert_eq!(place.seen(), Place::whole());
    let left: Vec<_> = place.world.store.object_store().list(Some(&place.world.store.path("replays"))).collect().await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn what_is_refused_again_stays_as_it_is() {
    let place = Place::with_letters().await;
    let (open, seen, told) = (place.open().await, place.seen(), place.world.letters.n_rows());
    for _ in 0..2 {
        let report = place.run(replay(false)).await.unwrap();
        assert_eq!((report.replayed(), report.refused_again(), report.dead_letters()), (0, 3, 0));
    }
    assert_eq!((place.open().await, place.seen(), place.world.letters.n_rows()), (open, seen, told));
}

#[tokio::test]
async fn a_letter_that_comes_further_is_closed_and_its_row_a_new_letter() {
    let place = Place::with_letters().await;
    place.world.source.mend("x", "bars", bars("BBB", &[(0, 77.0)], 1).unwrap());
    let report = place.run(replay(false)).await.unwrap();
    assert_eq!((report.replayed(), report.refused_again(), report.dead_letters()), (1, 2, 1));
    let open: Vec<_> = place.open().await.iter().map(|it| (it.epoch, it.letter.position.clone())).collect();
    assert_eq!(open.iter().filter(|(epoch, _)| *epoch == 2).count(), 1, "{open:?}");
    assert!(open[0].1.starts_with("BBB|2024-01-01"), "{open:?}");
}

#[tokio::test]
async fn only_the_letters_that_are_asked_for_are_replayed() {
    let mut place = Place::with_letters().await;
    place.mend();
    let filter = LetterFilter { reason: Some("TOO HIGH".into()), ..LetterFilter::default() };
    let options = RunOptions { letters: Some(ReplayLetters { filter, mended: true }), ..RunOptions::default() };
    assert_eq!(place.run(options).await.unwrap().replayed(), 1);
    let by: Vec<_> = place.open().await.iter().map(|letter| letter.refused_by.unwrap()).collect();
    assert_eq!(by, [RefusedBy::Sink, RefusedBy::Source]);
    assert_eq!(place.run(replay(false)).await.unwrap().replayed(), 2);
    assert_eq!(place.seen(), Place::whole());
}

#[tokio::test]
async fn a_mended_definition_is_taken_only_if_it_is_told() {
    let mut place = Place::with_letters().await;
    place.limit = 100.0;
    let error = text(&place.run(replay(false)).await.unwrap_err());
    assert!(
        error.contains("`steps[0].transform.limit` was 50.0 and is 100.0") && error.contains("--mended"),
        "{error}"
    );
    // What comes after the history is no such thing.
    let pipeline = |place: &Place| {
        place
            .builder()
            .step(Step::new("more", Same))
            .sink(SinkStep::new("more", MemorySink::new(WriteMode::Merge)))
            .build()
    };
    let error = pipeline(&place).unwrap().run(replay(true)).await.unwrap_err();
    assert!(text(&error).contains("`steps[2]` was nothing"), "{}", text(&error));
    assert!(!text(&error).contains("--mended"));
    place.run(replay(true)).await.unwrap();
    assert!(place.run(RunOptions::default()).await.unwrap().up_to_date);
}

#[tokio::test]
async fn an_old_bar_is_late_and_its_symbol_is_computed_again() {
    let mut place = Place::with_letters().await;
    place.world.push("AAA", &[(3, 4.0), (4, 5.0)]);
    place.run(RunOptions::default()).await.unwrap();
    place.limit = 100.0;
    let report = place.run(replay(true)).await.unwrap();
    assert_eq!(report.epochs[0].late_symbols, ["AAA"]);
    let expected = means_of(&[("AAA", &[(0, 1.0), (1, 99.0), (2, 3.0), (3, 4.0), (4, 5.0)]), ("CCC", &[(0, 7.0)])]);
    assert_eq!(place.world.means_seen(), expected);
}

#[tokio::test]
async fn late_letters_enter_the_history_once_it_takes_them() {
    let mut place = Place::new();
    place.late = LatePolicy::DeadLetter;
    place.world.push("AAA", &[(0, 1.0), (2, 3.0)]);
    place.run(RunOptions::default()).await.unwrap();
    place.world.push("AAA", &[(1, 2.0), (3, 4.0)]);
    place.run(RunOptions::default()).await.unwrap();
    let open = place.open().await;
    assert_eq!((open.len(), open[0].refused_by), (1, Some(RefusedBy::Late)));
    let report = place.run(replay(false)).await.unwrap();
    assert!(report.epochs.is_empty() && report.not_replayed[0].reason.contains("recompute"), "{report:?}");
    place.late = LatePolicy::Recompute;
    let report = place.run(replay(true)).await.unwrap();
    assert_eq!((report.replayed(), place.world.bars.n_rows()), (1, 4));
    assert_eq!(place.world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)])]));
}

#[tokio::test]
async fn a_replay_that_is_killed_is_repeated_as_it_was() {
    let mut points = KillPoint::all(&["bars", "copy", "means", "dead_letters"]);
    // Nothing is left to be told, and the source has nothing to seal or to release.
    points.retain(|point| !matches!(point, KillPoint::AfterRead));
    for point in points {
        let mut place = Place::with_letters().await;
        place.mend();
        let probe = Arc::new(KillOnce::new(point.clone()));
        let error = place.run(RunOptions { probe: Some(probe.clone()), ..replay(true) }).await.unwrap_err();
        assert!(matches!(error, Error::Killed { .. }) || error.chain().join(" ").contains("kill"), "{point}: {error}");
        assert!(probe.has_struck(), "{point}");
        // What the source would say now does not matter to a replay that has begun.
        let began = !matches!(point, KillPoint::AfterClaim | KillPoint::AfterOpen | KillPoint::AfterPlan);
        if began {
            place.world.source.mend("x", "bars", bars("BBB", &[(0, 1.0)], 1).unwrap());
            let report = place.run(RunOptions::default()).await.unwrap();
            assert!(report.up_to_date || kinds(&report) == [(2, "replay")], "{point}: {report:?}");
        } else {
            place.run(replay(true)).await.unwrap();
        }
        assert_eq!(place.seen(), Place::whole(), "{point}");
        assert!(place.open().await.is_empty(), "{point}");
        assert!(place.run(replay(false)).await.unwrap().epochs.is_empty(), "{point}");
        assert_eq!(place.world.letters.n_rows(), 3, "{point}");
    }
}

#[tokio::test]
async fn what_an_attempt_refused_again_counts_after_a_crash() {
    // The sink that refuses in its commit has committed, so the second attempt does not ask it again.
    let mut place = Place::new();
    place.copy = MemorySink::new(WriteMode::Append).with_idempotence(Idempotence::Transactional).refusing(
        RefuseIn::Commit,
        "symbol",
        "CCC",
    );
    place.world.push("AAA", &[(0, 1.0)]);
    place.world.push("CCC", &[(0, 7.0)]);
    place.run(RunOptions::default()).await.unwrap();
    let open = place.open().await;
    assert_eq!(open.len(), 1);
    let probe = Arc::new(KillOnce::new(KillPoint::AfterCommit("copy".into())));
    place.run(RunOptions { probe: Some(probe.clone()), ..replay(false) }).await.unwrap_err();
    assert!(probe.has_struck());
    let report = place.run(RunOptions::default()).await.unwrap();
    assert_eq!((report.replayed(), report.refused_again()), (0, 1));
    assert_eq!((place.open().await, place.world.letters.n_rows()), (open, 1));
}

#[tokio::test]
async fn a_letter_is_as_old_as_it_is() {
    let schema = {
        let batch = foreign("AAA", "2024-01-02", 1.0);
        batch.schema()
    };
    let source = MemorySource::new([RelationSchema::new("input", schema)]);
    let (sink, store) = (MemorySink::new(WriteMode::Merge), CheckpointStore::in_memory());
    let pipeline = || {
        Pipeline::builder("test")
            .source(source.clone())
            .step(Step::new("bars", Normalize::new().with_interval(Interval::DAY)))
            .sink(SinkStep::new("bars", sink.clone()))
            .store(store.clone())
            .build()
            .unwrap()
    };
    source.push("p", "input", foreign("AAA", "2024-01-01", 1.0));
    source.push_undecodable("p", "old", "no JSON");
    source.push_undecodable("p", "lost", "no JSON");
    pipeline().run(RunOptions::default()).await.unwrap();
    // The correction was learned after the letter.
    source.push("p", "input", foreign("AAA", "2024-01-02", 2.5));
    pipeline().run(RunOptions::default()).await.unwrap();
    source.mend("old", "input", foreign("AAA", "2024-01-02", 2.0));
    source.mend("lost", "input", foreign("AAA", "2024-01-03", 3.0));
    assert_eq!(pipeline().run(replay(false)).await.unwrap().replayed(), 2);
    let closes: Vec<String> = seen(&sink)
        .iter()
        .map(|line| line.split_whitespace().find(|cell| cell.starts_with("close=")).unwrap().to_owned())
        .collect();
    assert_eq!(closes, ["close=1.0", "close=2.5", "close=3.0"]);
}

fn foreign(symbol: &str, date: &str, close: f64) -> RecordBatch {
    let price = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    RecordBatch::try_from_iter_with_nullable([
        ("Ticker", text(symbol), true),
        ("Date", text(date), true),
        ("Open", price(close), true),
        ("High", price(close), true),
        ("Low", price(close), true),
        ("Close", price(close), true),
    ])
    .unwrap()
}

#[tokio::test]
async fn a_step_gets_the_row_that_it_refused() {
    // Normalize refuses a row for its date; the mended date order reads it.
    use stockflow_core::transform::DateOrder;
    let source = MemorySource::new([RelationSchema::new("input", foreign("A", "1", 1.0).schema())]);
    let (sink, store) = (MemorySink::new(WriteMode::Merge), CheckpointStore::in_memory());
    let pipeline = |order: DateOrder| {
        Pipeline::builder("test")
            .source(source.clone())
            .step(Step::new("bars", Normalize::new().with_interval(Interval::DAY).with_date_order(order)))
            .sink(SinkStep::new("bars", sink.clone()))
            .store(store.clone())
            .build()
            .unwrap()
    };
    source.push("p", "input", foreign("AAA", "2024-01-01", 1.0));
    source.push("p", "input", foreign("AAA", "31/01/2024", 0.1 + 0.2));
    pipeline(DateOrder::MonthFirst).run(RunOptions::default()).await.unwrap();
    assert_eq!(sink.n_rows(), 1);
    let report = pipeline(DateOrder::DayFirst).run(replay(true)).await.unwrap();
    assert_eq!((report.replayed(), report.dead_letters()), (1, 0));
    let lines = seen(&sink);
    assert!(lines[1].contains("date=2024-01-31") && lines[1].contains("close=0.30000000000000004"), "{lines:?}");
}

#[tokio::test]
async fn listing_a_few_reads_only_the_newest_epochs() {
    let place = Place::new();
    for day in 0..3 {
        place.world.push("AAA", &[(day, 1.0), (day + 100, 99.0)]);
        place.run(RunOptions::default()).await.unwrap();
    }
    let open = place.open().await;
    assert_eq!(open.iter().map(|letter| letter.epoch).collect::<Vec<_>>(), [3, 2, 1], "newest first");
    let store = place.world.store.object_store();
    let paths: Vec<_> = store.list(None).collect().await;
    let first = paths
        .into_iter()
        .map(|it| it.unwrap().location)
        .find(|it| it.as_ref().contains("epochs/1-") && it.as_ref().ends_with(".ndjson"));
    store.delete(&first.unwrap()).await.unwrap();
    let mut reader = place.world.store.letters().await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().id, open[0].id);
    assert_eq!(reader.next().await.unwrap().unwrap().id, open[1].id);
    assert!(matches!(reader.next().await, Err(Error::StoreCorrupt { .. })));
}

#[tokio::test]
async fn purged_letters_are_gone_and_nothing_else() {
    let place = Place::with_letters().await;
    let store = &place.world.store;
    let symbols = LetterFilter { symbols: vec!["AAA".into()], ..LetterFilter::default() };
    let purged = store.purge_letters(&symbols).await.unwrap();
    assert_eq!((purged.letters, purged.epochs), (1, 1));
    assert_eq!(place.open().await.len(), 2);
    assert_eq!(store.purge_letters(&symbols).await.unwrap().letters, 0);
    assert_eq!(store.purge_letters(&all()).await.unwrap().letters, 2);
    assert!(letters(store, &all()).await.is_empty());
    let objects: Vec<_> = store.object_store().list(None).collect().await;
    for object in objects {
        let location = object.unwrap().location;
        let bytes = store.object_store().get(&location).await.unwrap().bytes().await.unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("too high"), "{location}");
    }
    // The pipeline goes on as before.
    assert!(place.run(RunOptions::default()).await.unwrap().up_to_date);
}

#[tokio::test]
async fn a_replay_ends_by_itself_and_needs_something_that_remembers() {
    let place = Place::with_letters().await;
    let rebuild = RunOptions { rebuild: Some(Rebuild::default()), ..replay(false) };
    assert!(text(&place.run(rebuild).await.unwrap_err()).contains("no rebuild"));
    let full = Pipeline::builder("full")
        .source(place.world.source.clone())
        .sink(SinkStep::new("bars", MemorySink::new(WriteMode::Overwrite)))
        .mode(Mode::Full)
        .build()
        .unwrap();
    assert!(text(&full.run(replay(false)).await.unwrap_err()).contains("nothing to replay"));
}
