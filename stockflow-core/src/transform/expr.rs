//! Small expressions and frames that several transforms are built from.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::MemTable;
use datafusion::common::{Column, plan_err};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, cast, lit,
};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;

use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::Relation;

/// A column by its exact name: neither case nor dots in it mean anything.
pub(crate) fn column(name: impl Into<String>) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The columns by their exact names.
pub(crate) fn columns<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Vec<Expr> {
    names.into_iter().map(column).collect()
}

/// All columns of a frame, without the qualifiers that a join or a table gave them.
pub(crate) fn all_columns(frame: &DataFrame) -> Vec<Expr> {
    let named = frame.schema().columns();
    named
        .into_iter()
        .map(|it| {
            let name = it.name.clone();
            Expr::Column(it).alias(name)
        })
        .collect()
}

/// `Timestamp(us, UTC)`, the only type of points in time.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A NULL of a type.
pub(crate) fn null(data_type: &DataType) -> Result<Expr> {
    Ok(lit(ScalarValue::try_from(data_type)?))
}

/// Whether a number is there, and is neither NaN nor infinite. Never NULL.
pub(crate) fn finite(number: Expr) -> Expr {
    // NaN sorts above infinity, with a sign bit below its negative.
    number.clone().gt(lit(f64::NEG_INFINITY)).and(number.lt(lit(f64::INFINITY))).is_true()
}

/// The midnight UTC of a date.
pub(crate) fn midnight(date: Expr) -> Expr {
    cast(cast(date, DataType::Timestamp(TimeUnit::Microsecond, None)), instant())
}

/// Ascending, NULLs last.
pub(crate) fn ascending(expr: Expr) -> Sort {
    expr.sort(true, false)
}

/// Descending, NULLs last.
pub(crate) fn descending(expr: Expr) -> Sort {
    expr.sort(false, false)
}

/// A window function or an aggregate over the partition's rows up to this one, in an order.
pub(crate) fn running(function: Expr, partition: &[&str], order: Vec<Sort>) -> PlanResult<Expr> {
    over(
        function,
        partition,
        order,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow,
    )
}

/// A window function or an aggregate over all rows of the partition.
pub(crate) fn whole(function: Expr, partition: &[&str], order: Vec<Sort>) -> PlanResult<Expr> {
    let unbounded = ScalarValue::UInt64(None);
    over(
        function,
        partition,
        order,
        WindowFrameBound::Preceding(unbounded.clone()),
        WindowFrameBound::Following(unbounded),
    )
}

/// A window function or an aggregate over a frame of rows.
pub(crate) fn over(
    function: Expr,
    partition: &[&str],
    order: Vec<Sort>,
    from: WindowFrameBound,
    to: WindowFrameBound,
) -> PlanResult<Expr> {
    let frame = WindowFrame::new_bounds(WindowFrameUnits::Rows, from, to);
    framed(function, partition, order, frame)
}

/// A window function or an aggregate over a frame.
pub(crate) fn framed(function: Expr, partition: &[&str], order: Vec<Sort>, frame: WindowFrame) -> PlanResult<Expr> {
    let mut window = match function {
        Expr::AggregateFunction(call) => {
            let mut window = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(call.func), call.params.args);
            window.params.null_treatment = call.params.null_treatment;
            window
        }
        Expr::WindowFunction(window) => *window,
        other => return plan_err!("`{other}` is neither a window function nor an aggregate"),
    };
    window.params.partition_by = columns(partition.iter().copied());
    window.params.order_by = order;
    window.params.window_frame = frame;
    Ok(Expr::from(window))
}

/// The names of a relation's columns, for error texts.
pub(crate) fn column_names(relation: &Relation) -> String {
    let schema = relation.schema();
    let names: Vec<_> = schema.fields().iter().map(|it| it.name().as_str()).collect();
    names.join("`, `")
}

/// Checks that a relation has the columns that a transform works on.
pub(crate) fn require(step: &str, relation: &Relation, needed: &[&str]) -> Result<()> {
    let missing: Vec<_> = needed.iter().copied().filter(|it| !relation.has(it)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "`{}` is missing; the input has `{}`; put `normalize` before it, or rename the columns with `sql`",
        missing.join("`, `"),
        column_names(relation)
    );
    Err(Error::schema(step, reason))
}

/// A frame that can be read several times without being computed again.
///
/// What stands in memory already is not computed and held a second time.
pub(crate) async fn shared(epoch: &EpochContext, frame: DataFrame) -> Result<DataFrame> {
    if is_in_memory(frame.logical_plan()) { Ok(frame) } else { epoch.share(frame).await }
}

fn is_in_memory(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            source_as_provider(&scan.source).is_ok_and(|table| table.downcast_ref::<MemTable>().is_some())
        }
        LogicalPlan::SubqueryAlias(alias) => is_in_memory(&alias.input),
        _ => false,
    }
}

/// Reads a list of lower-case words out of an enumeration for error texts.
pub(crate) fn one_of(words: &[&str]) -> String {
    format!("one of `{}`", words.join("`, `"))
}
