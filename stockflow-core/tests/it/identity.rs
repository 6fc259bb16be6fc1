//! Identity, fencing, and the one way back.

use stockflow_core::Error;
use stockflow_core::memory::MemorySink;
use stockflow_core::pipeline::KillPoint;
use stockflow_core::pipeline::{Pipeline, Rebuild, RunOptions, SinkStep, Step};
use stockflow_core::sink::WriteMode;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::KillOnce;

use crate::support::*;

fn rebuild(sink: Option<&str>) -> RunOptions {
    RunOptions { rebuild: Some(Rebuild { sink: sink.map(str::to_owned) }), ..RunOptions::default() }
}

async fn two_epochs() -> World {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(2, 3.0)]);
    world.run().await.unwrap();
    world
}

const ALL: [(&str, &[(i32, f64)]); 1] = [("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)])];

#[tokio::test]
async fn a_changed_definition_stops_with_the_difference_and_rebuild_goes_on() {
    let world = two_epochs().await;
    let changed = || world.builder().step(Step::new("more", Same)).build().unwrap();
    let error = changed().run(RunOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert!(text(&error).contains("steps[2]") && text(&error).contains("--rebuild"), "{}", text(&error));
    changed().run(rebuild(None)).await.unwrap();
    assert_eq!(world.means_seen(), means_of(&ALL));
    assert!(changed().run(RunOptions::default()).await.unwrap().up_to_date);
}

#[tokio::test]
async fn a_new_store_over_sinks_that_hold_data_stops_and_rebuild_goes_on() {
    let mut world = two_epochs().await;
    world.store = CheckpointStore::in_memory();
    let error = world.run().await.unwrap_err();
    assert!(
        text(&error).contains("the checkpoint store is new, but sink `bars` already holds epoch 2"),
        "{}",
        text(&error)
    );
    let report = world.builder().build().unwrap().run(rebuild(None)).await.unwrap();
    assert_eq!(report.epochs[0].epoch, 3, "above the highest that was found");
    assert_eq!(world.means_seen(), means_of(&ALL));
    assert!(world.run().await.unwrap().up_to_date);
}

#[tokio::test]
async fn a_sink_that_lost_its_data_stops_and_is_filled_alone() {
    let world = two_epochs().await;
    world.means.wipe();
    let error = world.run().await.unwrap_err();
    assert!(
        text(&error).contains("sink `means` holds no epoch, but the checkpoint store says epoch 2"),
        "{}",
        text(&error)
    );
    let commits = world.bars.commits();
    world.builder().build().unwrap().run(rebuild(Some("means"))).await.unwrap();
    assert_eq!(world.means_seen(), means_of(&ALL));
    assert_eq!(world.bars.commits(), commits, "the other sink is left alone");
    world.push("AAA", &[(3, 4.0)]);
    world.run().await.unwrap();
    assert_eq!(world.bars.n_rows(), 4);
}

#[tokio::test]
async fn an_older_backup_of_the_store_is_noticed() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.run().await.unwrap();
    let backup = copy(&world.store).await;
    for day in 1..4 {
        world.push("AAA", &[(day, 1.0)]);
        world.run().await.unwrap();
    }
    let restored = World { store: backup, ..world };
    let error = restored.run().await.unwrap_err();
    assert!(text(&error).contains("holds epoch 4") && text(&error).contains("says epoch 1"), "{}", text(&error));
    restored.builder().build().unwrap().run(rebuild(None)).await.unwrap();
    assert_eq!(restored.bars.n_rows(), 4);
}

async fn copy(store: &CheckpointStore) -> CheckpointStore {
    use futures::TryStreamExt;
    use object_store::{ObjectStore, ObjectStoreExt};
    let copy = std::sync::Arc::new(object_store::memory::InMemory::new());
    for meta in store.object_store().list(None).try_collect::<Vec<_>>().await.unwrap() {
        let bytes = store.object_store().get(&meta.location).await.unwrap().bytes().await.unwrap();
        copy.put(&meta.location, bytes.into()).await.unwrap();
    }
    CheckpointStore::new(copy, "")
}

#[tokio::test]
async fn a_new_sink_needs_a_rebuild_or_since_now() {
    let world = two_epochs().await;
    let extra = MemorySink::new(WriteMode::Merge);
    let with = |step: SinkStep| world.builder().sink(step.relation("means")).build().unwrap();
    let error = with(SinkStep::new("extra", extra.clone())).run(RunOptions::default()).await.unwrap_err();
    assert!(text(&error).contains("--rebuild --sink extra"), "{}", text(&error));
    with(SinkStep::new("extra", extra.clone())).run(rebuild(Some("extra"))).await.unwrap();
    assert_eq!(seen(&extra), means_of(&ALL));
    // A removed sink needs nothing.
    world.push("AAA", &[(3, 4.0)]);
    world.run().await.unwrap();
    let late = MemorySink::new(WriteMode::Merge);
    with(SinkStep::new("late", late.clone()).since_now()).run(RunOptions::default()).await.unwrap();
    world.push("AAA", &[(4, 5.0)]);
    with(SinkStep::new("late", late.clone()).since_now()).run(RunOptions::default()).await.unwrap();
    assert_eq!(late.n_rows(), 1, "only what came since");
}

#[tokio::test]
async fn a_store_of_another_pipeline_is_refused() {
    let world = two_epochs().await;
    let other = Pipeline::builder("other")
        .source(world.source.clone())
        .sink(SinkStep::new("bars", MemorySink::new(WriteMode::Merge)))
        .store(world.store.clone())
        .build()
        .unwrap();
    let error = other.run(RunOptions::default()).await.unwrap_err();
    assert!(text(&error).contains("belongs to pipeline `test`"), "{}", text(&error));
}

#[tokio::test]
async fn an_open_epoch_is_finished_first_and_with_the_same_clock() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let probe = std::sync::Arc::new(KillOnce::new(KillPoint::AfterCommit("bars".into())));
    world.builder().build().unwrap().run(RunOptions { probe: Some(probe), ..RunOptions::default() }).await.unwrap_err();
    assert_eq!(world.builder().build().unwrap().status().await.unwrap().open_epoch, Some(1));
    world.push("AAA", &[(1, 2.0)]);
    let report = world.run().await.unwrap();
    let epochs: Vec<_> = report.epochs.iter().map(|epoch| (epoch.epoch, epoch.resumed, epoch.sinks[0].held)).collect();
    assert_eq!(epochs, [(1, true, true), (2, false, false)], "the sink that held the token was not written again");
    assert_eq!(world.bars.commits(), 2);
}

#[tokio::test]
async fn a_second_runner_fences_the_first() {
    #[derive(Debug)]
    struct Overtake(World);
    impl stockflow_core::pipeline::Probe for Overtake {
        fn at(&self, point: &KillPoint) -> stockflow_core::Result<()> {
            if *point == KillPoint::AfterApply {
                // Another runner takes the pipeline over while this one is about to stage.
                let world = self.0.clone();
                std::thread::spawn(move || {
                    tokio::runtime::Runtime::new().unwrap().block_on(async { world.run().await.unwrap() })
                })
                .join()
                .unwrap();
            }
            Ok(())
        }
    }
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let options = RunOptions { probe: Some(std::sync::Arc::new(Overtake(world.clone()))), ..RunOptions::default() };
    let error = world.builder().build().unwrap().run(options).await.unwrap_err();
    assert!(error.is_fenced(), "{error:?}");
    assert_eq!((world.bars.n_rows(), world.bars.commits()), (1, 1), "written once, by the new owner");
}

#[tokio::test]
async fn two_claims_at_once_get_two_generations() {
    let store = CheckpointStore::in_memory();
    let claims = futures::future::join_all((0..8).map(|_| store.claim("test"))).await;
    let mut generations: Vec<u64> = claims.into_iter().map(|log| log.unwrap().generation().0).collect();
    generations.sort_unstable();
    generations.dedup();
    assert_eq!(generations.len(), 8);
}
