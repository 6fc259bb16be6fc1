//! Some rows, brought together by series, and what the functions give for them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};

use super::function::Function;
use super::run::{Column, Input, Scratch, Slot};
use super::series::Run;
use super::state::WindowStates;
use crate::indicator::IndicatorError;

/// What one operator computes; the same for all of its lanes.
#[derive(Debug)]
pub(super) struct Spec {
    /// The operator's place in its plan, by which its states are told from those of others.
    pub(super) ordinal: usize,
    pub(super) functions: Vec<Function>,
    /// Which of `inputs` each function reads.
    pub(super) reads: Vec<Vec<usize>>,
    /// Each series that is read, once.
    pub(super) inputs: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) partition_by: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) order_by: Vec<PhysicalSortExpr>,
    /// The column that must be the same for all rows of a series.
    pub(super) interval: Option<Arc<dyn PhysicalExpr>>,
    pub(super) input_schema: SchemaRef,
    pub(super) schema: SchemaRef,
}

impl Spec {
    pub(super) fn new(
        ordinal: usize,
        functions: Vec<Function>,
        partition_by: Vec<Arc<dyn PhysicalExpr>>,
        order_by: Vec<PhysicalSortExpr>,
        input_schema: SchemaRef,
        schema: SchemaRef,
    ) -> Self {
        let mut inputs: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let mut place = |expr: &Arc<dyn PhysicalExpr>| {
            inputs.iter().position(|it| it == expr).unwrap_or_else(|| {
                inputs.push(Arc::clone(expr));
                inputs.len() - 1
            })
        };
        let reads = functions.iter().map(|it| it.inputs.iter().map(&mut place).collect()).collect();
        let interval = functions.iter().find_map(|it| it.interval.clone());
        Self { ordinal, functions, reads, inputs, partition_by, order_by, interval, input_schema, schema }
    }

    /// The name in errors about rows: that of the first indicator.
    pub(super) fn indicator_name(&self) -> Option<&str> {
        self.functions.iter().find(|it| it.is_indicator()).map(|it| match &it.kind {
            super::function::Kind::Indicator(call) => call.definition().name.as_str(),
            _ => "",
        })
    }

    pub(super) fn needs_all_rows(&self) -> bool {
        self.functions.iter().any(Function::needs_all_rows)
    }

    fn state_key(&self, function: usize) -> String {
        format!("{}.{}", self.ordinal, self.functions.get(function).map_or("", |it| it.key.as_str()))
    }
}

/// Rows in which each series stands together.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) batch: RecordBatch,
    inputs: Vec<Input>,
    pieces: Vec<Run>,
    /// The series' labels, piece by piece, where states are kept.
    labels: Vec<String>,
    /// Where each row of the batch stands among the pieces, if they are in another order.
    inverse: Option<UInt32Array>,
}

/// Counts rows by series without looking at series that have none.
#[derive(Debug, Default)]
pub(super) struct Sorter {
    next: Vec<u32>,
    touched: Vec<u32>,
}

impl Block {
    /// Brings the rows of each series together. `runs` are those of the batch.
    pub(super) fn new(
        spec: &Spec,
        batch: RecordBatch,
        runs: &[Run],
        n_series: usize,
        sorter: &mut Sorter,
        label: impl Fn(u32) -> String,
        with_labels: bool,
    ) -> Result<Self> {
        let rows = batch.num_rows();
        sorter.next.resize(n_series.max(sorter.next.len()), 0);
        sorter.touched.clear();
        for run in runs {
            let count = &mut sorter.next[run.series as usize];
            if *count == 0 {
                sorter.touched.push(run.series);
            }
            *count += run.len as u32;
        }
        let is_grouped = sorter.touched.len() == runs.len();
        let mut pieces = Vec::with_capacity(sorter.touched.len());
        let mut start = 0;
        for series in &sorter.touched {
            let count = &mut sorter.next[*series as usize];
            pieces.push(Run { series: *series, start, len: *count as usize });
            start += *count as usize;
        }
        let mut order = None;
        if !is_grouped {
            for piece in &pieces {
                sorter.next[piece.series as usize] = piece.start as u32;
            }
            let (mut rows_of, mut place_of) = (vec![0_u32; rows], vec![0_u32; rows]);
            for run in runs {
                let next = &mut sorter.next[run.series as usize];
                for (row, place) in (run.start..).zip(&mut place_of[run.start..run.start + run.len]) {
                    *place = *next;
                    rows_of[*next as usize] = row as u32;
                    *next += 1;
                }
            }
            order = Some((UInt32Array::from(rows_of), UInt32Array::from(place_of)));
        }
        for series in &sorter.touched {
            sorter.next[*series as usize] = 0;
        }
        let mut inputs = Vec::with_capacity(spec.inputs.len());
        for expr in &spec.inputs {
            let array = expr.evaluate(&batch)?.into_array(rows)?;
            let array = match &order {
                Some((rows_of, _)) => take(&array, rows_of, None)?,
                None => array,
            };
            inputs.push(Input::new(array));
        }
        let labels = if with_labels { pieces.iter().map(|it| label(it.series)).collect() } else { Vec::new() };
        Ok(Self { batch, inputs, pieces, labels, inverse: order.map(|(_, inverse)| inverse) })
    }
}

/// The states of one function: of the series that goes on, or of each.
#[derive(Debug)]
enum Slots {
    /// Series come one after the other and do not come back.
    One {
        series: Option<(u32, String)>,
        slot: Slot,
    },
    Each(Vec<Option<(Slot, String)>>),
}

/// Computes some of an operator's functions, block by block.
#[derive(Debug)]
pub(super) struct Computer {
    spec: Arc<Spec>,
    /// Which functions, with their states.
    functions: Vec<(usize, Slots)>,
    scratch: Scratch,
    inputs: Vec<Input>,
    states: Option<Arc<WindowStates>>,
    left: Vec<(String, String, Option<Vec<f64>>)>,
    pub(super) n_loaded: usize,
}

impl Computer {
    pub(super) fn new(
        spec: &Arc<Spec>,
        functions: &[usize],
        one_after_the_other: bool,
        states: Option<Arc<WindowStates>>,
    ) -> Self {
        let slots = |at: &usize| {
            let slots = if one_after_the_other {
                Slots::One { series: None, slot: Slot::new(&spec.functions[*at]) }
            } else {
                Slots::Each(Vec::new())
            };
            (*at, slots)
        };
        Self {
            spec: Arc::clone(spec),
            functions: functions.iter().map(slots).collect(),
            scratch: Scratch::default(),
            inputs: Vec::new(),
            states,
            left: Vec::new(),
            n_loaded: 0,
        }
    }

    /// The columns of its functions, in the order of the block's batch.
    pub(super) fn compute(&mut self, block: &Block) -> Result<Vec<(usize, ArrayRef)>> {
        let rows = block.batch.num_rows();
        let mut columns = Vec::with_capacity(self.functions.len());
        for (at, slots) in &mut self.functions {
            let function = &self.spec.functions[*at];
            self.inputs.clear();
            self.inputs.extend(self.spec.reads[*at].iter().map(|it| block.inputs[*it].clone()));
            let mut column = Column::new(function, rows);
            for (i, piece) in block.pieces.iter().enumerate() {
                let label = block.labels.get(i).map_or("", String::as_str);
                let fresh = |slot: &mut Slot| -> Result<usize> {
                    let refuse = |reason: String| unusable(&function.key, label, &reason);
                    let Some(states) = &self.states else { return Ok(0) };
                    let Some(numbers) = states.get(&self.spec.state_key(*at), label).map_err(refuse)? else {
                        return Ok(0);
                    };
                    slot.load(&numbers).map_err(refuse)?;
                    Ok(1)
                };
                let slot = match slots {
                    Slots::One { series, slot } => {
                        if series.as_ref().is_none_or(|(it, _)| *it != piece.series) {
                            if let (Some((_, before)), Some(_)) = (series.take(), &self.states) {
                                self.left.push((self.spec.state_key(*at), before, slot.save()));
                            }
                            slot.reset();
                            self.n_loaded += fresh(slot)?;
                            *series = Some((piece.series, label.to_owned()));
                        }
                        slot
                    }
                    Slots::Each(slots) => {
                        let index = piece.series as usize;
                        if slots.len() <= index {
                            slots.resize_with(index + 1, || None);
                        }
                        let entry = &mut slots[index];
                        if entry.is_none() {
                            let mut slot = Slot::new(function);
                            self.n_loaded += fresh(&mut slot)?;
                            *entry = Some((slot, label.to_owned()));
                        }
                        match entry {
                            Some((slot, _)) => slot,
                            None => continue,
                        }
                    }
                };
                column.piece(function, slot, &self.inputs, piece.start, piece.len, &mut self.scratch)?;
            }
            let mut array = column.finish(function)?;
            if let Some(inverse) = &block.inverse {
                array = take(&array, inverse, None)?;
            }
            columns.push((*at, array));
        }
        Ok(columns)
    }

    /// The states that its functions are left with; empty where nobody keeps them.
    pub(super) fn finish(mut self) -> Vec<(String, String, Option<Vec<f64>>)> {
        if self.states.is_none() {
            return Vec::new();
        }
        for (at, slots) in self.functions {
            let key = self.spec.state_key(at);
            match slots {
                Slots::One { series, slot } => {
                    self.left.extend(series.map(|(_, label)| (key, label, slot.save())));
                }
                Slots::Each(slots) => {
                    let left = slots.into_iter().flatten();
                    self.left.extend(left.map(|(slot, label)| (key.clone(), label, slot.save())));
                }
            }
        }
        self.left
    }
}

fn unusable(function: &str, series: &str, reason: &str) -> DataFusionError {
    let reason = format!("its saved state for `{series}` cannot be used ({reason}); `run --rebuild` makes it anew");
    DataFusionError::External(Box::new(IndicatorError::rows(function, reason)))
}
