//! `stockflow run [PIPELINE.toml]`

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::HumanCount;
use stockflow_core::Error;
use stockflow_core::pipeline::{Continuous, EpochReport, Pipeline, Progress, Rebuild, RunOptions, RunReport, Shutdown};
use stockflow_core::sink::WriteMode;
use stockflow_core::source::Window;

use crate::args::{Global, PipelineArgs, RunArgs};
use crate::assemble::{self, Opening};
use crate::backfill;
use crate::config::PipelineConfig;
use crate::connectors::Listing;
use crate::ending::{self, Ending};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, say, stdout};

/// Runs pipelines until nothing is new, or until they are stopped, and tells what they did.
pub(crate) async fn run(args: RunArgs, global: &Global) -> Outcome {
    check_dates(&args)?;
    let config = assemble::config(&args.pipeline, global)?;
    assemble::check_input(&args.pipeline)?;
    if args.more.is_empty() {
        return perform(config, &args, global).await;
    }
    let mut configs = vec![config];
    for path in &args.more {
        let more = PipelineArgs { pipeline: Some(path.clone()), input: args.pipeline.input.clone() };
        configs.push(assemble::config(&more, global)?);
    }
    check_names(&configs)?;
    if configs.iter().any(|config| every(config, &args).is_some()) {
        return side_by_side(configs, &args, global).await;
    }
    let mut exit = Exit::Done;
    for config in configs {
        let name = config.name.clone();
        let done = perform(config, &args, global).await.map_err(|failure| failure.context(format!("`{name}`")))?;
        exit = exit.and(done);
    }
    Ok(exit)
}

/// Runs a pipeline that has been read.
pub(super) async fn perform(config: PipelineConfig, args: &RunArgs, global: &Global) -> Outcome {
    let shutdown = Shutdown::new();
    let signals = AbortOnDrop(tokio::spawn(listen(shutdown.clone())));
    let exit = execute(&config, args, global, shutdown, render::progress(global)).await;
    drop(signals);
    exit
}

/// Runs pipelines that do not end in one process. One that fails stops the others, each with whole epochs only.
async fn side_by_side(configs: Vec<PipelineConfig>, args: &RunArgs, global: &Global) -> Outcome {
    let shutdown = Shutdown::new();
    let signals = AbortOnDrop(tokio::spawn(listen(shutdown.clone())));
    let runs = configs.iter().map(|config| {
        let shutdown = shutdown.clone();
        async move {
            let progress = render::progress_of(&config.name, global);
            let outcome = execute(config, args, global, shutdown.clone(), progress).await;
            outcome.map_err(|failure| {
                shutdown.request();
                failure.context(format!("`{}`", config.name))
            })
        }
    });
    let outcomes = futures::future::join_all(runs).await;
    drop(signals);
    let mut exit = Exit::Done;
    let mut failures = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(done) => exit = exit.and(done),
            Err(failure) => failures.push(failure),
        }
    }
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(exit) };
    failures.for_each(|failure| failure.print());
    Err(first)
}

/// Ends a task with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Two pipelines of one name would fence each other.
fn check_names(configs: &[PipelineConfig]) -> Outcome<()> {
    let mut known = BTreeSet::new();
    match configs.iter().find(|config| !known.insert(&config.name)) {
        Some(twice) => Err(Failure::usage(format!("two of these pipelines are called `{}`", twice.name))
            .or_next("give each file a `name` of its own")),
        None => Ok(()),
    }
}

/// How long after an epoch the next one begins, if the run does not end by itself.
fn every(config: &PipelineConfig, args: &RunArgs) -> Option<Duration> {
    let is_backfill = args.from.is_some() || args.to.is_some() || !args.symbols.is_empty();
    args.every.or(config.every.filter(|_| !args.once && !is_backfill))
}

async fn execute(
    config: &PipelineConfig,
    args: &RunArgs,
    global: &Global,
    shutdown: Shutdown,
    watcher: Arc<dyn Progress>,
) -> Outcome {
    let pipeline = assemble::pipeline(config, global, Opening::Everything).await?;
    // Without a store of its own a pipeline has no other runner.
    if !global.quiet && assemble::store_path(config, global).is_some() {
        announce(args, &pipeline).await?;
    }
    let continuous = every(config, args).map(|every| Continuous { every });
    let committed = Arc::new(Committed { watcher, remembers: continuous.is_none(), epochs: Mutex::default() });
    let options = RunOptions { continuous, ..options(args, Arc::clone(&committed) as Arc<dyn Progress>, shutdown) };
    let report = pipeline.run(options).await;
    let mut report = report.map_err(|error| committed.before(error))?;
    // The rows are safe, whatever becomes of the folder meanwhile.
    let listing = config.source.list().await.ok();
    if report.up_to_date
        && config.source.place().is_some()
        && listing.as_ref().is_some_and(|listing| listing.files.is_empty())
    {
        check_begun(&pipeline, config).await?;
    }
    let listing = listing.unwrap_or_default();
    backfill::note_unknown(&mut report, &args.symbols, config).await?;
    let exit = if report.is_complete() { Exit::Done } else { Exit::Partly };
    tell(config, &report, &listing, exit, global).await?;
    Ok(exit)
}

/// A window that holds no day is a slip of the hand, and not worth to fence a runner for.
fn check_dates(args: &RunArgs) -> Outcome<()> {
    match (args.from, args.to) {
        (Some(from), Some(to)) if from > to => {
            Err(Failure::usage(format!("`--from {from}` is after `--to {to}`")).or_next("exchange the two dates"))
        }
        _ => Ok(()),
    }
}

/// An empty folder is up to date only where there was something before.
async fn check_begun(pipeline: &Pipeline, config: &PipelineConfig) -> Outcome<()> {
    if pipeline.status().await?.epoch.is_some() {
        return Ok(());
    }
    Err(Failure::failed(format!("`{}` is empty: there is nothing to begin with", config.source.path()))
        .or_next("put CSV, Parquet or NDJSON files there, or name another place"))
}

/// Remembers what was committed before a run fails, and passes everything on to who watches.
#[derive(Debug)]
struct Committed {
    watcher: Arc<dyn Progress>,
    /// A run that does not end has too many.
    remembers: bool,
    epochs: Mutex<Vec<EpochReport>>,
}

impl Committed {
    /// An error with the epochs that stand nevertheless.
    fn before(&self, error: Error) -> Failure {
        let epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        let told = epochs.iter().map(|epoch| {
            let rows = epoch.sinks.iter().map(|sink| format!("{} {}", HumanCount(sink.rows), sink.sink));
            format!("epoch {} was committed before and stands: {}", epoch.epoch, rows.collect::<Vec<_>>().join(", "))
        });
        Failure { details: told.collect(), ..Failure::from(error) }
    }
}

impl Progress for Committed {
    fn epoch(&self, epoch: u64, rows: Option<u64>) {
        self.watcher.epoch(epoch, rows);
    }

    fn step(&self, epoch: u64, step: &str) {
        self.watcher.step(epoch, step);
    }

    fn rows(&self, rows: u64) {
        self.watcher.rows(rows);
    }

    fn committed(&self, report: &EpochReport) {
        if self.remembers {
            self.epochs.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
        }
        self.watcher.committed(report);
    }
}

fn options(args: &RunArgs, progress: Arc<dyn Progress>, shutdown: Shutdown) -> RunOptions {
    let window = Window { from: args.from, to: args.to, symbols: args.symbols.clone() };
    RunOptions {
        window: Some(window).filter(|window| *window != Window::default()),
        rebuild: args.rebuild.then(|| Rebuild { sink: args.sink.clone() }),
        shutdown,
        progress,
        ..RunOptions::default()
    }
}

/// What a person should know before it begins.
async fn announce(args: &RunArgs, pipeline: &Pipeline) -> Outcome<()> {
    let is_backfill = args.from.is_some() || args.to.is_some() || !args.symbols.is_empty();
    if is_backfill || args.rebuild {
        let what = if args.rebuild { "rebuild" } else { "backfill" };
        say(format!("this {what} fences a runner of the same pipeline: it stops with exit code 4"));
    }
    if args.rebuild {
        let description = pipeline.describe().await?;
        for sink in description.sinks.iter().filter(|sink| {
            sink.write_mode == WriteMode::Append && args.sink.as_ref().is_none_or(|only| *only == sink.name)
        }) {
            say(format!("sink `{}` only appends: rows that it holds already come again", sink.name));
        }
    }
    Ok(())
}

/// The first signal lets the epoch end or abandons it whole, the second one kills.
pub(super) async fn listen(shutdown: Shutdown) {
    if stop_signal().await.is_err() {
        return;
    }
    say("stopping: the epoch is finished or abandoned whole; once more kills");
    shutdown.request();
    if stop_signal().await.is_ok() {
        say("killed; the next run goes on where this one stood");
        std::process::exit(130);
    }
}

/// Waits for Ctrl-C or, where there are signals, for what a supervisor sends.
async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Prints the report and what the run left behind.
async fn tell(
    config: &PipelineConfig,
    report: &RunReport,
    listing: &Listing,
    exit: Exit,
    global: &Global,
) -> Outcome<()> {
    let ending = if report.up_to_date { Ending::default() } else { ending::look_back(config).await? };
    if global.json {
        return render::json(&as_json(config, report, &ending, listing, exit, global)?);
    }
    // Where rows go to standard output, the report keeps out of their way.
    let mut out: Box<dyn Write> = if config.prints_rows() { Box::new(std::io::stderr()) } else { Box::new(stdout()) };
    writeln!(out, "pipeline {}", report.pipeline)?;
    render::report(&mut out, report)?;
    render::skipped(&mut out, listing)?;
    if let Some(advice) = ending::advice(config, report) {
        writeln!(out, "{advice}")?;
    }
    if report.up_to_date {
        writeln!(
            out,
            "everything lies where it was: {}",
            ending::places(config, global).into_iter().map(|(_, place)| place).collect::<Vec<_>>().join(", ")
        )?;
    } else {
        ending::print(&mut out, &ending, config, global)?;
    }
    out.flush()?;
    Ok(())
}

fn as_json(
    config: &PipelineConfig,
    report: &RunReport,
    ending: &Ending,
    listing: &Listing,
    exit: Exit,
    global: &Global,
) -> Outcome<serde_json::Value> {
    let mut value = serde_json::to_value(report).map_err(|error| Failure::failed(error.to_string()))?;
    let left_out: Vec<_> = report.left_out().collect();
    let refused =
        report.epochs.iter().flat_map(|epoch| &epoch.first_dead_letters).filter_map(|letter| letter.symbol.clone());
    let failed: BTreeSet<String> = left_out.iter().map(|part| part.partition.clone()).chain(refused).collect();
    let places: BTreeMap<String, String> = ending::places(config, global).into_iter().collect();
    let more = serde_json::json!({
        "complete": report.is_complete(),
        "dead_letters": report.dead_letters(),
        "left_out": left_out,
        "skipped": render::worth_telling(listing),
        "failed_symbols": failed,
        "basis": config.basis(),
        "places": places,
        "charts": ending.charts,
        "exit_code": exit.code(),
    });
    if let (Some(value), serde_json::Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    Ok(value)
}
