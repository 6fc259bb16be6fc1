//! Queries that go on from state, found by their plans.
//!
//! A query does, like a list of indicators, if it gives at most one row per bar, under the bar's own key, worked out from
//! that bar and earlier ones of its series: projections, filters, and windows that [`SymbolWindowExec`] computes from
//! numbers that can be saved. Everything else is computed from history.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, LogicalPlan, Volatility, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, displayable};

use super::builder::Pipeline;
use super::graph::{Base, Graph};
use crate::context::EpochContext;
use crate::error::Result;
use crate::indicator::{IndicatorCall, catalogue};
use crate::relation::Relation;
use crate::window::SymbolWindowExec;

/// How a query's rows come out of its input's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carry {
    /// A filter may leave rows out.
    pub(crate) drops: bool,
    /// There are windows.
    pub(crate) has_windows: bool,
}

/// By step.
pub(crate) type Carries = BTreeMap<String, Carry>;

/// The queries of a pipeline that go on from state; `at` is the history relation.
pub(crate) async fn carries(pipeline: &Pipeline, epoch: &EpochContext, at: &Relation) -> Result<Carries> {
    let mut found = Carries::new();
    let is_query = |definition: serde_json::Value| definition.get("type").is_some_and(|it| it == "sql");
    let Some(history) = pipeline.history.as_ref().map(|it| it.relation.as_str()) else { return Ok(found) };
    let queries = pipeline.steps.iter().filter(|step| {
        step.name != history && pipeline.is_after_history(&step.name) && is_query(step.transform.definition())
    });
    let mut epoch = epoch.clone();
    epoch.planning = true;
    for step in queries {
        let mut given = super::epoch::empty_input(pipeline, &epoch)?;
        given.insert(history.to_owned(), at.with_frame(epoch.table(at.schema(), vec![vec![]])?));
        // What cannot be planned says so where it is computed.
        let planned = Graph::new(pipeline, &epoch, given).relation(&step.name, Base::Epoch).await;
        let Ok(relation) = planned else { continue };
        let Some(carry) = carry(relation.frame.logical_plan()) else { continue };
        let keyed = relation.key.iter().any(|it| it == "symbol") && relation.key.iter().any(|it| it == "ts");
        let plan = relation.frame.create_physical_plan().await;
        if keyed && plan.is_ok_and(|plan| !carry.has_windows || keeps_state(&plan)) {
            found.insert(step.name.clone(), carry);
        }
    }
    Ok(found)
}

/// Columns that have to stay what they are.
const KEY: [&str; 4] = ["symbol", "interval", "ts", "date"];

fn carry(plan: &LogicalPlan) -> Option<Carry> {
    let mut carry = Carry { drops: false, has_windows: false };
    let mut is_one = true;
    let walked = plan.apply_with_subqueries(|node| {
        let fits = match node {
            LogicalPlan::SubqueryAlias(_) => true,
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            LogicalPlan::TableScan(scan) => scan.fetch.is_none() && scan.filters.is_empty(),
            LogicalPlan::Projection(projection) => {
                let fields = projection.schema.fields();
                projection
                    .expr
                    .iter()
                    .zip(fields)
                    .all(|(expr, field)| !KEY.contains(&field.name().as_str()) || is_column(expr, field.name()))
            }
            LogicalPlan::Filter(_) => {
                carry.drops = true;
                true
            }
            LogicalPlan::Window(window) => {
                carry.has_windows = true;
                window.window_expr.iter().all(|expr| match unaliased(expr) {
                    Expr::WindowFunction(call) => is_backward(call),
                    _ => false,
                })
            }
            _ => false,
        };
        is_one &= fits && is_fixed(node)?;
        Ok(if is_one { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    (walked.is_ok() && is_one).then_some(carry)
}

/// Whether an expression is that column, as it is or as plain text: a time that is cast to a day is another key.
fn is_column(expr: &Expr, name: &str) -> bool {
    match unaliased(expr) {
        Expr::Column(column) => column.name == name,
        Expr::Cast(cast) => name != "ts" && *cast.field.data_type() == DataType::Utf8 && is_column(&cast.expr, name),
        _ => false,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Whether all values of a node follow from its rows alone: `now()` in a filter lets rows go as time goes on.
fn is_fixed(node: &LogicalPlan) -> PlanResult<bool> {
    let mut fixed = true;
    node.apply_expressions(|expr| {
        fixed &= !expr.exists(|it| {
            Ok(match it {
                Expr::ScalarFunction(call) => call.func.signature().volatility != Volatility::Immutable,
                Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => true,
                _ => false,
            })
        })?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(fixed)
}

/// Whether a call sees nothing but its own and earlier bars of a series.
fn is_backward(call: &WindowFunction) -> bool {
    let params = &call.params;
    let column = |expr: &Expr, of: &[&str]| matches!(expr, Expr::Column(it) if of.contains(&it.name.as_str()));
    let by_series = params.partition_by.iter().all(|it| column(it, &["symbol", "interval", "date"]))
        && params.partition_by.iter().any(|it| column(it, &["symbol"]));
    let in_time = params.order_by.iter().all(|it| it.asc && column(&it.expr, &["date", "ts"]))
        && params.order_by.iter().any(|it| column(&it.expr, &["ts"]));
    let is_plain = params.filter.is_none() && params.null_treatment.is_none() && !params.distinct;
    let frame = &params.window_frame;
    let is_known = match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) => {
            let name = function.name();
            // By its defaults; the plan tells for the parameters that it has.
            let goes_on = |definition| IndicatorCall::new(definition, &[]).is_ok_and(|call| call.goes_piece_by_piece());
            name == "lag" || catalogue().get(name.strip_prefix("ta_").unwrap_or(name)).is_ok_and(goes_on)
        }
        WindowFunctionDefinition::AggregateUDF(_) => {
            frame.units == WindowFrameUnits::Rows && frame.end_bound == WindowFrameBound::CurrentRow
        }
    };
    by_series && in_time && is_plain && is_known
}

/// Whether all windows of a plan are the operator's, and all of their functions leave numbers to go on from.
fn keeps_state(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let (mut n_windows, mut all) = (0, true);
    let walked = plan.apply(|node| {
        if let Some(window) = node.downcast_ref::<SymbolWindowExec>() {
            n_windows += 1;
            all &= window.keeps_state();
        }
        let is_other = node.downcast_ref::<WindowAggExec>().is_some()
            || node.downcast_ref::<BoundedWindowAggExec>().is_some()
            // A query for the first rows of each group has an operator of its own.
            || node.name().contains("TopK");
        all &= !is_other;
        Ok(TreeNodeRecursion::Continue)
    });
    tracing::debug!(plan = %displayable(plan.as_ref()).indent(false), n_windows, all, "a query's way from epoch to epoch");
    walked.is_ok() && all && n_windows > 0
}
