//! A crash at every step of the epoch protocol, over the twins.

use std::sync::Mutex;

use async_trait::async_trait;
use stockflow_core::Result;
use stockflow_core::pipeline::{KillPoint, Pipeline};
use stockflow_core::testing::{CrashCase, crash_matrix};

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
