//! The process that is killed: this test binary, run again for one cell.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stockflow_core::pipeline::{Probe, RunOptions};

use super::cell::{Cell, Rig};
use super::fault::{At, Effect, Striker};
use super::flaw::Flaw;
use super::listener::Listener;

/// The file with what the child is to do.
const ORDERS: &str = "STOCKFLOW_MATRIX_ORDERS";
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(330);

#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    cell: Cell,
    at: At,
    effect: Effect,
    flaw: Option<Flaw>,
}

fn marker(cell: &Cell) -> PathBuf {
    cell.folder.join("marker")
}

/// Not a test by itself: runs a cell's pipeline once with its fault.
#[tokio::test(flavor = "multi_thread")]
async fn one_run() {
    let Some(orders) = std::env::var_os(ORDERS) else { return };
    let orders: Orders = serde_json::from_slice(&std::fs::read(orders).unwrap()).unwrap();
    let striker = Arc::new(Striker::new(orders.at, orders.effect, marker(&orders.cell)));
    tracing::subscriber::set_global_default(Listener(Arc::clone(&striker))).unwrap();
    let rig = Rig { striker: Some(Arc::clone(&striker)), flaw: orders.flaw };
    let options = RunOptions { probe: Some(striker as Arc<dyn Probe>), ..RunOptions::default() };
    if let Err(error) = orders.cell.pipeline(&rig).unwrap().run(options).await {
        panic!("{}", error.chain().join(": "));
    }
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ended {
    status: ExitStatus,
    /// Where the fault struck.
    pub(super) struck: Option<String>,
    log: PathBuf,
}

impl Ended {
    pub(super) fn was_killed(&self) -> bool {
        self.status.signal() == Some(9)
    }

    pub(super) fn has_finished(&self) -> bool {
        self.status.success()
    }

    /// What the child said.
    pub(super) fn story(&self) -> String {
        format!("{}: {}", self.status, std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}

/// Runs a cell's pipeline in a process of its own, in which a fault strikes.
pub(super) async fn run(cell: &Cell, at: &At, effect: Effect, flaw: Option<Flaw>) -> Ended {
    let orders = Orders { cell: cell.clone(), at: at.clone(), effect, flaw };
    let (file, log) = (cell.folder.join("orders"), cell.folder.join("log"));
    std::fs::write(&file, serde_json::to_vec(&orders).unwrap()).unwrap();
    let marker = marker(cell);
    let _ = std::fs::remove_file(&marker);
    let ended = {
        let log = log.clone();
        tokio::task::spawn_blocking(move || wait(&file, &log)).await.unwrap()
    };
    Ended { status: ended, struck: std::fs::read_to_string(marker).ok(), log }
}

fn wait(orders: &Path, log: &Path) -> ExitStatus {
    let out = std::fs::File::create(log).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "matrix::child::one_run", "--nocapture", "--test-threads", "1"])
        .env(ORDERS, orders)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("the child hangs: {}", std::fs::read_to_string(log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
