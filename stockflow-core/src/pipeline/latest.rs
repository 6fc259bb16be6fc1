//! One row a key within an epoch: the highest version wins, and of equal versions the later position.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt, ident, lit};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use super::spool::share_seen;
use crate::context::EpochContext;
use crate::error::Result;
use crate::relation::Relation;
use crate::transform::normalize::columns::SOURCE_SEQ;

/// Names that no relation has.
const ROW: &str = "__row";
const PLACE: &str = "__place";

/// The relation with one row a key, computed once. Rows with a NULL in their key have no identity and all stay.
///
/// Where no key stands twice (the rule) it costs a hash of each key, and nothing where the step before promises it.
///
/// # Errors
///
/// Whatever computing the relation gives.
pub(crate) async fn latest(epoch: &EpochContext, name: &str, relation: &Relation) -> Result<Relation> {
    if relation.key.is_empty() || relation.unique {
        return Ok(relation.clone());
    }
    let keys = Keys::of(relation);
    let rows = match epoch.planning {
        true => relation.frame.clone(),
        false => share_seen(epoch, relation.frame.clone(), &|batch| keys.add(batch)).await?.0,
    };
    if !epoch.planning && keys.are_unique() {
        return Ok(relation.with_frame(rows).with_unique_keys());
    }
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

/// Hashes of the keys that pass by: as long as no two are equal, no two keys are.
struct Keys {
    columns: Vec<String>,
    hashes: Mutex<Vec<u64>>,
}

impl Keys {
    /// So many hashes are kept at most: 64 MiB. Beyond that keys are grouped, which may go to disk.
    const MOST: usize = 8 << 20;

    fn of(relation: &Relation) -> Self {
        Self { columns: relation.key.clone(), hashes: Mutex::default() }
    }

    fn hashes(&self) -> MutexGuard<'_, Vec<u64>> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, batch: &RecordBatch) -> Result<()> {
        if self.hashes().len() > Self::MOST {
            return Ok(());
        }
        let columns: Vec<ArrayRef> =
            self.columns.iter().filter_map(|name| batch.column_by_name(name)).map(Arc::clone).collect();
        let mut found = vec![0; batch.num_rows()];
        create_hashes(&columns, &RandomState::default(), &mut found)?;
        // A row whose key has a NULL is like no other.
        let nulls = columns.iter().fold(None, |all: Option<NullBuffer>, column| {
            NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref())
        });
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            let mut named = nulls.iter();
            found.retain(|_| named.next() == Some(true));
        }
        self.hashes().append(&mut found);
        Ok(())
    }

    /// Whether it is certain that no key stood twice.
    fn are_unique(self) -> bool {
        let mut hashes = self.hashes.into_inner().unwrap_or_else(PoisonError::into_inner);
        hashes.sort_unstable();
        hashes.len() <= Self::MOST && hashes.windows(2).all(|pair| pair.first() != pair.last())
    }
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

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};

    use super::*;

    /// Symbols and numbers.
    type Batch<'b> = (&'b [Option<&'b str>], &'b [Option<i64>]);

    fn are_unique(batches: &[Batch<'_>]) -> bool {
        let keys = Keys { columns: vec!["symbol".into(), "n".into()], hashes: Mutex::default() };
        for (symbols, numbers) in batches {
            let symbols = Arc::new(StringArray::from(symbols.to_vec())) as ArrayRef;
            let beside = Arc::new(Float64Array::from(vec![1.0; symbols.len()])) as ArrayRef;
            let numbers = Arc::new(Int64Array::from(numbers.to_vec())) as ArrayRef;
            let columns = [("symbol", symbols, true), ("close", beside, true), ("n", numbers, true)];
            keys.add(&RecordBatch::try_from_iter_with_nullable(columns).unwrap()).unwrap();
        }
        keys.are_unique()
    }

    #[test]
    fn a_key_that_stands_twice_is_noticed_in_any_batch() {
        let first: Batch<'_> = (&[Some("A"), Some("A"), Some("B")], &[Some(1), Some(2), Some(1)]);
        assert!(are_unique(&[]));
        assert!(are_unique(&[first]));
        assert!(!are_unique(&[(&[Some("A"), Some("A")], &[Some(1), Some(1)])]));
        assert!(!are_unique(&[first, (&[Some("C"), Some("B")], &[Some(1), Some(1)])]));
    }

    #[test]
    fn a_key_with_a_null_is_like_no_other() {
        assert!(are_unique(&[(&[None, None, Some("A"), Some("A")], &[Some(1), Some(1), None, None])]));
        assert!(!are_unique(&[(&[None, Some("A"), Some("A"), Some("A")], &[Some(1), None, Some(1), Some(1)])]));
    }
}
