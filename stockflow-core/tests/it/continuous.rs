//! Runs that do not end by themselves, and sources that cut their partitions.

use std::time::Duration;

use stockflow_core::Result;
use stockflow_core::memory::MemorySource;
use stockflow_core::pipeline::{Continuous, RunOptions, RunReport, Shutdown};
use stockflow_core::testing::bars_relation;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::support::*;

/// A world whose source cuts its partitions after so many rows.
fn cutting(rows: u64) -> World {
    World { source: MemorySource::new([bars_relation()]).with_rows_per_epoch(rows), ..World::new() }
}

fn start(world: &World, every: Duration) -> (Shutdown, JoinHandle<Result<RunReport>>) {
    let shutdown = Shutdown::new();
    let options =
        RunOptions { continuous: Some(Continuous { every }), shutdown: shutdown.clone(), ..RunOptions::default() };
    let pipeline = world.builder().build().unwrap();
    (shutdown, tokio::spawn(async move { pipeline.run(options).await }))
}

/// Waits until so many bars are there.
async fn until(world: &World, bars: usize) {
    let start = Instant::now();
    while world.bars.n_rows() < bars {
        sleep(Duration::from_millis(5)).await;
        assert!(start.elapsed() < PATIENCE, "{} bars after a minute", world.bars.n_rows());
    }
}

/// No test comes near it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nobody waits for its end.
const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

#[tokio::test]
async fn rows_are_delivered_when_they_come_until_the_run_is_stopped() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let (shutdown, run) = start(&world, SHORT);
    until(&world, 1).await;
    for day in 1..4 {
        world.push("AAA", &[(day, f64::from(day) + 1.0)]);
        until(&world, usize::try_from(day).unwrap() + 1).await;
    }
    // Times without anything new are no epochs.
    sleep(SHORT * 5).await;
    shutdown.request();
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.epochs.len(), 4);
    assert!(!report.interrupted, "it has delivered everything");
    assert_eq!(world.means_seen(), means_of(&[("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)])]));
}

#[tokio::test]
async fn a_run_that_waits_for_its_next_epoch_stops_at_once() {
    let world = World::new();
    world.push("AAA", &[(0, 1.0)]);
    let (shutdown, run) = start(&world, LONG);
    until(&world, 1).await;
    shutdown.request();
    let report = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap().unwrap();
    assert_eq!(report.epochs.len(), 1);
}

#[tokio::test]
async fn a_whole_epoch_that_waits_is_not_waited_for() {
    let world = cutting(3);
    let (shutdown, run) = start(&world, LONG);
    world.push("AAA", &[(0, 1.0), (1, 2.0)]);
    world.push("AAA", &[(2, 3.0)]);
    world.push("AAA", &[(3, 4.0)]);
    until(&world, 4).await;
    shutdown.request();
    let report = run.await.unwrap().unwrap();
    assert_eq!(report.epochs.iter().map(|epoch| epoch.read["bars"]).sum::<u64>(), 4);
}

#[tokio::test]
async fn a_run_goes_on_to_what_was_there_when_it_began() {
    let world = cutting(2);
    for day in 0..5 {
        world.push("AAA", &[(day, f64::from(day))]);
    }
    world.push("BBB", &[(0, 7.0)]);
    let report = world.run().await.unwrap();
    assert_eq!(report.epochs.iter().map(|epoch| epoch.read["bars"]).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(world.bars.n_rows(), 6);
    assert!(world.run().await.unwrap().up_to_date);
}

#[tokio::test]
async fn an_outage_of_the_source_is_waited_out_and_the_run_goes_on() {
    let world = cutting(10);
    let (shutdown, run) = start(&world, SHORT);
    world.push("AAA", &[(0, 1.0)]);
    until(&world, 1).await;
    world.source.set_outage(2);
    world.push("AAA", &[(1, 2.0)]);
    until(&world, 2).await;
    shutdown.request();
    run.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_while_the_source_is_away_is_no_error() {
    let world = cutting(10);
    let (shutdown, run) = start(&world, SHORT);
    world.push("AAA", &[(0, 1.0)]);
    until(&world, 1).await;
    // Somewhere within a plan that is tried again and again.
    world.source.set_outage(u32::MAX);
    world.push("AAA", &[(1, 2.0)]);
    tokio::time::sleep(4 * SHORT).await;
    shutdown.request();
    let report = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap().unwrap();
    assert_eq!(report.epochs.len(), 1);
    assert!(report.interrupted);
}

#[tokio::test]
async fn a_long_run_remembers_its_last_epochs() {
    let world = World::new();
    let (shutdown, run) = start(&world, Duration::from_millis(1));
    for day in 0..103 {
        world.push("AAA", &[(day, 1.0)]);
        until(&world, usize::try_from(day).unwrap() + 1).await;
    }
    shutdown.request();
    let report = run.await.unwrap().unwrap();
    assert!((100..=101).contains(&report.epochs.len()), "{}", report.epochs.len());
    assert_eq!(report.epochs.last().unwrap().epoch, 103);
}

#[tokio::test]
async fn a_backfill_ends() {
    let world = World::new();
    let options = RunOptions {
        continuous: Some(Continuous { every: Duration::from_secs(1) }),
        window: Some(stockflow_core::source::Window::default()),
        ..RunOptions::default()
    };
    let error = world.builder().build().unwrap().run(options).await.unwrap_err();
    assert!(text(&error).contains("a backfill ends"), "{}", text(&error));
}
