//! Finds windows over a symbol's bars and gives them to the operator.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, WindowExpr};

use super::exec::SymbolWindowExec;
use super::function::Function;
use super::options::WindowOptions;

/// Puts a [`SymbolWindowExec`] in the place of DataFusion's window operators, where it computes the same.
///
/// That is: every window with an indicator in it; and windows with nothing but `avg`, `sum`, `min`, `max`, `count` and
/// `stddev` over rows up to the current one, `lag` and `lead`, where they run `PARTITION BY symbol[, interval][, date]
/// ORDER BY ts|date`. A window with other functions besides is split in two.
///
/// It has to run before anything is distributed and sorted for the operators that it replaces.
#[derive(Debug, Clone, Copy, Default)]
pub struct SymbolWindowRule;

impl SymbolWindowRule {
    pub(super) const NAME: &str = "symbol_window";
}

impl PhysicalOptimizerRule for SymbolWindowRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let options = WindowOptions::of(config);
        if !options.symbol_window {
            return Ok(plan);
        }
        let mut ordinal = 0;
        let replaced = plan.transform_up(|node| {
            let Some((exprs, input)) = window(&node) else { return Ok(Transformed::no(node)) };
            match replace(exprs, input, &mut ordinal, options.trust_order)? {
                Some(replaced) => Ok(Transformed::yes(replaced)),
                None => Ok(Transformed::no(node)),
            }
        })?;
        Ok(replaced.data)
    }

    fn name(&self) -> &str {
        Self::NAME
    }

    fn schema_check(&self) -> bool {
        true
    }
}

type Window<'a> = (&'a [Arc<dyn WindowExpr>], &'a Arc<dyn ExecutionPlan>);

fn window(node: &Arc<dyn ExecutionPlan>) -> Option<Window<'_>> {
    if let Some(window) = node.downcast_ref::<WindowAggExec>() {
        return Some((window.window_expr(), window.input()));
    }
    node.downcast_ref::<BoundedWindowAggExec>().map(|it| (it.window_expr(), it.input()))
}

/// Expressions of one node over one window.
struct Group {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    times: Vec<PhysicalSortExpr>,
    /// Their places in the node.
    members: Vec<usize>,
    has_indicator: bool,
}

fn replace(
    exprs: &[Arc<dyn WindowExpr>],
    input: &Arc<dyn ExecutionPlan>,
    ordinal: &mut usize,
    trust: bool,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // One node may hold `PARTITION BY symbol ORDER BY date, ts` and `PARTITION BY symbol, date ORDER BY ts`.
    let mut groups: Vec<Group> = Vec::new();
    let mut others = Vec::new();
    for (at, expr) in exprs.iter().enumerate() {
        let Some(function) = Function::of(expr)? else {
            others.push(at);
            continue;
        };
        let has_indicator = function.is_indicator();
        match groups.iter_mut().find(|it| expr.partition_by() == it.keys && expr.order_by() == it.times) {
            Some(group) => {
                group.members.push(at);
                group.has_indicator |= has_indicator;
            }
            None => groups.push(Group {
                keys: expr.partition_by().to_vec(),
                times: expr.order_by().to_vec(),
                members: vec![at],
                has_indicator,
            }),
        }
    }
    let mut plan = Arc::clone(input);
    let mut order: Vec<usize> = Vec::new();
    for Group { keys, times, members, has_indicator } in groups {
        let own: Vec<_> = members.iter().map(|at| Arc::clone(&exprs[*at])).collect();
        if !has_indicator && !is_over_bars(&keys, &times) {
            others.extend(members);
            continue;
        }
        match SymbolWindowExec::try_new(own, Arc::clone(&plan), *ordinal, trust)? {
            Some(window) => {
                *ordinal += 1;
                plan = Arc::new(window);
                order.extend(members);
            }
            None => others.extend(members),
        }
    }
    if order.is_empty() {
        return Ok(None);
    }
    others.sort_unstable();
    if !others.is_empty() {
        let rest: Vec<_> = others.iter().map(|at| Arc::clone(&exprs[*at])).collect();
        plan = if rest.iter().all(|it| it.uses_bounded_memory()) {
            let mode = datafusion::physical_plan::InputOrderMode::Sorted;
            Arc::new(BoundedWindowAggExec::try_new(rest, plan, mode, true)?)
        } else {
            Arc::new(WindowAggExec::try_new(rest, plan, true)?)
        };
        order.extend(others);
    }
    if order.is_sorted() {
        return Ok(Some(plan));
    }
    // The columns as the node that is replaced had them.
    let n_input = input.schema().fields().len();
    let schema = plan.schema();
    let column = |at: usize| {
        let name = schema.field(at).name();
        ProjectionExpr { expr: Arc::new(Column::new(name, at)), alias: name.clone() }
    };
    let place = |of: usize| order.iter().position(|it| *it == of).unwrap_or(0);
    let columns: Vec<_> = (0..n_input).chain((0..exprs.len()).map(|of| n_input + place(of))).map(column).collect();
    Ok(Some(Arc::new(ProjectionExec::try_new(columns, plan)?)))
}

/// Whether a window without indicators runs over bars: by symbol, in the order of time.
fn is_over_bars(keys: &[Arc<dyn PhysicalExpr>], times: &[PhysicalSortExpr]) -> bool {
    fn name(expr: &Arc<dyn PhysicalExpr>) -> &str {
        expr.downcast_ref::<Column>().map_or("", Column::name)
    }
    keys.iter().any(|it| name(it) == "symbol")
        && keys.iter().all(|it| ["symbol", "interval", "date"].contains(&name(it)))
        && !times.is_empty()
        && times.iter().all(|it| ["ts", "date"].contains(&name(&it.expr)) && !it.options.descending)
}
