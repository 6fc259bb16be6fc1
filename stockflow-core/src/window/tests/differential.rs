//! "With the operator and without it every query gives the same": random queries over random rows.
//!
//! 500 cases, or as many as `STOCKFLOW_CASES` says. A case is made from its number alone, so one that fails can be run
//! again: `STOCKFLOW_CASE=123 cargo test -p stockflow-core differential`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type, Schema, TimeUnit};
use datafusion::datasource::MemTable;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::super::{OutOfOrder, WindowOptions};
use super::PLANTED;
use crate::indicator::catalogue;
use crate::indicator::definition::{Definition, Domain};

/// Small and quick; the same numbers from the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// How the rows of a case lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Grouped,
    Interleaved,
    Shuffled,
    Reversed,
    Mixed,
}

#[derive(Debug)]
struct Case {
    sql: String,
    order: Order,
    partitions: Vec<Vec<RecordBatch>>,
    target_partitions: usize,
    batch_size: usize,
    memory: usize,
    /// Each series lies in one partition, and its rows come in order.
    is_in_order: bool,
}

impl Case {
    fn new(number: u64) -> Self {
        let mut random = Random(number.wrapping_mul(0x5851_F42D_4C95_7F2D));
        let with_interval = random.chance(40);
        let by_date = !with_interval && random.chance(15);
        let order = *random.pick(&[Order::Grouped, Order::Interleaved, Order::Shuffled, Order::Reversed, Order::Mixed]);
        let (sql, has_indicator) = query(&mut random, with_interval, by_date);
        let (rows, is_in_order) = rows(&mut random, order, with_interval, by_date, has_indicator);
        let n_partitions = 1 + random.below(3);
        let partitions = split(&mut random, &rows, n_partitions);
        Self {
            sql,
            order,
            is_in_order: is_in_order && n_partitions == 1,
            partitions,
            target_partitions: 1 + random.below(3),
            batch_size: *random.pick(&[1, 3, 7, 64, 1024, 8192]),
            memory: *random.pick(&[0, 4_000, 100_000, 128 << 20]),
        }
    }

    fn session(&self, operator: bool, trust: bool) -> SessionContext {
        let config =
            SessionConfig::new().with_target_partitions(self.target_partitions).with_batch_size(self.batch_size);
        let session = SessionContext::new_with_config(config);
        crate::functions::register(&session).unwrap();
        {
            let state = session.state_ref();
            let mut state = state.write();
            // Rows dealt out in turns have no order that could be trusted.
            state.config_mut().options_mut().optimizer.enable_round_robin_repartition = !trust;
            state.config_mut().options_mut().optimizer.repartition_file_scans = !trust;
            let options = state.config_mut().options_mut().extensions.get_mut::<WindowOptions>().unwrap();
            options.symbol_window = operator;
            options.trust_order = trust;
            options.window_memory = self.memory;
        }
        let schema = self.partitions[0][0].schema();
        let table = MemTable::try_new(schema, self.partitions.clone()).unwrap();
        session.register_table("bars", Arc::new(table)).unwrap();
        session
    }

    /// The rows in the order of `id`, and the plan.
    async fn run(
        &self,
        operator: bool,
        trust: bool,
    ) -> (Result<RecordBatch, datafusion::error::DataFusionError>, String) {
        let session = self.session(operator, trust);
        let frame = match session.sql(&self.sql).await {
            Ok(frame) => frame,
            Err(error) => return (Err(error), String::new()),
        };
        let plan = match frame.clone().create_physical_plan().await {
            Ok(plan) => displayable(plan.as_ref()).indent(true).to_string(),
            Err(error) => return (Err(error), String::new()),
        };
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let rows = frame.collect().await.map(|batches| {
            let all = concat_batches(&schema, &batches).unwrap();
            let order = sort_to_indices(all.column_by_name("id").unwrap(), None, None).unwrap();
            take_record_batch(&all, &order).unwrap()
        });
        (rows, plan)
    }
}

/// Symbol, interval, time, and open to volume.
type Row = (String, String, i64, [Option<f64>; 5]);

/// Bars of a few series, with holes, and short and empty ones among them.
fn rows(random: &mut Random, order: Order, with_interval: bool, by_date: bool, may_tie: bool) -> (RecordBatch, bool) {
    let n_symbols = 1 + random.below(5);
    let holes = *random.pick(&[0, 0, 3, 20]);
    // An indicator refuses rows of one time; without one any order of them is right, and there is nothing to compare.
    let has_ties = may_tie && random.chance(8);
    let mut series: Vec<Vec<Row>> = Vec::new();
    for symbol in 0..n_symbols {
        let intervals: &[&str] = if with_interval && random.chance(60) { &["1d", "1h"] } else { &["1d"] };
        for interval in intervals {
            let n = match random.below(10) {
                0 => 1,
                1 => 1 + random.below(6),
                2 => 200 + random.below(120),
                _ => 20 + random.below(80),
            };
            let mut price = 20.0 + 100.0 * random.unit();
            let mut time = random.below(5) as i64;
            let is_flat = random.chance(6);
            let mut of = Vec::new();
            for _ in 0..n {
                if !is_flat {
                    price *= 1.0 + (random.unit() - 0.49) * 0.06;
                }
                time += if has_ties && random.chance(3) { 0 } else { 1 + random.below(3) as i64 };
                let spread = if is_flat { 0.0 } else { price * 0.02 };
                let (open, close) = (price + spread * (random.unit() - 0.5), price);
                let high = open.max(close) + spread * random.unit();
                let low = open.min(close) - spread * random.unit();
                let mut values = [open, high, low, close, (1e6 * random.unit()).floor()].map(Some);
                for value in &mut values {
                    if random.chance(holes) {
                        *value = if random.chance(40) { Some(f64::NAN) } else { None };
                    }
                }
                of.push((format!("S{symbol}"), (*interval).to_owned(), time, values));
            }
            series.push(of);
        }
    }
    let is_in_order = matches!(order, Order::Grouped | Order::Interleaved);
    let mut rows: Vec<_> = match order {
        Order::Grouped | Order::Shuffled | Order::Reversed | Order::Mixed => series.into_iter().flatten().collect(),
        Order::Interleaved => {
            let mut all: Vec<_> = series.into_iter().flatten().collect();
            all.sort_by_key(|it| it.2);
            all
        }
    };
    match order {
        Order::Shuffled => (1..rows.len()).rev().for_each(|i| rows.swap(i, random.below(i + 1))),
        Order::Reversed => rows.reverse(),
        // Nearly in order: some rows are elsewhere.
        Order::Mixed => {
            for _ in 0..1 + random.below(3) {
                let (a, b) = (random.below(rows.len()), random.below(rows.len()));
                rows.swap(a, b);
            }
        }
        Order::Grouped | Order::Interleaved => {}
    }
    let day = 86_400_000_000_i64;
    let step = if by_date { day / 6 } else { day };
    let column = |at: usize| Arc::new(rows.iter().map(|it| it.3[at]).collect::<Float64Array>()) as ArrayRef;
    let stamps = rows.iter().map(|it| it.2 * step);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64))),
        ("symbol", Arc::new(rows.iter().map(|it| Some(it.0.as_str())).collect::<StringArray>())),
        ("interval", Arc::new(rows.iter().map(|it| Some(it.1.as_str())).collect::<StringArray>())),
        ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values(stamps.clone()).with_timezone("UTC"))),
        ("date", Arc::new(Date32Array::from_iter_values(stamps.map(|it| it.div_euclid(day) as i32)))),
        ("open", column(0)),
        ("high", column(1)),
        ("low", column(2)),
        ("close", column(3)),
        ("volume", column(4)),
    ];
    let fields: Vec<_> = columns.iter().map(|(name, of)| Field::new(*name, of.data_type().clone(), true)).collect();
    assert_eq!(fields[3].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    (RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap(), is_in_order)
}

/// Into partitions of batches of any size, empty ones among them.
fn split(random: &mut Random, rows: &RecordBatch, n: usize) -> Vec<Vec<RecordBatch>> {
    let most = *random.pick(&[1, 5, 40, 1000]);
    let mut partitions = Vec::new();
    let share = rows.num_rows().div_ceil(n);
    for partition in 0..n {
        let start = (partition * share).min(rows.num_rows());
        let mut part = rows.slice(start, share.min(rows.num_rows() - start));
        let mut batches = vec![rows.slice(0, 0)];
        while part.num_rows() > 0 {
            let len = (1 + random.below(most)).min(part.num_rows());
            batches.push(part.slice(0, len));
            part = part.slice(len, part.num_rows() - len);
        }
        partitions.push(batches);
    }
    partitions
}

/// A query, and whether there is an indicator in it.
fn query(random: &mut Random, with_interval: bool, by_date: bool) -> (String, bool) {
    let window = match (with_interval, by_date) {
        (true, _) => "PARTITION BY symbol, \"interval\" ORDER BY ts",
        (_, true) => "PARTITION BY symbol, date ORDER BY ts",
        _ => *random.pick(&["PARTITION BY symbol ORDER BY ts", "PARTITION BY symbol ORDER BY date"]),
    };
    let n = 1 + random.below(4);
    let mut columns: Vec<String> = vec!["id".into(), "symbol".into()];
    let mut has_indicator = false;
    for at in 0..n {
        let (text, is_indicator) = column(random, window);
        has_indicator |= is_indicator;
        columns.push(format!("{text} AS c{at}"));
    }
    if random.chance(12) {
        columns.push(format!("row_number() OVER ({window}) AS n"));
    }
    if random.chance(12) {
        columns.push("avg(close) OVER (PARTITION BY symbol ORDER BY id ROWS 3 PRECEDING) AS other".into());
    }
    let filter = *random.pick(&["", "", " WHERE volume > 1000"]);
    (format!("SELECT {} FROM bars{filter}", columns.join(", ")), has_indicator)
}

/// A window expression, and whether it is an indicator.
fn column(random: &mut Random, window: &str) -> (String, bool) {
    let series = ["open", "high", "low", "close", "volume"];
    let kind = random.below(10);
    let text = match kind {
        0 | 1 => {
            let function = *random.pick(&["avg", "sum", "min", "max", "count", "stddev", "stddev_pop"]);
            let frame = match random.below(3) {
                0 => "UNBOUNDED".to_owned(),
                _ => random.below(30).to_string(),
            };
            let input = random.pick(&series);
            format!("{function}({input}) OVER ({window} ROWS BETWEEN {frame} PRECEDING AND CURRENT ROW)")
        }
        2 => {
            let function = *random.pick(&["lag", "lead", "lag"]);
            let input = *random.pick(&["close", "symbol", "date", "volume"]);
            format!("{function}({input}, {}) OVER ({window})", random.below(4))
        }
        3..=5 => {
            let period = 1 + random.below(20);
            let name = *random.pick(&["sma", "ema", "wma", "mom", "roc"]);
            format!("{name}({}, {period}) OVER ({window})", random.pick(&series[..4]))
        }
        _ => {
            let definitions: Vec<&Definition> = catalogue().iter().collect();
            let definition = *random.pick(&definitions);
            let mut call = crate::indicator::sample::sample_call(definition);
            if !definition.parameters.is_empty() && random.chance(60) {
                // Other periods, as far as they are all of one kind.
                let shown: Vec<String> = definition
                    .parameters
                    .iter()
                    .map(|parameter| match &parameter.domain {
                        Domain::Integer { min, max, default } => {
                            let period = (default / 2 + random.below(5) as i32).clamp(*min, *max);
                            period.to_string()
                        }
                        Domain::Real { default, .. } => format!("{default:?}"),
                        Domain::Choice { default, .. } => default.to_string(),
                    })
                    .collect();
                call = format!("{}, {})", call.trim_end_matches(')'), shown.join(", "));
                // A scaled argument ends with a parenthesis of its own.
                if call.matches('(').count() != call.matches(')').count() {
                    call = crate::indicator::sample::sample_call(definition);
                }
            }
            match definition.outputs.as_slice() {
                [_] => format!("{call} OVER ({window})"),
                many => format!("({call} OVER ({window}))['{}']", random.pick(many).name),
            }
        }
    };
    (text, kind > 2)
}

/// Where two results differ, if they do.
fn difference(left: &RecordBatch, right: &RecordBatch) -> Option<String> {
    if left.schema() != right.schema() || left.num_rows() != right.num_rows() {
        return Some(format!(
            "{} rows of {:?}, {} of {:?}",
            left.num_rows(),
            left.schema(),
            right.num_rows(),
            right.schema()
        ));
    }
    for (at, field) in left.schema().fields().iter().enumerate() {
        let (ours, theirs) = (left.column(at), right.column(at));
        for row in 0..left.num_rows() {
            let is_same = match field.data_type() {
                DataType::Float64 => {
                    let (ours, theirs) = (ours.as_primitive::<Float64Type>(), theirs.as_primitive::<Float64Type>());
                    match (ours.is_valid(row), theirs.is_valid(row)) {
                        (false, false) => true,
                        (true, true) => close(ours.value(row), theirs.value(row)),
                        _ => false,
                    }
                }
                DataType::Int32 => same::<Int32Type>(ours, theirs, row),
                DataType::Int64 => same::<Int64Type>(ours, theirs, row),
                _ => ours.slice(row, 1) == theirs.slice(row, 1),
            };
            if !is_same {
                let text = |it: &ArrayRef| arrow::util::display::array_value_to_string(it, row).unwrap();
                return Some(format!("`{}`, row {row}: `{}` and `{}`", field.name(), text(ours), text(theirs)));
            }
        }
    }
    None
}

fn same<T: arrow::datatypes::ArrowPrimitiveType>(ours: &ArrayRef, theirs: &ArrayRef, row: usize) -> bool {
    let (ours, theirs) = (ours.as_primitive::<T>(), theirs.as_primitive::<T>());
    ours.is_valid(row) == theirs.is_valid(row) && (ours.is_null(row) || ours.value(row) == theirs.value(row))
}

fn close(ours: f64, theirs: f64) -> bool {
    ours == theirs
        || (ours.is_nan() && theirs.is_nan())
        || (ours - theirs).abs() <= 1e-9 * (1.0 + ours.abs().max(theirs.abs()))
}

/// What a case found.
#[derive(Debug, Default)]
struct Found {
    has_operator: bool,
    difference: Option<String>,
}

async fn check(number: u64) -> Found {
    let case = Case::new(number);
    let (ours, plan) = case.run(true, false).await;
    let (theirs, _) = case.run(false, false).await;
    let mut found = Found { has_operator: plan.contains("SymbolWindowExec"), difference: None };
    found.difference = match (&ours, &theirs) {
        (Ok(ours), Ok(theirs)) => difference(ours, theirs),
        // Of several reasons either may be named first.
        (Err(ours), Err(theirs)) => {
            [ours, theirs].into_iter().find(|it| !is_known(&it.to_string())).map(|it| format!("no such error: {it}"))
        }
        (Ok(_), Err(error)) => Some(format!("only the operator has no error: {error}")),
        (Err(error), Ok(_)) => Some(format!("only the operator fails: {error}")),
    };
    if found.difference.is_none()
        && let Ok(theirs) = &theirs
    {
        // On trust the answer is the same, or the order was broken.
        found.difference = match case.run(true, true).await.0 {
            Ok(trusted) => difference(&trusted, theirs).map(|it| format!("on trust: {it}")),
            Err(error) if OutOfOrder::is_in(&error) && !(case.is_in_order && plan_streams(&case)) => None,
            Err(error) => Some(format!("on trust: {error}")),
        };
    }
    found.difference = found.difference.map(|it| format!("case {number}: {it}\n{case:?}\n{plan}", case = Shown(&case)));
    found
}

/// Errors that these queries and rows may have.
fn is_known(error: &str) -> bool {
    ["have the same order key", "no valid combination", "of the intervals", "Cast error"]
        .iter()
        .any(|it| error.contains(it))
}

/// Whether every function can go piece by piece, or every series stands together.
fn plan_streams(case: &Case) -> bool {
    case.order == Order::Grouped && !case.sql.contains("date ORDER")
}

struct Shown<'a>(&'a Case);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let case = self.0;
        write!(
            f,
            "{}\n{:?}, batches of {}, {} of {} partitions, {} bytes",
            case.sql,
            case.order,
            case.batch_size,
            case.partitions.len(),
            case.target_partitions,
            case.memory
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differential() {
    if let Some(number) = std::env::var("STOCKFLOW_CASE").ok().and_then(|it| it.parse().ok()) {
        let found = check(number).await;
        assert!(found.difference.is_none(), "{}", found.difference.unwrap());
        return;
    }
    let n: u64 = std::env::var("STOCKFLOW_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(500);
    let tasks = (0..2).map(|half| {
        tokio::spawn(async move {
            let (mut with_operator, mut differences) = (0, Vec::new());
            for number in (0..n).filter(|it| it % 2 == half) {
                let found = check(number).await;
                with_operator += u64::from(found.has_operator);
                differences.extend(found.difference);
            }
            (with_operator, differences)
        })
    });
    let (mut with_operator, mut differences) = (0, Vec::new());
    for task in tasks.collect::<Vec<_>>() {
        let (n, found) = task.await.unwrap();
        with_operator += n;
        differences.extend(found);
    }
    differences.truncate(10);
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(with_operator * 10 >= n * 8, "{with_operator} of {n} plans have the operator");
}

/// The test of the test: a kernel that is off by one is found.
#[tokio::test(flavor = "current_thread")]
async fn a_wrong_kernel_is_found() {
    PLANTED.set(true);
    let mut found = None;
    for number in 0..200 {
        let case = Case::new(number);
        if case.sql.contains("sma(") {
            found = check(number).await.difference;
        }
        if found.is_some() {
            break;
        }
    }
    PLANTED.set(false);
    assert!(found.is_some_and(|it| it.contains("sma(")), "an `sma` that is off by one went unnoticed");
}
