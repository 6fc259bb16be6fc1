//! One epoch in the order of its protocol: scan, compare, apply, stage, dead letters, state, commit.
//!
//! The order is the guarantee: whatever is visible in a sink can be repeated, because the intent was written before; and
//! the store commits only what every sink holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, cast, col, lit};
use datafusion::prelude::DataFrame;

use super::at_history::{AtHistory, EpochStates};
use super::builder::{DEAD_LETTER_SINK, LatePolicy, Mode, Pipeline, SinkStep};
use super::carry::carries;
use super::companion::{Companion, Companions};
use super::compare::{Compared, child, compare, quote};
use super::counted::{CountedTable, RowCount};
use super::graph::{Base, Graph};
use super::kill_point::KillPoint;
use super::latest::latest;
use super::letters::{LATE, Letters, notes_of, refused_by, rejects_of};
use super::reference::{self, Tables};
use super::replay::{self, ReplayInput, Unfit, unfit_note};
use super::report::{EpochReport, Note, NoteLevel, Replayed, SinkReport};
use super::rows::outgoing;
use super::run::{Runner, token_of};
use super::spool;
use super::state::{self, LastBar, LastBars, State};
use crate::checkpoint::Checkpoint;
use crate::context::EpochContext;
use crate::error::{Error, ErrorClass, Origin, Result};
use crate::relation::Relation;
use crate::schema::{DeadLetter, dead_letter_batch};
use crate::sink::{EpochRows, Idempotence, RefusedRow, Sink, Staged, WriteMode, Written};
use crate::source::{EpochPlan, Replay, ScanEnd, ScanOutcome, Window};
use crate::store::{Commit, EpochKind, Intent, Read, RecordBody, RefusedBy};
use crate::telemetry;
use crate::token::EpochToken;
use crate::transform::reject_frame;
use crate::window::{OutOfOrder, Spilled};

/// How often a transactional sink may refuse rows in `commit` before the epoch fails.
const REFUSAL_ROUNDS: usize = 10;

/// How many dead letters a report shows.
const SHOWN_LETTERS: usize = 10;

pub(crate) struct EpochRun<'r, 'p> {
    runner: &'r mut Runner<'p>,
    pipeline: &'p Pipeline,
    intent: Intent,
    token: EpochToken,
    resumed: bool,
    context: EpochContext,
    /// `epochs/<token>` in the store: what attempts leave.
    folder: String,
    attempt: String,
    letters: Letters,
    /// What a replay reads.
    replay: Option<Arc<ReplayInput>>,
    /// Letters of it that are no rows where they were refused.
    unfit: Vec<Unfit>,
    /// What is to be told besides the steps' own notes.
    notes: Vec<Note>,
    /// The reference tables that it is computed with.
    tables: Tables,
    steps: BTreeMap<String, f64>,
    /// The source's rows are taken to come in order.
    trusts: bool,
    /// What the indicators of fresh and of late symbols are left with.
    states: Option<EpochStates>,
    /// Bytes that its windows put on disk.
    spilled: Arc<Spilled>,
}

/// What the source gave.
struct Input {
    given: BTreeMap<String, Relation>,
    outcome: ScanOutcome,
    rows: BTreeMap<String, u64>,
    /// The scan, while nobody has read it: its rows go to their one reader as they come.
    unread: Option<Unread>,
}

/// A scan that is read by the sinks' own plans.
struct Unread {
    end: Arc<dyn ScanEnd>,
    counts: BTreeMap<String, Arc<RowCount>>,
}

/// What a sink is to get.
struct Delivery<'p> {
    step: &'p SinkStep,
    relation: String,
    rows: EpochRows,
    held: bool,
}

impl<'r, 'p> EpochRun<'r, 'p> {
    pub(crate) fn new(runner: &'r mut Runner<'p>, intent: Intent, resumed: bool) -> Result<Self> {
        let uuid = runner.log.head.uuid.clone().ok_or_else(|| Error::internal("a claimed store has no UUID"))?;
        let token = token_of(&uuid, &intent);
        let pipeline = runner.pipeline;
        let mut context = EpochContext::new(pipeline.name.clone(), pipeline.session(intent.now)?, intent.now);
        context.epoch = intent.epoch;
        context.window = window_of(&intent);
        let trusts = streams(pipeline) && !matches!(intent.kind, EpochKind::Replay { .. });
        if trusts {
            crate::window::trust_order(&context.session, true);
        }
        let spilled = Arc::<Spilled>::default();
        context.session.state_ref().write().config_mut().set_extension(Arc::clone(&spilled));
        let attempt = format!("g{}", runner.log.generation());
        Ok(Self {
            runner,
            pipeline,
            token,
            resumed,
            context,
            folder: format!("epochs/{token}"),
            attempt,
            letters: Letters::default(),
            replay: None,
            unfit: Vec::new(),
            notes: Vec::new(),
            tables: Tables::new(),
            steps: BTreeMap::new(),
            trusts,
            states: None,
            spilled,
            intent,
        })
    }

    /// Runs one step within its span; an error gets the step's name.
    async fn step<T>(
        &mut self,
        name: &'static str,
        sink: Option<&str>,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        self.runner.options.progress.step(self.intent.epoch, name);
        let result = telemetry::step(&self.pipeline.name, self.intent.epoch, name, sink, work).await;
        *self.steps.entry(name.to_owned()).or_default() += start.elapsed().as_secs_f64();
        let place = sink.map_or_else(|| name.to_owned(), |sink| format!("{name} of sink `{sink}`"));
        result.map_err(|error| error.at(&self.pipeline.name, self.intent.epoch, place))
    }

    pub(crate) async fn run(mut self) -> Result<EpochReport> {
        self.runner.options.progress.epoch(self.intent.epoch, self.intent.rows);
        let shutdown = self.runner.options.shutdown.clone();
        let epoch = self.intent.epoch;
        // Until something becomes visible the epoch can be abandoned whole; from then on it is finished.
        let prepared = tokio::select! {
            biased;
            prepared = self.prepare() => prepared,
            () = shutdown.requested() => Err(Error::Interrupted { epoch }),
        };
        let Prepared { input, compared, deliveries, mut staged, notes } = prepared?;
        let reports = match self.deliver(&input, compared.as_deref(), &deliveries, &mut staged).await {
            Ok(reports) => reports,
            Err(error) => {
                self.abort(&deliveries, staged, &error).await;
                return Err(error);
            }
        };
        let report = self.report(&input, compared.as_deref(), reports, notes);
        self.runner.options.progress.committed(&report);
        let reached = input.outcome.reached.clone();
        if self.moves_checkpoint() {
            let source = Arc::clone(&self.pipeline.source);
            let backoff = self.pipeline.backoff;
            self.step("source_commit", None, async {
                backoff.retry("source commit", || source.commit(&reached)).await
            })
            .await?;
        }
        self.runner.strike(&KillPoint::AfterSourceCommit)?;
        if self.pipeline.source.replay() == Replay::BestEffort {
            // Its rows stand in every sink now.
            let spools = format!("{}/", self.folder);
            if let Err(error) = self.pipeline.store.remove(&spools, |path| path.contains("/source/")).await {
                tracing::warn!(error = %error.chain().join(": "), "the epoch's spooled input could not be removed from the checkpoint store; it is not needed any more");
            }
        }
        if let EpochKind::Replay { folder, .. } = &self.intent.kind {
            replay::forget(&self.pipeline.store, folder).await;
        }
        Ok(report)
    }

    /// A backfill, a replay and the rebuild of one sink leave the checkpoint where it was.
    fn moves_checkpoint(&self) -> bool {
        let leaves = EpochKind::Rebuild { sink: None };
        match &self.intent.kind {
            EpochKind::Backfill { .. } | EpochKind::Replay { .. } => false,
            EpochKind::Rebuild { .. } => self.intent.kind == leaves,
            EpochKind::Run | EpochKind::Rewind { .. } => true,
        }
    }

    /// Everything up to and including `stage`: nothing of it is visible.
    async fn prepare(&mut self) -> Result<Prepared<'p>> {
        let mut patience = self.pipeline.backoff.patience();
        loop {
            match self.try_prepare().await {
                // The source's rows were trusted to come in order, and do not: once more, with a look at them first.
                Err(error) if self.trusts && OutOfOrder::is_in(&error) => {
                    tracing::info!(reason = %error.chain().join(": "), "rows are sorted here");
                    self.trusts = false;
                    crate::window::trust_order(&self.context.session, false);
                }
                // A source that is read as its rows are wanted may be down in any step that computes something.
                Err(error) if error.is_retryable() => patience.wait("prepare", error).await?,
                prepared => return prepared,
            }
            self.letters = Letters::default();
            self.notes.clear();
        }
    }

    async fn try_prepare(&mut self) -> Result<Prepared<'p>> {
        let mut input = self.read().await?;
        self.check_whole(&input)?;
        let pipeline = self.pipeline;
        let context = self.context.clone();
        let mut graph = Graph::new(pipeline, &context, input.given.clone());
        graph.set_replay(self.replay.clone());
        if !pipeline.tables.is_empty() {
            self.tables = self.step("tables", None, reference::fingerprints(pipeline)).await?;
        }
        let compared = self.compare(&mut graph).await?;
        let deliveries = self.apply(&mut graph, compared.as_deref()).await?;
        self.states = graph.at_history().map(|it| it.states.clone());
        let streams = input.unread.is_some();
        let mut notes = Vec::new();
        if !streams {
            notes = self.side_outputs(&graph, &input).await?;
        }
        self.runner.strike(&KillPoint::AfterApply)?;
        let staged = self.stage(&deliveries).await?;
        if streams {
            // Only now has the source been read.
            let ended = async {
                self.end_scan(&mut input).await?;
                self.check_whole(&input)?;
                self.side_outputs(&graph, &input).await
            };
            match ended.await {
                Ok(found) => notes = found,
                Err(error) => {
                    self.abort(&deliveries, staged, &error).await;
                    return Err(error);
                }
            }
        }
        Ok(Prepared { input, compared, deliveries, staged, notes })
    }

    /// The state table as the last epoch left it.
    async fn state(&mut self) -> Result<Arc<State>> {
        let before = self.runner.log.head.commit.as_ref().map(|commit| commit.state.clone()).unwrap_or_default();
        let rebuild = matches!(self.intent.kind, EpochKind::Rebuild { .. });
        if rebuild || before.objects.is_empty() {
            return Ok(Arc::default());
        }
        if let Some((of, state)) = &self.runner.state
            && *of == before
        {
            return Ok(Arc::clone(state));
        }
        // A replay may be by a mended definition: what was delivered before stays as it is, and so does its state.
        let fingerprint = match &self.intent.kind {
            EpochKind::Replay { .. } => before.fingerprint.clone(),
            _ => self.runner.definition.input_fingerprint(),
        };
        let (pipeline, store) = (self.pipeline, self.pipeline.store.clone());
        let load = async { state::load(&store, &pipeline.name, &before, &fingerprint).await };
        let state = Arc::new(self.step("state_in", None, load).await?);
        self.runner.state = Some((before, Arc::clone(&state)));
        Ok(state)
    }

    // ---- scan

    async fn read(&mut self) -> Result<Input> {
        if let EpochKind::Replay { folder, .. } = self.intent.kind.clone() {
            let input = self.read_letters(&folder).await?;
            self.runner.strike(&KillPoint::AfterScan)?;
            return Ok(input);
        }
        if let Some(read) = self.runner.log.head.read.clone().filter(|read| read.epoch == self.intent.epoch) {
            let context = self.context.clone();
            let store = self.pipeline.store.clone();
            let pipeline = self.pipeline;
            let base = self.runner.log.head.checkpoint.clone();
            return self.step("scan", None, spooled(pipeline, &context, &store, &read, base)).await;
        }
        let input = self.scan().await?;
        self.runner.strike(&KillPoint::AfterScan)?;
        if self.pipeline.source.replay() == Replay::BestEffort {
            self.seal(&input).await?;
            self.runner.strike(&KillPoint::AfterRead)?;
        }
        Ok(input)
    }

    /// What a replay reads was made durable before its intent.
    async fn read_letters(&mut self, folder: &str) -> Result<Input> {
        let (pipeline, context) = (self.pipeline, self.context.clone());
        let reached = self.plan().upto;
        let read = self
            .step("scan", None, async {
                let replay = ReplayInput::load(&pipeline.store, folder).await?;
                let (given, rows) = replay.given(pipeline, &context).await?;
                Ok((replay, given, rows))
            })
            .await;
        let (replay, given, rows) = read?;
        self.letters.expect(&replay.letters);
        let outcome = ScanOutcome { reached, rejects: replay.rejects.clone(), ..ScanOutcome::default() };
        self.replay = Some(Arc::new(replay));
        Ok(Input { given, outcome, rows, unread: None })
    }

    fn plan(&self) -> EpochPlan {
        let from = if self.intent.from_start { Checkpoint::new() } else { self.runner.log.head.checkpoint.clone() };
        let mut upto = from.clone();
        upto.apply(&self.intent.upto);
        EpochPlan {
            from,
            upto,
            pins: self.intent.pins.clone(),
            rows: self.intent.rows,
            window: window_of(&self.intent),
        }
    }

    async fn scan(&mut self) -> Result<Input> {
        let plan = self.plan();
        let context = self.context.clone();
        let pipeline = self.pipeline;
        let progress = Arc::clone(&self.runner.options.progress);
        if self.intent.reads_nothing {
            // A rebuild with nothing to read: all that there is stands in the history.
            let given = empty_input(pipeline, &context)?;
            let outcome = ScanOutcome { reached: plan.upto, ..ScanOutcome::default() };
            return Ok(Input { given, outcome, rows: BTreeMap::new(), unread: None });
        }
        self.step("scan", None, async {
            pipeline.backoff.retry("scan", || scan_once(pipeline, &context, &plan, &progress)).await
        })
        .await
    }

    /// What is known of a scan once it has been read by the sinks' plans.
    async fn end_scan(&mut self, input: &mut Input) -> Result<()> {
        let Some(unread) = input.unread.take() else { return Ok(()) };
        let backoff = self.pipeline.backoff;
        let end = Arc::clone(&unread.end);
        input.outcome = self.step("scan", None, async { backoff.retry("scan", || end.outcome()).await }).await?;
        for (name, count) in unread.counts {
            let n_rows = count.total();
            metrics::counter!(telemetry::ROWS_READ, "pipeline" => self.pipeline.name.clone()).increment(n_rows);
            input.rows.insert(name, n_rows);
        }
        Ok(())
    }

    /// Spools the input durably and seals it: who finds the record never scans again.
    async fn seal(&mut self, input: &Input) -> Result<()> {
        let store = self.pipeline.store.clone();
        let (folder, attempt, epoch) = (self.folder.clone(), self.attempt.clone(), self.intent.epoch);
        let base = self.runner.log.head.checkpoint.clone();
        let sources: Vec<String> = self.pipeline.source.relations().into_iter().map(|relation| relation.name).collect();
        let read = self
            .step("read", None, async {
                let mut objects = BTreeMap::new();
                for (name, relation) in input.given.iter().filter(|(name, _)| sources.contains(name)) {
                    let object = format!("{folder}/{attempt}/source/{name}.parquet");
                    let schema = relation.schema();
                    let batches = relation.frame.clone().collect().await?;
                    store.put(&object, state::parquet_bytes(&schema, &batches)?).await?;
                    objects.insert(name.clone(), vec![object]);
                }
                let rejects = if input.outcome.rejects.is_empty() {
                    None
                } else {
                    Some(format!("{folder}/{attempt}/source/rejects.json"))
                };
                if let Some(object) = &rejects {
                    store.put(object, crate::store::json(&input.outcome.rejects)?).await?;
                }
                Ok(Read {
                    epoch,
                    attempt,
                    reached: base.delta(&input.outcome.reached),
                    spool: objects,
                    left_out: input.outcome.left_out.clone(),
                    notes: input.outcome.notes.clone(),
                    rejects,
                })
            })
            .await?;
        self.runner.log.append(RecordBody::Read(read)).await
    }

    /// An overwriting sink must not be given less than everything.
    fn check_whole(&self, input: &Input) -> Result<()> {
        let reached_any = !input.outcome.reached.is_empty();
        match input.outcome.left_out.first() {
            Some(first) if self.pipeline.mode == Mode::Full && !(self.pipeline.may_lack && reached_any) => {
                let reason = format!(
                    "it could not be read ({}), and mode = \"full\" must not replace everything by less; mend or remove it",
                    first.reason
                );
                Err(Error::refused(Origin::new(self.connector()).partition(&first.partition), ErrorClass::Data, reason)
                    .at(&self.pipeline.name, self.intent.epoch, "scan"))
            }
            _ => Ok(()),
        }
    }

    /// The source's name in dead letters.
    fn connector(&self) -> String {
        self.pipeline.source.definition().get("type").and_then(serde_json::Value::as_str).unwrap_or("source").to_owned()
    }

    // ---- compare

    async fn compare(&mut self, graph: &mut Graph<'_>) -> Result<Option<Arc<Compared>>> {
        let pipeline = self.pipeline;
        let Some(step) = &pipeline.history else { return Ok(None) };
        let context = self.context.clone();
        let (window, version) = (window_of(&self.intent), self.intent.history.clone());
        let rebuild = matches!(self.intent.kind, EpochKind::Rebuild { .. });
        let nothing_read = self.intent.reads_nothing;
        let read_again = rebuild && self.intent.from_start;
        let state = self.state().await?;
        let known_carries = self.runner.carries.clone();
        let companion_versions = self.intent.companions.clone();
        let replay = self.replay.clone();
        let compared = self
            .step("compare", None, async {
                let mut relation = if nothing_read {
                    planned(pipeline, &context, &step.relation).await?
                } else {
                    graph.relation(&step.relation, Base::Epoch).await?
                };
                if let Some(window) = &window {
                    relation = relation.with_frame(within(relation.frame.clone(), window)?);
                }
                let mut unfit = Vec::new();
                if let Some(replay) = &replay {
                    let frame = relation.frame.clone();
                    let joined = replay.joined(&context, RefusedBy::Late, &step.relation, frame).await?;
                    unfit = joined.1;
                    relation = relation.with_frame(joined.0);
                }
                let nothing_known = LastBars::new();
                let last = if rebuild { &nothing_known } else { &state.last };
                let history = step.history.as_ref();
                let mut compared =
                    compare(&context, &step.relation, &relation, history, version.as_deref(), last).await?;
                let mut letters = Vec::new();
                if pipeline.late == LatePolicy::DeadLetter && !rebuild {
                    letters = drop_late(&context, &step.relation, &mut compared).await?;
                }
                if rebuild {
                    compared.touch_all(&context, history, version.as_deref()).await?;
                }
                let kept =
                    if read_again { compared.not_given_again(&context, history, version.as_deref()).await? } else { 0 };
                let mut companions = Companions::new();
                for (name, table) in &pipeline.companions {
                    let relation = if nothing_read {
                        planned(pipeline, &context, name).await?
                    } else {
                        graph.relation(name, Base::Epoch).await?
                    };
                    let version = companion_versions.get(name).cloned().flatten();
                    let companion = Companion::compare(&context, name, &relation, table, version, &compared).await?;
                    compared.touch(companion.reached(&context, &compared).await?);
                    companions.insert(name.clone(), companion);
                }
                let compared = Arc::new(compared);
                let columns = compared.changed.schema();
                let carries = match known_carries {
                    Some((of, carries)) if of == columns => carries,
                    _ => carries(pipeline, &context, &compared.changed).await?,
                };
                let at_history =
                    AtHistory::new(pipeline, step, &compared, version.clone(), rebuild, &state, carries.clone())
                        .with_companions(companions);
                graph.set_history(at_history);
                Ok((letters, compared, kept, (columns, carries), unfit))
            })
            .await;
        let (late_letters, compared, kept, carries, unfit) = match compared {
            Err(error) if error.is_object_missing() => {
                let reason = format!(
                    "a file of the history's table is gone ({}): restore it, or remove the table's folder and run with `--rebuild`, which reads the source from its start",
                    error.chain().last().cloned().unwrap_or_default()
                );
                let origin = Origin::new("history").partition(&step.relation);
                return Err(Error::refused(origin, ErrorClass::Config, reason).at(
                    &pipeline.name,
                    self.intent.epoch,
                    "compare",
                ));
            }
            compared => compared?,
        };
        self.runner.carries = Some(carries);
        if kept > 0 {
            self.notes.push(Note {
                step: step.relation.clone(),
                kind: "kept".into(),
                symbol: None,
                rows: kept,
                level: NoteLevel::Warning,
                text: format!("{kept} rows that the sinks hold were not given again by the source and its rules: they stay; remove the tables before a rebuild to be without them"),
            });
        }
        self.letters.extend(RefusedBy::Late, late_letters);
        self.unfit.extend(unfit);
        Ok(Some(compared))
    }

    // ---- apply

    async fn apply(&mut self, graph: &mut Graph<'_>, compared: Option<&Compared>) -> Result<Vec<Delivery<'p>>> {
        let pipeline = self.pipeline;
        let context = self.context.clone();
        let targets = self.runner.targets(&self.intent.kind);
        let rebuild = matches!(self.intent.kind, EpochKind::Rebuild { .. });
        let (tokens, token) = (self.runner.tokens.clone(), self.token);
        let before = self.runner.log.head.commit.as_ref().map(|commit| commit.tables.clone()).unwrap_or_default();
        let changed_tables: BTreeSet<String> = reference::changed(&self.tables, &before).cloned().collect();
        let replay = self.replay.clone();
        let consumed =
            self.moves_checkpoint().then(|| pipeline.source.consumed(&self.plan().upto)).flatten().map(Arc::new);
        let applied = self.step("apply", None, async {
            let mut deliveries: Vec<Delivery<'p>> = Vec::new();
            let mut unfit = Vec::new();
            let mut computed: BTreeMap<String, EpochRows> = BTreeMap::new();
            for step in targets {
                let relation = pipeline.sink_relation(step);
                let rows = match computed.get(&relation) {
                    Some(rows) => rows.clone(),
                    None => {
                        let rows = outgoing(graph, &context, compared, &relation, rebuild, &changed_tables).await?;
                        let readers =
                            pipeline.sinks.iter().filter(|sink| pipeline.sink_relation(sink) == relation).count();
                        // A relation with several readers is computed once.
                        let rows = if readers > 1 {
                            rows.with_frame(context.share(rows.frame().clone()).await?)
                        } else {
                            rows
                        };
                        computed.insert(relation.clone(), rows.clone());
                        rows
                    }
                };
                let rows = match &replay {
                    Some(replay) => with_refused(replay, &context, step, rows, &mut unfit).await?,
                    None => rows,
                };
                let rows = rows.with_consumed(consumed.clone());
                let held = step.sink.idempotence() == Idempotence::Transactional
                    && tokens.get(&step.name).copied().flatten() == Some(token);
                deliveries.push(Delivery { step, relation, rows, held });
            }
            for idx in 0..pipeline.steps.len() {
                pipeline.check_scope(idx, graph.scope_of_step(idx))?;
            }
            Ok((deliveries, unfit))
        });
        let (deliveries, unfit) = applied.await?;
        self.unfit.extend(unfit);
        Ok(deliveries)
    }

    /// Collects rejects and notes; fails where a rule says so.
    async fn side_outputs(&mut self, graph: &Graph<'_>, input: &Input) -> Result<Vec<Note>> {
        let store = self.pipeline.store.clone();
        let folder = self.folder.clone();
        let mut letters = std::mem::take(&mut self.letters);
        letters.extend(RefusedBy::Source, input.outcome.rejects.iter().cloned());
        let mut unfit = std::mem::take(&mut self.unfit);
        unfit.extend(graph.unfit.iter().cloned());
        let mut own_notes = std::mem::take(&mut self.notes);
        own_notes.extend(unfit_note(&unfit));
        letters.extend_kept(unfit.into_iter().map(|unfit| unfit.kept));
        own_notes.extend(input.outcome.notes.iter().cloned());
        let connector = self.connector();
        let letters_notes = self
            .step("refuse", None, async {
                let mut notes = own_notes;
                for side in &graph.side {
                    for frame in &side.rejects {
                        letters.extend(RefusedBy::Step, rejects_of(&side.step, frame).await?);
                    }
                    notes.extend(notes_of(side).await?);
                }
                letters.load_attempts(&store, &folder).await?;
                Ok((letters, notes))
            })
            .await?;
        let (letters, notes) = letters_notes;
        self.letters = letters;
        if let Some(window) = window_of(&self.intent) {
            self.letters.keep_within(&window);
        }
        if let Some(note) = notes.iter().find(|note| note.level == NoteLevel::Fail && note.rows > 0) {
            let mut origin = Origin::new(connector).partition(note.step.clone());
            origin.symbol = note.symbol.clone();
            let error = Error::refused(
                origin,
                ErrorClass::Data,
                format!("{} rows break the rule `{}`: {}", note.rows, note.kind, note.text),
            );
            return Err(error.at(&self.pipeline.name, self.intent.epoch, format!("step `{}`", note.step)));
        }
        Ok(notes)
    }

    // ---- stage

    /// Stages all sinks side by side: the slowest sets the pace. One that fails takes the others down.
    async fn stage(&mut self, deliveries: &[Delivery<'p>]) -> Result<Vec<Option<Staged>>> {
        let token = self.token;
        let backoff = self.pipeline.backoff;
        let probe = self.runner.options.probe.clone();
        let pipeline = self.pipeline;
        let work = deliveries.iter().map(|delivery| {
            let probe = probe.clone();
            async move {
                if delivery.held {
                    return Ok(None);
                }
                let (sink, name) = (&delivery.step.sink, delivery.step.name.as_str());
                let staged = backoff.retry("stage", || sink.stage(&token, &delivery.rows));
                let staged = telemetry::step(&pipeline.name, token.epoch, "stage", Some(name), staged).await;
                let staged = staged.map_err(|error| match error {
                    error @ Error::At { .. } => error,
                    error => error.at(&pipeline.name, token.epoch, format!("stage of sink `{}`", delivery.step.name)),
                })?;
                probe.map_or(Ok(()), |probe| probe.at(&KillPoint::AfterStage(delivery.step.name.clone())))?;
                Ok(Some(staged))
            }
        });
        let start = Instant::now();
        self.runner.options.progress.step(self.intent.epoch, "stage");
        let results: Vec<Result<Option<Staged>>> = futures::future::join_all(work).await;
        *self.steps.entry("stage".into()).or_default() += start.elapsed().as_secs_f64();
        let mut staged = Vec::new();
        let mut failed = None;
        for result in results {
            match result {
                Ok(one) => staged.push(one),
                Err(error) => {
                    staged.push(None);
                    failed = failed.or(Some(error));
                }
            }
        }
        match failed {
            None => Ok(staged),
            Some(error) => {
                self.abort(deliveries, staged, &error).await;
                Err(error)
            }
        }
    }

    /// Removes what was staged, as far as that works; after a kill nothing is tidied.
    async fn abort(&self, deliveries: &[Delivery<'p>], staged: Vec<Option<Staged>>, error: &Error) {
        if matches!(error, Error::Killed { .. }) {
            return;
        }
        for (delivery, staged) in deliveries.iter().zip(staged) {
            if let Some(staged) = staged
                && let Err(error) = delivery.step.sink.abort(staged).await
            {
                tracing::warn!(sink = %delivery.step.name, error = %error.chain().join(": "), "what was staged could not be removed; the next run does");
            }
        }
    }

    // ---- dead letters, state, commit

    async fn deliver(
        &mut self,
        input: &Input,
        compared: Option<&Compared>,
        deliveries: &[Delivery<'p>],
        staged: &mut [Option<Staged>],
    ) -> Result<Vec<SinkReport>> {
        for (delivery, staged) in deliveries.iter().zip(staged.iter()) {
            let refused = staged.as_ref().map(|staged| staged.refused.as_slice()).unwrap_or_default();
            self.letters.extend(RefusedBy::Sink, refused_by(&delivery.step.name, &delivery.relation, refused));
        }
        let rows: u64 = staged.iter().flatten().map(|staged| staged.rows).sum::<u64>()
            + compared.map_or(0, |compared| compared.n_unchanged);
        let held = deliveries.iter().any(|delivery| delivery.held);
        let (window, read) = (window_of(&self.intent), self.intent.upto.clone());
        let may_be_empty = held || window.is_some() || self.replay.is_some();
        self.letters
            .check(self.pipeline.max_dead_letters, if may_be_empty { rows.max(1) } else { rows }, &read)
            .map_err(|error| error.at(&self.pipeline.name, self.intent.epoch, "dead letters"))?;
        let mut letters = self.save_letters().await?;
        self.runner.strike(&KillPoint::AfterDeadLetters)?;
        let state = self.save_state(compared, deliveries).await?;
        self.runner.strike(&KillPoint::AfterState)?;
        let mut reports = Vec::new();
        self.runner.delivering = true;
        for (delivery, staged) in deliveries.iter().zip(staged.iter_mut()) {
            let before = self.letters.len();
            let written = match staged.take() {
                Some(staged) => {
                    self.commit_sink(
                        &delivery.step.name,
                        &delivery.step.sink,
                        &delivery.relation,
                        &delivery.rows,
                        staged,
                    )
                    .await?
                }
                None => Written { location: "held already".into(), ..Written::default() },
            };
            if self.letters.len() > before {
                // A keyed sink's refusals are durable before the store's commit, and count like any other.
                self.letters
                    .check(self.pipeline.max_dead_letters, written.rows.max(1), &read)
                    .map_err(|error| error.at(&self.pipeline.name, self.intent.epoch, "dead letters"))?;
                letters = self.save_letters().await?;
            }
            let keyed = !delivery.rows.relation().key.is_empty();
            reports.push(SinkReport {
                sink: delivery.step.name.clone(),
                relation: delivery.relation.clone(),
                guarantee: self.pipeline.guarantee_of(delivery.step, keyed),
                rows: written.rows,
                bytes: written.bytes,
                location: written.location,
                held: delivery.held,
            });
        }
        self.commit_letters().await?;
        let replayed = self.save_replayed().await?;
        self.commit_store(input, deliveries, &reports, letters, replayed, state).await?;
        self.runner.strike(&KillPoint::AfterStoreCommit)?;
        Ok(reports)
    }

    async fn save_letters(&mut self) -> Result<Option<(String, u64)>> {
        let store = self.pipeline.store.clone();
        let (folder, attempt) = (self.folder.clone(), self.attempt.clone());
        let letters = std::mem::take(&mut self.letters);
        let backoff = self.pipeline.backoff;
        let saved = self
            .step("dead_letters", None, async {
                backoff.retry("dead letters", || letters.save(&store, &folder, &attempt)).await
            })
            .await;
        self.letters = letters;
        Ok(saved?.map(|name| (name, self.letters.len())))
    }

    /// Makes durable which letters a replay closes; says where.
    async fn save_replayed(&mut self) -> Result<Option<(String, u64)>> {
        let Some(replay) = &self.replay else { return Ok(None) };
        let closed = self.letters.closed(&replay.letters);
        if closed.is_empty() {
            return Ok(None);
        }
        let store = self.pipeline.store.clone();
        let name = format!("{}/{}/replayed.json", self.folder, self.attempt);
        let bytes = crate::store::json(&closed)?;
        let backoff = self.pipeline.backoff;
        self.step("dead_letters", None, async {
            backoff.retry("dead letters", || store.put(&name, bytes.clone())).await?;
            Ok(Some((name, closed.len() as u64)))
        })
        .await
    }

    async fn save_state(
        &mut self,
        compared: Option<&Compared>,
        deliveries: &[Delivery<'p>],
    ) -> Result<crate::store::StateRef> {
        let before = self.runner.log.head.commit.as_ref().map(|commit| commit.state.clone()).unwrap_or_default();
        let (Some(compared), Some(history)) = (compared, &self.pipeline.history) else { return Ok(before) };
        // Taken, so that it is changed where it stands: it counts again once this epoch is committed.
        let state = self.state().await?;
        self.runner.state = None;
        let mut all = Arc::unwrap_or_clone(state);
        let store = self.pipeline.store.clone();
        let name = format!("{}/{}/state/{}/0.parquet", self.folder, self.attempt, history.relation);
        let fingerprint = self.runner.definition.input_fingerprint();
        let mut epoch = State::default();
        for (symbol, touched) in compared.touched.iter().filter(|(_, touched)| touched.last > i64::MIN) {
            let known = all.last.get(symbol);
            let ts = known.map_or(touched.last, |known| known.ts.max(touched.last));
            let basis = touched.basis.clone().or_else(|| known.and_then(|known| known.basis.clone()));
            epoch.last.insert(symbol.clone(), LastBar { ts, basis });
        }
        let states = self.states.clone();
        let reference = self
            .step("state", None, async {
                if let Some(states) = &states {
                    let of = |name: &str| deliveries.iter().find(|it| it.relation == name).map(|it| &it.rows);
                    // Running a sink's relation once more runs what it reads, too.
                    let (sinks, others): (Vec<_>, Vec<_>) = states.relations.iter().partition(|it| of(it).is_some());
                    for name in sinks.into_iter().chain(others) {
                        states.take(name, of(name), &mut epoch).await?;
                    }
                }
                all.merge(&epoch);
                let reference =
                    state::save(&store, &name, &history.relation, &before, &all, &epoch, &fingerprint).await?;
                Ok((reference, all))
            })
            .await;
        let (reference, all) = reference?;
        // It counts once the epoch is committed; until then the head still has the old one.
        self.runner.state = Some((reference.clone(), Arc::new(all)));
        Ok(reference)
    }

    /// Commits one sink. After a failed commit the sink is opened again: if it holds the token, the epoch is done there.
    async fn commit_sink(
        &mut self,
        name: &str,
        sink: &Arc<dyn Sink>,
        relation: &str,
        rows: &EpochRows,
        staged: Staged,
    ) -> Result<Written> {
        let token = self.token;
        let mut rows = rows.clone();
        let mut staged = staged;
        let mut refusals = 0;
        let mut patience = self.pipeline.backoff.patience();
        loop {
            self.runner.log.check_fence().await?;
            self.runner.strike(&KillPoint::BeforeCommit(name.to_owned()))?;
            let n_rows = staged.rows;
            let committed = self.step("commit", Some(name), sink.commit(staged)).await;
            let written = match committed {
                Ok(written) => written,
                Err(error) if error.is_fenced() => return Err(error),
                Err(error) => {
                    let held = self.runner.open_sink(name, sink.as_ref()).await?;
                    if held == Some(token) {
                        tracing::info!(sink = name, error = %error.chain().join(": "), "the commit failed after it had taken place");
                        Written { rows: n_rows, ..Written::default() }
                    } else {
                        let shutdown = self.runner.options.shutdown.clone();
                        tokio::select! {
                            biased;
                            waited = patience.wait("commit", error) => waited?,
                            () = shutdown.requested() => return Err(Error::Interrupted { epoch: token.epoch }),
                        }
                        staged = self.stage_again(name, sink, &rows).await?;
                        continue;
                    }
                }
            };
            self.letters.extend(RefusedBy::Sink, refused_by(name, relation, &written.refused));
            if written.refused.is_empty() || sink.idempotence() != Idempotence::Transactional {
                self.runner.strike(&KillPoint::AfterCommit(name.to_owned()))?;
                metrics::counter!(telemetry::ROWS_WRITTEN, "pipeline" => self.pipeline.name.clone(), "sink" => name.to_owned()).increment(written.rows);
                return Ok(written);
            }
            // It has rolled back: what it refuses is durable first, then it is staged without.
            self.letters.check(self.pipeline.max_dead_letters, 1, &self.intent.upto)?;
            self.save_letters().await?;
            refusals += 1;
            if refusals == REFUSAL_ROUNDS {
                let reason = format!("it refused other rows in each of {REFUSAL_ROUNDS} commits");
                return Err(Error::refused(Origin::new(name), ErrorClass::Internal, reason));
            }
            rows = without(&self.context, &rows, &written.refused).await?;
            staged = self.stage_again(name, sink, &rows).await?;
        }
    }

    async fn stage_again(&mut self, name: &str, sink: &Arc<dyn Sink>, rows: &EpochRows) -> Result<Staged> {
        let (backoff, token) = (self.pipeline.backoff, self.token);
        self.step("stage", Some(name), async { backoff.retry("stage", || sink.stage(&token, rows)).await }).await
    }

    /// The dead-letter sink is the last to commit.
    async fn commit_letters(&mut self) -> Result<()> {
        for letter in self.letters.to_vec() {
            metrics::counter!(telemetry::DEAD_LETTERS, "pipeline" => self.pipeline.name.clone(), "connector" => letter.connector).increment(1);
        }
        let Some(sink) = self.pipeline.dead_letters.clone() else { return Ok(()) };
        if self.runner.tokens.get(DEAD_LETTER_SINK).copied().flatten() == Some(self.token) {
            return Ok(());
        }
        let batch = dead_letter_batch(&self.pipeline.name, self.intent.epoch, self.intent.now, &self.letters.to_vec())?;
        let relation = Pipeline::dead_letter_relation();
        let frame = self.context.table(batch.schema(), vec![vec![batch]])?;
        let rows = EpochRows::new(relation, frame);
        let staged = self.stage_again(DEAD_LETTER_SINK, &sink, &rows).await?;
        if !staged.refused.is_empty() {
            tracing::warn!(
                refused = staged.refused.len(),
                "the dead-letter sink refuses some dead letters; all of them are in the checkpoint store"
            );
        }
        self.runner.strike(&KillPoint::AfterStage(DEAD_LETTER_SINK.into()))?;
        self.commit_sink(DEAD_LETTER_SINK, &sink, DEAD_LETTER_SINK, &rows, staged).await?;
        Ok(())
    }

    async fn commit_store(
        &mut self,
        input: &Input,
        deliveries: &[Delivery<'p>],
        reports: &[SinkReport],
        dead_letters: Option<(String, u64)>,
        replayed: Option<(String, u64)>,
        state: crate::store::StateRef,
    ) -> Result<()> {
        let head = &self.runner.log.head;
        let mut sinks = head.commit.as_ref().map(|commit| commit.sinks.clone()).unwrap_or_default();
        sinks.retain(|name, _| name == DEAD_LETTER_SINK || self.pipeline.sinks.iter().any(|sink| sink.name == *name));
        let held = |sink: &dyn Sink| (sink.idempotence() == Idempotence::Transactional).then_some(self.token);
        for delivery in deliveries {
            sinks.insert(delivery.step.name.clone(), held(delivery.step.sink.as_ref()));
        }
        if let Some(sink) = &self.pipeline.dead_letters {
            sinks.insert(DEAD_LETTER_SINK.into(), held(sink.as_ref()));
        }
        let reached = &input.outcome.reached;
        let checkpoint = if self.moves_checkpoint() { head.checkpoint.delta(reached) } else { Default::default() };
        let full = self.pipeline.mode == Mode::Full;
        let rows = reports.iter().map(|report| (report.sink.clone(), report.rows)).collect();
        let (intent, left_out) = (self.intent.clone(), input.outcome.left_out.clone());
        let tables = self.tables.clone();
        let (pipeline, epoch) = (self.pipeline.name.clone(), self.intent.epoch);
        let log = &mut self.runner.log;
        let start = Instant::now();
        let work = async {
            let (snapshot, deltas) = log.checkpoint_base().await?;
            let commit = Commit {
                epoch,
                kind: intent.kind,
                now: intent.now,
                definition: intent.definition,
                sinks,
                snapshot,
                deltas,
                checkpoint,
                pins: full.then_some(intent.pins),
                dead_letters,
                replayed,
                state,
                left_out,
                rows,
                tables,
            };
            log.append(RecordBody::Commit(commit)).await
        };
        telemetry::step(&pipeline, epoch, "store_commit", None, work)
            .await
            .map_err(|error| error.at(&pipeline, epoch, "store commit"))?;
        self.steps.insert("store_commit".into(), start.elapsed().as_secs_f64());
        Ok(())
    }

    fn report(
        &self,
        input: &Input,
        compared: Option<&Compared>,
        sinks: Vec<SinkReport>,
        notes: Vec<Note>,
    ) -> EpochReport {
        let kind = match &self.intent.kind {
            EpochKind::Run => "run",
            EpochKind::Backfill { .. } => "backfill",
            EpochKind::Rebuild { .. } => "rebuild",
            EpochKind::Replay { .. } => "replay",
            EpochKind::Rewind { .. } => "rewind",
        };
        let replayed = self.replay.as_ref().map(|replay| {
            let closed = self.letters.closed(&replay.letters).len() as u64;
            Replayed { closed, refused_again: replay.letters.len() as u64 - closed }
        });
        let touched = compared.map(|compared| &compared.touched);
        EpochReport {
            epoch: self.intent.epoch,
            kind: kind.into(),
            resumed: self.resumed,
            now: self.intent.now,
            read: input.rows.clone(),
            changed: compared.map(|compared| compared.n_changed),
            unchanged: compared.map(|compared| compared.n_unchanged),
            fresh_symbols: touched.map_or(0, |touched| touched.values().filter(|touched| !touched.late).count() as u64),
            late_symbols: touched
                .map(|touched| {
                    touched.iter().filter(|(_, touched)| touched.late).map(|(symbol, _)| symbol.clone()).collect()
                })
                .unwrap_or_default(),
            sinks,
            dead_letters: self.letters.len(),
            first_dead_letters: self.letters.first(SHOWN_LETTERS),
            left_out: input.outcome.left_out.clone(),
            notes,
            spilled_bytes: self.spilled.0.load(Ordering::Relaxed),
            replayed,
            steps: self.steps.clone(),
        }
    }
}

/// What stands before anything becomes visible.
struct Prepared<'p> {
    input: Input,
    compared: Option<Arc<Compared>>,
    deliveries: Vec<Delivery<'p>>,
    staged: Vec<Option<Staged>>,
    notes: Vec<Note>,
}

fn window_of(intent: &Intent) -> Option<Window> {
    match &intent.kind {
        EpochKind::Backfill { window } => Some(window.clone()),
        _ => None,
    }
}

/// Reads the source to the end of its plan, once; or leaves it to the one reader of its rows, if that can take them as they
/// come.
async fn scan_once(
    pipeline: &Pipeline,
    context: &EpochContext,
    plan: &EpochPlan,
    progress: &Arc<dyn super::progress::Progress>,
) -> Result<Input> {
    let scan = pipeline.source.scan(plan).await?;
    let known = pipeline.source.relations();
    let mut given = reference_tables(pipeline, context)?;
    let mut rows = BTreeMap::new();
    let mut counts = BTreeMap::new();
    let streams = streams(pipeline);
    for (name, table) in scan.relations {
        let frame = if streams {
            let count = Arc::<RowCount>::default();
            let table = CountedTable::new(table, Arc::clone(&count), Arc::clone(progress));
            counts.insert(name.clone(), count);
            context.session.read_table(Arc::new(table))?
        } else {
            let frame = context.session.read_table(table)?;
            let seen = |batch: &RecordBatch| {
                progress.rows(batch.num_rows() as u64);
                Ok(())
            };
            let (frame, n_rows) = spool::share_seen(context, frame, &seen).await?;
            rows.insert(name.clone(), n_rows);
            metrics::counter!(telemetry::ROWS_READ, "pipeline" => pipeline.name.clone()).increment(n_rows);
            frame
        };
        let promise = known.iter().find(|relation| relation.name == name);
        let relation = Relation::new(frame)
            .with_key(promise.map(|relation| relation.key.clone()).unwrap_or_default())
            .with_version(promise.and_then(|relation| relation.version.clone()));
        given.insert(name, relation);
    }
    let end: Arc<dyn ScanEnd> = scan.end;
    if streams {
        let outcome = ScanOutcome { reached: plan.upto.clone(), ..ScanOutcome::default() };
        return Ok(Input { given, outcome, rows, unread: Some(Unread { end, counts }) });
    }
    let outcome = end.outcome().await?;
    Ok(Input { given, outcome, rows, unread: None })
}

/// Whether the source's rows can go to their readers as they come: it gives the same rows whenever it is asked, each of its
/// relations has one reader that reads it once, and nothing has to be compared with them first.
pub(crate) fn streams(pipeline: &Pipeline) -> bool {
    let reads_once = |name: &str| {
        let steps: Vec<_> = (0..pipeline.steps.len()).filter(|idx| pipeline.step_input(*idx) == name).collect();
        let others = pipeline.steps.iter().any(|step| step.transform.reads().iter().any(|read| read == name));
        let sinks = pipeline.sinks.iter().filter(|sink| pipeline.sink_relation(sink) == name).count();
        let by_step = steps.iter().all(|idx| pipeline.steps.get(*idx).is_some_and(|it| it.transform.reads_once()));
        !others && steps.len() + sinks <= 1 && by_step
    };
    pipeline.history.is_none()
        && pipeline.source.replay() == Replay::Exact
        && pipeline.source.relations().iter().all(|relation| reads_once(&relation.name))
}

fn reference_tables(pipeline: &Pipeline, context: &EpochContext) -> Result<BTreeMap<String, Relation>> {
    let tables = pipeline
        .tables
        .iter()
        .map(|(name, table)| Ok((name.clone(), Relation::new(context.session.read_table(Arc::clone(table))?))));
    tables.collect()
}

/// The source's relations without a row.
pub(crate) fn empty_input(pipeline: &Pipeline, context: &EpochContext) -> Result<BTreeMap<String, Relation>> {
    let mut given = reference_tables(pipeline, context)?;
    for relation in pipeline.source.relations() {
        let frame = context.table(Arc::clone(&relation.schema), vec![vec![]])?;
        given.insert(relation.name.clone(), Relation::new(frame).with_key(relation.key).with_version(relation.version));
    }
    Ok(given)
}

/// A relation's promise without a row.
async fn planned(pipeline: &Pipeline, context: &EpochContext, name: &str) -> Result<Relation> {
    let mut context = context.clone();
    context.planning = true;
    let given = empty_input(pipeline, &context)?;
    let relation = Graph::new(pipeline, &context, given).relation(name, Base::Epoch).await?;
    let frame = context.table(relation.schema(), vec![vec![]])?;
    Ok(relation.with_frame(frame))
}

/// The input that an earlier attempt sealed.
async fn spooled(
    pipeline: &Pipeline,
    context: &EpochContext,
    store: &crate::store::CheckpointStore,
    read: &Read,
    base: Checkpoint,
) -> Result<Input> {
    let known = pipeline.source.relations();
    // A relation that the source has got since is empty.
    let mut given = empty_input(pipeline, context)?;
    let mut rows = BTreeMap::new();
    for (name, objects) in &read.spool {
        let (schema, batches) = spool::read_objects(store, objects).await?;
        rows.insert(name.clone(), batches.iter().map(|batch| batch.num_rows() as u64).sum());
        let frame = context.session.read_table(Arc::new(MemTable::try_new(schema, vec![batches])?))?;
        let promise = known.iter().find(|relation| relation.name == *name);
        let relation = Relation::new(frame)
            .with_key(promise.map(|relation| relation.key.clone()).unwrap_or_default())
            .with_version(promise.and_then(|relation| relation.version.clone()));
        given.insert(name.clone(), relation);
    }
    let rejects = match &read.rejects {
        Some(object) => {
            let corrupt =
                || Error::StoreCorrupt { path: store.path(object).to_string(), reason: "it is missing".into() };
            store.parse(object, &store.get(object).await?.ok_or_else(corrupt)?)?
        }
        None => Vec::new(),
    };
    let mut reached = base;
    reached.apply(&read.reached);
    let outcome = ScanOutcome { reached, rejects, left_out: read.left_out.clone(), notes: read.notes.clone() };
    Ok(Input { given, outcome, rows, unread: None })
}

/// The bars within a backfill's window.
fn within(frame: DataFrame, window: &Window) -> Result<DataFrame> {
    let mut frame = frame;
    let column = if frame.schema().has_column_with_unqualified_name("date") { "date" } else { "ts" };
    let date = || cast(col(column), DataType::Date32);
    let day = |date: chrono::NaiveDate| cast(lit(date.to_string()), DataType::Date32);
    if let Some(from) = window.from {
        frame = frame.filter(date().gt_eq(day(from)))?;
    }
    if let Some(to) = window.to {
        frame = frame.filter(date().lt_eq(day(to)))?;
    }
    if !window.symbols.is_empty() {
        let symbols: Vec<Expr> = window.symbols.iter().map(|symbol| lit(symbol.as_str())).collect();
        frame = frame.filter(col("symbol").in_list(symbols, false))?;
    }
    Ok(frame)
}

/// Takes late bars out; they become dead letters.
async fn drop_late(context: &EpochContext, relation: &str, compared: &mut Compared) -> Result<Vec<DeadLetter>> {
    let late: Vec<&String> =
        compared.touched.iter().filter(|(_, touched)| touched.late).map(|(symbol, _)| symbol).collect();
    if late.is_empty() {
        return Ok(Vec::new());
    }
    let Some(known) = &compared.known else { return Ok(Vec::new()) };
    let (letters, frame) = {
        // A series is a key without its time: today's five-minute bars do not make today's daily bar late.
        let series: Vec<String> =
            compared.changed.key.iter().filter(|column| *column != "ts").map(|column| quote(column)).collect();
        let on: Vec<String> = series.iter().map(|column| format!("c.{column} = t.{column}")).collect();
        let session = child(context, &[("c", compared.changed.frame.clone()), ("h", known.clone())])?;
        let split = |condition: &str| {
            format!(
                "SELECT c.* FROM c LEFT JOIN (SELECT {}, max(ts) AS newest FROM h GROUP BY {0}) t ON {} WHERE {condition}",
                series.join(", "),
                on.join(" AND ")
            )
        };
        let older = session.sql(&split("c.ts <= t.newest")).await?;
        let newer = session.sql(&split("t.newest IS NULL OR c.ts > t.newest")).await?;
        let position = datafusion::functions::string::expr_fn::concat_ws(
            lit("|"),
            compared.changed.key.iter().map(|column| cast(col(column), DataType::Utf8)).collect(),
        );
        let rejects = reject_frame(older, relation, position, col("symbol"), lit(LATE))?;
        (rejects_of(relation, &rejects).await?, context.share(newer).await?)
    };
    compared.keep(context, frame).await?;
    Ok(letters)
}

/// The rows and those that the sink has refused before, with one row a key where it merges.
async fn with_refused(
    replay: &ReplayInput,
    epoch: &EpochContext,
    step: &SinkStep,
    rows: EpochRows,
    unfit: &mut Vec<Unfit>,
) -> Result<EpochRows> {
    let (frame, lost) = replay.joined(epoch, RefusedBy::Sink, &step.name, rows.frame().clone()).await?;
    unfit.extend(lost);
    if step.sink.write_mode() != WriteMode::Merge {
        return Ok(rows.with_frame(frame));
    }
    let described = rows.relation();
    let relation = Relation::new(frame).with_key(described.key.clone()).with_version(described.version.clone());
    Ok(rows.with_frame(latest(epoch, &described.name, &relation).await?.frame))
}

/// The rows but for those that the sink's system refuses.
async fn without(epoch: &EpochContext, rows: &EpochRows, refused: &[RefusedRow]) -> Result<EpochRows> {
    let Some(first) = refused.first() else { return Ok(rows.clone()) };
    let columns: Vec<&str> = first.key.iter().map(|(column, _)| column.as_str()).collect();
    if columns.is_empty() {
        let reason =
            format!("it refused a row without naming its key, so that it cannot be left out: {}", first.reason);
        return Err(Error::refused(Origin::new(rows.relation().name.clone()), ErrorClass::Internal, reason));
    }
    let values = |column: &str| -> StringArray {
        let of_row = |row: &RefusedRow| row.key.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone());
        refused.iter().map(of_row).collect()
    };
    let schema =
        Arc::new(Schema::new(columns.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect::<Vec<_>>()));
    let keys = columns.iter().map(|column| Arc::new(values(column)) as ArrayRef).collect();
    let keys = epoch.table(Arc::clone(&schema), vec![vec![RecordBatch::try_new(schema, keys)?]])?;
    // NULL in a key is no match: such a row is kept rather than lost.
    let on = columns.iter().map(|column| format!("arrow_cast(r.{0}, 'Utf8') = k.{0}", quote(column)));
    let sql = format!("SELECT r.* FROM r LEFT ANTI JOIN k ON {}", on.collect::<Vec<_>>().join(" AND "));
    Ok(rows.with_frame(child(epoch, &[("r", rows.frame().clone()), ("k", keys)])?.sql(&sql).await?))
}
