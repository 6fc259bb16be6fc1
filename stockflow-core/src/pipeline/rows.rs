//! The rows that a sink gets: of what was computed, the part that is new, with its version.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, JoinType, ident, lit};
use datafusion::prelude::DataFrame;

use super::at_history::is_one_to_one;
use super::builder::{Pipeline, SinkStep};
use super::compare::{Compared, child, has_time};
use super::graph::{Base, Graph, SideOutputs};
use super::latest::latest;
use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::{REVISION, Relation, RelationSchema};
use crate::sink::{EpochRows, WriteMode};
use crate::transform::normalize::columns::SOURCE_SEQ;
use crate::transform::{Scope, note_frame};

/// The rows of a relation for its sinks in this epoch.
pub(crate) async fn outgoing(
    graph: &mut Graph<'_>,
    epoch: &EpochContext,
    compared: Option<&Compared>,
    name: &str,
    rebuild: bool,
    changed_tables: &BTreeSet<String>,
) -> Result<EpochRows> {
    let pipeline = graph.pipeline;
    let relation = match compared {
        Some(compared) if pipeline.is_after_history(name) => {
            let whole = rebuild || reads_any(pipeline, name, changed_tables);
            changed_part(graph, epoch, compared, name, whole).await?
        }
        _ => graph.relation(name, Base::Epoch).await?,
    };
    // What appends or replaces takes the rows as they are.
    let merges = |sink: &SinkStep| pipeline.sink_relation(sink) == name && sink.sink.write_mode() == WriteMode::Merge;
    let relation = if pipeline.sinks.iter().any(merges) { latest(epoch, name, &relation).await? } else { relation };
    Ok(versioned(epoch, name, &relation)?.whole(rebuild))
}

/// Of what is computed over history and epoch the rows that its sinks do not have yet; all of them if `whole`.
async fn changed_part(
    graph: &mut Graph<'_>,
    epoch: &EpochContext,
    compared: &Compared,
    name: &str,
    whole: bool,
) -> Result<Relation> {
    let pipeline = graph.pipeline;
    let is_history = pipeline.history.as_ref().is_some_and(|history| history.relation == name);
    if is_history {
        // A rebuilt sink gets all that the history holds; the history's own table merges it to nothing.
        return graph.relation(name, if whole { Base::All } else { Base::Epoch }).await;
    }
    if graph.scope_after_history(name) == Scope::ByPlan {
        // A step that is scoped by its plan is known once it has been applied to something.
        graph.relation(name, Base::Epoch).await?;
    }
    if !whole && graph.goes_on(name).is_some_and(|it| it.has_state || it.has_companions) {
        return from_state(graph, epoch, compared, name).await;
    }
    let scope = graph.scope_after_history(name);
    let base = if whole { Base::All } else { Base::needed(scope) };
    let relation = graph.relation(name, base).await?;
    if whole {
        return Ok(relation);
    }
    let same_axis = has_time(&relation) && keeps_time(pipeline, name);
    if scope == Scope::Row || same_axis {
        tell_gone(graph, compared, name, &relation).await?;
    }
    if scope == Scope::Row {
        return Ok(relation);
    }
    if same_axis {
        let session = child(epoch, &[("r", relation.frame.clone()), ("t", compared.touched_table(epoch)?)])?;
        let frame = session.sql(FROM_FIRST_CHANGE).await?;
        return Ok(Relation { frame, ..relation });
    }
    if !graph.has_before() {
        return Ok(relation);
    }
    // A change may reach rows of any time and any symbol: what the history alone gives is what the sinks have.
    let before = graph.relation(name, base.before()).await?;
    let now = epoch.share(relation.frame.clone()).await?;
    let before = epoch.share(before.frame).await?;
    if !relation.key.is_empty() {
        graph.side.push(SideOutputs {
            step: name.to_owned(),
            rejects: Vec::new(),
            notes: vec![gone(&relation, &now, &before)?],
        });
    }
    Ok(Relation { frame: now.except(before)?, ..relation })
}

/// A corrected row may not pass a filter any more.
async fn tell_gone(graph: &mut Graph<'_>, compared: &Compared, name: &str, relation: &Relation) -> Result<()> {
    let is_late = compared.touched.values().any(|touched| touched.late);
    if is_late && !relation.key.is_empty() && may_drop(graph, name) && graph.has_before() {
        let now = graph.relation(name, Base::Touched).await?;
        let before = graph.relation(name, Base::TouchedBefore).await?;
        let notes = vec![gone(relation, &now.frame, &before.frame)?];
        graph.side.push(SideOutputs { step: name.to_owned(), rejects: Vec::new(), notes });
    }
    Ok(())
}

/// The rows of a relation that goes on with the epoch's bars: fresh symbols over the epoch alone, late ones over their
/// history, from the first changed bar on.
async fn from_state(graph: &mut Graph<'_>, epoch: &EpochContext, compared: &Compared, name: &str) -> Result<Relation> {
    let (has_fresh, has_late) = graph
        .at_history()
        .map_or((true, false), |it| (!it.fresh.is_empty() || it.late.is_empty(), !it.late.is_empty()));
    let late = if has_late {
        let relation = graph.relation(name, Base::Late).await?;
        tell_gone(graph, compared, name, &relation).await?;
        // Computed here, because it leaves its states elsewhere than the fresh ones do.
        let rows = epoch.share(relation.frame.clone()).await?;
        let session = child(epoch, &[("r", rows), ("t", compared.touched_table(epoch)?)])?;
        let frame = session.sql(FROM_FIRST_CHANGE).await?;
        Some(relation.with_frame(frame))
    } else {
        None
    };
    if !has_fresh && let Some(late) = late {
        return Ok(late);
    }
    let fresh = graph.relation(name, Base::Fresh).await?;
    match late {
        Some(late) => Ok(fresh.with_frame(fresh.frame.clone().union(late.frame)?)),
        None => Ok(fresh),
    }
}

/// Rows of `r` from the first changed bar of their symbol on.
const FROM_FIRST_CHANGE: &str = "SELECT r.* FROM r JOIN t ON r.symbol = t.symbol \
    WHERE arrow_cast(arrow_cast(r.ts, 'Timestamp(Microsecond, None)'), 'Int64') >= t.first";

/// Rows that stood in the relation and do not any more: a merge takes none away, so somebody must be told.
fn gone(relation: &Relation, now: &DataFrame, before: &DataFrame) -> Result<DataFrame> {
    let key: Vec<&str> = relation.key.iter().map(String::as_str).collect();
    let keys = |frame: &DataFrame| frame.clone().select(key.iter().map(|column| ident(*column)).collect::<Vec<_>>());
    let now = keys(now)?
        .select(key.iter().map(|column| ident(*column).alias(format!("now_{column}"))).collect::<Vec<_>>())?;
    let theirs: Vec<String> = key.iter().map(|column| format!("now_{column}")).collect();
    let theirs: Vec<&str> = theirs.iter().map(String::as_str).collect();
    let gone = keys(before)?.join(now, JoinType::LeftAnti, &key, &theirs, None)?;
    let by: Vec<Expr> = key.iter().filter(|column| **column == "symbol").map(|column| ident(*column)).collect();
    let symbol = if by.is_empty() { lit(ScalarValue::Utf8(None)) } else { ident("symbol") };
    let counted = gone.aggregate(by, vec![count(lit(1_i64)).alias("n")])?.filter(ident("n").gt(lit(0_i64)))?;
    let text = "rows of earlier epochs do not belong to it any more, and stay in its sinks: a merge takes none away; \
                `mode = \"full\"` with sinks that overwrite gives exactly what holds now";
    note_frame(counted, lit("gone"), symbol, ident("n"), lit("warning"), lit(text))
}

/// Whether a relation is computed with one of these reference tables.
fn reads_any(pipeline: &Pipeline, name: &str, tables: &BTreeSet<String>) -> bool {
    if tables.is_empty() {
        return false;
    }
    let Some((idx, step)) = pipeline.step_of(name).and_then(|idx| Some((idx, pipeline.steps.get(idx)?))) else {
        return false;
    };
    let mut reads = step.transform.reads();
    reads.push(pipeline.step_input(idx));
    reads.iter().any(|read| tables.contains(read) || reads_any(pipeline, read, tables))
}

/// Whether every step between the history relation and `name` gives one row per bar under the bar's own time.
fn keeps_time(pipeline: &Pipeline, name: &str) -> bool {
    if pipeline.history.as_ref().is_some_and(|history| history.relation == name) {
        return true;
    }
    let Some(idx) = pipeline.step_of(name) else { return false };
    let Some(step) = pipeline.steps.get(idx) else { return false };
    (step.transform.scope() == Scope::Row || is_one_to_one(pipeline, step))
        && keeps_time(pipeline, &pipeline.step_input(idx))
}

/// Adds the revision to derived rows: a recomputed row must win although its bar is old.
fn versioned(epoch: &EpochContext, name: &str, relation: &Relation) -> Result<EpochRows> {
    let mut frame = relation.frame.clone();
    // What `Normalize` passes on for `Clean` alone; a source's own rows keep all columns that say where they come from.
    if relation.has(SOURCE_SEQ) && !relation.has("source_file") {
        frame = frame.drop_columns(&[SOURCE_SEQ])?;
    }
    if relation.version.as_deref() == Some(REVISION) && !relation.has(REVISION) {
        let mut columns: Vec<Expr> = frame.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(epoch.now_expr().alias(REVISION));
        frame = frame.select(columns)?;
    }
    let mut described: RelationSchema = relation.describe(name);
    described.schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    Ok(EpochRows::new(described, frame))
}

/// Whether a step between the history relation and `name` may leave rows out.
fn may_drop(graph: &Graph<'_>, name: &str) -> bool {
    let pipeline = graph.pipeline;
    if pipeline.history.as_ref().is_some_and(|history| history.relation == name) {
        return false;
    }
    let Some((idx, step)) = pipeline.step_of(name).and_then(|idx| Some((idx, pipeline.steps.get(idx)?))) else {
        return false;
    };
    let drops = graph.carry(&step.name).map_or_else(|| !is_one_to_one(pipeline, step), |it| it.drops);
    drops || may_drop(graph, &pipeline.step_input(idx))
}
