//! Error classes, outages, dead letters, refused rows.

use stockflow_core::memory::{MemorySink, RefuseIn};
use stockflow_core::pipeline::{Pipeline, RunOptions, SinkStep};
use stockflow_core::retry::Backoff;
use stockflow_core::sink::{Idempotence, WriteMode};
use stockflow_core::{Error, ErrorClass};

use crate::support::*;

#[tokio::test]
async fn an_outage_is_waited_out_and_fills_no_dead_letters() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.source.set_outage(3);
    world.bars.set_outage(3);
    let backoff = Backoff { initial: std::time::Duration::from_millis(1), ..Backoff::default() };
    let report = world.builder().backoff(backoff).build().unwrap().run(RunOptions::default()).await.unwrap();
    assert_eq!((report.dead_letters(), world.bars.n_rows()), (0, 1));
}

#[tokio::test]
async fn an_outage_past_its_deadline_fails_with_its_place() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.source.set_outage(u32::MAX);
    let error = world.builder().backoff(Backoff::none()).build().unwrap().run(RunOptions::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient);
    assert_eq!(text(&error), "pipeline `test`, epoch 1, plan: memory: the source is out of reach");
    assert_eq!(error.origin().unwrap().connector, "memory");
}

#[tokio::test]
async fn undecodable_input_is_a_dead_letter_with_its_place() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.source.push_undecodable("AAA", "\u{fffd}garbage", "no JSON");
    let report = world.run().await.unwrap();
    assert_eq!(report.dead_letters(), 1);
    assert!(!report.is_complete());
    let letter = &report.epochs[0].first_dead_letters[0];
    assert_eq!(
        (letter.connector.as_str(), letter.partition.as_str(), letter.position.as_str(), letter.reason.as_str()),
        ("memory", "AAA", "1", "no JSON")
    );
    let line = seen(&world.letters).join("\n");
    assert!(
        line.contains("pipeline=test") && line.contains("epoch=1") && line.contains("payload=\u{fffd}garbage"),
        "{line}"
    );
}

#[tokio::test]
async fn too_many_dead_letters_fail_before_commit() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    for _ in 0..3 {
        world.source.push_undecodable("AAA", "x", "no JSON");
    }
    let error =
        world.builder().max_dead_letters(Some(2)).build().unwrap().run(RunOptions::default()).await.unwrap_err();
    assert!(text(&error).contains("3 rows refused (max_dead_letters = 2"), "{}", text(&error));
    assert_eq!((world.bars.commits(), world.letters.commits()), (0, 0));
    world.builder().max_dead_letters(None).build().unwrap().run(RunOptions::default()).await.unwrap();
    assert_eq!(world.letters.n_rows(), 3);
}

#[tokio::test]
async fn an_epoch_of_nothing_but_dead_letters_fails_before_commit() {
    let world = World::new();
    world.source.push_undecodable("AAA", "x", "no JSON");
    let error = world.run().await.unwrap_err();
    assert!(text(&error).contains("nothing else was left"), "{}", text(&error));
    assert_eq!(world.letters.commits(), 0);
}

async fn refusing(
    when: RefuseIn,
    idempotence: Idempotence,
) -> (World, MemorySink, stockflow_core::pipeline::RunReport) {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 13.0), (2, 2.0)]);
    let sink = MemorySink::new(WriteMode::Merge).with_idempotence(idempotence).refusing(when, "close", "13.0");
    let pipeline = Pipeline::builder("test")
        .source(world.source.clone())
        .sink(SinkStep::new("out", sink.clone()))
        .dead_letters(world.letters.clone())
        .store(world.store.clone())
        .build()
        .unwrap();
    let report = pipeline.run(RunOptions::default()).await.unwrap();
    (world, sink, report)
}

#[tokio::test]
async fn a_row_refused_in_stage_is_a_dead_letter_and_the_others_are_written() {
    let (world, sink, report) = refusing(RefuseIn::Stage, Idempotence::Transactional).await;
    assert_eq!((sink.n_rows(), report.dead_letters(), world.letters.n_rows()), (2, 1, 1));
    assert_eq!(report.epochs[0].first_dead_letters[0].symbol.as_deref(), Some("AAA"));
}

#[tokio::test]
async fn a_row_refused_in_commit_rolls_back_and_is_staged_without() {
    let (world, sink, report) = refusing(RefuseIn::Commit, Idempotence::Transactional).await;
    assert_eq!((sink.n_rows(), sink.commits(), report.dead_letters(), world.letters.n_rows()), (2, 1, 1, 1));
}

#[tokio::test]
async fn a_keyed_sink_writes_the_others_and_its_refusals_are_kept() {
    let (world, sink, report) = refusing(RefuseIn::Commit, Idempotence::Keyed).await;
    assert_eq!((sink.n_rows(), report.dead_letters(), world.letters.n_rows()), (2, 1, 1));
    let status = world.store.head().await.unwrap().commit.unwrap();
    assert_eq!(status.dead_letters.map(|(_, count)| count), Some(1), "durable before the store's commit");
}

#[tokio::test]
async fn a_lost_answer_to_a_commit_doubles_nothing() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.bars.set_fail_after_commit();
    world.run().await.unwrap();
    assert_eq!((world.bars.n_rows(), world.bars.commits()), (1, 1));
}

#[tokio::test]
async fn an_error_tells_its_chain_once() {
    let error = Error::connector(
        stockflow_core::Origin::new("file").partition("a.csv"),
        "read",
        std::io::Error::other("broken"),
    );
    assert_eq!(error.chain(), ["file a.csv: read failed", "broken"]);
    assert_eq!(std::mem::size_of::<Error>(), 72, "errors travel in every result: they stay small");
}

#[tokio::test]
async fn an_epoch_that_somebody_must_mend_is_planned_anew_with_what_has_come_besides() {
    let world = World::new();
    world.source.push_undecodable("AAA", "x", "no JSON");
    let error = world.run().await.unwrap_err();
    assert!(text(&error).contains("it read `AAA`"), "{}", text(&error));
    let pipeline = world.builder().build().unwrap();
    assert_eq!(pipeline.status().await.unwrap().open_epoch, None, "nothing of it was delivered");
    world.push("BBB", &[(0, 1.0)]);
    let report = world.run().await.unwrap();
    assert_eq!((report.dead_letters(), world.bars.n_rows(), report.epochs[0].epoch), (1, 1, 1));
}

#[tokio::test]
async fn what_a_best_effort_source_gave_is_kept_when_its_epoch_fails() {
    let mut world = World::new();
    world.source = world.source.clone().best_effort();
    world.source.push_undecodable("AAA", "x", "no JSON");
    world.run().await.unwrap_err();
    assert_eq!(world.builder().build().unwrap().status().await.unwrap().open_epoch, Some(1), "it is nowhere else");
}

#[tokio::test]
async fn a_backfill_is_not_about_what_was_refused_elsewhere() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.push("BBB", &[(0, 1.0)]);
    world.source.push_undecodable("BBB", "x", "no JSON");
    world.run().await.unwrap();
    for symbol in ["AAA", "ZZZ"] {
        let window = stockflow_core::source::Window { symbols: vec![symbol.into()], ..Default::default() };
        let options = RunOptions { window: Some(window), ..RunOptions::default() };
        let report = world.builder().build().unwrap().run(options).await.unwrap();
        assert_eq!(report.dead_letters(), 0, "{symbol}");
    }
}

#[tokio::test]
async fn an_epoch_that_a_keyed_sink_may_hold_is_not_given_up() {
    use stockflow_core::pipeline::KillPoint;
    use stockflow_core::testing::KillOnce;

    let mut world = World::new();
    world.bars = MemorySink::new(WriteMode::Merge).with_idempotence(Idempotence::Keyed);
    world.push("AAA", &[(0, 1.0)]);
    world.source.push_undecodable("AAA", "x", "no JSON");
    // The bars are written, and nobody is told.
    let probe = std::sync::Arc::new(KillOnce::new(KillPoint::AfterCommit("bars".into())));
    let options = RunOptions { probe: Some(probe), ..RunOptions::default() };
    world.builder().build().unwrap().run(options).await.unwrap_err();
    // Now the epoch fails for its data.
    let pipeline = world.builder().max_dead_letters(Some(0)).build().unwrap();
    pipeline.run(RunOptions::default()).await.unwrap_err();
    assert_eq!(pipeline.status().await.unwrap().open_epoch, Some(1), "it is finished once its limit is lifted");
    let report = world.run().await.unwrap();
    assert_eq!((report.epochs[0].epoch, report.epochs[0].resumed, world.bars.n_rows()), (1, true, 1));
}
