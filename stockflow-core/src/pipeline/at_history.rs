//! The epoch at the history relation: which symbols' indicators go on from their state, and which from their history.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use super::builder::{HistoryStep, Pipeline, Step};
use super::carry::Carries;
use super::companion::Companions;
use super::compare::{Compared, Touched};
use super::graph::Base;
use super::state::State;
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::history::History;
use crate::relation::Relation;
use crate::sink::EpochRows;
use crate::transform::Scope;
use crate::window::state::WindowStates;

/// The epoch at the history relation: what its bases are made from, when they are asked for.
#[derive(Debug)]
pub(crate) struct AtHistory {
    pub(crate) compared: Arc<Compared>,
    pub(crate) history: Arc<dyn History>,
    /// The pinned version.
    pub(crate) version: Option<String>,
    /// Everything is computed again; what was there before does not matter.
    pub(crate) rebuild: bool,
    /// Symbols whose indicators go on from their state, and those that are computed from history.
    pub(crate) fresh: BTreeSet<String>,
    pub(crate) late: BTreeSet<String>,
    pub(crate) states: EpochStates,
    /// Queries that go on from state.
    pub(crate) carries: Carries,
    /// What is remembered beside it.
    pub(crate) companions: Companions,
}

impl AtHistory {
    /// The rows at the history relation for a base.
    pub(crate) async fn view(&self, epoch: &EpochContext, base: Base) -> Result<Relation> {
        let (history, version) = (self.history.as_ref(), self.version.as_deref());
        let compared = &self.compared;
        let touched = || compared.touched.keys().cloned().collect::<BTreeSet<String>>();
        match base {
            Base::Epoch => Ok(compared.changed.clone()),
            Base::Fresh => compared.of(epoch, &self.fresh).await,
            Base::Late => compared.merged(epoch, history, version, Some(&self.late)).await,
            Base::Touched => compared.merged(epoch, history, version, Some(&touched())).await,
            Base::All => compared.merged(epoch, history, version, None).await,
            Base::TouchedBefore | Base::AllBefore => match version {
                Some(version) => compared.before(epoch, history, version, base == Base::AllBefore).await,
                None => Err(Error::internal("the history before its first version was asked for")),
            },
        }
    }
}

impl AtHistory {
    /// Finds out which symbols go on from their state, and with what.
    pub(crate) fn new(
        pipeline: &Pipeline,
        step: &HistoryStep,
        compared: &Arc<Compared>,
        version: Option<String>,
        rebuild: bool,
        state: &State,
        carries: Carries,
    ) -> Self {
        let relations = stateful(pipeline, &carries);
        let goes_on = |symbol: &String, touched: &Touched| {
            // Prices on another basis do not go on from where these were; what is computed from all of them finds that out.
            let same_basis = state.last.get(symbol).is_none_or(|last| last.basis == touched.basis);
            let has_states = !touched.known || relations.iter().all(|name| state.holds(name, symbol));
            !touched.late && !rebuild && same_basis && has_states
        };
        let (mut fresh, mut late) = (BTreeSet::new(), BTreeSet::new());
        for (symbol, touched) in &compared.touched {
            let part = if goes_on(symbol, touched) { &mut fresh } else { &mut late };
            part.insert(symbol.clone());
        }
        let states = relations.iter().map(|name| (name.clone(), state.of(name, &fresh)));
        Self {
            compared: Arc::clone(compared),
            history: Arc::clone(&step.history),
            version,
            rebuild,
            states: EpochStates {
                fresh: WindowStates::new(states),
                late: WindowStates::new([]),
                relations,
                has_fresh: !fresh.is_empty(),
                has_late: !late.is_empty(),
            },
            fresh,
            late,
            carries,
            companions: Companions::new(),
        }
    }

    /// With what is remembered beside it.
    pub(crate) fn with_companions(self, companions: Companions) -> Self {
        Self { companions, ..self }
    }
}

/// The states that fresh symbols begin with, and where the indicators of all leave theirs.
#[derive(Debug, Clone)]
pub(crate) struct EpochStates {
    pub(crate) fresh: WindowStates,
    pub(crate) late: WindowStates,
    /// The relations that keep some.
    pub(crate) relations: BTreeSet<String>,
    /// There are such symbols.
    has_fresh: bool,
    has_late: bool,
}

impl EpochStates {
    /// Adds what a relation's operators were left with. A sink that holds the epoch already, or reads its rows only when it
    /// commits, has not run them to their end: they run for their states alone then.
    pub(crate) async fn take(&self, name: &str, rows: Option<&EpochRows>, epoch: &mut State) -> Result<()> {
        let (mut fresh, mut late) = (self.fresh.take(name), self.late.take(name));
        if let Some(rows) = rows
            && ((self.has_fresh && fresh.is_none()) || (self.has_late && late.is_none()))
        {
            for mut stream in rows.frame().clone().execute_stream_partitioned().await? {
                while let Some(batch) = stream.next().await {
                    batch?;
                }
            }
            fresh = fresh.or_else(|| self.fresh.take(name));
            late = late.or_else(|| self.late.take(name));
        }
        if (self.has_fresh && fresh.is_none()) || (self.has_late && late.is_none()) {
            // Going on from older states would give wrong numbers in silence.
            return Err(Error::internal(format!("the indicators of `{name}` left no state, although they keep one")));
        }
        for states in [fresh, late].into_iter().flatten() {
            epoch.add(name, states);
        }
        Ok(())
    }
}

/// The relations whose indicators leave a state under their name: those that sinks take, and those that are computed once
/// for several readers. The indicators of others are computed as a part of their reader's.
fn stateful(pipeline: &Pipeline, carries: &Carries) -> BTreeSet<String> {
    let names = pipeline.steps.iter().map(|step| step.name.as_str());
    let is_own = |name: &&str| {
        pipeline.n_readers(name) > 1 || pipeline.sinks.iter().any(|sink| pipeline.sink_relation(sink) == **name)
    };
    names.filter(is_own).filter(|name| keeps_state(pipeline, carries, name)).map(str::to_owned).collect()
}

/// As [`Graph::keeps_state`](super::graph::Graph::keeps_state).
pub(crate) fn keeps_state(pipeline: &Pipeline, carries: &Carries, name: &str) -> bool {
    goes_on(pipeline, carries, name).is_some_and(|it| it.has_state)
}

/// How a relation's new rows of fresh symbols come out of the epoch's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GoesOn {
    /// From what indicators were left with.
    pub(crate) has_state: bool,
    /// With companions, which reach the earlier bars of late symbols.
    pub(crate) has_companions: bool,
}

/// Between a relation and the history relation is nothing but steps that give a row for each row, worked out from it, from
/// what indicators were left with, and from companions.
pub(crate) fn goes_on(pipeline: &Pipeline, carries: &Carries, name: &str) -> Option<GoesOn> {
    let mut name = name.to_owned();
    let mut found = GoesOn::default();
    loop {
        if pipeline.history.as_ref().is_some_and(|history| history.relation == name) {
            return Some(found);
        }
        let idx = pipeline.step_of(&name)?;
        let step = pipeline.steps.get(idx)?;
        let reads = step.transform.reads();
        if step.name != name || !reads.iter().all(|read| pipeline.companions.contains_key(read)) {
            return None;
        }
        if let Some(carry) = carries.get(&name) {
            found.has_state |= carry.has_windows;
        } else if !is_one_to_one(pipeline, step) {
            return None;
        } else if !reads.is_empty() {
            found.has_companions = true;
        } else if step.transform.scope() != Scope::Row {
            if !step.transform.keeps_state() {
                return None;
            }
            found.has_state = true;
        }
        name = pipeline.step_input(idx);
    }
}

/// Whether a step gives one row per row under the same key, worked out from that row and earlier ones.
pub(crate) fn is_one_to_one(pipeline: &Pipeline, step: &Step) -> bool {
    let definition = step.transform.definition();
    match definition.get("type").and_then(serde_json::Value::as_str) {
        Some("indicators") => true,
        // The ratio stands in the bar itself. An action reaches back to the first bar, and where it is a companion's its
        // symbol is late; a reference table tells nobody which of its rows are new.
        Some("adjust") => step.transform.reads().iter().all(|read| pipeline.companions.contains_key(read)),
        _ => false,
    }
}
