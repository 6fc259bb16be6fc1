//! A pipeline as it will run: typed relations, scopes, derived guarantees.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::DateTime;
use datafusion::datasource::empty::EmptyTable;
use serde::Serialize;

use super::builder::{DEAD_LETTER_SINK, LatePolicy, Mode, Pipeline, SinkStep};
use super::graph::{Base, Graph};
use super::guarantee::{Guarantee, derive_guarantee};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{REVISION, Relation, RelationSchema};
use crate::schema::bar_schema;
use crate::sink::{Fence, Sink, WriteMode};
use crate::source::Replay;
use crate::transform::Scope;

/// A pipeline as it will run. Learned without reading a row.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// The pipeline's name.
    pub pipeline: String,
    /// How the source is read.
    pub mode: Mode,
    /// What becomes of late bars.
    pub late: LatePolicy,
    /// The history relation.
    pub history: Option<String>,
    /// What the source is.
    pub source: serde_json::Value,
    /// Same plan, same rows?
    pub replay: Replay,
    /// The source's relations.
    pub relations: Vec<RelationDescription>,
    /// The steps in order.
    pub steps: Vec<StepDescription>,
    /// The sinks in order, the dead-letter sink last.
    pub sinks: Vec<SinkDescription>,
    /// What a person should know before running it.
    pub remarks: Vec<String>,
}

/// A relation: name, columns, key, version.
#[derive(Debug, Clone, Serialize)]
pub struct RelationDescription {
    /// Its name.
    pub name: String,
    /// Column and Arrow type; empty if they are only known once the source is opened.
    pub columns: Vec<(String, String)>,
    /// What names a row.
    pub key: Vec<String>,
    /// What decides between two rows of one key.
    pub version: Option<String>,
}

/// A step.
#[derive(Debug, Clone, Serialize)]
pub struct StepDescription {
    /// Its name.
    pub name: String,
    /// The relation that it works on.
    pub input: String,
    /// `row`, `symbol` or `everything`; `None` if it is only known once the source is opened.
    pub scope: Option<String>,
    /// Parameters.
    pub transform: serde_json::Value,
    /// Its output.
    pub output: Option<RelationDescription>,
}

/// A sink with what it promises.
#[derive(Debug, Clone, Serialize)]
pub struct SinkDescription {
    /// Its name.
    pub name: String,
    /// The relation that it takes.
    pub relation: String,
    /// What is promised for this sink; two sinks are never atomic with each other.
    pub guarantee: Guarantee,
    /// Why.
    pub reason: String,
    /// How it keeps an older runner from writing.
    pub fence: Fence,
    /// What a commit does to the rows that are there.
    pub write_mode: WriteMode,
    /// Parameters.
    pub sink: serde_json::Value,
}

impl Pipeline {
    /// The typed plan and the derived guarantees. No input or output: nothing is opened, read or written.
    ///
    /// # Errors
    ///
    /// Whatever does not fit: a missing column, a wrong parameter, a query that does not plan.
    pub async fn describe(&self) -> Result<Description> {
        let mut epoch = EpochContext::new(self.name.clone(), self.session(DateTime::UNIX_EPOCH)?, DateTime::UNIX_EPOCH);
        epoch.planning = true;
        let source = self.source.relations();
        let known = source.iter().all(|relation| !relation.schema.fields().is_empty());
        let mut given = BTreeMap::new();
        for relation in &source {
            given.insert(relation.name.clone(), empty(&epoch, relation)?);
        }
        for (name, table) in &self.tables {
            given.insert(name.clone(), Relation::new(epoch.session.read_table(Arc::clone(table))?));
        }
        let mut unknown: BTreeSet<String> =
            given.iter().filter(|(_, it)| it.schema().fields().is_empty()).map(|(name, _)| name.clone()).collect();
        let mut graph = Graph::new(self, &epoch, given);
        let mut steps = Vec::new();
        for (idx, step) in self.steps.iter().enumerate() {
            let read = std::iter::once(self.step_input(idx)).chain(step.transform.reads());
            let blind = read.into_iter().any(|name| unknown.contains(owner(&unknown, &name)));
            let planned = match graph.relation(&step.name, Base::Epoch).await {
                Ok(relation) => plan(&step.name, &relation).map(|()| relation),
                Err(error) => Err(error),
            };
            let output = match planned {
                Ok(relation) => Some(relation),
                // Columns that are not known cannot be checked; what is known is.
                Err(error) if blind && is_about_columns(&error) => None,
                Err(error) => return Err(error.at(&self.name, 0, format!("step `{}`", step.name))),
            };
            // Who gives the columns of a bar whatever it reads gives them always.
            let is_known = !blind || output.as_ref().is_some_and(|it| it.schema() == bar_schema());
            if !is_known {
                unknown.insert(step.name.clone());
            }
            let scope = graph
                .scope_of_step(idx)
                .or_else(|| Some(step.transform.scope()).filter(|scope| *scope != Scope::ByPlan));
            self.check_scope(idx, scope)?;
            let name = |scope: Scope| match scope {
                Scope::Row => "row",
                Scope::Symbol => "symbol",
                Scope::Everything | Scope::ByPlan => "everything",
            };
            steps.push(StepDescription {
                name: step.name.clone(),
                input: self.step_input(idx),
                scope: scope.map(|scope| name(scope).to_owned()),
                transform: step.transform.definition(),
                output: output.map(|relation| describe(&relation.describe(&step.name), true)),
            });
        }
        let mut sinks = Vec::new();
        for sink in &self.sinks {
            let relation = self.sink_relation(sink);
            let keyed = match graph.relation(&relation, Base::Epoch).await {
                Ok(relation) => !relation.key.is_empty(),
                Err(_) if unknown.contains(owner(&unknown, &relation)) => true,
                Err(error) => return Err(error),
            };
            sinks.push(self.describe_sink(&sink.name, relation, sink.sink.as_ref(), keyed));
        }
        if let Some(sink) = &self.dead_letters {
            sinks.push(self.describe_sink(DEAD_LETTER_SINK, DEAD_LETTER_SINK.into(), sink.as_ref(), true));
        }
        Ok(Description {
            pipeline: self.name.clone(),
            mode: self.mode,
            late: self.late,
            history: self.history.as_ref().map(|history| history.relation.clone()),
            source: self.source.definition(),
            replay: self.source.replay(),
            relations: source.iter().map(|relation| describe(relation, false)).collect(),
            steps,
            remarks: remarks(&sinks, known),
            sinks,
        })
    }

    /// A step that needs other rows must see them: after the history relation, or in full mode.
    pub(crate) fn check_scope(&self, idx: usize, scope: Option<Scope>) -> Result<()> {
        let Some(step) = self.steps.get(idx) else { return Ok(()) };
        let needs = matches!(scope, Some(Scope::Symbol | Scope::Everything));
        let after = self.is_after_history(&step.name)
            && self.history.as_ref().is_some_and(|history| history.relation != step.name);
        if !needs || after || self.mode == Mode::Full {
            return Ok(());
        }
        let remedy = step.transform.remedy().unwrap_or("put it after a history relation, or set mode = \"full\"");
        let reason = format!(
            "step `{}` needs earlier rows of its symbols, but an epoch holds only what is new; {remedy}",
            step.name
        );
        Err(Error::InvalidPipeline { pipeline: self.name.clone(), reason })
    }

    fn describe_sink(&self, name: &str, relation: String, sink: &dyn Sink, keyed: bool) -> SinkDescription {
        let (guarantee, reason) = derive_guarantee(self.source.replay(), sink.idempotence(), keyed);
        SinkDescription {
            name: name.into(),
            relation,
            guarantee,
            reason,
            fence: sink.fence(),
            write_mode: sink.write_mode(),
            sink: sink.definition(),
        }
    }

    pub(crate) fn guarantee_of(&self, sink: &SinkStep, keyed: bool) -> Guarantee {
        derive_guarantee(self.source.replay(), sink.sink.idempotence(), keyed).0
    }
}

/// The step or source relation that a name belongs to: `bars` of `bars.extra`.
fn owner<'a>(known: &BTreeSet<String>, name: &'a str) -> &'a str {
    match name.split_once('.') {
        Some((step, _)) if !known.contains(name) => step,
        _ => name,
    }
}

/// Plans a step as it would run: what SQL alone accepts may still be refused by the checks on windows and types.
fn plan(step: &str, relation: &Relation) -> Result<()> {
    let (state, plan) = relation.frame.clone().into_parts();
    match state.optimize(&plan).map_err(Error::from) {
        Ok(_) => Ok(()),
        Err(Error::Query { source, .. }) => Err(Error::Query { step: step.to_owned(), source }),
        Err(error) => Err(error),
    }
}

/// Whether an error may come from columns that are not known yet: a wrong parameter never does.
fn is_about_columns(error: &Error) -> bool {
    match error {
        Error::At { source, .. } => is_about_columns(source),
        Error::Schema { .. } | Error::Query { .. } => true,
        _ => false,
    }
}

fn empty(epoch: &EpochContext, relation: &RelationSchema) -> Result<Relation> {
    let frame = epoch.session.read_table(Arc::new(EmptyTable::new(Arc::clone(&relation.schema))))?;
    Ok(Relation::new(frame).with_key(relation.key.clone()).with_version(relation.version.clone()))
}

fn describe(relation: &RelationSchema, derived: bool) -> RelationDescription {
    let mut columns: Vec<(String, String)> =
        relation.schema.fields().iter().map(|field| (field.name().clone(), field.data_type().to_string())).collect();
    if derived && relation.version.as_deref() == Some(REVISION) && !relation.has(REVISION) {
        columns.push((REVISION.into(), super::clock::instant().to_string()));
    }
    RelationDescription {
        name: relation.name.clone(),
        columns,
        key: relation.key.clone(),
        version: relation.version.clone(),
    }
}

fn remarks(sinks: &[SinkDescription], known: bool) -> Vec<String> {
    let mut remarks = Vec::new();
    if sinks.len() > 1 {
        remarks.push("the guarantee is per sink: two sinks are never atomic with each other".to_owned());
    }
    for sink in sinks {
        match sink.fence {
            Fence::Atomic => {}
            Fence::Checked => remarks.push(format!(
                "sink `{}` checks the fence right before it commits: a runner that stalls in between may still write",
                sink.name
            )),
            Fence::None => {
                remarks.push(format!("sink `{}` cannot be fenced: an older runner may still write to it", sink.name))
            }
        }
    }
    if !known {
        remarks.push(
            "the source's columns are only known once it is opened: what depends on them was not checked".to_owned(),
        );
    }
    remarks
}
