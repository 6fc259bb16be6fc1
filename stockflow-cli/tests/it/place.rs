//! A folder of its own for each test, the binary in it, and what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test.
pub(crate) const STOCKFLOW: &str = env!("CARGO_BIN_EXE_stockflow");

/// Where the pipeline that `init` writes has its tables.
pub(crate) const TEMPLATE_LAKE: &str = "stockflow-data/my_pipeline";

/// A folder in which commands are run; gone at the end of the test.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with the bars that the repository ships, in `examples/data`.
    pub(crate) fn with_bars() -> Self {
        let place = Self::empty();
        std::fs::create_dir_all(place.path("examples/data")).unwrap();
        for file in std::fs::read_dir(repository().join("examples/data")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), place.path("examples/data").join(file.file_name())).unwrap();
        }
        place
    }

    /// The bars of two symbols only, for tests that run often.
    pub(crate) fn with_few_bars() -> Self {
        let place = Self::empty();
        for symbol in ["FB", "GOOG"] {
            let text = std::fs::read_to_string(repository().join(format!("examples/data/{symbol}.csv"))).unwrap();
            let lines: Vec<&str> = text.lines().take(121).collect();
            place.write(&format!("examples/data/{symbol}.csv"), &(lines.join("\n") + "\n"));
        }
        place
    }

    /// A path within the folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Reads a file.
    pub(crate) fn read(&self, relative: &str) -> String {
        std::fs::read_to_string(self.path(relative)).unwrap()
    }

    /// The command with these arguments, to be changed before it is run.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(STOCKFLOW);
        command.args(args).current_dir(self.folder.path());
        for name in ["STOCKFLOW_DATA_DIR", "STOCKFLOW_INPUT", "RUST_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        Said::from(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Starts the command.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Child {
        self.command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Rows of a query over the lake.
    pub(crate) fn query(&self, sql: &str) -> Vec<serde_json::Value> {
        self.query_in("stockflow-data", sql)
    }

    /// Rows of a query over the lake in another folder.
    pub(crate) fn query_in(&self, data_dir: &str, sql: &str) -> Vec<serde_json::Value> {
        let said = self.run(["sql", sql, "--format", "ndjson", "--data-dir", data_dir]).ok();
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one number that a query gives.
    pub(crate) fn number(&self, sql: &str) -> f64 {
        let rows = self.query(sql);
        let row = rows.first().unwrap_or_else(|| unreachable!("no row from {sql}"));
        row.as_object().unwrap().values().next().unwrap().as_f64().unwrap()
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Said {
    /// Asserts the exit code; no command may ever panic.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert!(!self.stderr.contains("panicked at"), "{}", self.stderr);
        assert_eq!(self.code, Some(expected), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that it went well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Asserts that standard error has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }

    /// Asserts that standard output has this text.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "`{text}` is not in:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| unreachable!("{error} in:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }
}

/// The repository's folder.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Sends a signal by name.
pub(crate) fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap().success());
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not come in two minutes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Counts a test that cannot run here, with the reason; `scripts/test` prints them.
pub(crate) fn leave_out(test: &str, reason: &str) {
    use std::io::Write;
    eprintln!("left out: {test} ({reason})");
    if let Some(path) = std::env::var_os("STOCKFLOW_LEFT_OUT_FILE") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "left out: {test} ({reason})").unwrap();
    }
}
