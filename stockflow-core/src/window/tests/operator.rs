//! What the operator says of itself, and what it does with rows in each order.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Schema};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, collect, collect_partitioned, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::super::state::{States, WindowStates};
use super::super::{OutOfOrder, SymbolWindowExec, WindowOptions};

const SYMBOLS: usize = 40;
const DAYS: usize = 250;

/// `symbol, date, close`: the close is the number of the bar, times the number of the symbol.
fn bars(order: impl Fn(usize, usize) -> u64) -> RecordBatch {
    let mut rows: Vec<(u64, usize, usize)> = (0..SYMBOLS)
        .flat_map(|symbol| (0..DAYS).map(move |day| (symbol, day)))
        .map(|(symbol, day)| (order(symbol, day), symbol, day))
        .collect();
    rows.sort_unstable();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|it| format!("S{:03}", it.1)))),
        Arc::new(Date32Array::from_iter_values(rows.iter().map(|it| it.2 as i32))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|it| (it.1 * it.2) as f64))),
    ];
    let schema = Schema::new(vec![
        Field::new("symbol", DataType::Utf8, false),
        Field::new("date", DataType::Date32, false),
        Field::new("close", DataType::Float64, true),
    ]);
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn by_symbol(symbol: usize, day: usize) -> u64 {
    (symbol * DAYS + day) as u64
}

fn by_date(symbol: usize, day: usize) -> u64 {
    (day * SYMBOLS + symbol) as u64
}

fn shuffled(symbol: usize, day: usize) -> u64 {
    (by_symbol(symbol, day) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn session(rows: &RecordBatch, change: impl Fn(&mut WindowOptions)) -> SessionContext {
    // Parts of a table would share series.
    let config = SessionConfig::new().with_target_partitions(2).with_repartition_file_scans(false);
    let session = SessionContext::new_with_config(config);
    crate::functions::register(&session).unwrap();
    let batches: Vec<RecordBatch> =
        (0..rows.num_rows()).step_by(700).map(|at| rows.slice(at, 700.min(rows.num_rows() - at))).collect();
    let table = MemTable::try_new(rows.schema(), vec![batches]).unwrap();
    session.register_table("bars", Arc::new(table)).unwrap();
    let state = session.state_ref();
    change(state.write().config_mut().options_mut().extensions.get_mut::<WindowOptions>().unwrap());
    session
}

const QUERY: &str = "SELECT symbol, date, sma(close, 5) OVER (PARTITION BY symbol ORDER BY date) AS a, \
    avg(close) OVER (PARTITION BY symbol ORDER BY date ROWS 2 PRECEDING) AS b FROM bars";

fn find(plan: &Arc<dyn ExecutionPlan>) -> Option<&SymbolWindowExec> {
    plan.downcast_ref::<SymbolWindowExec>().or_else(|| plan.children().into_iter().find_map(find))
}

fn value(metrics: &MetricsSet, name: &str) -> usize {
    metrics.sum_by_name(name).map_or(0, |it| it.as_usize())
}

/// Runs the query; gives its rows as they come and the operator's metrics.
async fn run(session: &SessionContext) -> (RecordBatch, MetricsSet) {
    let plan = session.sql(QUERY).await.unwrap().create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    let rows = concat_batches(&plan.schema(), &batches).unwrap();
    let metrics = find(&plan).unwrap().metrics().unwrap();
    (rows, metrics)
}

/// The five-bar mean of `symbol * day` is `symbol * (day - 2)`.
fn check(rows: &RecordBatch) {
    assert_eq!(rows.num_rows(), SYMBOLS * DAYS);
    let symbols = rows.column(0).as_string::<i32>();
    let days = rows.column(1).as_primitive::<Date32Type>();
    let (a, b) = (rows.column(2).as_primitive::<Float64Type>(), rows.column(3).as_primitive::<Float64Type>());
    for row in 0..rows.num_rows() {
        let (symbol, day) = (symbols.value(row)[1..].parse::<f64>().unwrap(), f64::from(days.value(row)));
        let sma = (day >= 4.0).then_some(symbol * (day - 2.0));
        let close = |left: Option<f64>, right: Option<f64>| match (left, right) {
            (Some(left), Some(right)) => (left - right).abs() < 1e-6,
            (left, right) => left == right,
        };
        use arrow::array::Array;
        let value = |of: &Float64Array| of.is_valid(row).then(|| of.value(row));
        assert!(close(value(a), sma), "{symbol} {day}: {:?} {sma:?}", value(a));
        assert!(close(value(b), Some(symbol * (day - day.min(2.0) / 2.0))), "{symbol} {day}: {:?}", value(b));
    }
}

#[tokio::test]
async fn each_order_is_found_and_told() {
    for (order, expected) in
        [(by_symbol as fn(usize, usize) -> u64, "grouped"), (by_date, "interleaved"), (shuffled, "sorted_here")]
    {
        let (rows, metrics) = run(&session(&bars(order), |_| {})).await;
        check(&rows);
        for name in ["grouped", "interleaved", "sorted_here"] {
            let is_there = value(&metrics, name) > 0;
            // What was sorted is grouped then.
            assert!(
                is_there == (name == expected) || (expected == "sorted_here" && name == "grouped"),
                "{expected}: {name}"
            );
        }
        assert_eq!(value(&metrics, "symbols"), SYMBOLS);
        assert_eq!(metrics.output_rows(), Some(SYMBOLS * DAYS));
        assert_eq!(value(&metrics, "spilled_in_bytes"), 0);
    }
}

#[tokio::test]
async fn short_memory_goes_to_disk_and_gives_the_same() {
    for order in [by_symbol as fn(usize, usize) -> u64, by_date, shuffled] {
        let (rows, metrics) = run(&session(&bars(order), |options| options.window_memory = 10_000)).await;
        check(&rows);
        assert!(value(&metrics, "spilled_in_bytes") > 100_000, "{metrics}");
        assert!(value(&metrics, "peak_memory") > 0, "{metrics}");
    }
}

#[tokio::test]
async fn trusted_rows_keep_their_order_and_come_as_they_are() {
    for order in [by_symbol as fn(usize, usize) -> u64, by_date] {
        let given = bars(order);
        let session = session(&given, |options| options.trust_order = true);
        super::super::trust_order(&session, true);
        let (rows, _) = run(&session).await;
        check(&rows);
        assert_eq!((rows.column(0), rows.column(1)), (given.column(0), given.column(1)), "in the input's order");
    }
    let unordered = session(&bars(shuffled), |_| {});
    super::super::trust_order(&unordered, true);
    let error = unordered.sql(QUERY).await.unwrap().collect().await.unwrap_err();
    assert!(OutOfOrder::is_in(&error), "{error}");
    assert!(error.to_string().contains("run it again with stockflow.trust_order = false"), "{error}");
}

#[tokio::test]
async fn it_can_be_switched_off_and_shows_itself() {
    let session = session(&bars(by_symbol), |_| {});
    let plan = |frame: datafusion::prelude::DataFrame| async move {
        displayable(frame.create_physical_plan().await.unwrap().as_ref()).indent(true).to_string()
    };
    let shown = plan(session.sql(QUERY).await.unwrap()).await;
    assert!(shown.contains("SymbolWindowExec: partition_by=[symbol@0]") && !shown.contains("SortExec"), "{shown}");
    let analyzed = session.sql(&format!("EXPLAIN ANALYZE {QUERY}")).await.unwrap().collect().await.unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&analyzed).unwrap().to_string();
    for metric in
        ["symbols=", "grouped=", "interleaved=", "sorted_here=", "states_in=", "states_out=", "elapsed_compute="]
    {
        assert!(text.contains(metric), "{metric}: {text}");
    }
    session.sql("SET stockflow.symbol_window = false").await.unwrap().collect().await.unwrap();
    let shown = plan(session.sql(QUERY).await.unwrap()).await;
    assert!(shown.contains("WindowAggExec") && !shown.contains("SymbolWindowExec"), "{shown}");
}

#[tokio::test]
async fn what_is_none_of_its_own_stays_with_datafusion() {
    let session = session(&bars(by_symbol), |_| {});
    for (sql, with_operator, with_other) in [
        (
            "SELECT sma(close, 5) OVER w, row_number() OVER w FROM bars WINDOW w AS (PARTITION BY symbol ORDER BY date)",
            true,
            true,
        ),
        ("SELECT row_number() OVER (PARTITION BY symbol ORDER BY date) FROM bars", false, true),
        ("SELECT avg(close) OVER (PARTITION BY symbol ORDER BY date) FROM bars", false, true),
        ("SELECT avg(close) OVER (PARTITION BY date ORDER BY symbol ROWS 2 PRECEDING) FROM bars", false, true),
        (
            "SELECT avg(close) FILTER (WHERE close > 1) OVER (PARTITION BY symbol ORDER BY date ROWS 2 PRECEDING) FROM bars",
            false,
            true,
        ),
        ("SELECT lag(close) IGNORE NULLS OVER (PARTITION BY symbol ORDER BY date) FROM bars", false, true),
        ("SELECT lag(close, 1, 0.0) OVER (PARTITION BY symbol ORDER BY date) FROM bars", false, true),
        ("SELECT lag(close, 2) OVER (PARTITION BY symbol ORDER BY date) FROM bars", true, false),
        ("SELECT avg(close) OVER (PARTITION BY symbol ORDER BY date DESC ROWS 2 PRECEDING) FROM bars", false, true),
    ] {
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let shown = displayable(plan.as_ref()).indent(true).to_string();
        assert_eq!(shown.contains("SymbolWindowExec"), with_operator, "{sql}\n{shown}");
        assert_eq!(shown.contains("WindowAggExec"), with_other, "{sql}\n{shown}");
        let rows: usize = collect(plan, session.task_ctx()).await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, SYMBOLS * DAYS);
    }
}

#[tokio::test]
async fn states_go_in_and_come_out_and_a_limit_leaves_none() {
    let all = bars(by_date);
    let cut = SYMBOLS * 100;
    let halves = [all.slice(0, cut), all.slice(cut, all.num_rows() - cut)];
    let mut states = States::new();
    let mut parts = Vec::new();
    for half in &halves {
        let exchange = WindowStates::new([("r".to_owned(), std::mem::take(&mut states))]);
        let session = exchange.attach("r", &session(half, |_| {}));
        parts.push(run(&session).await.0);
        states = exchange.take("r").unwrap();
        assert_eq!(states.len(), SYMBOLS);
    }
    check(&concat_batches(&parts[0].schema(), &parts).unwrap());

    let exchange = WindowStates::new([]);
    let limited = exchange.attach("r", &session(&all, |_| {}));
    limited.sql("SET datafusion.execution.batch_size = 100").await.unwrap().collect().await.unwrap();
    let plan = limited.sql(&format!("{QUERY} LIMIT 5")).await.unwrap().create_physical_plan().await.unwrap();
    let n: usize = collect(plan, limited.task_ctx()).await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(n, 5);
    assert!(exchange.take("r").is_none());

    let mut broken = states.clone();
    for numbers in broken.values_mut().flat_map(|it| it.values_mut()) {
        *numbers = vec![1.5, 2.0].into();
    }
    let exchange = WindowStates::new([("r".to_owned(), broken)]);
    let session = exchange.attach("r", &session(&halves[1], |_| {}));
    let error = session.sql(QUERY).await.unwrap().collect().await.unwrap_err().to_string();
    assert!(error.contains("saved state for `S000` cannot be used") && error.contains("run --rebuild"), "{error}");
}

#[tokio::test]
async fn partitions_are_kept_apart_on_trust() {
    let rows = bars(by_symbol);
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    crate::functions::register(&session).unwrap();
    super::super::trust_order(&session, true);
    let half = SYMBOLS / 2 * DAYS;
    let table = |cut: usize| {
        let parts = vec![vec![rows.slice(0, cut)], vec![rows.slice(cut, rows.num_rows() - cut)]];
        Arc::new(MemTable::try_new(rows.schema(), parts).unwrap())
    };
    session.register_table("bars", table(half)).unwrap();
    let plan = session.sql(QUERY).await.unwrap().create_physical_plan().await.unwrap();
    assert_eq!(plan.output_partitioning().partition_count(), 2);
    let parts = collect_partitioned(Arc::clone(&plan), session.task_ctx()).await.unwrap();
    check(&concat_batches(&plan.schema(), parts.iter().flatten()).unwrap());

    session.deregister_table("bars").unwrap();
    session.register_table("bars", table(half + 3)).unwrap();
    let error = session.sql(QUERY).await.unwrap().collect().await.unwrap_err();
    assert!(OutOfOrder::is_in(&error), "{error}");
    assert!(error.to_string().contains("its rows come from several partitions"), "{error}");
}
