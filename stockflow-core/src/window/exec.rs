//! The operator as a node of a physical plan.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, Statistics, exec_datafusion_err, plan_datafusion_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, EmissionType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    PlanProperties, WindowExpr, apply_expression_roots,
};

use super::block::Spec;
use super::function::{Function, is_key};
use super::keep::Spilled;
use super::lane::{Lane, LaneMetrics, Owners};
use super::options::WindowOptions;
use super::state::WindowStates;

/// Computes window functions over the rows of each series, in one pass and without sorting what is in order.
///
/// # Input
///
/// Rows with a key (PARTITION BY) and a time (ORDER BY). In which order the series come does not matter; within each, rows
/// in the order of time stream, others are sorted.
///
/// # Output
///
/// The input's columns, then one for each function. As many rows as come in; in the input's order where that is good.
///
/// # Errors
///
/// As the functions say: ties and NULLs in the order key of an indicator, mixed intervals.
/// [`OutOfOrder`](super::OutOfOrder) where the order was trusted and does not hold.
#[derive(Debug)]
pub struct SymbolWindowExec {
    input: Arc<dyn ExecutionPlan>,
    window_expr: Vec<Arc<dyn WindowExpr>>,
    spec: Arc<Spec>,
    trust: bool,
    /// The order that the input says it has, if it will do.
    declared: Option<Vec<PhysicalSortExpr>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// Which lane a series belongs to in the execution that runs.
    owners: Mutex<Option<(Weak<TaskContext>, Owners)>>,
}

impl SymbolWindowExec {
    /// An operator for these expressions, all over one window; `None` if one of them is none of ours.
    ///
    /// `trust`: rows are trusted to come in the order of time, and each series from one partition of the input.
    /// `ordinal` is the operator's place in its plan.
    ///
    /// # Errors
    ///
    /// If the expressions do not fit the input.
    pub fn try_new(
        window_expr: Vec<Arc<dyn WindowExpr>>,
        input: Arc<dyn ExecutionPlan>,
        ordinal: usize,
        trust: bool,
    ) -> Result<Option<Self>> {
        let Some(first) = window_expr.first() else { return Ok(None) };
        let (partition_by, order_by) = (first.partition_by().to_vec(), first.order_by().to_vec());
        let mut functions = Vec::new();
        for expr in &window_expr {
            let is_same = expr.partition_by() == partition_by && expr.order_by() == order_by;
            match Function::of(expr)?.filter(|_| is_same) {
                Some(function) => functions.push(function),
                None => return Ok(None),
            }
        }
        let input_schema = input.schema();
        let are_keys = partition_by
            .iter()
            .map(|it| Ok(is_key(&it.data_type(&input_schema)?)))
            .collect::<Result<Vec<bool>>>()?
            .into_iter()
            .all(|it| it);
        if partition_by.is_empty() || order_by.is_empty() || !are_keys {
            return Ok(None);
        }
        let mut intervals = functions.iter().filter_map(|it| it.interval.as_ref());
        if let Some(first) = intervals.next()
            && intervals.any(|it| it != first)
        {
            return Ok(None);
        }
        let schema = schema(&input_schema, &functions);
        let spec = Spec::new(ordinal, functions, partition_by, order_by, input_schema, schema);
        Ok(Some(Self::over(input, window_expr, Arc::new(spec), trust)))
    }

    fn over(
        input: Arc<dyn ExecutionPlan>,
        window_expr: Vec<Arc<dyn WindowExpr>>,
        spec: Arc<Spec>,
        trust: bool,
    ) -> Self {
        let declared = if trust { None } else { declared_order(&input, &spec) };
        let streams = trust || declared.is_some();
        let orderings = if streams {
            input.equivalence_properties().oeq_class().iter().map(|it| it.iter().cloned().collect::<Vec<_>>()).collect()
        } else {
            Vec::new()
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&spec.schema), orderings),
            input.output_partitioning().clone(),
            if streams { EmissionType::Incremental } else { EmissionType::Final },
            input.boundedness(),
        );
        Self {
            input,
            window_expr,
            spec,
            trust,
            declared,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            owners: Mutex::default(),
        }
    }

    /// The window expressions.
    pub fn window_expr(&self) -> &[Arc<dyn WindowExpr>] {
        &self.window_expr
    }

    /// Whether rows go on at once, on trust that they come in order.
    pub fn trusts_order(&self) -> bool {
        self.trust
    }

    /// The operator's place in its plan.
    pub fn ordinal(&self) -> usize {
        self.spec.ordinal
    }

    /// Whether all its functions go on from numbers that can be saved.
    pub(crate) fn keeps_state(&self) -> bool {
        self.spec.functions.iter().all(Function::keeps_state)
    }

    /// Whether it keeps the input's order and does not wait for its end.
    fn streams(&self) -> bool {
        self.trust || self.declared.is_some()
    }

    fn owners(&self, context: &Arc<TaskContext>) -> Option<Owners> {
        if !self.trust || self.input.output_partitioning().partition_count() < 2 {
            return None;
        }
        let mut current = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        match current.as_ref() {
            Some((of, owners)) if of.as_ptr() == Arc::as_ptr(context) && of.strong_count() > 0 => {
                Some(Arc::clone(owners))
            }
            _ => {
                let owners: Owners = Arc::new(Mutex::new(HashMap::new()));
                *current = Some((Arc::downgrade(context), Arc::clone(&owners)));
                Some(owners)
            }
        }
    }

    fn lane_metrics(&self, partition: usize) -> LaneMetrics {
        let count = |name: &'static str| MetricBuilder::new(&self.metrics).counter(name, partition);
        LaneMetrics {
            rows: MetricBuilder::new(&self.metrics).output_rows(partition),
            symbols: count("symbols"),
            grouped: count("grouped"),
            interleaved: count("interleaved"),
            sorted: count("sorted_here"),
            states_in: count("states_in"),
            states_out: count("states_out"),
            compute: MetricBuilder::new(&self.metrics).elapsed_compute(partition),
            memory: MetricBuilder::new(&self.metrics).gauge("peak_memory", partition),
            spilled: MetricBuilder::new(&self.metrics).counter("spilled_in_bytes", partition),
        }
    }
}

/// The order that the one partition of the input says it has, if it will do: by time, or by series and time.
fn declared_order(input: &Arc<dyn ExecutionPlan>, spec: &Spec) -> Option<Vec<PhysicalSortExpr>> {
    if input.output_partitioning().partition_count() != 1 || spec.needs_all_rows() {
        return None;
    }
    let by_key = spec.partition_by.iter().map(|it| PhysicalSortExpr::new_default(Arc::clone(it)));
    let grouped: Vec<PhysicalSortExpr> = by_key.chain(spec.order_by.iter().cloned()).collect();
    let satisfies =
        |order: &Vec<PhysicalSortExpr>| input.equivalence_properties().ordering_satisfy(order.clone()).unwrap_or(false);
    [spec.order_by.clone(), grouped].into_iter().find(satisfies)
}

fn schema(input: &Schema, functions: &[Function]) -> SchemaRef {
    let fields: Vec<_> =
        input.fields().iter().cloned().chain(functions.iter().map(|it| Arc::clone(&it.field))).collect();
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

impl DisplayAs for SymbolWindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.window_expr.iter().map(|it| it.name().to_owned()).collect();
        let keys: Vec<_> = self.spec.partition_by.iter().map(ToString::to_string).collect();
        let order: Vec<_> = self.spec.order_by.iter().map(ToString::to_string).collect();
        write!(
            f,
            "SymbolWindowExec: partition_by=[{}], order_by=[{}], order={}, functions=[{}]",
            keys.join(", "),
            order.join(", "),
            if self.trust {
                "trusted"
            } else if self.streams() {
                "declared"
            } else {
                "checked first"
            },
            names.join(", ")
        )
    }
}

impl ExecutionPlan for SymbolWindowExec {
    fn name(&self) -> &'static str {
        "SymbolWindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let expressions = self.window_expr.iter().flat_map(|it| {
            let all = it.all_expressions();
            all.args.into_iter().chain(all.partition_by_exprs).chain(all.order_by_exprs)
        });
        apply_expression_roots(expressions, f)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.streams()]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let distribution = if self.trust {
            Distribution::UnspecifiedDistribution
        } else if self.declared.is_some() {
            Distribution::SinglePartition
        } else {
            Distribution::KeyPartitioned(self.spec.partition_by.clone())
        };
        InputDistributionRequirements::new(vec![distribution])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let order = self.declared.clone().and_then(LexOrdering::new);
        vec![order.map(OrderingRequirements::from)]
    }

    /// Rows dealt out in turns would lose the order that is trusted.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![!self.streams()]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| plan_datafusion_err!("SymbolWindowExec has one input"))?;
        let spec = if input.schema() == self.spec.input_schema {
            Arc::clone(&self.spec)
        } else {
            let schema = schema(&input.schema(), &self.spec.functions);
            Arc::new(Spec::new(
                self.spec.ordinal,
                self.spec.functions.clone(),
                self.spec.partition_by.clone(),
                self.spec.order_by.clone(),
                input.schema(),
                schema,
            ))
        };
        Ok(Arc::new(Self::over(input, self.window_expr.clone(), spec, self.trust)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let config = context.session_config();
        let options = WindowOptions::of(config.options());
        let n_lanes = self.input.output_partitioning().partition_count();
        let lane = Lane {
            spec: Arc::clone(&self.spec),
            partition,
            trust: self.streams(),
            owners: self.owners(&context),
            cores: config.target_partitions().div_ceil(n_lanes.max(1)),
            batch_rows: config.batch_size().max(1),
            budget: options.window_memory,
            reservation: MemoryConsumer::new(format!("SymbolWindowExec[{partition}]"))
                .with_can_spill(true)
                .register(context.memory_pool()),
            disk: Arc::clone(&context.runtime_env().disk_manager),
            states: config.get_extension::<WindowStates>(),
            on_disk: config.get_extension::<Spilled>(),
            metrics: self.lane_metrics(partition),
        };
        let input = self.input.execute(partition, context)?;
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.spec.schema), 2);
        let out = stream.tx();
        stream.spawn(lane.run(input, out));
        Ok(stream.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let input = inputs.first().ok_or_else(|| exec_datafusion_err!("SymbolWindowExec has one input"))?;
        let mut columns = input.column_statistics.clone();
        columns.extend(self.spec.functions.iter().map(|_| ColumnStatistics::new_unknown()));
        Ok(Arc::new(Statistics {
            num_rows: input.num_rows,
            column_statistics: columns,
            total_byte_size: Precision::Absent,
        }))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
