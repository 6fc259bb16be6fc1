//! Finds the rows that share a key, and says which of them stays.

use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_window::expr_fn::{first_value, row_number};
use datafusion::logical_expr::{Expr, JoinType, lit, when};
use datafusion::prelude::DataFrame;

use super::{BROKEN, Rule};
use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::AS_OF;
use crate::schema::BAR_KEY;
use crate::transform::expr::{all_columns, column, columns, descending, running};
use crate::transform::normalize::columns::SOURCE_SEQ;

/// What makes two rows of one key the same bar.
const VALUES: [&str; 10] =
    ["open", "high", "low", "close", "volume", "adj_close", "currency", "session", "basis", "is_final"];

/// The rows parted into those whose key is theirs alone, and the others.
pub(super) struct Parted {
    /// Rows of keys that occur once.
    pub(super) single: DataFrame,
    /// Rows of keys that occur several times; those that go have the rule in the column [`BROKEN`]. `None` if there are none.
    pub(super) several: Option<DataFrame>,
}

/// Parts the rows by how often their key occurs. Reads the keys; with none twice (the rule) it costs one grouping.
pub(super) async fn part(epoch: &EpochContext, rows: DataFrame) -> Result<Parted> {
    if epoch.planning {
        return Ok(Parted { single: rows, several: None });
    }
    let n = rows.clone().aggregate(columns(BAR_KEY), vec![count(lit(1_i64)).alias("n")])?;
    let names = ["__symbol", "__interval", "__ts"];
    let renamed = BAR_KEY.iter().zip(names).map(|(name, own)| column(*name).alias(own));
    let keys = n.filter(column("n").gt(lit(1_i64)))?.select(renamed.collect::<Vec<_>>())?;
    let schema = std::sync::Arc::new(keys.schema().as_arrow().clone());
    let found = keys.collect().await?;
    if found.iter().all(|it| it.num_rows() == 0) {
        return Ok(Parted { single: rows, several: None });
    }
    let keys = epoch.table(schema, vec![found])?;
    let single = rows.clone().join(keys.clone(), JoinType::LeftAnti, &BAR_KEY, &names, None)?;
    let several = rows.join(keys, JoinType::LeftSemi, &BAR_KEY, &names, None)?;
    Ok(Parted { single, several: Some(epoch.share(judged(several)?).await?) })
}

/// Marks all rows of a key but the newest.
fn judged(rows: DataFrame) -> Result<DataFrame> {
    let own: Vec<String> =
        rows.schema().fields().iter().map(|it| it.name().clone()).filter(|it| it != BROKEN).collect();
    // The newest, then the latest in the source; where a source tells no positions, the values decide, so that the choice
    // is the same each time.
    let mut order = vec![descending(column(AS_OF))];
    if own.iter().any(|it| it == SOURCE_SEQ) {
        order.push(descending(column(SOURCE_SEQ)));
    }
    order.extend(VALUES.map(|it| descending(column(it))));
    let place = running(row_number(), &BAR_KEY, order.clone())?;
    let mut ranked = all_columns(&rows);
    ranked.push(place.alias("__place"));
    for name in VALUES.into_iter().chain([AS_OF]) {
        ranked.push(running(first_value(column(name)), &BAR_KEY, order.clone())?.alias(format!("__{name}")));
    }
    let ranked = rows.select(ranked)?;
    let same = VALUES.iter().map(|it| same(it)).reduce(Expr::and).unwrap_or_else(|| lit(true));
    let rule = when(column("__place").eq(lit(1_u64)), lit(datafusion::scalar::ScalarValue::Utf8(None)))
        .when(same, lit(Rule::Duplicate.as_str()))
        .when(column(AS_OF).not_eq(column(format!("__{AS_OF}"))), lit(Rule::Superseded.as_str()))
        .otherwise(lit(Rule::Conflict.as_str()))?;
    let mut out = columns(own);
    out.push(rule.alias(BROKEN));
    Ok(ranked.select(out)?)
}

fn same(name: &str) -> Expr {
    datafusion::logical_expr::binary_expr(
        column(name),
        datafusion::logical_expr::Operator::IsNotDistinctFrom,
        column(format!("__{name}")),
    )
}
