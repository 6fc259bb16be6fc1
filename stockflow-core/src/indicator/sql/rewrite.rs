//! The check on every call's window, before anything is optimised.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, ScalarValue, plan_datafusion_err};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::{Expr, WindowFrameBound, WindowFunctionDefinition};

use super::super::call::IndicatorCall;
use super::super::definition::{Definition, Value};
use super::super::error::IndicatorError;
use super::definition_of;
use super::stamp::Stamp;
use super::udwf::{literal_value, not_literal};

/// Refuses calls whose window has no meaning, and appends to all others what the evaluator needs to check the rows.
///
/// Refused, with the reason in one sentence: no ORDER BY (or one by constants only), a descending order key, a frame
/// other than the default one (all rows up to the current one), RESPECT NULLS, DISTINCT, FILTER, and a parameter that
/// is no literal or outside its range.
///
/// It is a `FunctionRewrite`, so any `FunctionRegistry` takes it; the analyzer runs it before its other rules and
/// keeps the names of columns. A call that is stamped already is left alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct IndicatorRewrite;

impl FunctionRewrite for IndicatorRewrite {
    fn name(&self) -> &str {
        "check_indicator_windows"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _config: &ConfigOptions) -> Result<Transformed<Expr>> {
        let Expr::WindowFunction(function) = expr else { return Ok(Transformed::no(expr)) };
        let WindowFunctionDefinition::WindowUDF(udwf) = &function.fun else {
            return Ok(Transformed::no(Expr::WindowFunction(function)));
        };
        let Some(definition) = definition_of(udwf) else {
            return Ok(Transformed::no(Expr::WindowFunction(function)));
        };
        if function.params.args.iter().any(|it| Stamp::from_expr(it).is_some()) {
            return Ok(Transformed::no(Expr::WindowFunction(function)));
        }
        let checked = check(definition, *function, schema).map_err(|error| plan_datafusion_err!("{error}"))?;
        Ok(Transformed::yes(Expr::WindowFunction(Box::new(checked))))
    }
}

fn check(
    definition: &'static Definition,
    mut function: WindowFunction,
    schema: &DFSchema,
) -> Result<WindowFunction, IndicatorError> {
    check_window(definition, &function.params)?;
    let name = Expr::WindowFunction(Box::new(function.clone())).schema_name().to_string();
    let n_inputs = definition.inputs.len();
    let params = &mut function.params;
    if params.args.len() < n_inputs {
        let reason = format!("{} arguments, written as {}", params.args.len(), definition.signature());
        return Err(IndicatorError::call(&definition.name, reason));
    }
    let written = params.args.split_off(n_inputs);
    let call = IndicatorCall::new(definition, &parameters(definition, &written)?)?;

    let order: Vec<_> = params.order_by.iter().map(|it| it.expr.clone()).collect();
    let interval = interval_column(params, schema);
    // The name as written keeps `rsi(close)` and `rsi(close, 14)` apart: were they equal now under two names, the
    // optimizer would take them for a common subexpression and move a window function into a projection.
    let identity = format!("{}|{name}", call.canonical());
    let stamp = Stamp::new(&definition.name, &identity, order.len(), interval.is_some());
    params.args.extend(call.values().iter().map(value_literal));
    params.args.push(stamp.to_expr());
    params.args.extend(order);
    params.args.extend(interval.map(Expr::Column));
    Ok(function)
}

fn check_window(definition: &Definition, params: &WindowFunctionParams) -> Result<(), IndicatorError> {
    let refuse = |reason: String| Err(IndicatorError::call(&definition.name, reason));
    let is_constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    if params.order_by.iter().all(|it| is_constant(&it.expr)) {
        let example = "OVER (PARTITION BY symbol ORDER BY ts)";
        return refuse(format!("without ORDER BY its rows have no order, write {example}"));
    }
    if let Some(key) = params.order_by.iter().find(|it| !it.asc && !is_constant(&it.expr)) {
        return refuse(format!("it runs forward in time, but `{}` is descending: sort the result instead", key.expr));
    }
    let frame = &params.window_frame;
    let is_default = matches!(&frame.start_bound, WindowFrameBound::Preceding(it) if it.is_null())
        && frame.end_bound == WindowFrameBound::CurrentRow;
    if !is_default {
        return refuse(format!("it has its own period, so the frame `{frame}` has no meaning: leave it out"));
    }
    if params.null_treatment == Some(NullTreatment::RespectNulls) {
        return refuse("a row with NULL always gives NULL and is skipped: leave out RESPECT NULLS".to_string());
    }
    if params.distinct {
        return refuse("every bar counts: leave out DISTINCT".to_string());
    }
    if params.filter.is_some() {
        return refuse("FILTER would leave holes in its series: filter the rows before it".to_string());
    }
    Ok(())
}

fn parameters(definition: &Definition, written: &[Expr]) -> Result<Vec<Value>, IndicatorError> {
    if written.len() > definition.parameters.len() {
        let n_given = definition.inputs.len() + written.len();
        let reason = format!("{n_given} arguments are too many, written as {}", definition.signature());
        return Err(IndicatorError::call(&definition.name, reason));
    }
    let value = |(parameter, expr)| match literal(expr) {
        Some(literal) => literal_value(&definition.name, parameter, &literal),
        None => Err(not_literal(&definition.name, parameter, &expr.to_string())),
    };
    definition.parameters.iter().zip(written).map(value).collect()
}

/// A literal, also with a sign or a cast around it.
fn literal(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Alias(alias) => literal(&alias.expr),
        Expr::Negative(inner) => literal(inner)?.arithmetic_negate().ok(),
        Expr::Cast(cast) => literal(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        _ => None,
    }
}

fn value_literal(value: &Value) -> Expr {
    let scalar = match value {
        Value::Integer(value) => ScalarValue::Int64(Some(i64::from(*value))),
        Value::Real(value) => ScalarValue::Float64(Some(*value)),
    };
    Expr::Literal(scalar, None)
}

/// The column `interval` that belongs to the rows of this call, unless the window is partitioned by it already.
///
/// Of several (a join) the one beside the order key counts. Columns that hold no text are something else.
fn interval_column(params: &WindowFunctionParams, schema: &DFSchema) -> Option<Column> {
    let home = params.order_by.iter().flat_map(|it| it.expr.column_refs()).find_map(|it| it.relation.clone());
    let candidates: Vec<_> = schema
        .qualified_fields_with_unqualified_name("interval")
        .into_iter()
        .filter(|(_, field)| is_text(field.data_type()))
        .collect();
    let (qualifier, field) = match candidates.as_slice() {
        [one] => *one,
        many => *many.iter().find(|(qualifier, _)| qualifier.is_some() && qualifier.cloned() == home)?,
    };
    let column = Column::new(qualifier.cloned(), field.name());
    let is_same = |it: &Expr| matches!(it, Expr::Column(it) if it.name == column.name);
    (!params.partition_by.iter().any(is_same)).then_some(column)
}

fn is_text(data_type: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}
