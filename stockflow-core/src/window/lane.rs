//! One partition's way through the operator.
//!
//! Rows whose order is trusted stream: blocks of them are computed and given on as they come, and a row out of order
//! fails the query with [`OutOfOrder`]. Rows of unknown order are kept first, in memory or on disk, while their order
//! is looked at; then they stream if that is good, and are sorted by series and time if it is not.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::util::display::array_value_to_string;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::disk_manager::DiskManager;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::metrics::{Count, Gauge, Time};
use futures::StreamExt;
use tokio::sync::mpsc::Sender;

use super::block::{Block, Computer, Sorter, Spec};
use super::keep::{Keep, Spilled};
use super::series::{OrderKey, OrderKeys, OrderReader, Run, SeriesIndex};
use super::state::WindowStates;
use crate::indicator::IndicatorError;
use crate::indicator::sql::{NULL_KEY, check_interval, tie};

/// Rows of a block where series change from row to row: enough for each series to have several.
const BLOCK: usize = 1 << 16;
/// Runs of at least this many rows are worth going without a bigger block.
const LONG_RUN: usize = 16;
/// From this many rows on a block's functions are shared out among the cores.
const WORTH_SHARING: usize = 1 << 14;
/// Files into which rows are dealt by series before each is sorted for itself.
const BUCKETS: usize = 32;
/// Rows of a bucket that are written together.
const BUCKET_ROWS: usize = 4096;

/// The rows of a series do not come in the order that they were trusted to have.
///
/// Whoever trusted it runs the query again with `stockflow.trust_order = false`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bars of `{series}` are not in order: {reason}; run it again with stockflow.trust_order = false")]
pub struct OutOfOrder {
    /// The key of the series.
    pub series: String,
    /// Which rows.
    pub reason: String,
}

impl OutOfOrder {
    /// Whether this error, or one that caused it, is of this kind.
    pub fn is_in(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.downcast_ref::<Self>().is_some() {
                return true;
            }
            if let Some(DataFusionError::External(inner)) = error.downcast_ref::<DataFusionError>()
                && inner.downcast_ref::<Self>().is_some()
            {
                return true;
            }
            next = error.source();
        }
        false
    }
}

/// What lanes tell about themselves.
#[derive(Debug, Clone)]
pub(super) struct LaneMetrics {
    pub(super) rows: Count,
    pub(super) symbols: Count,
    pub(super) grouped: Count,
    pub(super) interleaved: Count,
    pub(super) sorted: Count,
    pub(super) states_in: Count,
    pub(super) states_out: Count,
    pub(super) compute: Time,
    pub(super) memory: Gauge,
    pub(super) spilled: Count,
}

/// Which lane a series belongs to, where lanes are kept apart on trust.
pub(super) type Owners = Arc<Mutex<HashMap<Box<[u8]>, usize>>>;

/// All that a lane works with.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spec: Arc<Spec>,
    pub(super) partition: usize,
    pub(super) trust: bool,
    pub(super) owners: Option<Owners>,
    pub(super) cores: usize,
    pub(super) batch_rows: usize,
    pub(super) budget: usize,
    pub(super) reservation: MemoryReservation,
    pub(super) disk: Arc<DiskManager>,
    pub(super) states: Option<Arc<WindowStates>>,
    pub(super) on_disk: Option<Arc<Spilled>>,
    pub(super) metrics: LaneMetrics,
}

/// How the series of a lane follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All rows of a series stand together.
    Grouped,
    /// Series take turns, each in its order.
    Interleaved,
}

/// Where results go; `Err(Gone)` once nobody wants them.
type Out = Sender<Result<RecordBatch>>;

impl Lane {
    /// Tells of bytes that went to disk.
    fn tell_spilled(&self, bytes: usize) {
        self.metrics.spilled.add(bytes);
        if let Some(on_disk) = &self.on_disk {
            on_disk.0.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) async fn run(self, mut input: SendableRecordBatchStream, out: Out) -> Result<()> {
        if let Some(states) = &self.states {
            states.begin((self.spec.ordinal, self.partition));
        }
        if self.trust {
            let mut flow = Flow::new(self, None)?;
            while let Some(batch) = input.next().await {
                if !flow.push(batch?, &out).await? {
                    return Ok(());
                }
            }
            return flow.finish(&out).await;
        }
        let mut order = Order::new(&self.spec, false)?;
        let mut keep = Keep::new(
            Arc::clone(&self.spec.input_schema),
            self.budget,
            self.reservation.new_empty(),
            Arc::clone(&self.disk),
        );
        let (mut comes_back, mut is_sound) = (false, true);
        while let Some(batch) = input.next().await {
            let batch = batch?;
            if is_sound {
                let seen = order.see(&batch, true)?;
                comes_back |= seen.comes_back.is_some();
                is_sound = seen.broken.is_none();
            }
            keep.push(batch)?;
        }
        drop(input);
        self.tell_spilled(keep.spilled);
        self.metrics.memory.set_max(keep.peak);
        let shape = if comes_back { Shape::Interleaved } else { Shape::Grouped };
        if is_sound && !(comes_back && self.spec.needs_all_rows()) {
            let mut flow = Flow::new(self, Some(shape))?;
            for batch in keep.replay()? {
                if !flow.push(batch?, &out).await? {
                    return Ok(());
                }
            }
            return flow.finish(&out).await;
        }
        self.sorted(keep, &out).await
    }

    /// Sorts what was kept by series and time: all at once, or in parts that hold some of the series each.
    async fn sorted(self, keep: Keep, out: &Out) -> Result<()> {
        let spec = Arc::clone(&self.spec);
        self.metrics.sorted.add(1);
        let is_on_disk = keep.is_on_disk();
        let (budget, reservation, disk) = (self.budget, self.reservation.new_empty(), Arc::clone(&self.disk));
        let mut flow = Flow::new(self, Some(Shape::Grouped))?;
        // What is being sorted is in memory whatever the pool says; it shall know.
        let sorting = reservation.new_empty();
        if !is_on_disk {
            let batches = keep.replay()?.collect::<Result<Vec<_>>>()?;
            sorting.resize(sorted_size(&batches));
            for batch in sort(&spec, &batches)? {
                if !flow.push(batch?, out).await? {
                    return Ok(());
                }
            }
            return flow.finish(out).await;
        }
        let mut buckets = Vec::new();
        for _ in 0..BUCKETS {
            // Each may hold its share; what is more goes to disk.
            let keep =
                Keep::new(Arc::clone(&spec.input_schema), budget / BUCKETS, reservation.new_empty(), Arc::clone(&disk));
            buckets.push((keep, Vec::<RecordBatch>::new(), 0_usize));
        }
        let mut order = Order::new(&spec, false)?;
        let mut runs = Vec::new();
        for batch in keep.replay()? {
            let batch = batch?;
            let keys = evaluate(spec.partition_by.iter(), &batch)?;
            order.index.runs(&keys, batch.num_rows(), &mut runs)?;
            let mut rows: Vec<Vec<u32>> = vec![Vec::new(); BUCKETS];
            for run in &runs {
                rows[run.series as usize % BUCKETS].extend(run.start as u32..(run.start + run.len) as u32);
            }
            for (rows, (keep, waiting, n)) in rows.into_iter().zip(&mut buckets) {
                if rows.is_empty() {
                    continue;
                }
                *n += rows.len();
                waiting.push(take_record_batch(&batch, &UInt32Array::from(rows))?);
                if *n >= BUCKET_ROWS {
                    keep.push(concat_batches(&spec.input_schema, waiting.iter())?)?;
                    waiting.clear();
                    *n = 0;
                }
            }
        }
        for (mut keep, waiting, _) in buckets {
            if !waiting.is_empty() {
                keep.push(concat_batches(&spec.input_schema, waiting.iter())?)?;
            }
            flow.lane.tell_spilled(keep.spilled);
            let batches = keep.replay()?.collect::<Result<Vec<_>>>()?;
            sorting.resize(sorted_size(&batches));
            for batch in sort(&spec, &batches)? {
                if !flow.push(batch?, out).await? {
                    return Ok(());
                }
            }
        }
        flow.finish(out).await
    }
}

fn evaluate<'a>(
    exprs: impl Iterator<Item = &'a Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    exprs.map(|it| it.evaluate(batch)?.into_array(batch.num_rows())).collect()
}

/// Bytes of some batches and of the places of their rows in order.
fn sorted_size(batches: &[RecordBatch]) -> usize {
    let place = size_of::<(OrderKey, u32, u32)>();
    batches.iter().map(|it| it.get_array_memory_size() + it.num_rows() * place).sum()
}

/// Rows by series in the order of their first row, each series by time.
fn sort<'a>(spec: &Spec, batches: &'a [RecordBatch]) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<'a>> {
    let mut order = Order::new(spec, false)?;
    let mut runs = Vec::new();
    // Series by series: the key of each row, and where it stands.
    let mut rows: Vec<Vec<(OrderKey, u32, u32)>> = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let keys = evaluate(spec.partition_by.iter(), batch)?;
        order.index.runs(&keys, batch.num_rows(), &mut runs)?;
        let times = order.times(batch)?;
        rows.resize_with(order.index.len(), Vec::new);
        for run in &runs {
            let of = &mut rows[run.series as usize];
            of.extend((run.start..run.start + run.len).map(|row| (times.key(row), at as u32, row as u32)));
        }
    }
    // Stable, so that rows of one time stay in the order in which they came.
    for of in &mut rows {
        if !of.is_sorted_by(|a, b| a.0 <= b.0) {
            of.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
    let all: Vec<&RecordBatch> = batches.iter().collect();
    let mut next = rows.into_iter().peekable();
    Ok(std::iter::from_fn(move || {
        let mut places: Vec<(usize, usize)> = Vec::new();
        while places.len() < BLOCK
            && let Some(of) = next.next()
        {
            places.extend(of.into_iter().map(|(_, batch, row)| (batch as usize, row as usize)));
        }
        (!places.is_empty()).then(|| Ok(interleave_record_batch(&all, &places)?))
    }))
}

/// What was seen in a batch.
#[derive(Debug, Default)]
struct Seen {
    /// The first series that was thought to be over and goes on.
    comes_back: Option<u32>,
    /// The first row that is out of order.
    broken: Option<(u32, String)>,
}

/// Watches over the order of all series of a lane.
#[derive(Debug)]
struct Order {
    index: SeriesIndex,
    reader: OrderReader,
    keys: Vec<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    partition_by: Vec<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    interval: Option<Arc<dyn datafusion::physical_expr::PhysicalExpr>>,
    /// The indicator that asks for rows of different times; without one, ties are allowed.
    function: Option<String>,
    last: Vec<Option<OrderKey>>,
    current: Option<u32>,
    runs: Vec<Run>,
    /// The one interval of all rows so far, while there is only one.
    uniform: Option<String>,
    intervals: Option<HashMap<u32, String>>,
}

impl Order {
    fn new(spec: &Spec, with_labels: bool) -> Result<Self> {
        let types = spec.partition_by.iter().map(|it| it.data_type(&spec.input_schema)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            index: SeriesIndex::new(&types, with_labels)?,
            reader: OrderReader::new(&spec.order_by, &spec.input_schema)?,
            keys: spec.order_by.iter().map(|it| Arc::clone(&it.expr)).collect(),
            partition_by: spec.partition_by.clone(),
            interval: spec.interval.clone(),
            function: spec.indicator_name().map(str::to_owned),
            last: Vec::new(),
            current: None,
            runs: Vec::new(),
            uniform: None,
            intervals: None,
        })
    }

    fn times(&self, batch: &RecordBatch) -> Result<OrderKeys> {
        self.reader.read(&evaluate(self.keys.iter(), batch)?)
    }

    /// Looks at the rows; their runs are in `self.runs` then. With `lenient`, a time of its own for each row is not
    /// asked for yet: in another order ties may turn out to be none.
    fn see(&mut self, batch: &RecordBatch, lenient: bool) -> Result<Seen> {
        let rows = batch.num_rows();
        let mut seen = Seen::default();
        if rows == 0 {
            self.runs.clear();
            return Ok(seen);
        }
        let keys = evaluate(self.partition_by.iter(), batch)?;
        let mut runs = std::mem::take(&mut self.runs);
        self.index.runs(&keys, rows, &mut runs)?;
        self.last.resize(self.index.len(), None);
        let columns = evaluate(self.keys.iter(), batch)?;
        if let Some(function) = &self.function
            && columns.iter().any(|it| it.logical_null_count() > 0)
        {
            return Err(external(IndicatorError::rows(function, NULL_KEY)));
        }
        let times = self.reader.read(&columns)?;
        let ties = self.function.is_none() || lenient;
        for run in &runs {
            let last = &mut self.last[run.series as usize];
            if self.current != Some(run.series) {
                if last.is_some() {
                    seen.comes_back.get_or_insert(run.series);
                }
                self.current = Some(run.series);
            }
            if let Some(row) = times.break_in(run.start, run.len, last.as_ref(), ties) {
                let here = times.key(row);
                let before = if row == run.start { last.clone() } else { Some(times.key(row - 1)) };
                if let Some(function) = &self.function
                    && before.as_ref() == Some(&here)
                {
                    return Err(external(tie(function, &columns, row)));
                }
                let text = |it: &ArrayRef| array_value_to_string(it, row).unwrap_or_default();
                let at: Vec<_> = columns.iter().map(text).collect();
                seen.broken = Some((run.series, format!("{} comes after a later one", at.join(", "))));
                break;
            }
            *last = Some(times.key(run.start + run.len - 1));
        }
        self.runs = runs;
        self.check_intervals(batch)?;
        Ok(seen)
    }

    /// Refuses a series with rows of several intervals. Nearly always there is one for all.
    fn check_intervals(&mut self, batch: &RecordBatch) -> Result<()> {
        let (Some(interval), Some(function)) = (&self.interval, &self.function) else { return Ok(()) };
        let array = interval.evaluate(batch)?.into_array(batch.num_rows())?;
        let text = |row| array_value_to_string(&array, row).unwrap_or_default();
        if self.intervals.is_none() && check_interval(function, &array).is_ok() {
            let here = text(0);
            if self.uniform.get_or_insert_with(|| here.clone()) == &here {
                return Ok(());
            }
        }
        if self.intervals.is_none() {
            let before = self.uniform.take();
            let known = self.last.iter().enumerate().filter(|(_, it)| it.is_some()).map(|(at, _)| at as u32);
            let is_new = |series: &u32| !self.runs.iter().any(|it| it.series == *series);
            let known = known.filter(is_new).filter_map(|at| Some((at, before.clone()?)));
            self.intervals = Some(known.collect());
        }
        let Some(intervals) = &mut self.intervals else { return Ok(()) };
        for run in &self.runs {
            check_interval(function, &array.slice(run.start, run.len)).map_err(external)?;
            let here = text(run.start);
            let known = intervals.entry(run.series).or_insert_with(|| here.clone());
            if *known != here {
                let both: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![known.clone(), here]));
                check_interval(function, &both).map_err(external)?;
            }
        }
        Ok(())
    }
}

/// Rows on their way: looked at, brought into blocks, computed, given on.
#[derive(Debug)]
struct Flow {
    lane: Lane,
    order: Order,
    shape: Option<Shape>,
    n_owned: usize,
    waiting: Vec<RecordBatch>,
    runs: Vec<Run>,
    n_waiting: usize,
    sorter: Sorter,
    computers: Vec<Computer>,
}

impl Flow {
    fn new(lane: Lane, shape: Option<Shape>) -> Result<Self> {
        let order = Order::new(&lane.spec, lane.states.is_some() || lane.trust)?;
        let mut flow = Self {
            lane,
            order,
            shape: None,
            n_owned: 0,
            waiting: Vec::new(),
            runs: Vec::new(),
            n_waiting: 0,
            sorter: Sorter::default(),
            computers: Vec::new(),
        };
        if let Some(shape) = shape {
            flow.take_shape(shape)?;
        }
        Ok(flow)
    }

    fn take_shape(&mut self, shape: Shape) -> Result<()> {
        let spec = &self.lane.spec;
        if shape == Shape::Interleaved && spec.needs_all_rows() {
            return Err(
                self.out_of_order(0, "a function needs all rows of a series at once, and they take turns".into())
            );
        }
        self.shape = Some(shape);
        match shape {
            Shape::Grouped => self.lane.metrics.grouped.add(1),
            Shape::Interleaved => self.lane.metrics.interleaved.add(1),
        }
        let n = self.lane.cores.clamp(1, spec.functions.len().max(1));
        self.computers = (0..n)
            .map(|core| {
                let own: Vec<usize> = (core..spec.functions.len()).step_by(n).collect();
                Computer::new(spec, &own, shape == Shape::Grouped, self.lane.states.clone())
            })
            .collect();
        Ok(())
    }

    /// Takes the next rows; false once nobody wants results.
    async fn push(&mut self, batch: RecordBatch, out: &Out) -> Result<bool> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(true);
        }
        let seen = self.order.see(&batch, false)?;
        if let Some((series, reason)) = seen.broken {
            return Err(self.out_of_order(series, reason));
        }
        if let Some(series) = seen.comes_back.filter(|_| self.shape == Some(Shape::Grouped)) {
            return Err(self.out_of_order(series, "a series goes on after others had begun".into()));
        }
        self.own_new_series()?;
        for run in &self.order.runs {
            match self.runs.last_mut() {
                Some(last) if last.series == run.series => last.len += run.len,
                _ => self.runs.push(Run { start: run.start + self.n_waiting, ..*run }),
            }
        }
        self.waiting.push(batch);
        self.n_waiting += rows;
        if self.shape.is_none() {
            if self.n_waiting < BLOCK {
                return Ok(true);
            }
            let shape = self.shape_so_far();
            self.take_shape(shape)?;
        }
        if self.lane.spec.needs_all_rows() {
            return self.give_whole_series(out).await;
        }
        if self.n_waiting >= BLOCK || self.n_waiting / self.runs.len().max(1) >= LONG_RUN {
            return self.give(out).await;
        }
        Ok(true)
    }

    /// What the rows so far look like: runs that are long, or series that do not come back.
    fn shape_so_far(&self) -> Shape {
        let mut series: Vec<u32> = self.runs.iter().map(|it| it.series).collect();
        series.sort_unstable();
        series.dedup();
        let is_grouped = series.len() == self.runs.len() && self.n_waiting / series.len().max(1) >= LONG_RUN / 2;
        if is_grouped { Shape::Grouped } else { Shape::Interleaved }
    }

    /// All series but the last, which may go on.
    async fn give_whole_series(&mut self, out: &Out) -> Result<bool> {
        let Some(last) = self.runs.last().copied().filter(|it| it.start > 0) else { return Ok(true) };
        let all = concat_batches(&self.lane.spec.input_schema, self.waiting.iter())?;
        self.runs.pop();
        self.waiting = vec![all.slice(0, last.start)];
        self.n_waiting = last.start;
        let more = self.give(out).await?;
        self.waiting = vec![all.slice(last.start, last.len)];
        self.n_waiting = last.len;
        self.runs = vec![Run { start: 0, ..last }];
        Ok(more)
    }

    async fn finish(mut self, out: &Out) -> Result<()> {
        if self.shape.is_none() {
            // It is all there: what looks grouped is.
            let mut series: Vec<u32> = self.runs.iter().map(|it| it.series).collect();
            series.sort_unstable();
            series.dedup();
            let shape = if series.len() == self.runs.len() { Shape::Grouped } else { Shape::Interleaved };
            self.take_shape(shape)?;
        }
        if !self.give(out).await? {
            return Ok(());
        }
        self.lane.metrics.symbols.add(self.order.index.len());
        let mut left = Vec::new();
        for computer in self.computers {
            self.lane.metrics.states_in.add(computer.n_loaded);
            left.extend(computer.finish());
        }
        self.lane.metrics.states_out.add(left.len());
        if let Some(states) = &self.lane.states {
            states.end((self.lane.spec.ordinal, self.lane.partition), left);
        }
        Ok(())
    }

    /// Computes the rows that wait and gives them on.
    async fn give(&mut self, out: &Out) -> Result<bool> {
        if self.n_waiting == 0 {
            return Ok(true);
        }
        let timer = self.lane.metrics.compute.timer();
        let batch = match self.waiting.as_slice() {
            [one] => one.clone(),
            many => concat_batches(&self.lane.spec.input_schema, many)?,
        };
        self.waiting.clear();
        let rows = std::mem::take(&mut self.n_waiting);
        let (index, states) = (&self.order.index, self.lane.states.is_some());
        let block = Block::new(
            &self.lane.spec,
            batch,
            &self.runs,
            index.len(),
            &mut self.sorter,
            |series| index.label(series).to_owned(),
            states,
        )?;
        self.runs.clear();
        let memory = block.batch.get_array_memory_size() + index.size();
        self.lane.reservation.resize(memory);
        self.lane.metrics.memory.set_max(memory);
        let mut columns: Vec<(usize, ArrayRef)>;
        let block = Arc::new(block);
        if rows >= WORTH_SHARING && self.computers.len() > 1 {
            let tasks: Vec<_> = std::mem::take(&mut self.computers)
                .into_iter()
                .map(|mut computer| {
                    let block = Arc::clone(&block);
                    SpawnedTask::spawn(async move {
                        let columns = computer.compute(&block);
                        (computer, columns)
                    })
                })
                .collect();
            columns = Vec::new();
            for task in tasks {
                let (computer, computed) =
                    task.join().await.map_err(|error| DataFusionError::External(Box::new(error)))?;
                self.computers.push(computer);
                columns.extend(computed?);
            }
        } else {
            columns = Vec::new();
            for computer in &mut self.computers {
                columns.extend(computer.compute(&block)?);
            }
        }
        timer.done();
        columns.sort_by_key(|(at, _)| *at);
        let mut arrays = block.batch.columns().to_vec();
        arrays.extend(columns.into_iter().map(|(_, array)| array));
        let batch = RecordBatch::try_new(Arc::clone(&self.lane.spec.schema), arrays)?;
        let mut start = 0;
        while start < rows {
            let len = self.lane.batch_rows.min(rows - start);
            self.lane.metrics.rows.add(len);
            if out.send(Ok(batch.slice(start, len))).await.is_err() {
                return Ok(false);
            }
            start += len;
        }
        Ok(true)
    }

    /// Makes sure that no other lane has rows of a series.
    fn own_new_series(&mut self) -> Result<()> {
        let n = self.order.index.len();
        let Some(owners) = self.lane.owners.as_ref().filter(|_| n > self.n_owned) else { return Ok(()) };
        let mut foreign = None;
        {
            let mut owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
            for series in self.n_owned as u32..n as u32 {
                let owner = owners.entry(self.order.index.key(series).into()).or_insert(self.lane.partition);
                if *owner != self.lane.partition {
                    foreign = Some(series);
                    break;
                }
            }
        }
        self.n_owned = n;
        match foreign {
            Some(series) => Err(self.out_of_order(series, "its rows come from several partitions of the input".into())),
            None => Ok(()),
        }
    }

    fn out_of_order(&self, series: u32, reason: String) -> DataFusionError {
        let series = self.order.index.label(series).to_owned();
        DataFusionError::External(Box::new(OutOfOrder { series, reason }))
    }
}

fn external(error: IndicatorError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
