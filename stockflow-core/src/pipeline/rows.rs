//! The rows that a sink gets: of what was computed, the part that is new, with its version.

use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;

use super::builder::Pipeline;
use super::compare::{Compared, child, has_time};
use super::graph::{Base, Graph};
use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::{REVISION, Relation, RelationSchema};
use crate::sink::EpochRows;
use crate::transform::Scope;

/// The rows of a relation for one sink in this epoch.
pub(crate) async fn outgoing(
    pipeline: &Pipeline,
    graph: &mut Graph<'_>,
    epoch: &EpochContext,
    compared: Option<&Compared>,
    name: &str,
    rebuild: bool,
) -> Result<EpochRows> {
    let relation = match compared {
        Some(compared) if pipeline.is_after_history(name) => {
            changed_part(pipeline, graph, epoch, compared, name, rebuild).await?
        }
        _ => graph.relation(name, Base::Epoch).await?,
    };
    versioned(epoch, name, &relation)
}

async fn changed_part(
    pipeline: &Pipeline,
    graph: &mut Graph<'_>,
    epoch: &EpochContext,
    compared: &Compared,
    name: &str,
    rebuild: bool,
) -> Result<Relation> {
    let is_history = pipeline.history.as_ref().is_some_and(|history| history.relation == name);
    if is_history {
        // A rebuilt sink gets all that the history holds; the history's own table merges it to nothing.
        return graph.relation(name, if rebuild { Base::All } else { Base::Epoch }).await;
    }
    if graph.scope_after_history(name) == Scope::ByPlan {
        // A step that is scoped by its plan is known once it has been applied to something.
        graph.relation(name, Base::Epoch).await?;
    }
    let scope = graph.scope_after_history(name);
    let base = if rebuild { Base::All } else { Base::needed(scope) };
    let relation = graph.relation(name, base).await?;
    if scope == Scope::Row && !rebuild || !relation.has("symbol") {
        return Ok(relation);
    }
    let touched = compared.touched_table(epoch)?;
    let same_axis = has_time(&relation) && keeps_time(pipeline, name);
    let frame = if rebuild {
        relation.frame.clone()
    } else if same_axis {
        let session = child(epoch, &[("r", relation.frame.clone()), ("t", touched)])?;
        session.sql("SELECT r.* FROM r JOIN t ON r.symbol = t.symbol WHERE arrow_cast(arrow_cast(r.ts, 'Timestamp(Microsecond, None)'), 'Int64') >= t.first").await?
    } else if has_time(&relation) {
        floor(epoch, &relation, touched).await?
    } else if scope == Scope::Everything {
        relation.frame.clone()
    } else {
        let session = child(epoch, &[("r", relation.frame.clone()), ("t", touched)])?;
        session.sql("SELECT r.* FROM r JOIN t ON r.symbol = t.symbol").await?
    };
    Ok(relation.with_frame(frame))
}

/// Rows from the last one at or before the first change: a week's row is stamped earlier than the day that changes it.
async fn floor(epoch: &EpochContext, relation: &Relation, touched: DataFrame) -> Result<DataFrame> {
    let rows = epoch.share(relation.frame.clone()).await?;
    let session = child(epoch, &[("r", rows), ("t", touched)])?;
    let micros = |column: &str| format!("arrow_cast(arrow_cast({column}, 'Timestamp(Microsecond, None)'), 'Int64')");
    let sql = format!(
        "SELECT r.* FROM r JOIN (SELECT t.symbol, coalesce(max(CASE WHEN {ts} <= t.first THEN {ts} END), max(t.first)) AS since \
         FROM r JOIN t ON r.symbol = t.symbol GROUP BY t.symbol) f ON r.symbol = f.symbol WHERE {ts} >= f.since",
        ts = micros("r.ts")
    );
    Ok(session.sql(&sql).await?)
}

/// Whether every step between the history relation and `name` gives one row per bar under the bar's own time.
fn keeps_time(pipeline: &Pipeline, name: &str) -> bool {
    if pipeline.history.as_ref().is_some_and(|history| history.relation == name) {
        return true;
    }
    let Some(idx) = pipeline.step_of(name) else { return false };
    let Some(step) = pipeline.steps.get(idx) else { return false };
    let kind = step.transform.definition();
    let kind = kind.get("type").and_then(serde_json::Value::as_str);
    let same = step.transform.scope() == Scope::Row || matches!(kind, Some("indicators" | "adjust"));
    same && keeps_time(pipeline, &pipeline.step_input(idx))
}

/// Adds the revision to derived rows: a recomputed row must win although its bar is old.
fn versioned(epoch: &EpochContext, name: &str, relation: &Relation) -> Result<EpochRows> {
    let mut frame = relation.frame.clone();
    if relation.version.as_deref() == Some(REVISION) && !relation.has(REVISION) {
        let mut columns: Vec<Expr> = frame.schema().columns().into_iter().map(Expr::Column).collect();
        columns.push(epoch.now_expr().alias(REVISION));
        frame = frame.select(columns)?;
    }
    let mut described: RelationSchema = relation.describe(name);
    described.schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
    Ok(EpochRows::new(described, frame))
}
