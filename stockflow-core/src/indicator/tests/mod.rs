//! Tests of the whole module: the catalogue against the registry, values against TA-Lib, SQL against both.

#![allow(clippy::unwrap_used, clippy::panic)]

mod call;
mod catalogue;
mod codec;
mod data;
mod docs;
mod golden;
mod kernel;
mod parameters;
mod pieces;
mod sql;
mod windows;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::register_all;

/// Relative and absolute.
const TOLERANCE: f64 = 1e-9;

/// A session with all indicators, the operator that runs them, and one table `bars`.
fn session(bars: RecordBatch) -> SessionContext {
    session_with(SessionConfig::new().with_target_partitions(2), vec![vec![bars]])
}

fn session_with(config: SessionConfig, bars: Vec<Vec<RecordBatch>>) -> SessionContext {
    let session = without_operator(config, bars);
    crate::window::register(&session);
    session
}

/// The same with DataFusion's own window operators.
fn without_operator(config: SessionConfig, bars: Vec<Vec<RecordBatch>>) -> SessionContext {
    let mut session = SessionContext::new_with_config(config);
    register_all(&mut session).unwrap();
    let schema = bars[0][0].schema();
    session.register_table("bars", Arc::new(MemTable::try_new(schema, bars).unwrap())).unwrap();
    session
}

/// All rows of a query in one batch.
async fn query(session: &SessionContext, sql: &str) -> RecordBatch {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// The error of a query, wherever it strikes.
async fn query_error(session: &SessionContext, sql: &str) -> String {
    match session.sql(sql).await {
        Err(error) => error.to_string(),
        Ok(frame) => match frame.collect().await {
            Err(error) => error.to_string(),
            Ok(_) => panic!("no error: {sql}"),
        },
    }
}

/// Floats and integers as optional floats, so that they compare alike.
fn numbers(array: &ArrayRef) -> Vec<Option<f64>> {
    match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().collect(),
        DataType::Int32 => array.as_primitive::<Int32Type>().iter().map(|it| it.map(f64::from)).collect(),
        other => panic!("{other} is no output of an indicator"),
    }
}

/// The columns of an indicator's result, taken out of the struct if it is one.
fn outputs(array: &ArrayRef) -> Vec<ArrayRef> {
    match array.as_struct_opt() {
        None => vec![Arc::clone(array)],
        Some(parts) => {
            let nulls = parts.nulls();
            let with_nulls = |it: &ArrayRef| match nulls {
                None => Arc::clone(it),
                Some(nulls) => {
                    let mask = arrow::array::BooleanArray::new(!nulls.inner(), None);
                    arrow::compute::nullif(it, &mask).unwrap()
                }
            };
            parts.columns().iter().map(with_nulls).collect()
        }
    }
}

fn is_close(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= TOLERANCE + TOLERANCE * right.abs()
}

/// Equal within the tolerance; what is no finite number on the right must be NULL on the left.
#[track_caller]
fn assert_close(what: &str, ours: &[Option<f64>], theirs: &[Option<f64>]) {
    assert_eq!(ours.len(), theirs.len(), "{what}: number of rows");
    for (row, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let is_equal = match (ours, theirs.filter(|it| it.is_finite())) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => is_close(*ours, theirs),
            _ => false,
        };
        assert!(is_equal, "{what}: row {row} is {ours:?} and should be {theirs:?}");
    }
}
