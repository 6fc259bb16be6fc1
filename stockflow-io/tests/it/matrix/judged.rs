//! The oracle is judged: what is broken it must find.

use stockflow_core::pipeline::KillPoint;
use stockflow_core::testing::Findings;

use super::cell::{Rig, SinkKind, SourceKind};
use super::child;
use super::fault::{At, Effect};
use super::flaw::Flaw;
use super::run::World;
use super::servers::Servers;

const SINKS: [SinkKind; 3] = [SinkKind::DeltaAppend, SinkKind::Kafka, SinkKind::PostgresAppend];

/// A pipeline with a flawed sink is killed at a point and run again; what the oracle says right after the kill, and at the end.
async fn broken(world: &World, flaw: Flaw, at: KillPoint) -> [Findings; 2] {
    let at = At::point(&at);
    let ended = child::run(&world.cell, &at, Effect::Die, Some(flaw)).await;
    assert!(ended.was_killed() && ended.struck == Some(at.to_string()), "{}", ended.story());
    let (now, _) = world.judge(false).await;
    let rig = Rig { flaw: Some(flaw), ..Rig::default() };
    let run = world.cell.pipeline(&rig).unwrap().run(Default::default()).await;
    run.unwrap_or_else(|error| panic!("{}", error.chain().join(": ")));
    let (bars, _) = world.judge(true).await;
    [now, bars]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_ignores_its_token_is_seen_to_double() {
    let servers = Servers::of_environment();
    for sink in SINKS {
        if !servers.have("oracle", SourceKind::File, sink) {
            continue;
        }
        let mut world = World::new(SourceKind::File, sink, &servers).await;
        world.send();
        let n_rows = world.feed.bars.n_rows();
        let [_, found] = broken(&world, Flaw::ForgetsTheToken, KillPoint::AfterCommit("bars".into())).await;
        let found = [found.lost, found.doubled, found.foreign, found.torn].map(|rows| rows.len());
        assert_eq!(found, [0, n_rows, 0, 0], "{}", sink.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_stored_before_the_sinks_commit_is_seen_to_lose() {
    let servers = Servers::of_environment();
    for sink in SINKS {
        if !servers.have("oracle", SourceKind::File, sink) {
            continue;
        }
        let mut world = World::new(SourceKind::File, sink, &servers).await;
        world.begin().await;
        let before = world.feed.bars.n_rows();
        world.send();
        let n_rows = world.feed.bars.n_rows() - before;
        for found in broken(&world, Flaw::CommitsAfterTheStore, KillPoint::AfterStoreCommit).await {
            let found = [found.lost, found.doubled, found.foreign, found.torn].map(|rows| rows.len());
            assert_eq!(found, [n_rows, 0, 0, 0], "{}", sink.name());
        }
    }
}
