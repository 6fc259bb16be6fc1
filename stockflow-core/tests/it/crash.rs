//! A crash at every step of the epoch protocol, over the twins.

use std::sync::Mutex;

use async_trait::async_trait;
use stockflow_core::Result;
use stockflow_core::pipeline::{KillPoint, Pipeline, SinkStep};
use stockflow_core::sink::WriteMode;
use stockflow_core::testing::{CrashCase, SinkPlace, crash_matrix, table_of};

use crate::kit::{Broken, Twin};
use crate::support::*;

#[derive(Debug)]
struct Twins {
    world: Mutex<World>,
    best_effort: bool,
}

#[async_trait]
impl CrashCase for Twins {
    async fn reset(&self) -> Result<()> {
        let mut world = World::new();
        if self.best_effort {
            world.source = world.source.clone().best_effort();
        }
        world.push("AAA", &[(0, 1.0), (1, 2.0), (2, 3.0)]);
        world.push("BBB", &[(0, 7.0)]);
        *self.world.lock().unwrap() = world;
        Ok(())
    }

    async fn more(&self) -> Result<()> {
        let world = self.world.lock().unwrap();
        // New bars, a corrected one, a late one, and something that cannot be decoded.
        world.push("AAA", &[(3, 4.0), (1, 5.0)]);
        world.push("BBB", &[(2, 9.0), (1, 8.0)]);
        world.source.push_undecodable("AAA", "x", "no JSON");
        Ok(())
    }

    async fn pipeline(&self) -> Result<Pipeline> {
        self.world.lock().unwrap().builder().build()
    }

    async fn read(&self) -> Result<Vec<String>> {
        let world = self.world.lock().unwrap();
        let letters =
            seen(&world.letters).into_iter().map(|line| line.split(" at=").next().unwrap_or_default().to_owned());
        Ok([world.bars_seen(), world.means_seen(), letters.collect()].concat())
    }

    fn points(&self) -> Vec<KillPoint> {
        let mut points = KillPoint::all(&["bars", "means", "dead_letters"]);
        points.retain(|point| self.best_effort || *point != KillPoint::AfterRead);
        if self.best_effort {
            // The twin forgets what it gave: a crash between scan and seal loses it, which no pipeline can mend.
            points.retain(|point| *point != KillPoint::AfterScan);
        }
        points
    }
}

#[tokio::test]
async fn every_kill_point_of_an_exact_source() {
    let case = Twins { world: Mutex::new(World::new()), best_effort: false };
    assert_eq!(crash_matrix(&case).await, Vec::new());
}

#[tokio::test]
async fn every_kill_point_of_a_best_effort_source() {
    let case = Twins { world: Mutex::new(World::new()), best_effort: true };
    assert_eq!(crash_matrix(&case).await, Vec::new());
}

/// The bars go into a twin that breaks one promise.
#[derive(Debug)]
struct BrokenSink {
    broken: Broken,
    place: Mutex<(World, Twin)>,
    points: Vec<KillPoint>,
}

impl BrokenSink {
    fn new(broken: Broken) -> Self {
        let place = (World::new(), Twin::new(broken, WriteMode::Append));
        let points = KillPoint::all(&["bars"]).into_iter().filter(|point| *point != KillPoint::AfterRead).collect();
        Self { broken, place: Mutex::new(place), points }
    }
}

#[async_trait]
impl CrashCase for BrokenSink {
    async fn reset(&self) -> Result<()> {
        let world = World::new();
        world.push("AAA", &[(0, 1.0), (1, 2.0)]);
        *self.place.lock().unwrap() = (world, Twin::new(self.broken, WriteMode::Append));
        Ok(())
    }

    async fn more(&self) -> Result<()> {
        self.place.lock().unwrap().0.push("BBB", &[(0, 7.0), (1, 8.0)]);
        Ok(())
    }

    async fn pipeline(&self) -> Result<Pipeline> {
        let (world, twin) = self.place.lock().unwrap().clone();
        let builder = Pipeline::builder("broken").source(world.source.clone()).store(world.store.clone());
        builder.sink(SinkStep::new("bars", twin)).build()
    }

    async fn read(&self) -> Result<Vec<String>> {
        let twin = self.place.lock().unwrap().1.clone();
        table_of(&twin.read().await?)
    }

    fn points(&self) -> Vec<KillPoint> {
        self.points.clone()
    }
}

/// The points at which the matrix rejects a twin.
async fn rejected_at(case: &BrokenSink) -> Vec<String> {
    let failures = crash_matrix(case).await;
    failures.iter().map(|failure| format!("{}: {}", failure.check, failure.reason)).collect()
}

#[tokio::test]
async fn the_matrix_rejects_broken_twins_at_the_points_that_tell() {
    assert_eq!(rejected_at(&BrokenSink::new(Broken::Not)).await, Vec::<String>::new());
    for (broken, point) in [
        (Broken::KeyedInNameOnly, KillPoint::AfterCommit("bars".into())),
        (Broken::PublishesHalfAnEpoch, KillPoint::AfterStage("bars".into())),
        (Broken::TellsTooEarly, KillPoint::AfterStage("bars".into())),
    ] {
        let rejected = rejected_at(&BrokenSink::new(broken)).await;
        let told = |line: &String| line.contains(&format!(": {point}: "));
        assert!(rejected.iter().any(told), "{broken:?}: {rejected:?}");
        let harmless = format!(": {}: ", KillPoint::AfterPlan);
        assert!(!rejected.iter().any(|line| line.contains(&harmless)), "{broken:?}: {rejected:?}");
    }
}

#[tokio::test]
async fn a_kill_that_does_not_strike_is_a_failure() {
    // An exact source is not sealed, so nothing can be killed after it.
    let case = BrokenSink { points: vec![KillPoint::AfterRead], ..BrokenSink::new(Broken::Not) };
    let rejected = rejected_at(&case).await;
    assert_eq!(rejected.len(), 2, "{rejected:?}");
    assert!(rejected.iter().all(|line| line.contains("the kill did not strike")), "{rejected:?}");
}
