//! Which other rows a row depends on, read off a plan.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::transform::Scope;

/// The scope of a plan: what its operators let a row depend on.
///
/// Projections, filters, aliases and unions keep to the row; windows partitioned by `symbol` and aggregates grouped by
/// `symbol` keep to the symbol; everything else (joins, sorts with a limit, DISTINCT, other windows) may look anywhere.
pub fn scope_of(plan: &LogicalPlan) -> Scope {
    let mut scope = Scope::Row;
    // The closure never fails.
    let _ = plan.apply_with_subqueries(|node| {
        scope = scope.max(scope_of_node(node));
        Ok(TreeNodeRecursion::Continue)
    });
    scope
}

fn scope_of_node(node: &LogicalPlan) -> Scope {
    match node {
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::TableScan(_)
        | LogicalPlan::Union(_) | LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Repartition(_) => Scope::Row,
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => Scope::Row,
        LogicalPlan::Window(window) => {
            let by_symbol = window.window_expr.iter().all(|expr| match expr.clone().unalias() {
                Expr::WindowFunction(call) => call.params.partition_by.iter().any(is_symbol),
                _ => false,
            });
            if by_symbol { Scope::Symbol } else { Scope::Everything }
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(is_symbol) => Scope::Symbol,
        _ => Scope::Everything,
    }
}

fn is_symbol(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == "symbol")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn check(sql: &str, expected: Scope) {
        let session = SessionContext::new();
        session.sql("CREATE TABLE bars AS SELECT 'A' AS symbol, 1 AS ts, 1.0 AS close").await.unwrap().collect().await.unwrap();
        let plan = session.sql(sql).await.unwrap().into_unoptimized_plan();
        assert_eq!(scope_of(&plan), expected, "{sql}");
    }

    #[tokio::test]
    async fn rows_symbols_and_everything_are_told_apart() {
        check("SELECT symbol, close * 2 FROM bars WHERE close > 0", Scope::Row).await;
        check("SELECT *, avg(close) OVER (PARTITION BY symbol ORDER BY ts) FROM bars", Scope::Symbol).await;
        check("SELECT symbol, max(close) FROM bars GROUP BY symbol", Scope::Symbol).await;
        check("SELECT *, rank() OVER (ORDER BY close) FROM bars", Scope::Everything).await;
        check("SELECT ts, max(close) FROM bars GROUP BY ts", Scope::Everything).await;
        check("SELECT * FROM bars ORDER BY ts LIMIT 1", Scope::Everything).await;
        check("SELECT * FROM bars WHERE close > (SELECT avg(close) FROM bars)", Scope::Everything).await;
    }
}
