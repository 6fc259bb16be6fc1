//! Batch runs, epochs, restarts, late and corrected bars.

use std::sync::Arc;

use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::pipeline::{KillPoint, LatePolicy, Probe, RunOptions, Shutdown};
use stockflow_core::source::Window;
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::KillOnce;

use crate::support::*;

#[tokio::test]
async fn a_second_run_reads_only_what_is_new() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    let report = world.run().await.unwrap();
    assert_eq!(report.epochs.len(), 1);
    assert_eq!(world.bars.n_rows(), 2);
    let again = world.run().await.unwrap();
    assert!(again.up_to_date, "nothing was new");
    assert_eq!(world.bars.commits(), 1);
    world.push("AAA", &[(2, 3.0)]);
    let third = world.run().await.unwrap();
    assert_eq!(third.epochs[0].read["bars"], 1, "only the new bar is read");
    assert_eq!(
        world.means_seen(),
        means_of(&[("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)])]),
        "its mean needs the bars before it"
    );
}

#[tokio::test]
async fn a_corrected_bar_recomputes_its_symbol_alone() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]);
    world.push("BBB", &[(0, 5.0), (1, 5.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(1, 20.0)]);
    let report = world.run().await.unwrap();
    assert_eq!(report.epochs[0].late_symbols, ["AAA"]);
    assert_eq!(report.epochs[0].sinks[1].rows, 3, "from the corrected bar on: days 1 to 3 of AAA, nothing of BBB");
    assert_eq!(
        world.means_seen(),
        means_of(&[("AAA", &[(0, 1.0), (1, 20.0), (2, 3.0), (3, 4.0)]), ("BBB", &[(0, 5.0), (1, 5.0)])])
    );
}

#[tokio::test]
async fn a_late_bar_falls_into_its_place() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (2, 3.0), (3, 4.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(1, 9.0)]);
    world.run().await.unwrap();
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 9.0), (2, 3.0), (3, 4.0)])]));
}

#[tokio::test]
async fn what_the_history_holds_is_dropped_for_all_sinks() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(0, 1.0), (1, 2.0 + 1e-7)]);
    let report = world.run().await.unwrap();
    assert_eq!(
        (report.epochs[0].changed, report.epochs[0].unchanged),
        (Some(0), Some(2)),
        "providers wobble in the seventh digit"
    );
    assert_eq!(report.epochs[0].sinks.iter().map(|sink| sink.rows).sum::<u64>(), 0);
}

#[tokio::test]
async fn an_older_version_changes_nothing() {
    let world = World::new();
    let old = stockflow_core::testing::bars("AAA", &[(0, 99.0)], 0).unwrap();
    world.push("AAA", &[(0, 1.0)]);
    world.run().await.unwrap();
    world.source.push("AAA", "bars", old);
    world.run().await.unwrap();
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0)])]));
}

#[tokio::test]
async fn within_an_epoch_the_later_position_wins_for_equal_keys_and_versions() {
    use stockflow_core::memory::MemorySink;
    use stockflow_core::pipeline::{Pipeline, SinkStep};
    use stockflow_core::sink::WriteMode;
    use stockflow_core::testing::bars;

    let push = |world: &World| {
        world.source.push("AAA", "bars", bars("AAA", &[(0, 1.0), (1, 5.0), (0, 2.0)], 7).unwrap());
        world.source.push("AAA", "bars", bars("AAA", &[(0, 3.0)], 7).unwrap());
        // A higher version wins although it comes first.
        world.source.push("BBB", "bars", bars("BBB", &[(0, 8.0)], 9).unwrap());
        world.source.push("BBB", "bars", bars("BBB", &[(0, 9.0)], 7).unwrap());
    };
    let expected = [("AAA", &[(0, 3.0), (1, 5.0)][..]), ("BBB", &[(0, 8.0)][..])];
    let world = World::new();
    push(&world);
    let report = world.run().await.unwrap();
    assert_eq!((report.epochs[0].changed, report.epochs[0].unchanged), (Some(3), Some(0)));
    assert_eq!(world.means_seen(), means_of(&expected));
    assert_eq!(world.bars.n_rows(), 3, "one row a key");

    // Without a history, too; what only appends takes every row.
    let world = World::new();
    push(&world);
    let log = MemorySink::new(WriteMode::Append);
    let pipeline = Pipeline::builder("plain").source(world.source.clone()).store(world.store.clone());
    let pipeline = pipeline.sink(SinkStep::new("bars", world.bars.clone())).build().unwrap();
    pipeline.run(RunOptions::default()).await.unwrap();
    let closes: Vec<bool> = ["close=3.0", "close=5.0", "close=8.0"]
        .iter()
        .map(|close| world.bars_seen().iter().any(|line| line.contains(close)))
        .collect();
    assert_eq!((world.bars.n_rows(), closes), (3, vec![true; 3]), "{:?}", world.bars_seen());
    let pipeline = Pipeline::builder("log").source(world.source.clone()).store(CheckpointStore::in_memory());
    let pipeline = pipeline.sink(SinkStep::new("log", log.clone())).build().unwrap();
    pipeline.run(RunOptions::default()).await.unwrap();
    assert_eq!(log.n_rows(), 6);
}

#[tokio::test]
async fn late_bars_can_be_dead_letters_that_count_against_no_limit() {
    let world = World::new();
    let build = || world.builder().late(LatePolicy::DeadLetter).max_dead_letters(Some(0)).build().unwrap();
    world.push("AAA", &[(0, 1.0), (2, 3.0)]);
    build().run(RunOptions::default()).await.unwrap();
    world.push("AAA", &[(1, 9.0), (3, 4.0)]);
    let report = build().run(RunOptions::default()).await.unwrap();
    assert_eq!(report.dead_letters(), 1);
    assert_eq!(report.epochs[0].first_dead_letters[0].reason, "late");
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (2, 3.0), (3, 4.0)])]));
}

#[tokio::test]
async fn a_run_fixes_its_target_once_and_tries_each_partition_once() {
    let world = World::new();
    for symbol in ["AAA", "BBB", "CCC"] {
        world.push(symbol, &[(0, 1.0)]);
    }
    world.source.set_unreadable("BBB", Some("delisted"));
    let report = world.builder().max_partitions(Some(1)).build().unwrap().run(RunOptions::default()).await.unwrap();
    assert_eq!(report.epochs.len(), 3, "one partition an epoch");
    let left_out: Vec<_> = report.left_out().collect();
    assert_eq!((left_out.len(), left_out[0].partition.as_str(), left_out[0].reason.as_str()), (1, "BBB", "delisted"));
    let checkpoint = world.builder().build().unwrap().checkpoint().await.unwrap();
    assert_eq!(
        checkpoint,
        Checkpoint::from_iter([("AAA", "1"), ("CCC", "1")]),
        "what was left out stays out of what was reached"
    );
    world.source.set_unreadable("BBB", None);
    world.run().await.unwrap();
    assert_eq!(world.bars.n_rows(), 3, "and is read once it can be");
}

#[tokio::test]
async fn a_backfill_is_an_epoch_that_leaves_the_checkpoint_where_it_was() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)]);
    world.push("BBB", &[(0, 1.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(1, 8.0), (2, 9.0)]);
    world.push("BBB", &[(0, 7.0)]);
    let before = world.builder().build().unwrap().checkpoint().await.unwrap();
    let window = Window { from: None, to: chrono::NaiveDate::from_ymd_opt(2024, 1, 2), symbols: vec!["AAA".into()] };
    let options = RunOptions { window: Some(window), ..RunOptions::default() };
    let report = world.builder().build().unwrap().run(options).await.unwrap();
    assert_eq!(report.epochs[0].kind, "backfill");
    assert_eq!(
        world.means_seen(),
        means_of(&[("AAA", &[(0, 1.0), (1, 8.0), (2, 3.0)]), ("BBB", &[(0, 1.0)])]),
        "only AAA up to 2 January"
    );
    assert_eq!(world.builder().build().unwrap().checkpoint().await.unwrap(), before);
    world.run().await.unwrap();
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 8.0), (2, 9.0)]), ("BBB", &[(0, 7.0)])]));
}

#[tokio::test]
async fn the_epochs_clock_is_the_intents_time_and_grows() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let first = world.run().await.unwrap().epochs[0].now;
    world.push("AAA", &[(1, 1.0)]);
    let second = world.run().await.unwrap().epochs[0].now;
    assert!(second > first);
}

#[tokio::test]
async fn a_best_effort_source_is_spooled_and_never_scanned_again() {
    let mut world = World::new();
    world.source = world.source.clone().best_effort();
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    let probe: Arc<dyn Probe> = Arc::new(stockflow_core::testing::KillOnce::new(KillPoint::AfterCommit("bars".into())));
    let killed = world.builder().build().unwrap().run(RunOptions { probe: Some(probe), ..RunOptions::default() }).await;
    assert!(killed.is_err());
    assert_eq!(world.source.scans(), 1);
    world.run().await.unwrap();
    assert_eq!(world.source.scans(), 1, "the sealed spool is read instead");
    assert_eq!(
        world.means_seen(),
        means_of(&[("AAA", &[(0, 1.0), (1, 2.0)])]),
        "the source has forgotten its rows, the spool has not"
    );
}

#[tokio::test]
async fn spooled_input_is_removed_once_every_sink_holds_it() {
    use futures::TryStreamExt;
    use object_store::ObjectStore;

    let mut world = World::new();
    world.source = world.source.clone().best_effort();
    world.push("AAA", &[(0, 1.0)]);
    let spools = || async {
        let objects = world.store.object_store().list(None).map_ok(|meta| meta.location.to_string());
        let objects: Vec<String> = objects.try_collect().await.unwrap();
        objects.into_iter().filter(|path| path.contains("/source/")).count()
    };
    let probe = std::sync::Arc::new(KillOnce::new(KillPoint::AfterRead));
    let killed = RunOptions { probe: Some(probe), ..RunOptions::default() };
    world.builder().build().unwrap().run(killed).await.unwrap_err();
    assert_eq!(spools().await, 1);
    world.run().await.unwrap();
    assert_eq!((spools().await, world.bars.n_rows()), (0, 1));
}

#[tokio::test]
async fn shutdown_abandons_the_epoch_whole() {
    #[derive(Debug)]
    struct StopAt(Shutdown);
    impl Probe for StopAt {
        fn at(&self, point: &KillPoint) -> stockflow_core::Result<()> {
            if *point == KillPoint::AfterIntent {
                self.0.request();
            }
            Ok(())
        }
    }
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let shutdown = Shutdown::new();
    let options =
        RunOptions { shutdown: shutdown.clone(), probe: Some(Arc::new(StopAt(shutdown))), ..RunOptions::default() };
    // The request may meet the epoch before or in its delivery: it is abandoned or finished, never half.
    let result = world.builder().build().unwrap().run(options).await;
    assert_eq!(world.bars.n_rows() == 1, result.is_ok());
    assert_eq!(world.means.n_rows(), world.bars.n_rows());
    let report = world.run().await.unwrap();
    assert_eq!((world.bars.n_rows(), world.means.n_rows()), (1, 1));
    assert!(result.is_ok() || report.epochs[0].resumed);
}

#[tokio::test]
async fn rewind_and_reset_commit_an_older_position_as_a_new_epoch() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    world.run().await.unwrap();
    world.push("AAA", &[(1, 2.0)]);
    world.run().await.unwrap();
    let pipeline = world.builder().build().unwrap();
    assert_eq!(pipeline.rewind(1).await.unwrap().to_string(), "{AAA@1}");
    assert!(text(&pipeline.rewind(9).await.unwrap_err()).contains("whose last one is 3"));
    assert_eq!(pipeline.status().await.unwrap().next.to_string(), "{AAA@2}");
    let report = world.run().await.unwrap();
    assert_eq!((report.epochs[0].epoch, report.epochs[0].unchanged), (4, Some(1)), "read again and known already");
    assert_eq!(pipeline.reset().await.unwrap(), Checkpoint::new());
    world.run().await.unwrap();
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 2.0)])]));
}

#[tokio::test]
async fn hundreds_of_epochs_keep_the_checkpoint_right() {
    let world = World::new();
    let pipeline = stockflow_core::pipeline::Pipeline::builder("many")
        .source(world.source.clone())
        .sink(stockflow_core::pipeline::SinkStep::new("bars", world.bars.clone()))
        .store(world.store.clone())
        .build()
        .unwrap();
    for n in 0..80 {
        world.push(&format!("S{:02}", n % 7), &[(n, 1.0)]);
        pipeline.run(RunOptions::default()).await.unwrap();
    }
    assert_eq!(world.bars.n_rows(), 80);
    assert_eq!(
        pipeline.checkpoint().await.unwrap().to_string(),
        "{S00@12, S01@12, S02@12, S03@11, S04@11, S05@11, S06@11}"
    );
}
