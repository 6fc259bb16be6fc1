//! `kill -9` at every step of the epoch protocol: files in, Parquet files and a Delta table out.
//!
//! The test starts itself as a child process, which kills itself at the point; the marker file proves where.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use stockflow_core::pipeline::{KillPoint, Pipeline, Probe, RunOptions, SinkStep, Step};
use stockflow_core::store::CheckpointStore;
use stockflow_core::testing::{KillHere, table_of};
use stockflow_core::transform::{Clean, Normalize};
use stockflow_io::delta::{DeltaHistory, DeltaSink, open_table};
use stockflow_io::file::{FileSink, FileSource, ManifestTable, SinkMode};
use tempfile::TempDir;

const FOLDER: &str = "STOCKFLOW_CHILD_FOLDER";
const KILL_AT: &str = "STOCKFLOW_CHILD_KILL_AT";

fn text(path: PathBuf) -> String {
    path.display().to_string()
}

fn pipeline(folder: &Path) -> stockflow_core::Result<Pipeline> {
    let bars = text(folder.join("bars"));
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.join("store")).unwrap();
    Pipeline::builder("crash")
        .source(FileSource::new(text(folder.join("in")))?)
        .step(Step::new("normalized", Normalize::new()))
        .step(Step::new("clean", Clean::default()))
        .history("clean", Arc::new(DeltaHistory::new(&bars)?))
        .sink(SinkStep::new("bars", DeltaSink::new(&bars)?))
        .sink(SinkStep::new("files", FileSink::parquet(text(folder.join("files")), SinkMode::Append)?))
        .dead_letters(FileSink::ndjson(text(folder.join("letters")), SinkMode::Append)?)
        .store(CheckpointStore::new(Arc::new(store), ""))
        .build()
}

/// The child: runs the pipeline once, and dies where it is told to. Without the variable it is no test at all.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let probe = std::env::var(KILL_AT)
        .ok()
        .map(|point| Arc::new(KillHere { point, marker: folder.join("marker") }) as Arc<dyn Probe>);
    let report = pipeline(&folder).unwrap().run(RunOptions { probe, ..RunOptions::default() }).await;
    if let Err(error) = report {
        panic!("{}", error.chain().join(": "));
    }
}

fn run(folder: &Path, kill_at: Option<&KillPoint>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "crash::child", "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder)
        .env_remove(KILL_AT);
    if let Some(point) = kill_at {
        command.env(KILL_AT, point.to_string());
    }
    let output = command.output().unwrap();
    if kill_at.is_none() && !output.status.success() {
        panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    output.status
}

fn first_input(folder: &Path) {
    for name in ["in", "store"] {
        std::fs::create_dir_all(folder.join(name)).unwrap();
    }
    std::fs::write(
        folder.join("in/AAA.csv"),
        "symbol,date,open,high,low,close,volume\nAAA,2024-01-02,1,3,1,2,10\nAAA,2024-01-03,2,4,2,3,10\n",
    )
    .unwrap();
}

/// New bars, a corrected one, and a line that is no bar.
fn second_input(folder: &Path) {
    std::fs::write(folder.join("in/AAA_2.csv"), "symbol,date,open,high,low,close,volume\nAAA,2024-01-04,3,5,3,4,10\nAAA,2024-01-03,2,9,2,8,10\nAAA,someday,1,1,1,1,1\n").unwrap();
}

/// What readers see.
async fn seen(folder: &Path) -> Vec<String> {
    let session = SessionContext::new();
    let columns = ["symbol", "ts", "open", "high", "low", "close", "volume"];
    let bars = session.read_table(open_table(&text(folder.join("bars"))).await.unwrap()).unwrap();
    let bars = bars.select_columns(&columns).unwrap().collect().await.unwrap();
    let files = session.read_table(Arc::new(ManifestTable::open(&text(folder.join("files"))).await.unwrap())).unwrap();
    let files = files.select_columns(&columns).unwrap().collect().await.unwrap();
    let letters =
        session.read_table(Arc::new(ManifestTable::open(&text(folder.join("letters"))).await.unwrap())).unwrap();
    let letters = letters
        .select_columns(&["epoch", "connector", "partition", "position", "reason"])
        .unwrap()
        .collect()
        .await
        .unwrap();
    let revisions = session.read_table(open_table(&text(folder.join("bars_revisions"))).await.unwrap()).unwrap();
    let revisions = revisions.select_columns(&columns).unwrap().collect().await.unwrap();
    [bars, files, letters, revisions].iter().flat_map(|batches| table_of(batches).unwrap()).collect()
}

#[tokio::test]
async fn kill_9_at_every_point_loses_and_doubles_nothing() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let undisturbed = TempDir::new().unwrap();
    first_input(undisturbed.path());
    run(undisturbed.path(), None);
    second_input(undisturbed.path());
    run(undisturbed.path(), None);
    let expected = seen(undisturbed.path()).await;
    assert_eq!(expected.len(), 3 + 4 + 1 + 1, "bars, appended rows, a dead letter, a revision: {expected:#?}");

    let points =
        KillPoint::all(&["bars", "files", "dead_letters"]).into_iter().filter(|point| *point != KillPoint::AfterRead);
    for point in points {
        let folder = TempDir::new().unwrap();
        first_input(folder.path());
        run(folder.path(), None);
        second_input(folder.path());
        let status = run(folder.path(), Some(&point));
        assert_eq!(status.signal(), Some(9), "{point}: the child was not killed: {status}");
        assert_eq!(
            std::fs::read_to_string(folder.path().join("marker")).unwrap(),
            point.to_string(),
            "the kill struck there"
        );
        run(folder.path(), None);
        assert_eq!(seen(folder.path()).await, expected, "{point}");
        run(folder.path(), None);
        assert_eq!(seen(folder.path()).await, expected, "{point}, one more run");
    }
}
