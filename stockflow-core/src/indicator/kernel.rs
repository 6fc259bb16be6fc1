//! Batch evaluation of one function over one symbol's rows, and the rules for NULL.
//!
//! The rules, the same for every function:
//!
//! * As many rows out as in, for any length, 0 and 1 included.
//! * A row with a NULL, a NaN or an infinity in any input gives NULL there and leaves the state untouched: the
//!   calculation runs over the remaining rows as if they were adjacent.
//! * NULL during the lookback, which is counted in used rows; a series no longer than that is all NULL.
//! * A NaN or an infinity that a function makes from finite input (0/0, the logarithm of 0) is NULL too, so that no
//!   query has to know three kinds of nothing.
//! * An output that is a row number (`maxindex`) counts used rows from 0.
//!
//! What is not here: where rows come from, how they are ordered, SQL.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer};

use super::call::IndicatorCall;
use super::definition::{OutputKind, Value};
use super::error::IndicatorError;
use super::running::{Out, Running};

/// The arithmetic of one function, behind which TA-Lib stands and our own functions will.
///
/// A kernel sees finite numbers only and knows neither NULL nor Arrow.
pub trait Kernel: fmt::Debug + Send + Sync {
    /// Rows before the first value.
    ///
    /// # Errors
    ///
    /// The reason why this combination of values has no meaning.
    fn lookback(&self, values: &[Value]) -> Result<usize, String>;

    /// Computes all outputs; the value of row `i` goes to place `i`, rows before the lookback are left as they are.
    ///
    /// Inputs and outputs are of one length, which is greater than the lookback.
    ///
    /// # Errors
    ///
    /// The reason, where the kernel cannot compute at all.
    fn run(&self, values: &[Value], inputs: &[&[f64]], outputs: &mut [Out<'_>]) -> Result<(), String>;

    /// A series at its start, which takes its rows piece by piece; `None` where all rows are needed at once.
    fn start(&self, values: &[Value]) -> Option<Box<dyn Running>>;
}

/// The place for one output, one value for each row.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputBuffer {
    /// Numbers.
    Real(Vec<f64>),
    /// Codes.
    Integer(Vec<i32>),
}

impl OutputBuffer {
    /// As the place to write to.
    pub fn as_out(&mut self) -> Out<'_> {
        match self {
            Self::Real(values) => Out::Real(values),
            Self::Integer(values) => Out::Integer(values),
        }
    }

    fn new(kind: OutputKind, rows: usize) -> Self {
        match kind {
            OutputKind::Float64 => Self::Real(vec![0.0; rows]),
            OutputKind::Int32 => Self::Integer(vec![0; rows]),
        }
    }
}

/// What a function gives for the rows of one symbol.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// One array for each output, each as long as the inputs.
    pub outputs: Vec<ArrayRef>,
    /// Which rows were computed: neither in the lookback nor with a NULL input. `None` means all.
    pub computed: Option<NullBuffer>,
}

/// Evaluates a function over one symbol's rows in their order.
///
/// # Input
///
/// One array for each input of the function, all of one length, oldest row first.
///
/// # Output
///
/// One array for each output, Float64 or Int32, of the same length.
///
/// # Errors
///
/// [`IndicatorError::Call`] if the number or the lengths of the inputs do not fit, [`IndicatorError::Kernel`] if the
/// kernel fails.
pub fn evaluate(call: &IndicatorCall, inputs: &[&Float64Array]) -> Result<Evaluation, IndicatorError> {
    let definition = call.definition();
    let rows = check_shape(call, inputs)?;
    let used = used_rows(inputs, rows);
    let n_used = used.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
    let lookback = call.lookback();

    let mut buffers: Vec<_> = definition.outputs.iter().map(|it| OutputBuffer::new(it.kind, n_used)).collect();
    if n_used > lookback {
        let compacted: Vec<Vec<f64>>;
        let slices: Vec<&[f64]> = match &used {
            None => inputs.iter().map(|it| it.values().as_ref()).collect(),
            Some(used) => {
                compacted = inputs.iter().map(|it| used.set_indices().map(|i| it.value(i)).collect()).collect();
                compacted.iter().map(Vec::as_slice).collect()
            }
        };
        let mut places: Vec<_> = buffers.iter_mut().map(OutputBuffer::as_out).collect();
        // TA-Lib's own batch, not the kernel that goes piece by piece: each is the other's judge.
        definition
            .kernel
            .run(call.values(), &slices, &mut places)
            .map_err(|reason| IndicatorError::kernel(&definition.name, reason))?;
    }

    let computed = computed_rows(rows, n_used, lookback, used.as_ref());
    let outputs = buffers.into_iter().map(|it| finish(it, used.as_ref(), rows, computed.as_ref())).collect();
    Ok(Evaluation { outputs, computed })
}

fn check_shape(call: &IndicatorCall, inputs: &[&Float64Array]) -> Result<usize, IndicatorError> {
    let definition = call.definition();
    let rows = inputs.first().map_or(0, |it| it.values().len());
    if inputs.len() != definition.inputs.len() {
        let reason = format!("it reads {} series, {} were given", definition.inputs.len(), inputs.len());
        return Err(IndicatorError::call(&definition.name, reason));
    }
    if inputs.iter().any(|it| it.values().len() != rows) {
        return Err(IndicatorError::call(&definition.name, "its series differ in length"));
    }
    Ok(rows)
}

/// The rows whose inputs are all finite; `None` means all of them, and that nothing needs to be copied.
fn used_rows(inputs: &[&Float64Array], rows: usize) -> Option<BooleanBuffer> {
    let clean = |it: &Float64Array| it.nulls().is_none_or(|n| n.null_count() == 0) && all_finite(it.values());
    if inputs.iter().all(|it| clean(it)) {
        return None;
    }
    let is_used = |i: usize| inputs.iter().all(|it| !it.is_null(i) && it.value(i).is_finite());
    Some(BooleanBuffer::collect_bool(rows, is_used))
}

/// Looks at whole blocks, so that the compiler can use wide registers.
pub(crate) fn all_finite(values: &[f64]) -> bool {
    values.chunks(1024).all(|block| block.iter().fold(true, |all, it| all & it.is_finite()))
}

fn computed_rows(rows: usize, n_used: usize, lookback: usize, used: Option<&BooleanBuffer>) -> Option<NullBuffer> {
    if n_used <= lookback {
        return (rows > 0).then(|| NullBuffer::new_null(rows));
    }
    match used {
        None if lookback == 0 => None,
        None => Some(NullBuffer::new(BooleanBuffer::collect_bool(rows, |i| i >= lookback))),
        Some(used) => {
            let first = used.set_indices().nth(lookback).unwrap_or(rows);
            Some(NullBuffer::new(BooleanBuffer::collect_bool(rows, |i| i >= first && used.value(i))))
        }
    }
}

/// Scatters the values back to their rows and makes everything NULL that is no value.
fn finish(buffer: OutputBuffer, used: Option<&BooleanBuffer>, rows: usize, computed: Option<&NullBuffer>) -> ArrayRef {
    match buffer {
        OutputBuffer::Integer(values) => {
            Arc::new(Int32Array::new(scatter(values, used, rows).into(), computed.cloned()))
        }
        OutputBuffer::Real(values) => {
            let values = scatter(values, used, rows);
            let nulls = if all_finite(&values) {
                computed.cloned()
            } else {
                let finite = NullBuffer::new(BooleanBuffer::collect_bool(rows, |i| values[i].is_finite()));
                NullBuffer::union(computed, Some(&finite))
            };
            Arc::new(Float64Array::new(values.into(), nulls))
        }
    }
}

fn scatter<T: Copy + Default>(values: Vec<T>, used: Option<&BooleanBuffer>, rows: usize) -> Vec<T> {
    let Some(used) = used else { return values };
    let mut scattered = vec![T::default(); rows];
    for (row, value) in used.set_indices().zip(values) {
        scattered[row] = value;
    }
    scattered
}
