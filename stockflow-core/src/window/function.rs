//! Which window functions the operator computes: the indicators, and SQL's own over a symbol's last rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_plan::windows::WindowUDFExpr;
use sha2::{Digest, Sha256};

use super::aggregate::AggregateKind;
use crate::indicator::IndicatorCall;
use crate::indicator::sql::{Stamp, call_of_window};

/// What is computed for a window expression.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// A function of the catalogue.
    Indicator(IndicatorCall),
    /// An aggregate over the last `rows` rows and the current one, or over all rows so far.
    Aggregate { kind: AggregateKind, rows: Option<usize> },
    /// The value of `offset` rows before (`lag`) or after (`lead`, negative).
    Shift { offset: i64 },
}

/// One window expression that the operator computes.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) kind: Kind,
    /// The series it reads.
    pub(super) inputs: Vec<Arc<dyn PhysicalExpr>>,
    /// The column that must be the same for all rows of a series.
    pub(super) interval: Option<Arc<dyn PhysicalExpr>>,
    /// The name under which its state is kept.
    pub(super) key: String,
    pub(super) field: FieldRef,
}

impl Function {
    /// The expression as a function of the operator; `None` if it is none.
    ///
    /// # Errors
    ///
    /// A plan error if an indicator's parameters are damaged.
    pub(super) fn of(expr: &Arc<dyn WindowExpr>) -> Result<Option<Self>> {
        let any = expr.as_any();
        if let Some((call, stamp)) = call_of_window(expr.as_ref())? {
            return Ok(stamp.and_then(|stamp| Self::indicator(expr, call, &stamp)));
        }
        if let Some(standard) = any.downcast_ref::<StandardWindowExpr>() {
            return Ok(Self::shift(expr, standard));
        }
        if let Some(sliding) = any.downcast_ref::<SlidingAggregateWindowExpr>() {
            return Ok(Self::aggregate(expr, sliding.get_aggregate_expr()));
        }
        if let Some(plain) = any.downcast_ref::<PlainAggregateWindowExpr>() {
            return Ok(Self::aggregate(expr, plain.get_aggregate_expr()));
        }
        Ok(None)
    }

    fn indicator(expr: &Arc<dyn WindowExpr>, call: IndicatorCall, stamp: &Stamp) -> Option<Self> {
        let n_inputs = call.definition().inputs.len();
        let arguments = expr.expressions();
        let (inputs, hidden) = arguments.split_at_checked(n_inputs)?;
        let interval = stamp.has_interval.then(|| hidden.get(stamp.n_order).cloned()).flatten();
        if interval.is_some() != stamp.has_interval {
            return None;
        }
        Some(Self {
            kind: Kind::Indicator(call),
            inputs: inputs.to_vec(),
            interval,
            key: stamp.key.clone(),
            field: expr.field().ok()?,
        })
    }

    fn shift(expr: &Arc<dyn WindowExpr>, standard: &StandardWindowExpr) -> Option<Self> {
        let function = standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
        let sign = match function.fun().name() {
            "lag" => 1,
            "lead" => -1,
            _ => return None,
        };
        let (series, rest) = function.args().split_first()?;
        let literal = |at: usize| rest.get(at).map(|it| it.downcast_ref::<Literal>().map(Literal::value));
        let offset = match literal(0) {
            None => 1,
            Some(Some(ScalarValue::Int64(Some(offset)))) => *offset,
            Some(_) => return None,
        };
        if !matches!(literal(1), None | Some(Some(_))) || literal(1).flatten().is_some_and(|it| !it.is_null()) {
            return None;
        }
        // A reversed or NULL-skipping shift says so in its text only.
        let text = format!("{function:?}");
        if text.contains("ignore_nulls: true") || text.contains("is_reversed: true") {
            return None;
        }
        let offset = sign * offset;
        Some(Self {
            kind: Kind::Shift { offset },
            inputs: vec![Arc::clone(series)],
            interval: None,
            key: key_of("shift", &[Arc::clone(series)], &offset.to_string()),
            field: expr.field().ok()?,
        })
    }

    fn aggregate(expr: &Arc<dyn WindowExpr>, aggregate: &AggregateFunctionExpr) -> Option<Self> {
        let inputs = aggregate.expressions();
        let kind = AggregateKind::of(aggregate.fun().name(), &inputs, aggregate.field().data_type())?;
        let is_plain = !aggregate.is_distinct() && aggregate.order_bys().is_empty() && !aggregate.ignore_nulls();
        // The filter has no accessor; it is the last field of the one struct, and the last but one of the other.
        let text = format!("{expr:?}");
        let has_no_filter = text.ends_with("filter: None }")
            || text.ends_with("filter: None, is_constant_in_partition: false }")
            || text.ends_with("filter: None, is_constant_in_partition: true }");
        if !is_plain || !has_no_filter {
            return None;
        }
        let rows = rows_of(expr.get_window_frame())?;
        let frame = rows.map_or_else(|| "all".to_string(), |rows| rows.to_string());
        let key = key_of(aggregate.fun().name(), &inputs, &frame);
        // `count(*)` counts rows, whatever is in them.
        let inputs = if kind == AggregateKind::CountRows { Vec::new() } else { inputs };
        Some(Self { kind: Kind::Aggregate { kind, rows }, inputs, interval: None, key, field: expr.field().ok()? })
    }

    /// Whether it is a function of the catalogue.
    pub(super) fn is_indicator(&self) -> bool {
        matches!(self.kind, Kind::Indicator(_))
    }

    /// Whether it can be computed only from all rows of a series at once.
    pub(super) fn needs_all_rows(&self) -> bool {
        match &self.kind {
            Kind::Indicator(call) => !call.goes_piece_by_piece(),
            Kind::Aggregate { .. } => false,
            Kind::Shift { offset } => *offset < 0,
        }
    }

    /// Whether it goes on from numbers that can be saved.
    pub(super) fn keeps_state(&self) -> bool {
        match &self.kind {
            // Only numbers have a place in the state table.
            Kind::Shift { offset } => *offset >= 0 && *self.field.data_type() == DataType::Float64,
            Kind::Indicator(_) | Kind::Aggregate { .. } => !self.needs_all_rows(),
        }
    }
}

/// How many rows before the current one the frame holds; `None` in it means all. The frame must end at the current row.
fn rows_of(frame: &WindowFrame) -> Option<Option<usize>> {
    if frame.units != WindowFrameUnits::Rows || frame.end_bound != WindowFrameBound::CurrentRow {
        return None;
    }
    match &frame.start_bound {
        WindowFrameBound::CurrentRow => Some(Some(0)),
        WindowFrameBound::Preceding(bound) if bound.is_null() => Some(None),
        WindowFrameBound::Preceding(ScalarValue::UInt64(Some(rows))) => Some(Some(usize::try_from(*rows).ok()?)),
        WindowFrameBound::Preceding(_) | WindowFrameBound::Following(_) => None,
    }
}

/// A name that is the same for the same function over the same columns, wherever they stand.
fn key_of(function: &str, inputs: &[Arc<dyn PhysicalExpr>], rest: &str) -> String {
    let mut digest = Sha256::new();
    for input in inputs {
        // `close@4` is the column `close`, wherever it stands.
        let text = input.to_string();
        let mut parts = text.split('@');
        digest.update(parts.next().unwrap_or_default());
        for part in parts {
            digest.update(part.trim_start_matches(|it: char| it.is_ascii_digit()));
        }
        digest.update("|");
    }
    digest.update(rest);
    let hex: String = digest.finalize().iter().take(8).map(|it| format!("{it:02x}")).collect();
    format!("{function}-{hex}")
}

/// Types whose values are told apart by `arrow`'s comparison kernels, so that runs of equal keys can be found.
pub(super) fn is_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_key(values),
        other => other.is_string() || other.is_integer() || other.is_temporal() || *other == DataType::Boolean,
    }
}
