//! One function over one series after the other, piece by piece, into the columns of a block.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, Float64Array, Int32Array, Int64Array, StructArray, new_empty_array,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::concat;
use arrow::datatypes::Float64Type;
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result};

use super::aggregate::{AggregateKind, RunningAggregate};
use super::function::{Function, Kind};
use crate::indicator::definition::OutputKind;
use crate::indicator::kernel::{all_finite, evaluate};
use crate::indicator::running::{Out, Running};
use crate::indicator::sql::struct_fields;
use crate::indicator::{IndicatorCall, IndicatorError};

/// More inputs or outputs than any function has.
const MOST: usize = 8;

/// What a function is over one series, as far as it has come.
#[derive(Debug)]
pub(super) enum Slot {
    Indicator {
        running: Box<dyn Running>,
        used: u64,
    },
    /// All rows of the series come at once.
    Whole,
    Aggregate(RunningAggregate),
    /// The last rows, at most as many as the shift reaches back.
    Shift(Option<ArrayRef>),
}

impl Slot {
    pub(super) fn new(function: &Function) -> Self {
        match &function.kind {
            #[cfg(test)]
            Kind::Indicator(call) if super::tests::is_planted(call) => super::tests::planted(call),
            Kind::Indicator(call) => match call.start() {
                Some(running) => Self::Indicator { running, used: 0 },
                None => Self::Whole,
            },
            Kind::Aggregate { kind, rows } => Self::Aggregate(RunningAggregate::new(*kind, *rows)),
            Kind::Shift { offset } if *offset < 0 => Self::Whole,
            Kind::Shift { .. } => Self::Shift(None),
        }
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Indicator { running, used } => {
                running.reset();
                *used = 0;
            }
            Self::Whole => {}
            Self::Aggregate(running) => running.reset(),
            Self::Shift(last) => *last = None,
        }
    }

    /// The numbers to go on from; `None` where there are none that could be kept.
    pub(super) fn save(&self) -> Option<Vec<f64>> {
        let mut state = Vec::new();
        match self {
            Self::Indicator { running, used } => {
                state.push(*used as f64);
                running.save(&mut state);
            }
            Self::Aggregate(running) => running.save(&mut state),
            Self::Shift(last) => {
                // Only numbers have a place in the state table.
                let last = last.as_ref().map(|it| it.as_primitive_opt::<Float64Type>());
                match last {
                    None => {}
                    Some(None) => return None,
                    Some(Some(last)) => last.iter().for_each(|it| {
                        state.extend([it.unwrap_or(0.0), f64::from(u8::from(it.is_some()))]);
                    }),
                }
            }
            Self::Whole => return None,
        }
        Some(state)
    }

    pub(super) fn load(&mut self, state: &[f64]) -> Result<(), String> {
        self.reset();
        match self {
            Self::Indicator { running, used } => {
                let (first, rest) = state.split_first().ok_or("it is empty")?;
                if !(first.fract() == 0.0 && (0.0..=9e15).contains(first)) {
                    return Err(format!("{first} is no number of rows"));
                }
                running.load(rest)?;
                *used = *first as u64;
            }
            Self::Aggregate(running) => running.load(state)?,
            Self::Shift(last) => {
                if !state.len().is_multiple_of(2) {
                    return Err("a value lacks its flag".into());
                }
                let values = state.chunks_exact(2).map(|it| (it[1] != 0.0).then_some(it[0]));
                *last = (!state.is_empty()).then(|| Arc::new(values.collect::<Float64Array>()) as ArrayRef);
            }
            Self::Whole => return Err("it keeps no state".into()),
        }
        Ok(())
    }
}

/// The values of one function for the rows of a block, in the making: its pieces come one after the other.
#[derive(Debug)]
pub(super) enum Column {
    Indicator { outputs: Vec<Values>, computed: BooleanBufferBuilder },
    Number { values: Vec<f64>, valid: BooleanBufferBuilder },
    Count(Vec<i64>),
    Parts(Vec<ArrayRef>),
}

#[derive(Debug)]
pub(super) enum Values {
    Real(Vec<f64>),
    Integer(Vec<i32>),
}

impl Column {
    pub(super) fn new(function: &Function, rows: usize) -> Self {
        match &function.kind {
            Kind::Indicator(call) if call.goes_piece_by_piece() => {
                let of = |kind| match kind {
                    OutputKind::Float64 => Values::Real(vec![0.0; rows]),
                    OutputKind::Int32 => Values::Integer(vec![0; rows]),
                };
                let outputs = call.definition().outputs.iter().map(|it| of(it.kind)).collect();
                Self::Indicator { outputs, computed: BooleanBufferBuilder::new(rows) }
            }
            Kind::Aggregate { kind, .. } if kind.is_count() => Self::Count(vec![0; rows]),
            Kind::Aggregate { .. } => Self::Number { values: vec![0.0; rows], valid: BooleanBufferBuilder::new(rows) },
            Kind::Indicator(_) | Kind::Shift { .. } => Self::Parts(Vec::new()),
        }
    }

    /// Computes rows `start..start + len`, which belong to one series and follow those that the slot has seen.
    pub(super) fn piece(
        &mut self,
        function: &Function,
        slot: &mut Slot,
        inputs: &[Input],
        start: usize,
        len: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        match (self, slot, &function.kind) {
            (Self::Indicator { outputs, computed }, Slot::Indicator { running, used }, Kind::Indicator(call)) => {
                indicator(call, running.as_mut(), used, inputs, start, len, outputs, computed, scratch)
                    .map_err(|reason| external(IndicatorError::kernel(&call.definition().name, reason)))
            }
            (Self::Number { values, valid }, Slot::Aggregate(running), _) => {
                let [input] = inputs else { return Err(damaged()) };
                number(running, input, start, len, values, valid);
                Ok(())
            }
            (Self::Count(values), Slot::Aggregate(running), Kind::Aggregate { kind, .. }) => {
                let is_value = |row| *kind == AggregateKind::CountRows || inputs[0].array.is_valid(row);
                for (row, value) in (start..).zip(&mut values[start..start + len]) {
                    *value = running.next(is_value(row).then_some(0.0)).unwrap_or(0.0) as i64;
                }
                Ok(())
            }
            (Self::Parts(parts), Slot::Whole, Kind::Indicator(call)) => {
                parts.push(whole(call, inputs, start, len)?);
                Ok(())
            }
            (Self::Parts(parts), slot, Kind::Shift { offset }) => {
                let [input] = inputs else { return Err(damaged()) };
                parts.push(shift(slot, &input.array.slice(start, len), *offset)?);
                Ok(())
            }
            _ => Err(damaged()),
        }
    }

    /// The column, once all pieces are there.
    pub(super) fn finish(self, function: &Function) -> Result<ArrayRef> {
        match self {
            Self::Indicator { outputs, mut computed, .. } => {
                let computed = nulls(computed.finish());
                let mut arrays: Vec<ArrayRef> = outputs.into_iter().map(|it| it.finish(computed.as_ref())).collect();
                match &function.kind {
                    Kind::Indicator(call) if arrays.len() > 1 => {
                        Ok(Arc::new(StructArray::try_new(struct_fields(call.definition()), arrays, computed)?))
                    }
                    _ => arrays.pop().ok_or_else(damaged),
                }
            }
            Self::Number { values, mut valid } => Ok(Arc::new(Float64Array::new(values.into(), nulls(valid.finish())))),
            Self::Count(values) => Ok(Arc::new(Int64Array::from(values))),
            Self::Parts(parts) if parts.is_empty() => Ok(new_empty_array(function.field.data_type())),
            Self::Parts(mut parts) if parts.len() == 1 => parts.pop().ok_or_else(damaged),
            Self::Parts(parts) => Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?),
        }
    }
}

impl Values {
    /// What is no value is NULL: rows that were not computed, and a NaN or an infinity made from finite input.
    fn finish(self, computed: Option<&NullBuffer>) -> ArrayRef {
        match self {
            Self::Integer(values) => Arc::new(Int32Array::new(values.into(), computed.cloned())),
            Self::Real(values) => {
                let nulls = if all_finite(&values) {
                    computed.cloned()
                } else {
                    let finite = BooleanBuffer::collect_bool(values.len(), |i| values[i].is_finite());
                    NullBuffer::union(computed, Some(&NullBuffer::new(finite)))
                };
                Arc::new(Float64Array::new(values.into(), nulls))
            }
        }
    }
}

/// One series that functions read, for all rows of a block.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) array: ArrayRef,
    /// Neither a NULL nor a NaN nor an infinity is in it.
    pub(super) is_clean: bool,
}

impl Input {
    pub(super) fn new(array: ArrayRef) -> Self {
        let is_clean = array.null_count() == 0
            && array.as_primitive_opt::<Float64Type>().is_some_and(|it| all_finite(it.values()));
        Self { array, is_clean }
    }

    fn floats(&self) -> Option<&Float64Array> {
        self.array.as_primitive_opt::<Float64Type>()
    }
}

/// Room for rows without holes, kept from piece to piece.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rows: Vec<usize>,
    inputs: Vec<Vec<f64>>,
    reals: Vec<Vec<f64>>,
    integers: Vec<Vec<i32>>,
}

#[allow(clippy::too_many_arguments)]
fn indicator(
    call: &IndicatorCall,
    running: &mut dyn Running,
    used: &mut u64,
    inputs: &[Input],
    start: usize,
    len: usize,
    outputs: &mut [Values],
    computed: &mut BooleanBufferBuilder,
    scratch: &mut Scratch,
) -> Result<(), String> {
    if inputs.len() > MOST || outputs.len() > MOST {
        return Err(format!("more than {MOST} inputs or outputs"));
    }
    let missing = usize::try_from((call.lookback() as u64).saturating_sub(*used)).unwrap_or(usize::MAX);
    let n_outputs = outputs.len();
    let mut slices: [&[f64]; MOST] = [&[]; MOST];
    if inputs.iter().all(|it| it.is_clean) {
        for (slice, input) in slices.iter_mut().zip(inputs) {
            *slice = input.floats().and_then(|it| it.values().get(start..start + len)).unwrap_or_default();
        }
        let mut places: [Out<'_>; MOST] = std::array::from_fn(|_| Out::Real(&mut []));
        for (place, output) in places.iter_mut().zip(outputs.iter_mut()) {
            *place = match output {
                Values::Real(values) => Out::Real(&mut values[start..start + len]),
                Values::Integer(values) => Out::Integer(&mut values[start..start + len]),
            };
        }
        running.update(&slices[..inputs.len()], &mut places[..n_outputs])?;
        let missing = missing.min(len);
        if missing > 0 {
            // Anything may stand there, a NaN among it, which would cost a second look at the whole column.
            for output in outputs.iter_mut() {
                match output {
                    Values::Real(values) => values[start..start + missing].fill(0.0),
                    Values::Integer(values) => values[start..start + missing].fill(0),
                }
            }
        }
        computed.append_n(missing, false);
        computed.append_n(len - missing, true);
        *used += len as u64;
        return Ok(());
    }

    // A row with a hole in any input is taken out; the others are neighbours.
    let floats: Vec<&Float64Array> = inputs.iter().filter_map(Input::floats).collect();
    let is_used = |row: usize| floats.iter().all(|it| it.is_valid(row) && it.value(row).is_finite());
    scratch.rows.clear();
    scratch.rows.extend((start..start + len).filter(|row| is_used(*row)));
    let n = scratch.rows.len();
    scratch.inputs.resize(inputs.len().max(scratch.inputs.len()), Vec::new());
    for (values, array) in scratch.inputs.iter_mut().zip(&floats) {
        values.clear();
        values.extend(scratch.rows.iter().map(|row| array.value(*row)));
    }
    for (slice, values) in slices.iter_mut().zip(&scratch.inputs) {
        *slice = values;
    }
    let most = outputs.len().max(scratch.reals.len());
    scratch.reals.resize(most, Vec::new());
    scratch.integers.resize(most, Vec::new());
    {
        let mut places: [Out<'_>; MOST] = std::array::from_fn(|_| Out::Real(&mut []));
        let room = scratch.reals.iter_mut().zip(&mut scratch.integers);
        for ((place, output), (reals, integers)) in places.iter_mut().zip(outputs.iter()).zip(room) {
            *place = match output {
                Values::Real(_) => {
                    reals.clear();
                    reals.resize(n, 0.0);
                    Out::Real(reals)
                }
                Values::Integer(_) => {
                    integers.clear();
                    integers.resize(n, 0);
                    Out::Integer(integers)
                }
            };
        }
        running.update(&slices[..inputs.len()], &mut places[..n_outputs])?;
    }
    let skipped = missing.min(n);
    for (at, output) in outputs.iter_mut().enumerate() {
        for (i, row) in scratch.rows.iter().enumerate().skip(skipped) {
            match output {
                Values::Real(values) => values[*row] = scratch.reals[at][i],
                Values::Integer(values) => values[*row] = scratch.integers[at][i],
            }
        }
    }
    let mut next = scratch.rows[skipped..].iter().peekable();
    for row in start..start + len {
        computed.append(next.next_if(|it| **it == row).is_some());
    }
    *used += n as u64;
    Ok(())
}

fn number(
    running: &mut RunningAggregate,
    input: &Input,
    start: usize,
    len: usize,
    values: &mut [f64],
    valid: &mut BooleanBufferBuilder,
) {
    let Some(floats) = input.floats() else {
        valid.append_n(len, false);
        return;
    };
    let out = &mut values[start..start + len];
    let rows = &floats.values()[start..start + len];
    if input.is_clean && running.run(rows, out) {
        valid.append_n(len, true);
        return;
    }
    for (i, out) in out.iter_mut().enumerate() {
        let value = running.next(floats.is_valid(start + i).then(|| rows[i]));
        valid.append(value.is_some());
        *out = value.unwrap_or(0.0);
    }
}

/// A function that needs all rows of a series at once.
fn whole(call: &IndicatorCall, inputs: &[Input], start: usize, len: usize) -> Result<ArrayRef> {
    let slices: Vec<Float64Array> = inputs.iter().filter_map(Input::floats).map(|it| it.slice(start, len)).collect();
    let mut evaluation = evaluate(call, &slices.iter().collect::<Vec<_>>()).map_err(external)?;
    if evaluation.outputs.len() == 1 {
        return Ok(evaluation.outputs.remove(0));
    }
    let fields = struct_fields(call.definition());
    Ok(Arc::new(StructArray::try_new(fields, evaluation.outputs, evaluation.computed)?))
}

/// The rows moved by `offset`; what is missing at the edge is NULL.
fn shift(slot: &mut Slot, rows: &ArrayRef, offset: i64) -> Result<ArrayRef> {
    let len = rows.len();
    let reach = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
    if offset < 0 {
        let kept = len.saturating_sub(reach);
        let missing = new_null_array(rows.data_type(), len - kept);
        return Ok(concat(&[rows.slice(len - kept, kept).as_ref(), missing.as_ref()])?);
    }
    let Slot::Shift(last) = slot else { return Err(damaged()) };
    if reach == 0 {
        return Ok(Arc::clone(rows));
    }
    let before = last.take().unwrap_or_else(|| new_empty_array(rows.data_type()));
    let joined = concat(&[before.as_ref(), rows.as_ref()])?;
    let total = joined.len();
    // Row `i` of these is row `before.len() + i` of both together; its value stands `reach` rows further up.
    let missing = reach.saturating_sub(before.len()).min(len);
    let first = (before.len() + missing).saturating_sub(reach);
    let shifted = joined.slice(first, len - missing);
    let keep = reach.min(total);
    // A copy, because a slice would hold on to all of it.
    *last = Some(concat(&[joined.slice(total - keep, keep).as_ref()])?);
    if missing == 0 {
        return Ok(shifted);
    }
    Ok(concat(&[new_null_array(rows.data_type(), missing).as_ref(), shifted.as_ref()])?)
}

fn nulls(valid: BooleanBuffer) -> Option<NullBuffer> {
    let nulls = NullBuffer::new(valid);
    (nulls.null_count() > 0).then_some(nulls)
}

fn external(error: IndicatorError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn damaged() -> DataFusionError {
    exec_datafusion_err!("a window function was given other columns than it was planned for")
}
