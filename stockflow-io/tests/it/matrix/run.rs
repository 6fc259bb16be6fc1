//! One cell from its first part to its last.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use stockflow_core::pipeline::{KillPoint, RunOptions, RunReport};
use stockflow_core::testing::Findings;
use tempfile::TempDir;

use super::cell::{Cell, Rig, SinkKind, SourceKind};
use super::child;
use super::fault::{At, Effect};
use super::feed::{Feed, half};
use super::hold::hold;
use super::seen;
use super::servers::Servers;
use super::table::{Line, check, print};

/// Cells that run side by side: most of their time is waiting, above all for the coordinator of a new producer's transactions.
const SIDE_BY_SIDE: usize = 6;
/// The sinks of a cell.
const SINKS: [&str; 2] = ["bars", "dead_letters"];
/// How long a reader may lag behind a commit: the brokers mark a transaction's end after they have said so.
const LAG: Duration = Duration::from_secs(3);

/// A cell with its input.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cell: Cell,
    pub(super) feed: Feed,
    _folder: TempDir,
}

impl World {
    pub(super) async fn new(source: SourceKind, sink: SinkKind, servers: &Servers) -> Self {
        let folder = tempfile::Builder::new().prefix("cell").tempdir().unwrap();
        let cell = Cell::new(source, sink, servers, folder.path()).await;
        Self { cell, feed: Feed::new(), _folder: folder }
    }

    pub(super) fn send(&mut self) {
        tokio::task::block_in_place(|| self.feed.send(&self.cell));
    }

    /// Runs the pipeline as it is, in this process.
    pub(super) async fn run(&self) -> stockflow_core::Result<RunReport> {
        self.cell.pipeline(&Rig::default())?.run(RunOptions::default()).await
    }

    /// The first part goes through.
    pub(super) async fn begin(&mut self) {
        self.send();
        let report = self.run().await.unwrap_or_else(|error| panic!("{}", error.chain().join(": ")));
        assert_eq!(report.epochs.len(), 1);
    }

    /// Compares what readers see with what was sent: what the checkpoint says is out, or all of it.
    pub(super) async fn judge(&self, all: bool) -> (Findings, Findings) {
        let checkpoint = self.cell.store().head().await.unwrap().checkpoint;
        let is_out = |partition: &str, position| all || self.cell.is_out(&checkpoint, partition, position);
        let end = tokio::time::Instant::now() + LAG;
        loop {
            let (bars, letters) = (seen::bars(&self.cell).await, seen::letters(&self.cell).await);
            let mut bars = self.feed.bars.judge(self.cell.sink.mode(), &bars, is_out).unwrap();
            let mut letters =
                self.feed.letters.judge(stockflow_core::sink::WriteMode::Append, &letters, is_out).unwrap();
            if !self.cell.sink.has_transactions() {
                bars.torn.clear();
                letters.torn.clear();
            }
            if bars.is_clean() && letters.is_clean() || tokio::time::Instant::now() > end {
                return (bars, letters);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sink right after a fault.
    pub(super) async fn judge_now(&self, line: &mut Line) {
        let (bars, letters) = self.judge(false).await;
        line.add("right after the fault", false, &bars, &letters);
    }

    /// The last part goes through, and then nothing more happens.
    pub(super) async fn finish(&mut self, line: &mut Line) {
        self.send();
        for turn in ["after the fault", "once more"] {
            match self.run().await {
                Ok(report) if turn == "once more" && !report.epochs.is_empty() => {
                    line.remarks.push(format!("a run without new input has run {} epochs", report.epochs.len()));
                }
                Ok(_) => {}
                Err(error) => line.remarks.push(format!("the run {turn}: {}", error.chain().join(": "))),
            }
        }
        let (bars, letters) = self.judge(true).await;
        line.add("at the end", true, &bars, &letters);
    }
}

#[derive(Debug, Clone)]
enum Crash {
    /// The process is killed.
    Kill(At),
    /// A second runner comes while the first is at this point.
    Second(KillPoint),
}

/// Every crash that needs no server to be killed.
fn all(sink: SinkKind) -> Vec<Crash> {
    // A source that is read again gives the same rows: nothing is sealed.
    let points = KillPoint::all(&SINKS).into_iter().filter(|point| *point != KillPoint::AfterRead);
    let written = if sink.has_transactions() { At::Written } else { At::PartWritten };
    let kills = points.map(|point| At::point(&point)).chain([At::Rows(half()), written]);
    let bars = || SINKS[0].to_owned();
    let seconds = [
        KillPoint::AfterStage(bars()),
        KillPoint::BeforeCommit(bars()),
        KillPoint::AfterCommit(bars()),
        KillPoint::BeforeCommit(SINKS[1].to_owned()),
    ];
    kills.map(Crash::Kill).chain(seconds.map(Crash::Second)).collect()
}

/// The crashes of all pairs with these sinks.
pub(super) async fn crashes(name: &str, sinks: &[SinkKind]) {
    let servers = Arc::new(Servers::of_environment());
    let pairs = sinks.iter().flat_map(|sink| SourceKind::ALL.map(|source| (source, *sink)));
    let pairs: Vec<_> = pairs.filter(|(source, sink)| servers.have("crash matrix", *source, *sink)).collect();
    let cells = pairs.iter().flat_map(|pair| all(pair.1).into_iter().map(move |crash| (*pair, crash)));
    let lines: Vec<Line> = stream::iter(cells)
        .map(|((source, sink), crash)| {
            let servers = Arc::clone(&servers);
            tokio::spawn(async move {
                let world = World::new(source, sink, &servers).await;
                match crash {
                    Crash::Kill(at) => kill(world, at).await,
                    Crash::Second(point) => second(world, point).await,
                }
            })
        })
        .buffered(SIDE_BY_SIDE)
        .map(|line| line.unwrap())
        .collect()
        .await;
    print(name, &lines);
    check(&lines);
}

async fn kill(mut world: World, at: At) -> Line {
    let mut line = Line::new(&world.cell, format!("kill {at}"));
    world.begin().await;
    world.send();
    let ended = child::run(&world.cell, &at, Effect::Die, None).await;
    line.fired = ended.was_killed() && ended.struck == Some(at.to_string());
    if !line.fired {
        line.remarks.push(ended.story());
    }
    world.judge_now(&mut line).await;
    world.finish(&mut line).await;
    line
}

async fn second(mut world: World, point: KillPoint) -> Line {
    let mut line = Line::new(&world.cell, format!("second runner {point}"));
    world.begin().await;
    world.send();
    let (probe, held) = hold(point);
    let cell = world.cell.clone();
    // In a thread of its own, because it is stopped where it stands.
    let first = std::thread::spawn(move || {
        let options = RunOptions { probe: Some(Arc::new(probe)), ..RunOptions::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { cell.pipeline(&Rig::default())?.run(options).await })
    });
    let was_held = tokio::task::block_in_place(|| held.wait());
    match world.run().await {
        Ok(_) => {}
        Err(error) => line.remarks.push(format!("the second runner: {}", error.chain().join(": "))),
    }
    if was_held {
        held.let_go();
    }
    let first = tokio::task::block_in_place(|| first.join()).unwrap();
    let is_fenced = first.as_ref().is_err_and(|error| error.is_fenced());
    line.fired = was_held && is_fenced;
    if !is_fenced {
        let told = first.map(|report| format!("{report:?}")).unwrap_or_else(|error| error.chain().join(": "));
        line.remarks.push(format!("the first runner was not fenced: {told}"));
    }
    world.judge_now(&mut line).await;
    world.finish(&mut line).await;
    line
}
