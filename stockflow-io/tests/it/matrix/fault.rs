//! Where a fault strikes, and what it does.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stockflow_core::Result;
use stockflow_core::pipeline::{KillPoint, Probe};

use super::servers::{OwnServers, Server};

/// A place in an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At {
    /// Between two steps of the protocol.
    Point(String),
    /// The sink has taken so many rows of those that it stages.
    Rows(usize),
    /// The sink has written everything, and nothing is visible yet.
    Written,
    /// The sink has no transactions, and has written a part.
    PartWritten,
}

impl At {
    pub(super) fn point(point: &KillPoint) -> Self {
        Self::Point(point.to_string())
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Point(point) => f.write_str(point),
            Self::Rows(_) => f.write_str("half of the rows staged"),
            Self::Written => f.write_str("all written, not visible"),
            Self::PartWritten => f.write_str("a part written and visible"),
        }
    }
}

/// What happens there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Effect {
    /// `kill -9` of the own process.
    Die,
    /// `kill -9` of a server, which is started again a little later. Its folder says which.
    Restart(PathBuf, Server),
    /// `kill -9` of a server, whose work others take over.
    Kill(PathBuf, Server),
}

/// Strikes once. The marker file proves that it has, and where.
#[derive(Debug)]
pub(super) struct Striker {
    at: At,
    effect: Effect,
    marker: PathBuf,
    struck: AtomicBool,
}

impl Striker {
    pub(super) fn new(at: At, effect: Effect, marker: PathBuf) -> Self {
        Self { at, effect, marker, struck: AtomicBool::new(false) }
    }

    /// After how many rows of a stage it strikes, if it does so there.
    pub(super) fn rows(&self) -> Option<usize> {
        match self.at {
            At::Rows(rows) => Some(rows),
            _ => None,
        }
    }

    /// The place is reached.
    pub(super) fn reached(&self, at: &At) {
        if *at != self.at || self.struck.swap(true, Ordering::SeqCst) {
            return;
        }
        std::fs::write(&self.marker, at.to_string()).unwrap();
        match &self.effect {
            Effect::Die => {
                Command::new("kill").args(["-9", &std::process::id().to_string()]).status().unwrap();
                // The signal is on its way; nothing may run on.
                loop {
                    std::thread::park();
                }
            }
            Effect::Kill(folder, server) => {
                OwnServers::at(folder).call("kill", *server);
            }
            Effect::Restart(folder, server) => {
                let (servers, server) = (OwnServers::at(folder), *server);
                servers.call("kill", server);
                std::thread::spawn(move || {
                    // Long enough that the runner meets it dead.
                    std::thread::sleep(Duration::from_millis(300));
                    servers.call("up", server);
                });
            }
        }
    }
}

impl Probe for Striker {
    fn at(&self, point: &KillPoint) -> Result<()> {
        self.reached(&At::point(point));
        Ok(())
    }
}
