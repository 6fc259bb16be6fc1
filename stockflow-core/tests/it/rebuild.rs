//! The one way back, where something is unread, lost or unfinished.

use std::sync::Arc;

use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::{KillPoint, Mode, Pipeline, Rebuild, RunOptions, SinkStep};
use stockflow_core::sink::WriteMode;
use stockflow_core::testing::KillOnce;

use crate::support::*;

const ALL: [(&str, &[(i32, f64)]); 1] = [("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)])];

fn rebuild(sink: Option<&str>) -> RunOptions {
    RunOptions { rebuild: Some(Rebuild { sink: sink.map(str::to_owned) }), ..RunOptions::default() }
}

fn killed_at(point: KillPoint, options: RunOptions) -> RunOptions {
    RunOptions { probe: Some(Arc::new(KillOnce::new(point))), ..options }
}

async fn two_epochs() -> World {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(2, 3.0)]);
    world.run().await.unwrap();
    world
}

#[tokio::test]
async fn the_rebuild_of_one_sink_takes_nothing_new_from_the_others() {
    let world = two_epochs().await;
    world.means.wipe();
    world.push("AAA", &[(3, 4.0)]);
    let pipeline = world.builder().build().unwrap();
    let before = pipeline.checkpoint().await.unwrap();
    pipeline.run(rebuild(Some("means"))).await.unwrap();
    assert_eq!(pipeline.checkpoint().await.unwrap(), before, "what was not read yet is still to be read");
    assert_eq!(world.means_seen(), means_of(&ALL));
    world.run().await.unwrap();
    assert_eq!(world.bars.n_rows(), 4, "and every sink gets it");
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)])]));
}

#[tokio::test]
async fn the_rebuild_of_one_sink_finishes_the_open_epoch_first() {
    let world = two_epochs().await;
    world.push("AAA", &[(3, 4.0)]);
    let pipeline = world.builder().build().unwrap();
    let point = KillPoint::AfterCommit("bars".into());
    pipeline.run(killed_at(point, RunOptions::default())).await.unwrap_err();
    world.means.wipe();
    let report = pipeline.run(rebuild(Some("means"))).await.unwrap();
    let kinds: Vec<_> = report.epochs.iter().map(|epoch| (epoch.epoch, epoch.kind.as_str())).collect();
    assert_eq!(kinds, [(3, "run"), (4, "rebuild")]);
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)])]));
    assert!(world.run().await.unwrap().up_to_date);
}

#[tokio::test]
async fn a_lost_lake_is_filled_from_the_source() {
    let world = two_epochs().await;
    world.bars.wipe();
    world.means.wipe();
    assert!(text(&world.run().await.unwrap_err()).contains("--rebuild"));
    world.builder().build().unwrap().run(rebuild(None)).await.unwrap();
    assert_eq!((world.bars.n_rows(), world.means_seen()), (3, means_of(&ALL)));
    assert!(world.run().await.unwrap().up_to_date);
}

#[tokio::test]
async fn a_sink_beside_the_history_is_rebuilt_from_the_source() {
    let world = two_epochs().await;
    let raw = MemorySink::new(WriteMode::Merge);
    let pipeline = || world.builder().sink(SinkStep::new("raw", raw.clone()).relation("bars")).build().unwrap();
    pipeline().run(rebuild(Some("raw"))).await.unwrap();
    assert_eq!(raw.n_rows(), 3);
    raw.wipe();
    pipeline().run(rebuild(None)).await.unwrap();
    assert_eq!(raw.n_rows(), 3);
}

#[tokio::test]
async fn a_rebuild_that_was_killed_is_finished_by_the_next_run() {
    for again in [RunOptions::default(), rebuild(None)] {
        let world = two_epochs().await;
        world.means.wipe();
        let pipeline = world.builder().build().unwrap();
        pipeline.run(killed_at(KillPoint::AfterCommit("bars".into()), rebuild(None))).await.unwrap_err();
        let report = pipeline.run(again).await.unwrap();
        assert!(report.epochs[0].resumed && report.epochs[0].kind == "rebuild", "{:?}", report.epochs);
        assert_eq!((report.epochs.len(), world.means_seen()), (1, means_of(&ALL)));
        assert!(world.run().await.unwrap().up_to_date);
    }
}

#[tokio::test]
async fn a_changed_pipeline_fences_nobody_before_it_stops() {
    let world = two_epochs().await;
    let before = world.store.head().await.unwrap();
    let changed = world.builder().late(stockflow_core::pipeline::LatePolicy::DeadLetter).build().unwrap();
    assert!(text(&changed.run(RunOptions::default()).await.unwrap_err()).contains("definition has changed"));
    assert_eq!(world.store.head().await.unwrap().generation, before.generation);
}

#[tokio::test]
async fn a_position_is_not_moved_under_an_open_epoch() {
    let world = two_epochs().await;
    world.push("AAA", &[(3, 4.0)]);
    let pipeline = world.builder().build().unwrap();
    pipeline.run(killed_at(KillPoint::AfterState, RunOptions::default())).await.unwrap_err();
    for error in [pipeline.reset().await.unwrap_err(), pipeline.rewind(1).await.unwrap_err()] {
        assert!(text(&error).contains("epoch 3 was begun and not finished"), "{}", text(&error));
    }
    world.run().await.unwrap();
    pipeline.reset().await.unwrap();
    let fresh = World::new();
    let error = fresh.builder().build().unwrap().reset().await.unwrap_err();
    assert!(text(&error).contains("nothing has been committed yet"), "{}", text(&error));
}

#[tokio::test]
async fn the_source_is_told_again_what_is_committed() {
    let world = two_epochs().await;
    world.push("AAA", &[(3, 4.0)]);
    let pipeline = world.builder().build().unwrap();
    pipeline.run(killed_at(KillPoint::AfterStoreCommit, RunOptions::default())).await.unwrap_err();
    assert_eq!(world.source.released().to_string(), "{AAA@2}", "the kill came before the source was told");
    assert!(pipeline.run(RunOptions::default()).await.unwrap().up_to_date);
    assert_eq!(world.source.released().to_string(), "{AAA@3}");
}

#[tokio::test]
async fn what_is_read_in_full_is_one_epoch_of_everything() {
    let world = World::new();
    for symbol in ["AAA", "BBB", "CCC"] {
        world.push(symbol, &[(0, 1.0)]);
    }
    let out = MemorySink::new(WriteMode::Overwrite);
    let pipeline = Pipeline::builder("full")
        .source(world.source.clone())
        .sink(SinkStep::new("out", out.clone()))
        .mode(Mode::Full)
        .max_partitions(Some(1))
        .build()
        .unwrap();
    pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!(out.n_rows(), 3);
    assert!(pipeline.run(RunOptions::default()).await.unwrap().up_to_date, "the pins equal those of the last commit");
}
