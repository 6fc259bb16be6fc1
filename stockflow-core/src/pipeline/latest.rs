//! One row a key within an epoch: the highest version wins, and of equal versions the later position.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, ident, lit};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::Relation;
use crate::transform::normalize::columns::SOURCE_SEQ;

/// Names that no relation has.
const ROW: &str = "__row";
const PLACE: &str = "__place";

/// The relation with one row a key, computed once. Rows with a NULL in their key have no identity and all stay.
///
/// Where no key stands twice (the rule) it costs one grouping, and nothing where the step before promises it.
///
/// # Errors
///
/// Whatever computing the relation gives.
pub(crate) async fn latest(epoch: &EpochContext, name: &str, relation: &Relation) -> Result<Relation> {
    if relation.key.is_empty() || relation.unique {
        return Ok(relation.clone());
    }
    let rows = epoch.share(relation.frame.clone()).await?;
    let named = relation.key.iter().map(|column| ident(column).is_not_null());
    let Some(named) = named.reduce(Expr::and) else { return Ok(relation.clone()) };
    let key: Vec<Expr> = relation.key.iter().map(ident).collect();
    let groups = rows.clone().filter(named.clone())?.aggregate(key.clone(), vec![count(lit(1_i64)).alias("n")])?;
    let n_twice = groups.filter(ident("n").gt(lit(1_i64)))?.count().await?;
    if n_twice == 0 {
        return Ok(relation.with_frame(rows).with_unique_keys());
    }
    tracing::info!(
        relation = name,
        keys = n_twice,
        "keys that stand several times in this epoch: the latest row of each stays"
    );
    let columns: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
    let numbered = numbered(epoch, rows).await?;
    let mut order = Vec::new();
    if let Some(version) = relation.version.as_deref().filter(|version| relation.has(version)) {
        order.push(ident(version).sort(false, false));
    }
    if relation.has(SOURCE_SEQ) {
        order.push(ident(SOURCE_SEQ).sort(false, false));
    }
    // Where the source tells no position, rows stand as they came.
    order.push(ident(ROW).sort(false, false));
    let place = row_number().partition_by(key).order_by(order).build()?;
    let frame = numbered
        .with_column(PLACE, place)?
        .filter(ident(PLACE).eq(lit(1_u64)).or(Expr::Not(Box::new(named))))?
        .select(columns.into_iter().map(|column| match column {
            Expr::Column(column) => ident(column.name),
            other => other,
        }))?;
    Ok(relation.with_frame(epoch.share(frame).await?).with_unique_keys())
}

/// The rows with a running number: partition after partition, as the source gave them.
async fn numbered(epoch: &EpochContext, rows: DataFrame) -> Result<DataFrame> {
    let schema = Arc::new(rows.schema().as_arrow().clone());
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(ROW, DataType::Int64, false)));
    let with_row = Arc::new(Schema::new(fields));
    let (mut first, mut batches) = (0_i64, Vec::new());
    for mut stream in rows.execute_stream_partitioned().await? {
        while let Some(batch) = stream.try_next().await? {
            let next = first + batch.num_rows() as i64;
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values(first..next)) as ArrayRef);
            batches.push(RecordBatch::try_new(Arc::clone(&with_row), columns)?);
            first = next;
        }
    }
    epoch.table(with_row, vec![batches])
}
