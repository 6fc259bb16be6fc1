//! A crash at every step of the epoch protocol.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::{Failure, ensure, unexpected};
use crate::error::{Error, Result};
use crate::pipeline::{KillPoint, Pipeline, Probe, RunOptions};

/// A pipeline under test: every call of [`CrashCase::pipeline`] opens the same source, store and sinks anew, as a restarted
/// process would.
#[async_trait]
pub trait CrashCase: Debug + Send + Sync {
    /// New places, with input for one epoch.
    async fn reset(&self) -> Result<()>;
    /// More input, for one more epoch.
    async fn more(&self) -> Result<()>;
    /// The pipeline over these places.
    async fn pipeline(&self) -> Result<Pipeline>;
    /// What readers of the sinks see, as sorted lines.
    async fn read(&self) -> Result<Vec<String>>;
    /// The points to strike at; by default every point of the pipeline's sinks must be passed by an epoch.
    fn points(&self) -> Vec<KillPoint>;
}

/// Strikes once at one point, within the process: the run ends with [`Error::Killed`] and tidies nothing.
#[derive(Debug)]
pub struct KillOnce {
    point: KillPoint,
    struck: AtomicBool,
}

impl KillOnce {
    /// Strikes at `point`.
    pub fn new(point: KillPoint) -> Self {
        Self { point, struck: AtomicBool::new(false) }
    }

    /// Whether it has struck.
    pub fn has_struck(&self) -> bool {
        self.struck.load(Ordering::SeqCst)
    }
}

impl Probe for KillOnce {
    fn at(&self, point: &KillPoint) -> Result<()> {
        if *point == self.point && !self.struck.swap(true, Ordering::SeqCst) {
            return Err(Error::Killed { point: point.to_string() });
        }
        Ok(())
    }
}

/// Kills its own process with SIGKILL at one point; the marker file proves where. For child processes.
#[derive(Debug)]
pub struct KillHere {
    /// The point, as printed.
    pub point: String,
    /// Written right before the kill.
    pub marker: PathBuf,
}

impl Probe for KillHere {
    fn at(&self, point: &KillPoint) -> Result<()> {
        if point.to_string() != self.point {
            return Ok(());
        }
        let killed = |error: std::io::Error| Error::internal(format!("the kill at {point} failed: {error}"));
        std::fs::write(&self.marker, &self.point).map_err(killed)?;
        std::process::Command::new("kill").args(["-9", &std::process::id().to_string()]).status().map_err(killed)?;
        // The signal is on its way; nothing may run on.
        loop {
            std::thread::park();
        }
    }
}

/// Runs two epochs and kills the first or the second at each point; after a restart readers must see what a run without a crash
/// gives.
///
/// Each point must strike: one that is never passed is a failure, too.
pub async fn crash_matrix(case: &dyn CrashCase) -> Vec<Failure> {
    let mut failures = Vec::new();
    let undisturbed = match undisturbed(case).await {
        Ok(lines) => lines,
        Err(reason) => return vec![Failure { check: "undisturbed run", reason }],
    };
    for (check, epoch) in [("crash in the first epoch", 1), ("crash", 2)] {
        for point in case.points() {
            if let Err(reason) = crash_at(case, &point, epoch, &undisturbed).await {
                failures.push(Failure { check, reason: format!("{point}: {reason}") });
            }
        }
    }
    failures
}

async fn run(case: &dyn CrashCase, options: RunOptions) -> std::result::Result<Result<()>, String> {
    let pipeline = case.pipeline().await.map_err(unexpected("building the pipeline"))?;
    Ok(pipeline.run(options).await.map(drop))
}

async fn undisturbed(case: &dyn CrashCase) -> std::result::Result<Vec<String>, String> {
    case.reset().await.map_err(unexpected("reset"))?;
    run(case, RunOptions::default()).await?.map_err(unexpected("the first epoch"))?;
    case.more().await.map_err(unexpected("more input"))?;
    run(case, RunOptions::default()).await?.map_err(unexpected("the second epoch"))?;
    case.read().await.map_err(unexpected("reading"))
}

async fn crash_at(
    case: &dyn CrashCase,
    point: &KillPoint,
    epoch: u32,
    undisturbed: &[String],
) -> std::result::Result<(), String> {
    case.reset().await.map_err(unexpected("reset"))?;
    for turn in 1..=2 {
        if turn > 1 {
            case.more().await.map_err(unexpected("more input"))?;
        }
        if turn == epoch {
            let probe = Arc::new(KillOnce::new(point.clone()));
            let options = RunOptions { probe: Some(Arc::clone(&probe) as Arc<dyn Probe>), ..RunOptions::default() };
            let killed = run(case, options).await?;
            ensure(probe.has_struck() && killed.is_err(), || "the kill did not strike".into())?;
        }
        run(case, RunOptions::default()).await?.map_err(unexpected("a run without a crash"))?;
    }
    let found = case.read().await.map_err(unexpected("reading"))?;
    ensure(found == undisturbed, || format!("readers should see {} rows and see {}", undisturbed.len(), found.len()))?;
    run(case, RunOptions::default()).await?.map_err(unexpected("one more run"))?;
    let found = case.read().await.map_err(unexpected("reading"))?;
    ensure(found == undisturbed, || {
        format!(
            "one more run without new input changed what readers see: {} rows instead of {}",
            found.len(),
            undisturbed.len()
        )
    })
}
