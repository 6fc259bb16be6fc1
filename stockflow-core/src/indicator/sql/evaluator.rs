//! The batch flavour: one evaluator for each partition, one call for all of its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, StructArray};
use arrow::datatypes::Float64Type;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::PartitionEvaluator;

use super::super::call::IndicatorCall;
use super::super::error::IndicatorError;
use super::super::kernel::evaluate;
use super::order::{check_interval, check_order};
use super::stamp::Stamp;
use super::udwf::struct_fields;

/// Evaluates one call over the rows of one partition.
#[derive(Debug)]
pub(super) struct BatchEvaluator {
    call: IndicatorCall,
    stamp: Stamp,
}

impl BatchEvaluator {
    pub(super) fn new(call: IndicatorCall, stamp: Stamp) -> Self {
        Self { call, stamp }
    }

    fn evaluate_rows(&self, values: &[ArrayRef]) -> Result<ArrayRef, IndicatorError> {
        let definition = self.call.definition();
        let (inputs, hidden) = values.split_at(definition.inputs.len());
        let (order, interval) = hidden.split_at(self.stamp.n_order);
        check_order(&definition.name, order)?;
        interval.iter().try_for_each(|it| check_interval(&definition.name, it))?;

        let inputs: Vec<&Float64Array> = inputs.iter().map(|it| it.as_primitive::<Float64Type>()).collect();
        let mut evaluation = evaluate(&self.call, &inputs)?;
        if evaluation.outputs.len() == 1 {
            return Ok(evaluation.outputs.remove(0));
        }
        let fields = struct_fields(definition);
        let array = StructArray::try_new(fields, evaluation.outputs, evaluation.computed);
        array
            .map(|it| Arc::new(it) as ArrayRef)
            .map_err(|error| IndicatorError::kernel(&definition.name, error.to_string()))
    }
}

impl PartitionEvaluator for BatchEvaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let definition = self.call.definition();
        let expected = definition.inputs.len() + self.stamp.n_hidden();
        let fits = |it: &ArrayRef| it.len() == num_rows;
        let is_float = |it: &ArrayRef| it.as_primitive_opt::<Float64Type>().is_some();
        if values.len() != expected
            || !values.iter().all(fits)
            || !values[..definition.inputs.len()].iter().all(is_float)
        {
            return Err(exec_datafusion_err!("{} was given other arguments than it was planned for", definition.name));
        }
        self.evaluate_rows(values).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn is_causal(&self) -> bool {
        true
    }
}
