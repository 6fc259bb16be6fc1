//! Evaluates the relations of a pipeline over one of several bases.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::prelude::DataFrame;

use super::at_history::{AtHistory, GoesOn, goes_on, keeps_state};
use super::builder::Pipeline;
use super::carry::Carry;
use super::clock::refuse_volatile;
use super::replay::{ReplayInput, Unfit};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{Relation, Relations};
use crate::store::RefusedBy;
use crate::transform::{Scope, scope_of};

/// What stands at the history relation when a relation after it is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Base {
    /// The epoch's changed rows only: enough for row-wise steps.
    Epoch,
    /// The changed rows of symbols whose indicators go on from their state.
    Fresh,
    /// History and epoch of the touched symbols whose indicators do not.
    Late,
    /// History and epoch of the touched symbols.
    Touched,
    /// History and epoch of all symbols.
    All,
    /// The history of the touched symbols as it was: to find out which rows have changed.
    TouchedBefore,
    /// The history of all symbols as it was.
    AllBefore,
}

impl Base {
    pub(crate) fn needed(scope: Scope) -> Self {
        match scope {
            Scope::Row => Self::Epoch,
            Scope::Symbol => Self::Touched,
            Scope::Everything | Scope::ByPlan => Self::All,
        }
    }

    /// The same as it was before the epoch.
    pub(crate) fn before(self) -> Self {
        match self {
            Self::Epoch | Self::Fresh | Self::Late | Self::Touched | Self::TouchedBefore => Self::TouchedBefore,
            Self::All | Self::AllBefore => Self::AllBefore,
        }
    }
}

/// A step's side outputs.
#[derive(Debug)]
pub(crate) struct SideOutputs {
    pub(crate) step: String,
    pub(crate) rejects: Vec<DataFrame>,
    pub(crate) notes: Vec<DataFrame>,
}

/// The relations of one epoch, computed when they are asked for.
pub(crate) struct Graph<'a> {
    pub(crate) pipeline: &'a Pipeline,
    epoch: &'a EpochContext,
    /// Source relations and reference tables.
    given: BTreeMap<String, Relation>,
    /// What stands at the history relation, and its rows by base.
    at_history: Option<AtHistory>,
    views: HashMap<Base, Relation>,
    companions: HashMap<(String, Base), Relation>,
    done: HashMap<(usize, Base), BTreeMap<String, Relation>>,
    /// Rejects and notes; of each step only those of the first base that it was computed over.
    pub(crate) side: Vec<SideOutputs>,
    scopes: HashMap<usize, Scope>,
    /// Letters that enter at the steps that refused them.
    replay: Option<Arc<ReplayInput>>,
    /// Those of them that are no row there.
    pub(crate) unfit: Vec<Unfit>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, epoch: &'a EpochContext, given: BTreeMap<String, Relation>) -> Self {
        Self {
            pipeline,
            epoch,
            given,
            at_history: None,
            views: HashMap::new(),
            companions: HashMap::new(),
            done: HashMap::new(),
            side: Vec::new(),
            scopes: HashMap::new(),
            replay: None,
            unfit: Vec::new(),
        }
    }

    /// Lets the letters of a replay enter.
    pub(crate) fn set_replay(&mut self, replay: Option<Arc<ReplayInput>>) {
        self.replay = replay;
    }

    /// From here on the history relation is what the epoch was found to be.
    pub(crate) fn set_history(&mut self, at_history: AtHistory) {
        self.at_history = Some(at_history);
    }

    pub(crate) fn at_history(&self) -> Option<&AtHistory> {
        self.at_history.as_ref()
    }

    /// Whether it is known what the history relation was before.
    pub(crate) fn has_before(&self) -> bool {
        self.at_history.as_ref().is_some_and(|it| it.version.is_some() && !it.rebuild)
    }

    /// Whether a relation's indicators go on from state: between it and the history relation is nothing but steps that give
    /// a row for each row, at least one of them with indicators, and all of those keep a state.
    pub(crate) fn keeps_state(&self, name: &str) -> bool {
        self.at_history.as_ref().is_some_and(|it| keeps_state(self.pipeline, &it.carries, name))
    }

    /// How a relation's new rows of fresh symbols come out of the epoch's own, if they do.
    pub(crate) fn goes_on(&self, name: &str) -> Option<GoesOn> {
        goes_on(self.pipeline, &self.at_history.as_ref()?.carries, name)
    }

    /// How a query goes on from state, if it does.
    pub(crate) fn carry(&self, step: &str) -> Option<Carry> {
        self.at_history.as_ref()?.carries.get(step).copied()
    }

    /// The context in which a step works over a base: its operators find and leave their states there.
    fn context(&self, step: &str, base: Base) -> EpochContext {
        let mut context = self.epoch.clone();
        let Some(at_history) = self.at_history.as_ref().filter(|_| self.keeps_state(step)) else { return context };
        let states = match base {
            Base::Fresh => &at_history.states.fresh,
            Base::Late | Base::All => &at_history.states.late,
            Base::Epoch | Base::Touched | Base::TouchedBefore | Base::AllBefore => return context,
        };
        context.session = states.attach(step, &context.session);
        context
    }

    /// A relation over a base. Before and beside the history relation there is only [`Base::Epoch`].
    pub(crate) async fn relation(&mut self, name: &str, base: Base) -> Result<Relation> {
        if let Some(history) = &self.pipeline.history
            && history.relation == name
            && let Some(at_history) = &self.at_history
        {
            if let Some(relation) = self.views.get(&base) {
                return Ok(relation.clone());
            }
            let relation = at_history.view(self.epoch, base).await?;
            self.views.insert(base, relation.clone());
            return Ok(relation);
        }
        if let Some(companion) = self.at_history.as_ref().and_then(|it| it.companions.get(name)) {
            let place = (name.to_owned(), base);
            if let Some(relation) = self.companions.get(&place) {
                return Ok(relation.clone());
            }
            let relation = companion.view(self.epoch, base).await?;
            self.companions.insert(place, relation.clone());
            return Ok(relation);
        }
        if let Some(relation) = self.given.get(name) {
            return Ok(relation.clone());
        }
        let step =
            self.pipeline.step_of(name).ok_or_else(|| Error::schema(name, format!("there is no relation `{name}`")))?;
        let base = if self.pipeline.is_after_history(name) { base } else { Base::Epoch };
        if !self.done.contains_key(&(step, base)) {
            let mut outputs = Box::pin(self.apply(step, base)).await?;
            for (name, relation) in &mut outputs {
                if self.pipeline.n_readers(name) > 1 {
                    relation.frame = self.epoch.share(relation.frame.clone()).await?;
                }
            }
            self.done.insert((step, base), outputs);
        }
        let outputs = self.done.get(&(step, base));
        outputs.and_then(|outputs| outputs.get(name)).cloned().ok_or_else(|| {
            let known: Vec<&str> = outputs.into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
            Error::schema(name, format!("the step gives no relation `{name}`, only `{}`", known.join("`, `")))
        })
    }

    /// Everything a step reads, then the step itself.
    async fn apply(&mut self, idx: usize, base: Base) -> Result<BTreeMap<String, Relation>> {
        let Some(step) = self.pipeline.steps.get(idx) else {
            return Err(Error::internal("a step that does not exist was asked for"));
        };
        let input = self.pipeline.step_input(idx);
        let mut inputs: BTreeMap<String, Relation> = BTreeMap::new();
        for name in std::iter::once(input.clone()).chain(step.transform.reads()) {
            let relation = self.relation(&name, base).await?;
            inputs.insert(name, relation);
        }
        for name in self.pipeline.tables.keys() {
            if !inputs.contains_key(name) {
                let relation = self.relation(name, base).await?;
                inputs.insert(name.clone(), relation);
            }
        }
        if let (Some(replay), Some(relation)) = (self.replay.clone(), inputs.get_mut(&input))
            && base == Base::Epoch
        {
            let frame = relation.frame.clone();
            let (frame, unfit) = replay.joined(self.epoch, RefusedBy::Step, &step.name, frame).await?;
            *relation = relation.with_frame(frame);
            self.unfit.extend(unfit);
        }
        let context = self.context(&step.name, base);
        if self.keeps_state(&step.name) {
            // A frame is run by the session it was made in: by the one that hands states in and takes them out.
            for relation in inputs.values_mut() {
                let plan = relation.frame.logical_plan().clone();
                relation.frame = DataFrame::new(context.session.state(), plan);
            }
        }
        let outputs = step
            .transform
            .apply(&Relations::new(input, inputs), &context)
            .await
            .map_err(|error| self.in_step(&step.name, error))?;
        let mut relations: BTreeMap<String, Relation> =
            outputs.others.into_iter().map(|(name, relation)| (format!("{}.{name}", step.name), relation)).collect();
        if let Some(output) = outputs.output {
            relations.insert(step.name.clone(), output);
        }
        let mut scope = step.transform.scope();
        for relation in relations.values() {
            refuse_volatile(&step.name, relation.frame.logical_plan())?;
            if step.transform.scope() == Scope::ByPlan {
                let found = scope_of(relation.frame.logical_plan());
                scope = if scope == Scope::ByPlan { found } else { scope.max(found) };
            }
        }
        // Over another base the plan holds the engine's own joins: the first look counts.
        let is_first = matches!(self.scopes.entry(idx), Entry::Vacant(_));
        self.scopes.entry(idx).or_insert(scope);
        // Fresh and late symbols are two halves of one whole.
        if is_first || base == Base::Late {
            self.side.push(SideOutputs { step: step.name.clone(), rejects: outputs.rejects, notes: outputs.notes });
        }
        Ok(relations)
    }

    fn in_step(&self, step: &str, error: Error) -> Error {
        match error {
            Error::Query { source, .. } => Error::Query { step: step.to_owned(), source },
            other => other,
        }
    }

    /// The widest scope between the history relation and `name`; [`Scope::Row`] before it. Steps whose scope is only known
    /// by their plan count once they have been applied.
    pub(crate) fn scope_after_history(&self, name: &str) -> Scope {
        if !self.pipeline.is_after_history(name)
            || self.pipeline.history.as_ref().is_some_and(|history| history.relation == name)
        {
            return Scope::Row;
        }
        let Some(idx) = self.pipeline.step_of(name) else { return Scope::Row };
        let Some(step) = self.pipeline.steps.get(idx) else { return Scope::Row };
        let own = self.scopes.get(&idx).copied().unwrap_or_else(|| step.transform.scope());
        let inputs = std::iter::once(self.pipeline.step_input(idx)).chain(step.transform.reads());
        inputs.map(|input| self.scope_after_history(&input)).fold(own, Scope::max)
    }

    /// The scope of a step as it was found.
    pub(crate) fn scope_of_step(&self, idx: usize) -> Option<Scope> {
        self.scopes.get(&idx).copied()
    }
}
