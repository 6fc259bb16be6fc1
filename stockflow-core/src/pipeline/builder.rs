//! Putting a pipeline together; what does not fit is refused here.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::datasource::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use serde::{Deserialize, Serialize};

use super::guarantee::{Guarantee, derive_guarantee};
use crate::error::{Error, Result};
use crate::history::History;
use crate::retry::Backoff;
use crate::schema::dead_letter_relation;
use crate::sink::{Sink, WriteMode};
use crate::source::Source;
use crate::store::CheckpointStore;
use crate::transform::{Scope, Transform};

/// Rows over all sources of an epoch that may be refused before it fails, if nothing else is said.
const MAX_DEAD_LETTERS: u64 = 1000;

/// How a pipeline reads its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each run reads what is new.
    #[default]
    Incremental,
    /// Each run reads everything, and neither state nor history: what an overwriting sink needs.
    Full,
}

/// What becomes of a bar that is older than what was delivered for its symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatePolicy {
    /// The symbol is computed again from the history relation.
    #[default]
    Recompute,
    /// It becomes a dead letter with the reason `late`; such rows do not count against `max_dead_letters`.
    DeadLetter,
}

/// A named step: one transform. Its output relation has the step's name.
#[derive(Debug, Clone)]
pub struct Step {
    pub(crate) name: String,
    pub(crate) transform: Arc<dyn Transform>,
    pub(crate) input: Option<String>,
}

impl Step {
    /// A step that works on the relation before it.
    pub fn new(name: impl Into<String>, transform: impl Transform + 'static) -> Self {
        Self { name: name.into(), transform: Arc::new(transform), input: None }
    }

    /// Works on this relation instead.
    #[must_use]
    pub fn input(mut self, relation: impl Into<String>) -> Self {
        self.input = Some(relation.into());
        self
    }
}

/// A named sink and the relation that it takes.
#[derive(Debug, Clone)]
pub struct SinkStep {
    pub(crate) name: String,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) relation: Option<String>,
    pub(crate) since_now: bool,
}

impl SinkStep {
    /// A sink that takes the last relation.
    pub fn new(name: impl Into<String>, sink: impl Sink + 'static) -> Self {
        Self { name: name.into(), sink: Arc::new(sink), relation: None, since_now: false }
    }

    /// Takes this relation instead.
    #[must_use]
    pub fn relation(mut self, relation: impl Into<String>) -> Self {
        self.relation = Some(relation.into());
        self
    }

    /// A sink that joins a running pipeline needs no rebuild: it gets what comes from now on.
    #[must_use]
    pub fn since_now(mut self) -> Self {
        self.since_now = true;
        self
    }
}

/// The history relation and its table.
#[derive(Debug, Clone)]
pub(crate) struct HistoryStep {
    pub(crate) relation: String,
    pub(crate) history: Arc<dyn History>,
}

/// A source, steps, sinks: checked and ready to run.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) name: String,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) steps: Vec<Step>,
    pub(crate) sinks: Vec<SinkStep>,
    pub(crate) dead_letters: Option<Arc<dyn Sink>>,
    pub(crate) history: Option<HistoryStep>,
    /// What is remembered beside the history relation and read after it.
    pub(crate) companions: BTreeMap<String, Arc<dyn History>>,
    pub(crate) tables: BTreeMap<String, Arc<dyn TableProvider>>,
    pub(crate) store: CheckpointStore,
    pub(crate) mode: Mode,
    pub(crate) may_lack: bool,
    pub(crate) late: LatePolicy,
    pub(crate) max_dead_letters: Option<u64>,
    pub(crate) backoff: Backoff,
    pub(crate) max_partitions: Option<usize>,
    pub(crate) max_rows: Option<u64>,
    pub(crate) runtime: Option<Arc<RuntimeEnv>>,
    pub(crate) threads: Option<usize>,
}

/// The name of the dead-letter sink: no other sink may have it.
pub const DEAD_LETTER_SINK: &str = "dead_letters";

impl Pipeline {
    /// Begins a pipeline.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder {
            name: name.into(),
            source: None,
            steps: Vec::new(),
            sinks: Vec::new(),
            dead_letters: None,
            history: None,
            companions: BTreeMap::new(),
            tables: BTreeMap::new(),
            store: None,
            mode: Mode::default(),
            may_lack: false,
            late: LatePolicy::default(),
            max_dead_letters: Some(MAX_DEAD_LETTERS),
            require: None,
            backoff: Backoff::default(),
            max_partitions: None,
            max_rows: None,
            runtime: None,
            threads: None,
        }
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The relation that a step or sink works on by default: the one before it.
    pub(crate) fn relation_before(&self, step: usize) -> String {
        match step.checked_sub(1).and_then(|before| self.steps.get(before)) {
            Some(step) => step.name.clone(),
            None => self.source.relations().first().map_or_else(|| "input".into(), |relation| relation.name.clone()),
        }
    }

    pub(crate) fn step_input(&self, step: usize) -> String {
        self.steps.get(step).and_then(|step| step.input.clone()).unwrap_or_else(|| self.relation_before(step))
    }

    pub(crate) fn sink_relation(&self, sink: &SinkStep) -> String {
        sink.relation.clone().unwrap_or_else(|| self.relation_before(self.steps.len()))
    }

    /// The step that gives a relation: `name` itself or the part before the dot.
    pub(crate) fn step_of(&self, relation: &str) -> Option<usize> {
        let step = |name: &str| self.steps.iter().position(|step| step.name == name);
        step(relation).or_else(|| relation.split_once('.').and_then(|(name, _)| step(name)))
    }

    /// How many steps and sinks take a relation: with several it is computed once.
    pub(crate) fn n_readers(&self, name: &str) -> usize {
        let reads = |idx: usize| self.steps.get(idx).map(|step| step.transform.reads()).unwrap_or_default();
        let steps = (0..self.steps.len())
            .filter(|idx| self.step_input(*idx) == name || reads(*idx).iter().any(|read| read == name));
        steps.count() + self.sinks.iter().filter(|sink| self.sink_relation(sink) == name).count()
    }

    /// Whether a relation is the history relation or comes after it.
    pub(crate) fn is_after_history(&self, relation: &str) -> bool {
        let Some(history) = &self.history else { return false };
        if relation == history.relation {
            return true;
        }
        let Some(step) = self.step_of(relation) else { return false };
        let reads = self.steps.get(step).map(|step| step.transform.reads()).unwrap_or_default();
        std::iter::once(self.step_input(step))
            .chain(reads)
            .any(|input| input != relation && self.is_after_history(&input))
    }
}

/// Collects the parts of a [`Pipeline`].
#[derive(Debug)]
pub struct Builder {
    name: String,
    source: Option<Arc<dyn Source>>,
    steps: Vec<Step>,
    sinks: Vec<SinkStep>,
    dead_letters: Option<Arc<dyn Sink>>,
    history: Option<HistoryStep>,
    companions: BTreeMap<String, Arc<dyn History>>,
    tables: BTreeMap<String, Arc<dyn TableProvider>>,
    store: Option<CheckpointStore>,
    mode: Mode,
    may_lack: bool,
    late: LatePolicy,
    max_dead_letters: Option<u64>,
    require: Option<Guarantee>,
    backoff: Backoff,
    max_partitions: Option<usize>,
    max_rows: Option<u64>,
    runtime: Option<Arc<RuntimeEnv>>,
    threads: Option<usize>,
}

impl Builder {
    /// Where rows come from.
    #[must_use]
    pub fn source(self, source: impl Source + 'static) -> Self {
        self.source_arc(Arc::new(source))
    }

    /// Where rows come from, already shared.
    #[must_use]
    pub fn source_arc(mut self, source: Arc<dyn Source>) -> Self {
        self.source = Some(source);
        self
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Adds a step that works on the relation before it.
    #[must_use]
    pub fn transform(self, name: impl Into<String>, transform: impl Transform + 'static) -> Self {
        self.step(Step::new(name, transform))
    }

    /// Adds a sink.
    #[must_use]
    pub fn sink(mut self, sink: SinkStep) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Where dead letters go beside the store. Committed after every other sink.
    #[must_use]
    pub fn dead_letters(mut self, sink: impl Sink + 'static) -> Self {
        self.dead_letters = Some(Arc::new(sink));
        self
    }

    /// Names the relation whose table remembers what was there before: what comes after it sees history and epoch together.
    #[must_use]
    pub fn history(mut self, relation: impl Into<String>, history: Arc<dyn History>) -> Self {
        self.history = Some(HistoryStep { relation: relation.into(), history });
        self
    }

    /// Names a relation beside the history relation, such as corporate actions, and the table that a sink keeps of it: steps after
    /// the history relation see all of it, not only what is new. A symbol with a new or changed row is computed again from
    /// its first bar on. Without such a step the table is not looked at.
    #[must_use]
    pub fn companion(mut self, relation: impl Into<String>, history: Arc<dyn History>) -> Self {
        self.companions.insert(relation.into(), history);
        self
    }

    /// A reference table: visible to every step by name.
    #[must_use]
    pub fn table(mut self, name: impl Into<String>, table: Arc<dyn TableProvider>) -> Self {
        self.tables.insert(name.into(), table);
        self
    }

    /// Where the pipeline keeps what must survive it. Without one it forgets everything at the end of the process.
    #[must_use]
    pub fn store(mut self, store: CheckpointStore) -> Self {
        self.store = Some(store);
        self
    }

    /// How the source is read.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// In mode full: partitions that cannot be read are left out of what is replaced, and reported, instead of failing the epoch.
    /// For outputs that hold what was asked for just now, not what is to be kept. No part of the definition.
    #[must_use]
    pub fn may_lack(mut self, may_lack: bool) -> Self {
        self.may_lack = may_lack;
        self
    }

    /// What becomes of late bars.
    #[must_use]
    pub fn late(mut self, late: LatePolicy) -> Self {
        self.late = late;
        self
    }

    /// An epoch that refuses more rows fails before commit; `None` is no limit. The default is 1000.
    #[must_use]
    pub fn max_dead_letters(mut self, max: Option<u64>) -> Self {
        self.max_dead_letters = max;
        self
    }

    /// Refuses to build if a sink's guarantee is weaker.
    #[must_use]
    pub fn require(mut self, guarantee: Guarantee) -> Self {
        self.require = Some(guarantee);
        self
    }

    /// How transient errors are waited out.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// At most this many partitions (files, symbols) an epoch.
    #[must_use]
    pub fn max_partitions(mut self, max: Option<usize>) -> Self {
        self.max_partitions = max;
        self
    }

    /// About so many rows an epoch, for a source that cuts its partitions (a topic).
    #[must_use]
    pub fn max_rows(mut self, max: Option<u64>) -> Self {
        self.max_rows = max;
        self
    }

    /// Memory limits and temporary folders, as DataFusion has them.
    #[must_use]
    pub fn runtime(mut self, runtime: Arc<RuntimeEnv>) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// How many partitions are computed side by side; the default is one per core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Checks that the parts fit.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPipeline`] with what does not fit and what to do.
    pub fn build(self) -> Result<Pipeline> {
        let name = self.name.clone();
        let invalid = |reason: String| Error::InvalidPipeline { pipeline: name.clone(), reason };
        let source = self.source.ok_or_else(|| invalid("it has no source".into()))?;
        let mut pipeline = Pipeline {
            name: self.name,
            source,
            steps: self.steps,
            sinks: self.sinks,
            dead_letters: self.dead_letters,
            history: self.history,
            companions: self.companions,
            tables: self.tables,
            store: self.store.unwrap_or_else(CheckpointStore::in_memory),
            mode: self.mode,
            may_lack: self.may_lack,
            late: self.late,
            max_dead_letters: self.max_dead_letters,
            backoff: self.backoff,
            max_partitions: self.max_partitions,
            max_rows: self.max_rows,
            runtime: self.runtime,
            threads: self.threads,
        };
        pipeline.companions = pipeline.companions_read();
        pipeline.check_names().map_err(invalid)?;
        pipeline.check_relations().map_err(invalid)?;
        pipeline.check_modes().map_err(invalid)?;
        pipeline.check_history().map_err(invalid)?;
        if let Some(required) = self.require {
            pipeline.check_guarantee(required).map_err(invalid)?;
        }
        Ok(pipeline)
    }
}

/// A check's result: the reason why it does not fit.
type Check = std::result::Result<(), String>;

impl Pipeline {
    fn check_names(&self) -> Check {
        let legal =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !legal(&self.name) {
            return Err(format!("the name `{}` is none: letters, digits, `_` and `-` only", self.name));
        }
        let mut relations: Vec<String> = self.source.relations().into_iter().map(|relation| relation.name).collect();
        for name in self.tables.keys().chain(self.steps.iter().map(|step| &step.name)) {
            if !legal(name) {
                return Err(format!("the relation name `{name}` is none: letters, digits, `_` and `-` only"));
            }
            if relations.contains(name) {
                return Err(format!("two relations are called `{name}`; name one of them differently"));
            }
            relations.push(name.clone());
        }
        let mut sinks: Vec<&str> = vec![DEAD_LETTER_SINK];
        for sink in &self.sinks {
            if !legal(&sink.name) || sinks.contains(&sink.name.as_str()) {
                return Err(format!(
                    "the sink name `{}` is taken or none: letters, digits, `_` and `-` only",
                    sink.name
                ));
            }
            sinks.push(&sink.name);
        }
        if self.sinks.is_empty() { Err("it has no sink".into()) } else { Ok(()) }
    }

    fn check_relations(&self) -> Check {
        let mut known: Vec<String> = self.source.relations().into_iter().map(|relation| relation.name).collect();
        known.extend(self.tables.keys().cloned());
        let has = |known: &[String], relation: &str| {
            known.iter().any(|name| name == relation || relation.split_once('.').is_some_and(|(step, _)| step == name))
        };
        for (idx, step) in self.steps.iter().enumerate() {
            for relation in std::iter::once(self.step_input(idx)).chain(step.transform.reads()) {
                if !has(&known, &relation) {
                    return Err(format!(
                        "step `{}` reads `{relation}`, but before it there are only `{}`",
                        step.name,
                        known.join("`, `")
                    ));
                }
            }
            known.push(step.name.clone());
        }
        for sink in &self.sinks {
            let relation = self.sink_relation(sink);
            if !has(&known, &relation) {
                return Err(format!(
                    "sink `{}` takes `{relation}`, but there are only `{}`",
                    sink.name,
                    known.join("`, `")
                ));
            }
        }
        match &self.history {
            Some(history) if !has(&known, &history.relation) => Err(format!(
                "the history relation `{}` does not exist; there are `{}`",
                history.relation,
                known.join("`, `")
            )),
            _ => Ok(()),
        }
    }

    fn check_modes(&self) -> Check {
        for sink in &self.sinks {
            match (self.mode, sink.sink.write_mode()) {
                (Mode::Incremental, WriteMode::Overwrite) => {
                    return Err(format!(
                        "sink `{}` overwrites, but the source gives only what is new: that would throw the rest away; set mode = \"full\", or let the sink append or merge",
                        sink.name
                    ));
                }
                (Mode::Full, WriteMode::Append) => {
                    return Err(format!(
                        "sink `{}` appends, but mode = \"full\" reads everything each time: that would double every row; let the sink overwrite or merge",
                        sink.name
                    ));
                }
                _ => {}
            }
        }
        match (self.mode, &self.history) {
            (Mode::Full, Some(_)) => Err("mode = \"full\" uses no history; leave one of them out".into()),
            _ => Ok(()),
        }
    }

    /// The companions that a step after the history relation reads.
    fn companions_read(&self) -> BTreeMap<String, Arc<dyn History>> {
        let after = self.steps.iter().filter(|step| self.is_after_history(&step.name));
        let read: Vec<String> = after.flat_map(|step| step.transform.reads()).collect();
        let is_read = |name: &String| read.contains(name) && !self.is_after_history(name);
        self.companions
            .iter()
            .filter(|(name, _)| is_read(name))
            .map(|(name, it)| (name.clone(), Arc::clone(it)))
            .collect()
    }

    fn check_history(&self) -> Check {
        if self.mode == Mode::Full {
            return Ok(());
        }
        let given: Vec<String> = self.source.relations().into_iter().map(|relation| relation.name).collect();
        let is_given = |name: &String| {
            (given.contains(name) || self.step_of(name).is_some()) && !self.companions.contains_key(name)
        };
        for step in self.steps.iter().filter(|step| self.is_after_history(&step.name)) {
            // An epoch holds only what is new of it, and nothing remembers the rest.
            if let Some(beside) =
                step.transform.reads().iter().find(|read| is_given(read) && !self.is_after_history(read))
            {
                return Err(format!(
                    "step `{}` comes after the history relation, but of `{beside}` it would only see what is new; let a sink of type `delta` keep it, give it as a reference table instead, or set mode = \"full\"",
                    step.name
                ));
            }
        }
        for step in &self.steps {
            let scope = step.transform.scope();
            if matches!(scope, Scope::Row | Scope::ByPlan)
                || (self.is_after_history(&step.name)
                    && self.history.as_ref().is_some_and(|history| history.relation != step.name))
            {
                continue;
            }
            return Err(match &self.history {
                None => format!(
                    "step `{}` needs earlier rows of its symbols, but an epoch holds only what is new; name a history relation, or set mode = \"full\"",
                    step.name
                ),
                Some(history) => format!(
                    "step `{}` needs earlier rows of its symbols, so it must come after the history relation `{}`",
                    step.name, history.relation
                ),
            });
        }
        Ok(())
    }

    fn check_guarantee(&self, required: Guarantee) -> Check {
        for sink in &self.sinks {
            let (guarantee, reason) = derive_guarantee(self.source.replay(), sink.sink.idempotence(), true);
            if guarantee < required {
                return Err(format!(
                    "{required} is required, but sink `{}` can only give {guarantee}: {reason}",
                    sink.name
                ));
            }
        }
        Ok(())
    }

    /// The relation that the dead-letter sink takes.
    pub(crate) fn dead_letter_relation() -> crate::relation::RelationSchema {
        dead_letter_relation()
    }
}
