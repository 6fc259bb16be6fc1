//! Reads off a plan which other rows a row of its output depends on.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Window};

use super::Scope;
use super::udf::is_by_symbol;

/// Which other rows a row of the plan's output depends on.
///
/// Projections, filters, aliases and unions keep rows apart: [`Scope::Row`].
/// Windows that are all partitioned by `symbol`, and aggregates that are grouped by it: [`Scope::Symbol`]; so are values
/// that `Normalize` has worked out from other rows of the symbol.
/// Anything else (joins, limits, distinct rows, subqueries) is [`Scope::Everything`].
///
/// The plan is read down to its tables: give it one whose inputs are tables, as they are while a pipeline is planned.
pub fn scope_of(plan: &LogicalPlan) -> Scope {
    let (mut widest, mut renamed) = (Scope::Row, false);
    let walked = plan.apply(|node| {
        widest = widest.max(scope_of_node(node)?);
        renamed |= makes_symbol(node);
        Ok(if widest == Scope::Everything { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    // What is called `symbol` must be the symbol: a sector under that name holds many of them.
    if walked.is_err() || (renamed && widest > Scope::Row) { Scope::Everything } else { widest }
}

/// Whether a projection gives the name `symbol` to something else.
fn makes_symbol(node: &LogicalPlan) -> bool {
    let LogicalPlan::Projection(projection) = node else { return false };
    let fields = projection.schema.fields();
    projection.expr.iter().zip(fields).any(|(expr, field)| field.name() == "symbol" && !is_symbol(expr))
}

fn scope_of_node(node: &LogicalPlan) -> PlanResult<Scope> {
    let is_subquery = |it: &Expr| {
        matches!(it, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_))
    };
    if holds(node, is_subquery)? {
        return Ok(Scope::Everything);
    }
    let least = if holds(node, is_by_symbol)? { Scope::Symbol } else { Scope::Row };
    Ok(least.max(match node {
        LogicalPlan::TableScan(scan) if scan.fetch.is_some() => Scope::Everything,
        // The order of rows is no promise of a relation, so sorting alone changes none.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Scope::Row,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Values(_) => Scope::Row,
        LogicalPlan::Window(window) => scope_of_window(window),
        LogicalPlan::Aggregate(aggregate) => scope_of_aggregate(aggregate),
        _ => Scope::Everything,
    }))
}

/// Whether an expression of the node, or a part of one, is of a kind.
fn holds(node: &LogicalPlan, kind: impl Fn(&Expr) -> bool) -> PlanResult<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|it| Ok(kind(it)))?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn scope_of_window(window: &Window) -> Scope {
    let by_symbol = window.window_expr.iter().all(|expr| match unaliased(expr) {
        Expr::WindowFunction(call) => call.params.partition_by.iter().any(is_symbol),
        _ => false,
    });
    if by_symbol { Scope::Symbol } else { Scope::Everything }
}

fn scope_of_aggregate(aggregate: &Aggregate) -> Scope {
    // In grouping sets a column may be left out of a group.
    if aggregate.group_expr.iter().any(is_symbol) { Scope::Symbol } else { Scope::Everything }
}

/// Whether it is the column `symbol` itself: a function of it may put several symbols into one.
fn is_symbol(expr: &Expr) -> bool {
    matches!(unaliased(expr), Expr::Column(column) if column.name == "symbol")
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use arrow::array::RecordBatch;
    use datafusion::prelude::SessionContext;

    async fn scope(sql: &str) -> Scope {
        let session = SessionContext::new();
        session.register_batch("bars", RecordBatch::new_empty(crate::schema::bar_schema())).unwrap();
        scope_of(session.sql(sql).await.unwrap().logical_plan())
    }

    #[tokio::test]
    async fn rows_that_stay_apart_are_of_scope_row() {
        for sql in [
            "SELECT symbol, close * 2 AS twice FROM bars WHERE volume > 0",
            "SELECT symbol FROM bars ORDER BY ts",
            "WITH b AS (SELECT * FROM bars) SELECT symbol FROM b UNION ALL SELECT symbol FROM bars",
        ] {
            assert_eq!(scope(sql).await, Scope::Row, "{sql}");
        }
    }

    #[tokio::test]
    async fn windows_and_groups_by_symbol_are_of_scope_symbol() {
        for sql in [
            "SELECT symbol, avg(close) OVER (PARTITION BY symbol ORDER BY ts) AS mean FROM bars",
            "SELECT symbol, avg(close) OVER (PARTITION BY symbol, date ORDER BY ts) + 1 AS mean FROM bars",
            "SELECT symbol, max(close) FROM bars GROUP BY symbol, date",
        ] {
            assert_eq!(scope(sql).await, Scope::Symbol, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_was_worked_out_from_rows_of_the_symbol_is_of_scope_symbol() {
        let session = SessionContext::new();
        session.register_batch("bars", RecordBatch::new_empty(crate::schema::bar_schema())).unwrap();
        let bars = session.table("bars").await.unwrap();
        let marked =
            bars.with_column("interval", crate::transform::udf::by_symbol(datafusion::logical_expr::lit("5m")));
        assert_eq!(scope_of(marked.unwrap().logical_plan()), Scope::Symbol);
    }

    #[tokio::test]
    async fn whatever_compares_symbols_is_of_scope_everything() {
        for sql in [
            "SELECT symbol, avg(close) OVER (PARTITION BY date ORDER BY symbol) AS mean FROM bars",
            "SELECT symbol, avg(close) OVER (PARTITION BY symbol ORDER BY ts), rank() OVER (ORDER BY close) FROM bars",
            "SELECT date, max(close) FROM bars GROUP BY date",
            "SELECT left(symbol, 1) AS symbol, max(close) FROM bars GROUP BY 1",
            "SELECT symbol, max(close) FROM (SELECT currency AS symbol, close FROM bars) GROUP BY symbol",
            "SELECT symbol, max(close) FROM bars GROUP BY CUBE (symbol, date)",
            "SELECT a.symbol FROM bars a JOIN bars b ON a.date = b.date",
            "SELECT symbol FROM bars ORDER BY close LIMIT 3",
            "SELECT DISTINCT date FROM bars",
            "SELECT symbol FROM bars WHERE close > (SELECT avg(close) FROM bars)",
            "SELECT symbol FROM bars WHERE symbol IN (SELECT symbol FROM bars WHERE close > 1)",
        ] {
            assert_eq!(scope(sql).await, Scope::Everything, "{sql}");
        }
    }
}
