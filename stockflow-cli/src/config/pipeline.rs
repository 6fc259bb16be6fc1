//! What a pipeline file says, checked field by field.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stockflow_core::history::History;
use stockflow_core::pipeline::{DEAD_LETTER_SINK, Guarantee, LatePolicy, Mode};
use stockflow_core::schema::Basis;
use stockflow_core::source::Source;
use stockflow_core::token::SinkId;

use super::interpolate::{Env, Variable, interpolate};
use super::problem::{ConfigError, Problems};
use super::section::Section;
use super::tree;
use crate::connectors::{SinkConfig, SourceConfig, TableConfig};
use crate::exit::{Failure, Outcome};
use crate::kafka::Topic;
use crate::steps::StepConfig;
use stockflow_io::secret::SecretRef;

/// Each thread is a partition of every step of the plan: far beyond the cores of a machine a run is busy with these alone.
const MOST_THREADS: u64 = 256;

/// What a store is called that forgets everything at the end of the process.
const MEMORY: &str = "memory";

/// A pipeline file.
#[derive(Debug)]
pub(crate) struct PipelineConfig {
    pub(crate) name: String,
    pub(crate) mode: Mode,
    pub(crate) late: LatePolicy,
    pub(crate) require: Option<Guarantee>,
    /// `None`: the engine's default.
    pub(crate) max_dead_letters: Option<u64>,
    pub(crate) max_partitions: Option<u64>,
    pub(crate) max_rows: Option<u64>,
    /// The run goes on: how long after an epoch the next one begins.
    pub(crate) every: Option<Duration>,
    pub(crate) may_lack: bool,
    pub(crate) threads: Option<u64>,
    pub(crate) memory_mb: Option<u64>,
    pub(crate) store: Option<StoreConfig>,
    pub(crate) history: Option<String>,
    pub(crate) source: SourceConfig,
    pub(crate) steps: Vec<NamedStep>,
    pub(crate) sinks: Vec<NamedSink>,
    pub(crate) dead_letters: Option<SinkConfig>,
    pub(crate) tables: Vec<(String, TableConfig)>,
    pub(crate) object_store: ObjectStoreConfig,
    pub(crate) report: ReportConfig,
    /// Environment variables that the file uses.
    pub(crate) variables: Vec<Variable>,
}

/// Where the checkpoint store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreConfig {
    /// In memory, for the time of the process.
    Memory,
    /// At this path or URL.
    Path(String),
}

/// A step and the relation that it reads.
#[derive(Debug)]
pub(crate) struct NamedStep {
    pub(crate) name: String,
    pub(crate) input: Option<String>,
    pub(crate) step: StepConfig,
}

/// A sink and the relation that it takes.
#[derive(Debug)]
pub(crate) struct NamedSink {
    pub(crate) name: String,
    pub(crate) relation: Option<String>,
    pub(crate) since_now: bool,
    pub(crate) sink: SinkConfig,
}

/// How `s3://` is reached; what is left out comes from the environment (`AWS_…`).
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectStoreConfig {
    /// Plain options by their key in `object_store`: `endpoint`, `region`, `allow_http`, ….
    pub(crate) options: BTreeMap<&'static str, String>,
    /// The same for what must not be printed.
    pub(crate) secrets: BTreeMap<&'static str, SecretRef>,
}

impl ObjectStoreConfig {
    /// Whether everything comes from the environment.
    pub(crate) fn is_empty(&self) -> bool {
        self.options.is_empty() && self.secrets.is_empty()
    }
}

/// What a run prints and draws at its end.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReportConfig {
    /// Sink whose table is printed as the quality report.
    pub(crate) quality: Option<String>,
    /// Sink of which the last row of each symbol is printed.
    pub(crate) latest: Option<String>,
    /// Sink whose bars are drawn.
    pub(crate) chart: Option<String>,
    /// Whose bars are drawn; by default those of the first symbol.
    pub(crate) chart_symbols: Vec<String>,
    /// What is drawn with them.
    pub(crate) chart_indicators: Option<Vec<String>>,
    /// Where the charts go.
    pub(crate) chart_folder: Option<String>,
}

impl PipelineConfig {
    /// Reads a pipeline file from disk.
    pub(crate) fn load(path: &Path, env: Env<'_>) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|error| ConfigError::whole(&file, format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| ConfigError::whole(&file, "is not a text file in UTF-8"))?;
        Self::parse(&text, &file, env)
    }

    /// Reads the text of a pipeline file; every problem is told at once.
    pub(crate) fn parse(text: &str, file: &str, env: Env<'_>) -> Result<Self, ConfigError> {
        let mut table = tree::parse(text, file)?;
        let problems = Problems::default();
        let variables = interpolate(&mut table, env, &problems);
        let root = Section::root(&table, &problems);
        let mut config = Self {
            name: root.required("name"),
            mode: root.choice("mode", &[("incremental", Mode::Incremental), ("full", Mode::Full)]).unwrap_or_default(),
            late: root
                .choice("late", &[("recompute", LatePolicy::Recompute), ("dead-letter", LatePolicy::DeadLetter)])
                .unwrap_or_default(),
            require: root.choice(
                "require",
                &[
                    ("exactly-once", Guarantee::ExactlyOnce),
                    ("effectively-once", Guarantee::EffectivelyOnce),
                    ("at-least-once", Guarantee::AtLeastOnce),
                ],
            ),
            max_dead_letters: root.count("max_dead_letters"),
            max_partitions: root.count_within("max_partitions", 1..=u64::MAX),
            max_rows: root.count_within("max_rows", 1..=u64::MAX),
            every: root.time("every"),
            may_lack: root.flag("may_lack").unwrap_or(false),
            threads: root.count_within("threads", 1..=MOST_THREADS),
            memory_mb: root.count_within("memory_mb", 1..=u64::MAX),
            store: store(&root),
            history: root.text("history"),
            source: source(&root),
            steps: root.sections("transform").into_iter().map(step).collect(),
            sinks: sinks(&root),
            dead_letters: root.section("dead_letters").map(SinkConfig::read),
            tables: root
                .named("tables")
                .into_iter()
                .map(|(name, section)| (name, TableConfig::read(section)))
                .collect(),
            object_store: root.section("object_store").map(object_store).unwrap_or_default(),
            report: root.section("report").map(report).unwrap_or_default(),
            variables,
        };
        root.finish();
        config.govern_dates();
        config.check_names(&problems);
        problems.finish(file)?;
        Ok(config)
    }

    /// The source. Where a step takes its cells for numbers with a decimal comma, they come as they are written: a guess
    /// would have read `1.010` as a number with a decimal point.
    pub(crate) fn build_source(&self, symbols: Vec<String>) -> Outcome<Arc<dyn Source>> {
        let relation = self.source.relation();
        let reads_source = |idx: usize, step: &NamedStep| match &step.input {
            Some(input) => input == relation,
            None => idx == 0,
        };
        let mut steps = self.steps.iter().enumerate();
        self.source.build(steps.any(|(idx, step)| step.step.has_decimal_comma() && reads_source(idx, step)), symbols)
    }

    /// The relation that a sink takes: the one it names, else the last, which without steps is the source's.
    pub(crate) fn relation_of<'a>(&'a self, sink: &'a NamedSink) -> &'a str {
        let last = || self.steps.last().map_or(self.source.relation(), |step| step.name.as_str());
        sink.relation.as_deref().unwrap_or_else(last)
    }

    /// The sink of that name.
    pub(crate) fn sink(&self, name: &str) -> Option<&NamedSink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }

    /// The table of the sink that keeps the history relation.
    pub(crate) fn history_table(&self, relation: &str) -> Outcome<Arc<dyn History>> {
        let kept =
            self.sinks.iter().filter(|sink| self.relation_of(sink) == relation).find_map(|sink| sink.sink.history());
        kept.unwrap_or_else(|| Err(Failure::usage(format!("no sink keeps the history relation `{relation}`"))))
    }

    /// What sinks remember beside the history relation: whole tables with one row a key.
    pub(crate) fn tables_beside(&self, history: &str) -> Outcome<Vec<(&str, Arc<dyn History>)>> {
        let beside = self.sinks.iter().filter(|sink| self.relation_of(sink) != history && !sink.since_now);
        let merged = beside.filter(|sink| sink.sink.revisions().is_some());
        merged.filter_map(|sink| sink.sink.history().map(|it| it.map(|it| (self.relation_of(sink), it)))).collect()
    }

    /// The sink that keeps the history relation.
    pub(crate) fn history_sink(&self) -> Option<&NamedSink> {
        let relation = self.history.as_deref()?;
        self.sinks.iter().find(|sink| self.relation_of(sink) == relation && sink.sink.history().is_some())
    }

    /// The topics that it reads and writes.
    pub(crate) fn topics(&self) -> Vec<Topic<'_>> {
        let id = |name: &str| SinkId::new(self.name.clone(), name);
        let sinks = self.sinks.iter().map(|sink| (id(&sink.name), &sink.sink));
        let all = sinks.chain(self.dead_letters.iter().map(|sink| (id(DEAD_LETTER_SINK), sink)));
        self.source.topic().into_iter().chain(all.filter_map(|(id, sink)| sink.topic(&id, &self.source))).collect()
    }

    /// Field and place of each secret.
    pub(crate) fn secrets(&self) -> Vec<(String, &SecretRef)> {
        let bucket = self.object_store.secrets.iter();
        let mut secrets: Vec<(String, &SecretRef)> = bucket
            .map(|(option, secret)| (format!("object_store.{}", option.trim_start_matches("aws_")), secret))
            .collect();
        let mut tables = vec![("source".to_owned(), self.source.secrets())];
        tables.extend(self.sinks.iter().enumerate().map(|(idx, sink)| (format!("sink[{idx}]"), sink.sink.secrets())));
        tables.extend(self.dead_letters.iter().map(|sink| ("dead_letters".to_owned(), sink.secrets())));
        for (table, found) in tables {
            secrets.extend(found.into_iter().map(|(field, secret)| (format!("{table}.{field}"), secret)));
        }
        secrets
    }

    /// The basis that prices are put onto; `None` where no step does.
    pub(crate) fn basis(&self) -> Option<Basis> {
        self.steps.iter().rev().find_map(|step| step.step.basis())
    }

    /// Whether rows go to standard output.
    pub(crate) fn prints_rows(&self) -> bool {
        self.sinks.iter().map(|sink| &sink.sink).chain(&self.dead_letters).any(|sink| sink.path().is_none())
    }

    /// Rows without a date do not come as far as `clean`, so its rule for them is that of the step before it.
    fn govern_dates(&mut self) {
        for idx in 0..self.steps.len() {
            let Some(action) = self.steps[idx].step.date_rule() else { continue };
            let before = idx.checked_sub(1).map(|it| self.steps[it].name.clone());
            let Some(input) = self.steps[idx].input.clone().or(before) else { continue };
            if let Some(step) = self.steps.iter_mut().find(|it| it.name == input) {
                step.step.set_bad_dates(action);
            }
        }
    }

    /// Names that point nowhere.
    fn check_names(&self, problems: &Problems) {
        let names: Vec<&str> = self.sinks.iter().map(|sink| sink.name.as_str()).collect();
        let report = [
            ("report.quality", &self.report.quality),
            ("report.latest", &self.report.latest),
            ("report.chart", &self.report.chart),
        ];
        for (path, sink) in report {
            if let Some(sink) = sink.as_deref().filter(|sink| !names.contains(sink)) {
                problems.add(path, 0, format!("names the sink `{sink}`; {}", super::problem::hint(sink, &names)));
            }
        }
        if let Some(history) = &self.history
            && !self.sinks.is_empty()
            && !self.sinks.iter().any(|sink| self.relation_of(sink) == history && sink.sink.history().is_some())
        {
            problems.add("history", 0, format!("is `{history}`, but no sink keeps that relation as a table of type `delta`; add one, or leave `history` out"));
        }
    }
}

fn source(root: &Section<'_>) -> SourceConfig {
    match root.section("source") {
        Some(section) => SourceConfig::read(section),
        None => {
            if !root.has("source") {
                root.problem("source", "is missing");
            }
            SourceConfig::default()
        }
    }
}

fn store(root: &Section<'_>) -> Option<StoreConfig> {
    if !root.has("store") {
        return None;
    }
    match root.required("store") {
        text if text == MEMORY => Some(StoreConfig::Memory),
        text => {
            root.check_place("store", &text);
            Some(StoreConfig::Path(text))
        }
    }
}

fn step(section: Section<'_>) -> NamedStep {
    NamedStep { name: section.required("name"), input: section.text("input"), step: StepConfig::read(section) }
}

fn sinks(root: &Section<'_>) -> Vec<NamedSink> {
    let sinks = root.sections("sink");
    if sinks.is_empty() && !root.has("sink") {
        root.problem("sink", "is missing");
    }
    let sink = |section: Section<'_>| NamedSink {
        name: section.required("name"),
        relation: section.text("relation"),
        since_now: section.choice("since", &[("start", false), ("now", true)]).unwrap_or(false),
        sink: SinkConfig::read(section),
    };
    sinks.into_iter().map(sink).collect()
}

fn object_store(section: Section<'_>) -> ObjectStoreConfig {
    let mut config = ObjectStoreConfig::default();
    for (key, option) in [("endpoint", "aws_endpoint"), ("region", "aws_region")] {
        if let Some(value) = section.text(key) {
            config.options.insert(option, value);
        }
    }
    for (key, option) in
        [("allow_http", "aws_allow_http"), ("virtual_hosted_style", "aws_virtual_hosted_style_request")]
    {
        if let Some(value) = section.flag(key) {
            config.options.insert(option, value.to_string());
        }
    }
    for (key, option) in [
        ("access_key_id", "aws_access_key_id"),
        ("secret_access_key", "aws_secret_access_key"),
        ("session_token", "aws_session_token"),
    ] {
        if let Some(secret) = section.secret(key) {
            config.secrets.insert(option, secret);
        }
    }
    section.finish();
    config
}

fn report(section: Section<'_>) -> ReportConfig {
    let config = ReportConfig {
        quality: section.text("quality"),
        latest: section.text("latest"),
        chart: section.text("chart"),
        chart_symbols: section.texts("chart_symbols").unwrap_or_default(),
        chart_indicators: section.texts("chart_indicators"),
        chart_folder: section.text("chart_folder"),
    };
    section.finish();
    config
}
