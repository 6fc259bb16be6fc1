//! A run: claim the store, open the sinks, then one epoch after the other until the target is reached.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Duration, Utc};
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::Instrument;

use super::builder::{DEAD_LETTER_SINK, Mode, Pipeline, SinkStep};
use super::carry::Carries;
use super::clock::fix_clock;
use super::continuous::Continuous;
use super::definition::{Definition, canonical};
use super::epoch::EpochRun;
use super::kill_point::{KillPoint, Probe};
use super::progress::{NoProgress, Progress};
use super::reference;
use super::replay::{NotReplayed, ReplayLetters};
use super::report::{EpochReport, RunReport};
use super::state::State;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, ErrorClass, Result};
use crate::sink::{Idempotence, Sink};
use crate::source::{EpochLimit, EpochPlan, Replay, Window};
use crate::store::{Commit, EpochKind, Head, Intent, Log, RecordBody, StateRef};
use crate::telemetry;
use crate::token::{EpochToken, SinkId};

/// How many changed settings an error lists.
const SHOWN_DIFFERENCES: usize = 5;

/// A request to stop: the current epoch is finished or abandoned whole.
#[derive(Debug, Clone)]
pub struct Shutdown(tokio::sync::watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(tokio::sync::watch::channel(false).0)
    }
}

impl Shutdown {
    /// Nothing is requested yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every run that holds a clone to stop.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn requested(&self) {
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|requested| *requested).await;
    }
}

/// Everything again, whatever the sinks hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuild {
    /// Only this sink; the others keep what they hold.
    pub sink: Option<String>,
}

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Only these bars, again: a backfill.
    pub window: Option<Window>,
    /// The one way back after a changed definition, a lost store, a new sink.
    pub rebuild: Option<Rebuild>,
    /// Dead letters once more, and nothing else.
    pub letters: Option<ReplayLetters>,
    /// Goes on until it is asked to stop; without it the run ends when everything that is new now has been delivered.
    pub continuous: Option<Continuous>,
    /// Asks the run to stop.
    pub shutdown: Shutdown,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Strikes at kill points: for tests.
    pub probe: Option<Arc<dyn Probe>>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            window: None,
            rebuild: None,
            letters: None,
            continuous: None,
            shutdown: Shutdown::new(),
            progress: Arc::new(NoProgress),
            probe: None,
        }
    }
}

impl Pipeline {
    /// Runs until everything that is new now has been delivered, or, as [`RunOptions::continuous`], until it is asked to stop.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if pipeline, store and sinks do not belong together; [`Error::Fenced`] if another runner takes
    /// over; [`Error::Interrupted`] on shutdown in the middle of an epoch, unless the run is continuous; whatever source,
    /// transforms and sinks give, with the epoch and the step. An epoch that fails leaves nothing visible in transactional
    /// sinks and is run again.
    pub async fn run(&self, options: RunOptions) -> Result<RunReport> {
        let span = tracing::info_span!("stockflow.run", pipeline = %self.name);
        let result = self.run_inner(options).instrument(span).await;
        if let Err(error) = &result {
            metrics::counter!(crate::telemetry::ERRORS, "pipeline" => self.name.clone(), "class" => error.class().to_string()).increment(1);
        }
        result
    }

    async fn run_inner(&self, options: RunOptions) -> Result<RunReport> {
        let start = Instant::now();
        self.check_run(&options)?;
        // Types, scopes and volatile functions are checked before anything is claimed.
        self.describe().await?;
        let definition = Definition::of(self);
        // Who does not belong here must not fence a runner that does.
        let head = self.store.head_of(&self.name).await.map_err(|error| error.at(&self.name, 0, "claim"))?;
        self.check_definition(&definition, &head, &options).await?;
        let claim = telemetry::step(&self.name, next_epoch(&head), "claim", None, self.store.claim(&self.name));
        let log = claim.await.map_err(|error| error.at(&self.name, 0, "claim"))?;
        let same = self.check_definition(&definition, &log.head, &options).await?;
        let mut runner = Runner::new(self, options, log, definition, same);
        match runner.work().await {
            // What goes on until it is stopped has come to its end: an open epoch is abandoned whole, and the next run's.
            Err(error) if error.is_interrupted() && runner.options.continuous.is_some() => runner.finished = false,
            done => done?,
        }
        Ok(RunReport {
            pipeline: self.name.clone(),
            generation: runner.log.generation().0,
            up_to_date: runner.epochs.is_empty(),
            interrupted: runner.options.shutdown.is_requested() && !runner.finished,
            epochs: runner.epochs,
            not_replayed: runner.not_replayed,
            elapsed: start.elapsed(),
        })
    }

    /// Compares the definition with the one of the last commit and of the open intent; a rebuild accepts any, and a replay one
    /// that was mended since the last commit, if it is told so.
    async fn check_definition(&self, definition: &Definition, head: &Head, options: &RunOptions) -> Result<Same> {
        let fingerprint = definition.fingerprint();
        let finishes_replay = head
            .open
            .as_ref()
            .is_some_and(|open| matches!(open.kind, EpochKind::Replay { .. }) && open.definition == fingerprint);
        let mended = finishes_replay || options.letters.as_ref().is_some_and(|letters| letters.mended);
        let mut same = Same { input: true, open: true };
        let committed = head.commit.as_ref().map(|commit| (false, &commit.definition));
        let open = head.open.as_ref().map(|intent| (true, &intent.definition));
        for (is_open, fingerprint) in committed.into_iter().chain(open).filter(|(_, known)| !known.is_empty()) {
            let Some(earlier) = Definition::load(&self.store, fingerprint).await? else {
                return Err(Error::StoreCorrupt {
                    path: self.store.path("definitions").to_string(),
                    reason: format!("definition {fingerprint} is missing"),
                });
            };
            same.input &= definition.same_input(&earlier);
            let mut difference = definition.difference(&earlier);
            same.open &= !is_open || difference.is_empty();
            if difference.is_empty() || options.rebuild.is_some() {
                continue;
            }
            let is_mended = !is_open && definition.is_mended(&earlier, self.source.decoding());
            if is_mended && mended {
                tracing::info!(difference = %difference.join("; "), "the definition was mended: what was delivered before stays as it is");
                continue;
            }
            let remedy = if is_mended && options.letters.is_some() {
                "; a replay by it leaves what was delivered before as it is: say so with `--mended`"
            } else {
                ""
            };
            let more = difference.len().saturating_sub(SHOWN_DIFFERENCES);
            difference.truncate(SHOWN_DIFFERENCES);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let difference = format!("its definition has changed: {}{more}{remedy}", difference.join("; "));
            return Err(Error::Mismatch { pipeline: self.name.clone(), difference });
        }
        Ok(same)
    }

    fn check_run(&self, options: &RunOptions) -> Result<()> {
        let invalid = |reason: String| Err(Error::InvalidPipeline { pipeline: self.name.clone(), reason });
        if options.window.is_some() && options.rebuild.is_some() {
            return invalid("a run is a backfill or a rebuild, not both".into());
        }
        if options.letters.is_some()
            && (options.window.is_some() || options.rebuild.is_some() || options.continuous.is_some())
        {
            return invalid("a replay of dead letters is no backfill, no rebuild, and ends by itself".into());
        }
        if options.letters.is_some() && self.mode == Mode::Full {
            return invalid(
                "with mode = \"full\" each run reads everything again, and its dead letters with it: there is nothing to replay"
                    .into(),
            );
        }
        if options.window.is_some() && options.continuous.is_some() {
            return invalid("a backfill ends with its window: run it without `every`".into());
        }
        if options.continuous.is_some_and(|continuous| continuous.every.is_zero()) {
            return invalid("`every` is at least a millisecond".into());
        }
        if options.window.is_some() && self.history.is_none() {
            return invalid(
                "a backfill needs a history relation: without one the bars around its window are unknown".into(),
            );
        }
        match options.rebuild.as_ref().and_then(|rebuild| rebuild.sink.as_ref()) {
            Some(name) if !self.sinks.iter().any(|sink| sink.name == *name) => {
                let known: Vec<&str> = self.sinks.iter().map(|sink| sink.name.as_str()).collect();
                invalid(format!("there is no sink `{name}`; there are `{}`", known.join("`, `")))
            }
            _ => Ok(()),
        }
    }

    /// A session with all functions, whose clock is `now`.
    pub(crate) fn session(&self, now: DateTime<Utc>) -> Result<SessionContext> {
        let mut config = SessionConfig::new().with_information_schema(true);
        if let Some(threads) = self.threads {
            config = config.with_target_partitions(threads);
        }
        // One text type everywhere: relations are compared and written by it.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let session = match &self.runtime {
            Some(runtime) => SessionContext::new_with_config_rt(config, Arc::clone(runtime)),
            None => SessionContext::new_with_config(config),
        };
        crate::functions::register(&session)?;
        fix_clock(&session, now);
        for (name, table) in &self.tables {
            session.register_table(name.as_str(), Arc::clone(table))?;
        }
        Ok(session)
    }

    /// Commits a position without reading or delivering anything.
    ///
    /// The state of back then does not know the bars that the history has got since: it is made anew, symbol by symbol.
    pub(crate) async fn commit_position(&self, to: u64, checkpoint: Checkpoint) -> Result<Checkpoint> {
        let refuse = |reason: &str| Error::InvalidPipeline { pipeline: self.name.clone(), reason: reason.into() };
        let head = self.store.head_of(&self.name).await?;
        if let Some(open) = &head.open {
            // A sink may hold it, and its state and dead letters are not committed yet.
            return Err(refuse(&format!(
                "epoch {} was begun and not finished: let `run` finish it first, or close it by `run --rebuild`",
                open.epoch
            )));
        }
        if head.commit.is_none() {
            return Err(refuse("nothing has been committed yet, so there is no position to leave"));
        }
        let mut log = self.store.claim(&self.name).await?;
        let epoch = next_epoch(&log.head);
        let now = next_now(&log);
        let last = log.head.commit.clone();
        let (snapshot, deltas) = log.checkpoint_base().await?;
        let commit = Commit {
            epoch,
            kind: EpochKind::Rewind { to },
            now,
            definition: last.as_ref().map(|commit| commit.definition.clone()).unwrap_or_default(),
            sinks: last.as_ref().map(|commit| commit.sinks.clone()).unwrap_or_default(),
            snapshot,
            deltas,
            checkpoint: log.head.checkpoint.delta(&checkpoint),
            pins: None,
            dead_letters: None,
            replayed: None,
            state: StateRef::default(),
            left_out: Vec::new(),
            rows: BTreeMap::new(),
            tables: last.map(|commit| commit.tables).unwrap_or_default(),
        };
        log.append(RecordBody::Commit(commit)).await?;
        Ok(checkpoint)
    }
}

/// The plan of an epoch that reads nothing: all that it needs stands in the history.
pub(crate) fn nothing_after(from: Checkpoint) -> EpochPlan {
    EpochPlan { upto: from.clone(), from, pins: serde_json::Value::Null, rows: None, window: None }
}

/// What of the definition is as it was.
#[derive(Debug, Clone, Copy)]
struct Same {
    /// What comes before the history relation, since the last commit.
    input: bool,
    /// Everything that the open intent was made by.
    open: bool,
}

pub(crate) fn next_epoch(head: &Head) -> u64 {
    let committed = head.commit.as_ref().map_or(0, |commit| commit.epoch);
    let open = head.open.as_ref().map_or(0, |intent| intent.epoch);
    committed.max(open.saturating_sub(1)) + 1
}

/// The next intent's time: greater than the last one even if the machine's clock was set back.
fn next_now(log: &Log) -> DateTime<Utc> {
    let last = log.head.commit.as_ref().map(|commit| commit.now).max(log.head.open.as_ref().map(|intent| intent.now));
    let now = DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap_or_else(Utc::now);
    last.map_or(now, |last| now.max(last + Duration::microseconds(1)))
}

/// The token of an intent.
pub(crate) fn token_of(uuid: &str, intent: &Intent) -> EpochToken {
    let text = canonical(&json!({"pipeline": uuid, "intent": intent}));
    let digest = Sha256::digest(text);
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| (hash << 8) | u64::from(*byte));
    EpochToken { epoch: intent.epoch, hash: hash & (u64::MAX >> 1) }
}

pub(crate) struct Runner<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) options: RunOptions,
    pub(crate) log: Log,
    pub(crate) definition: Definition,
    /// What each sink holds, as `open` told.
    pub(crate) tokens: BTreeMap<String, Option<EpochToken>>,
    same: Same,
    /// The state table that was read or written last.
    pub(crate) state: Option<(StateRef, Arc<State>)>,
    /// Which queries go on from state, where the history relation has these columns.
    pub(crate) carries: Option<(SchemaRef, Carries)>,
    pub(super) epochs: Vec<EpochReport>,
    /// Something of the epoch at hand may be visible in a sink.
    pub(crate) delivering: bool,
    /// Partitions that the open epoch has tried in vain.
    tried: BTreeSet<String>,
    /// Dead letters that cannot be replayed.
    pub(super) not_replayed: Vec<NotReplayed>,
    pub(super) finished: bool,
}

impl<'a> Runner<'a> {
    fn new(pipeline: &'a Pipeline, options: RunOptions, log: Log, definition: Definition, same: Same) -> Self {
        Self {
            pipeline,
            options,
            log,
            definition,
            tokens: BTreeMap::new(),
            same,
            state: None,
            carries: None,
            epochs: Vec::new(),
            delivering: false,
            tried: BTreeSet::new(),
            not_replayed: Vec::new(),
            finished: false,
        }
    }

    /// Passes a kill point.
    pub(crate) fn strike(&self, point: &KillPoint) -> Result<()> {
        self.options.probe.as_ref().map_or(Ok(()), |probe| probe.at(point))
    }

    fn mismatch(&self, difference: impl Into<String>) -> Error {
        Error::Mismatch { pipeline: self.pipeline.name.clone(), difference: difference.into() }
    }

    /// The sinks and, last, the dead-letter sink.
    pub(crate) fn sinks(&self) -> Vec<(String, Arc<dyn Sink>)> {
        let dead_letters =
            self.pipeline.dead_letters.iter().map(|sink| (DEAD_LETTER_SINK.to_owned(), Arc::clone(sink)));
        self.pipeline.sinks.iter().map(|sink| (sink.name.clone(), Arc::clone(&sink.sink))).chain(dead_letters).collect()
    }

    pub(crate) async fn open_sink(&self, name: &str, sink: &dyn Sink) -> Result<Option<EpochToken>> {
        let id = SinkId::new(self.pipeline.name.clone(), name);
        let open = self.pipeline.backoff.retry("open", || sink.open(&id, self.log.generation()));
        self.step("open", Some(name), open).await
    }

    /// One step of the run within its span; what waits out an outage here ends when the run is asked to stop.
    pub(super) async fn step<T>(
        &self,
        name: &'static str,
        sink: Option<&str>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let epoch = next_epoch(&self.log.head);
        let stoppable = async {
            tokio::select! {
                biased;
                done = work => done,
                () = self.options.shutdown.requested() => Err(Error::Interrupted { epoch }),
            }
        };
        telemetry::step(&self.pipeline.name, epoch, name, sink, stoppable).await
    }

    /// Tells the source again what is committed: the last run may have been killed before it did.
    async fn release(&self) -> Result<()> {
        if self.log.head.commit.is_none() {
            return Ok(());
        }
        let (source, upto) = (&self.pipeline.source, &self.log.head.checkpoint);
        let release = self.pipeline.backoff.retry("source commit", || source.commit(upto));
        self.step("source_commit", None, release)
            .await
            .map_err(|error| error.at(&self.pipeline.name, next_epoch(&self.log.head), "source commit"))
    }

    async fn open_sinks(&mut self) -> Result<()> {
        let epoch = next_epoch(&self.log.head);
        for (name, sink) in self.sinks() {
            let token = self
                .open_sink(&name, sink.as_ref())
                .await
                .map_err(|error| error.at(&self.pipeline.name, epoch, format!("open of sink `{name}`")))?;
            if !self.is_rebuilt(&name)
                && let Err(error) = self.check_token(&name, sink.as_ref(), token)
            {
                // A newer runner may have written it meanwhile, and then nothing is wrong but that this one is late.
                self.log.check_fence().await?;
                return Err(error);
            }
            self.tokens.insert(name, token);
        }
        Ok(())
    }

    /// Whether a sink may hold anything, because this run rebuilds it or finishes a rebuild.
    fn is_rebuilt(&self, sink: &str) -> bool {
        let asked = self.options.rebuild.as_ref().map(|rebuild| &rebuild.sink);
        let open = self.log.head.open.as_ref().and_then(|intent| match &intent.kind {
            EpochKind::Rebuild { sink } => Some(sink),
            _ => None,
        });
        asked.into_iter().chain(open).any(|only| only.as_ref().is_none_or(|only| only == sink))
    }

    /// For intent E a sink may hold E or what the last commit says (E-1).
    fn check_token(&self, name: &str, sink: &dyn Sink, token: Option<EpochToken>) -> Result<()> {
        let head = &self.log.head;
        let open = head.open.as_ref().zip(head.uuid.as_ref()).map(|(intent, uuid)| token_of(uuid, intent));
        if token.is_some() && token == open {
            return Ok(());
        }
        let since_now =
            self.pipeline.sinks.iter().any(|step| step.name == name && step.since_now) || name == DEAD_LETTER_SINK;
        match (head.commit.as_ref().map(|commit| commit.sinks.get(name)), token) {
            // A first run, or a sink that joins.
            (None, None) => Ok(()),
            (Some(None), None) if since_now => Ok(()),
            (Some(None), None) => Err(self.mismatch(format!("sink `{name}` is new and lacks what was delivered before; fill it with `--rebuild --sink {name}`, or give it since = \"now\""))),
            (None, Some(token)) => Err(self.mismatch(format!("the checkpoint store is new, but sink `{name}` already holds epoch {}", token.epoch))),
            (Some(None), Some(token)) => Err(self.mismatch(format!("sink `{name}` is new to this pipeline, but already holds epoch {}", token.epoch))),
            (Some(Some(expected)), token) if *expected == token => Ok(()),
            (Some(Some(_)), None) if sink.idempotence() != Idempotence::Transactional => Ok(()),
            (Some(Some(expected)), token) => {
                let show = |token: Option<EpochToken>| token.map_or_else(|| "no epoch".to_owned(), |token| format!("epoch {} ({token})", token.epoch));
                Err(self.mismatch(format!("sink `{name}` holds {}, but the checkpoint store says {}", show(token), show(*expected))))
            }
        }
    }

    /// Everything after the claim.
    async fn work(&mut self) -> Result<()> {
        self.strike(&KillPoint::AfterClaim)?;
        self.open_sinks().await?;
        self.strike(&KillPoint::AfterOpen)?;
        self.definition.save(&self.pipeline.store).await?;
        self.release().await?;
        self.run().await
    }

    async fn run(&mut self) -> Result<()> {
        let mut began = tokio::time::Instant::now();
        if self.options.rebuild.is_none() && self.log.head.open.is_some() && !self.resume().await? {
            return Ok(());
        }
        if let Some(letters) = self.options.letters.clone() {
            return self.replay(&letters).await;
        }
        match (self.options.rebuild.clone(), self.options.window.clone()) {
            (Some(rebuild), _) => self.rebuild(&rebuild).await?,
            (None, Some(window)) => self.backfill(window).await?,
            (None, None) => self.follow().await?,
        }
        let Some(continuous) = self.options.continuous else { return Ok(()) };
        while self.finished && self.wait(continuous, began).await? {
            began = tokio::time::Instant::now();
            self.finished = false;
            self.follow().await?;
        }
        Ok(())
    }

    /// Finishes the epoch that an earlier run began; false if the run was asked to stop.
    async fn resume(&mut self) -> Result<bool> {
        let Some(intent) = self.log.head.open.clone() else { return Ok(true) };
        match self.epoch(intent.clone(), true).await {
            Ok(()) => {
                let left_out = self.epochs.last().map(|report| report.left_out.as_slice()).unwrap_or_default();
                self.tried.extend(left_out.iter().map(|left_out| left_out.partition.clone()));
                Ok(!self.options.shutdown.is_requested())
            }
            // What was pinned is gone, and nothing of the epoch is visible anywhere: it may be planned anew.
            Err(error) if error.is_pin_lost() && !self.is_held(&intent) => {
                let reason = error.chain().join(": ");
                tracing::warn!(epoch = intent.epoch, %reason, "the open epoch cannot be read again as it was planned, and nothing of it was delivered: it is planned anew");
                self.log.append(RecordBody::Abandon { epoch: intent.epoch, reason }).await?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Closes an epoch that somebody must mend before anything of it was delivered, so that the next run plans it anew: with the
    /// corrected input, with what has come besides, or by the definition from before.
    async fn give_up(&mut self, intent: &Intent, resumed: bool, error: &Error) {
        let mendable = matches!(error.class(), ErrorClass::Data | ErrorClass::Config);
        // What a best-effort source gave is nowhere but in this epoch; the letters of a replay are still in theirs.
        let exact = self.pipeline.source.replay() == Replay::Exact || matches!(intent.kind, EpochKind::Replay { .. });
        let stops = error.is_fenced() || error.is_pin_lost() || error.is_interrupted();
        // A sink that holds no token cannot tell whether an earlier attempt has written to it.
        let is_untold = |(_, sink): &(String, Arc<dyn Sink>)| sink.idempotence() != Idempotence::Transactional;
        let may_be_held = self.delivering || self.is_held(intent) || resumed && self.sinks().iter().any(is_untold);
        if !mendable || !exact || stops || may_be_held {
            return;
        }
        let reason = error.chain().join(": ");
        if let Err(error) = self.log.append(RecordBody::Abandon { epoch: intent.epoch, reason }).await {
            tracing::debug!(error = %error.chain().join(": "), "the failed epoch stays open: the next run tries it again");
        }
    }

    /// Whether a sink holds the intent's epoch.
    fn is_held(&self, intent: &Intent) -> bool {
        let Some(uuid) = &self.log.head.uuid else { return false };
        let token = token_of(uuid, intent);
        self.tokens.values().any(|held| *held == Some(token))
    }

    pub(super) fn limit(&self, skip: &BTreeSet<String>) -> EpochLimit {
        EpochLimit {
            // What is read in full is one epoch: an overwriting sink must not get a part.
            max_partitions: self
                .pipeline
                .max_partitions
                .or_else(|| self.pipeline.source.partitions_per_epoch())
                .filter(|_| self.pipeline.mode != Mode::Full),
            max_rows: self
                .pipeline
                .max_rows
                .or_else(|| self.pipeline.source.rows_per_epoch())
                .filter(|_| self.pipeline.mode != Mode::Full),
            everything: self.pipeline.mode == Mode::Full,
            skip: skip.clone(),
            ..EpochLimit::default()
        }
    }

    pub(super) async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        let source = &self.pipeline.source;
        let plan = self.pipeline.backoff.retry("plan", || source.plan(from, limit));
        self.step("plan", None, plan)
            .await
            .map_err(|error| error.at(&self.pipeline.name, next_epoch(&self.log.head), "plan"))
    }

    /// Epoch after epoch until everything that was there at the start has been tried once.
    async fn follow(&mut self) -> Result<()> {
        let full = self.pipeline.mode == Mode::Full;
        let mut skip = std::mem::take(&mut self.tried);
        let mut target: Option<Checkpoint> = None;
        let before = self.epochs.len();
        loop {
            let from = if full { Checkpoint::new() } else { self.log.head.checkpoint.clone() };
            if target.is_none() {
                let everything = EpochLimit { max_partitions: None, max_rows: None, ..self.limit(&skip) };
                target = self.plan(&from, &everything).await?.map(|plan| plan.upto);
            }
            let limit = EpochLimit { upto: target.clone(), ..self.limit(&skip) };
            let Some(plan) = self.plan(&from, &limit).await? else {
                if self.epochs.len() == before && !full && self.tables_changed().await? {
                    self.strike(&KillPoint::AfterPlan)?;
                    let plan = nothing_after(self.log.head.checkpoint.clone());
                    let mut intent = self.intent(EpochKind::Run, false, plan, next_epoch(&self.log.head)).await?;
                    intent.reads_nothing = true;
                    self.begin(intent).await?;
                }
                break;
            };
            let moved = from.delta(&plan.upto);
            let wanted = target.as_ref().is_some_and(|target| {
                moved.set.keys().any(|partition| target.get(partition).is_some()) || moved.set.is_empty()
            });
            if !wanted || full && self.is_same_as_last(&plan) && !self.tables_changed().await? {
                break;
            }
            self.strike(&KillPoint::AfterPlan)?;
            let intent = self.intent(EpochKind::Run, full, plan, next_epoch(&self.log.head)).await?;
            self.begin(intent).await?;
            // Each partition is tried once, whether it was read or left out: what comes meanwhile is the next run's. One that is
            // read in pieces goes on until the run's target.
            let nothing_moved = moved.set.is_empty();
            let tried =
                moved.set.into_iter().filter(|(partition, planned)| !self.goes_on(partition, planned, target.as_ref()));
            skip.extend(tried.map(|(partition, _)| partition));
            if self.options.shutdown.is_requested() {
                return Ok(());
            }
            if full || nothing_moved {
                break;
            }
        }
        self.finished = true;
        Ok(())
    }

    /// Whether only a piece of a partition was planned, and has been read.
    fn goes_on(&self, partition: &str, planned: &str, target: Option<&Checkpoint>) -> bool {
        self.pipeline.source.rows_per_epoch().is_some()
            && self.log.head.checkpoint.get(partition) == Some(planned)
            && target.and_then(|target| target.get(partition)).is_some_and(|target| target != planned)
    }

    /// Whether a reference table is another one than at the last commit.
    async fn tables_changed(&self) -> Result<bool> {
        let Some(commit) = &self.log.head.commit else { return Ok(false) };
        if self.pipeline.history.is_none() && self.pipeline.mode != Mode::Full {
            // What was delivered cannot be computed again.
            return Ok(false);
        }
        let now = self.step("tables", None, reference::fingerprints(self.pipeline)).await?;
        let changed: Vec<&String> = reference::changed(&now, &commit.tables).collect();
        if !changed.is_empty() {
            tracing::info!(tables = ?changed, "what is derived from these tables is computed again: they have changed");
        }
        Ok(!changed.is_empty())
    }

    fn is_same_as_last(&self, plan: &EpochPlan) -> bool {
        self.log.head.commit.as_ref().and_then(|commit| commit.pins.as_ref()) == Some(&plan.pins)
    }

    async fn rebuild(&mut self, rebuild: &Rebuild) -> Result<()> {
        let kind = EpochKind::Rebuild { sink: rebuild.sink.clone() };
        if let Some(open) = self.log.head.open.clone() {
            let is_this = open.kind == kind && self.same.open;
            // One sink alone: the others may hold the open epoch, so it is finished first.
            if (is_this || rebuild.sink.is_some()) && !self.same.open {
                return Err(self.mismatch(format!(
                    "epoch {} was begun by another definition and is not finished; close it by rebuilding all sinks",
                    open.epoch
                )));
            }
            if is_this || rebuild.sink.is_some() {
                let goes_on = self.resume().await?;
                let done = is_this && self.log.head.commit.as_ref().is_some_and(|commit| commit.epoch == open.epoch);
                if done || !goes_on {
                    self.finished = done;
                    return Ok(());
                }
            }
        }
        for sink in self.targets(&kind) {
            if sink.sink.write_mode() == crate::sink::WriteMode::Append {
                tracing::warn!(sink = %sink.name, "this sink only appends: it gets its rows again");
            }
        }
        let from_start = self.must_read_again(&kind).await?;
        let from = if from_start { Checkpoint::new() } else { self.log.head.checkpoint.clone() };
        let limit = EpochLimit { everything: from_start, ..EpochLimit::default() };
        // One sink alone gets what the others have, and nothing new.
        let plan = if rebuild.sink.is_some() && !from_start { None } else { self.plan(&from, &limit).await? };
        let highest = self.tokens.values().flatten().map(|token| token.epoch).max().unwrap_or(0);
        let epoch = next_epoch(&self.log.head)
            .max(self.log.head.open.as_ref().map_or(0, |intent| intent.epoch + 1))
            .max(highest + 1);
        self.strike(&KillPoint::AfterPlan)?;
        let reads_nothing = plan.is_none();
        let plan = plan.unwrap_or_else(|| nothing_after(from));
        let mut intent = self.intent(kind, from_start, plan, epoch).await?;
        intent.reads_nothing = reads_nothing;
        self.begin(intent).await?;
        self.finished = true;
        Ok(())
    }

    /// Whether a rebuild must read the source from its start because the history does not have everything.
    async fn must_read_again(&self, kind: &EpochKind) -> Result<bool> {
        let (Some(history), Some(commit)) = (&self.pipeline.history, &self.log.head.commit) else { return Ok(true) };
        let beside = |sink: &&SinkStep| !self.pipeline.is_after_history(&self.pipeline.sink_relation(sink));
        if !self.same.input || self.targets(kind).iter().any(beside) {
            return Ok(true);
        }
        // The history's own table may be the one that was lost, or an older copy of it.
        let lost = |(name, expected): (&String, &Option<EpochToken>)| {
            expected.is_some() && self.tokens.get(name).is_some_and(|held| held != expected)
        };
        let version = self.pipeline.backoff.retry("history", || history.history.version()).await?;
        let whole = matches!(kind, EpochKind::Rebuild { sink: None });
        Ok(version.is_none() || whole && commit.sinks.iter().any(lost))
    }

    async fn backfill(&mut self, window: Window) -> Result<()> {
        let limit = EpochLimit { everything: true, window: Some(window.clone()), ..EpochLimit::default() };
        let Some(plan) = self.plan(&Checkpoint::new(), &limit).await? else {
            self.finished = true;
            return Ok(());
        };
        self.strike(&KillPoint::AfterPlan)?;
        let intent = self.intent(EpochKind::Backfill { window }, true, plan, next_epoch(&self.log.head)).await?;
        self.begin(intent).await?;
        self.finished = true;
        Ok(())
    }

    pub(super) async fn intent(
        &self,
        kind: EpochKind,
        from_start: bool,
        plan: EpochPlan,
        epoch: u64,
    ) -> Result<Intent> {
        let history = match &self.pipeline.history {
            Some(step) => {
                let version = self.pipeline.backoff.retry("history", || step.history.version());
                self.step("history", None, version).await?
            }
            None => None,
        };
        let mut companions = BTreeMap::new();
        for (name, table) in &self.pipeline.companions {
            let version = self.pipeline.backoff.retry("history", || table.version());
            companions.insert(name.clone(), self.step("history", None, version).await?);
        }
        Ok(Intent {
            epoch,
            kind,
            now: next_now(&self.log),
            from_start,
            upto: plan.from.delta(&plan.upto),
            pins: plan.pins,
            history,
            companions,
            definition: self.definition.fingerprint(),
            rows: plan.rows,
            reads_nothing: false,
        })
    }

    pub(super) async fn begin(&mut self, intent: Intent) -> Result<()> {
        let (pipeline, epoch) = (self.pipeline.name.clone(), intent.epoch);
        let append = self.log.append(RecordBody::Intent(intent.clone()));
        telemetry::step(&pipeline, epoch, "intent", None, append)
            .await
            .map_err(|error| error.at(&pipeline, epoch, "intent"))?;
        self.strike(&KillPoint::AfterIntent)?;
        self.epoch(intent, false).await
    }

    async fn epoch(&mut self, intent: Intent, resumed: bool) -> Result<()> {
        let span = tracing::info_span!("stockflow.epoch", pipeline = %self.pipeline.name, epoch = intent.epoch);
        self.delivering = false;
        let report = match Box::pin(EpochRun::new(self, intent.clone(), resumed)?.run()).instrument(span).await {
            Ok(report) => report,
            Err(error) => {
                self.give_up(&intent, resumed, &error).await;
                return Err(error);
            }
        };
        let pipeline = self.pipeline.name.clone();
        metrics::counter!(crate::telemetry::EPOCHS, "pipeline" => pipeline.clone()).increment(1);
        metrics::gauge!(crate::telemetry::LAST_EPOCH, "pipeline" => pipeline.clone()).set(report.epoch as f64);
        metrics::gauge!(crate::telemetry::LAST_COMMIT, "pipeline" => pipeline).set(Utc::now().timestamp() as f64);
        self.epochs.push(report);
        Ok(())
    }

    /// The sinks that an epoch of this kind delivers to.
    pub(crate) fn targets(&self, kind: &EpochKind) -> Vec<&'a SinkStep> {
        let is_target = |sink: &&SinkStep| match kind {
            EpochKind::Rebuild { sink: Some(only) } => sink.name == *only,
            // Only what comes after the history relation knows a window; the others have had their rows.
            EpochKind::Backfill { .. } => {
                let relation = self.pipeline.sink_relation(sink);
                self.pipeline.is_after_history(&relation) || self.pipeline.companions.contains_key(&relation)
            }
            _ => true,
        };
        self.pipeline.sinks.iter().filter(is_target).collect()
    }
}
