//! What a user can write, and that it gives the same numbers however the rows come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::prelude::{SessionConfig, col};

use super::data::{table, wave};
use super::{assert_close, numbers, outputs, query, session, session_with};
use crate::indicator::sample::{sample_select, sample_select_flat};
use crate::indicator::sql::{call_of_window, expr_fn};
use crate::indicator::{IndicatorSpec, catalogue, parse_list};

const OVER: &str = "OVER (PARTITION BY symbol ORDER BY ts)";

fn bars() -> RecordBatch {
    table(&[("A", &wave(150, 1)), ("B", &wave(40, 2)), ("C", &wave(1, 3))])
}

/// Both expressions give the same numbers.
async fn check_same(left: &str, right: &str) {
    let session = session(bars());
    let result = query(&session, &format!("SELECT {left} AS l, {right} AS r FROM bars ORDER BY symbol, ts")).await;
    let (left_values, right_values) = (numbers(result.column(0)), numbers(result.column(1)));
    assert!(left_values.iter().any(Option::is_some), "{left} is all NULL");
    assert_close(&format!("{left} and {right}"), &left_values, &right_values);
}

#[tokio::test]
async fn parameters_may_be_left_out_named_or_cast() {
    check_same(&format!("rsi(close) {OVER}"), &format!("rsi(close, 14) {OVER}")).await;
    check_same(&format!("rsi(close, timeperiod => 9) {OVER}"), &format!("rsi(close, 9) {OVER}")).await;
    check_same(&format!("rsi(close, 9.0) {OVER}"), &format!("rsi(close, CAST(9 AS SMALLINT)) {OVER}")).await;
    check_same(
        &format!("apo(close, 3, slowperiod => 7, matype => 'sma') {OVER}"),
        &format!("apo(close, 3, 7, 0) {OVER}"),
    )
    .await;
    check_same(&format!("atr(high, low, close => close) {OVER}"), &format!("atr(high, low, close) {OVER}")).await;
    check_same(&format!("sarext(high, low, -1) {OVER}"), &format!("sarext(high, low, -1.0, 0) {OVER}")).await;
}

#[tokio::test]
async fn names_in_any_case_and_with_the_prefix() {
    check_same(&format!("RSI(close) {OVER}"), &format!("ta_rsi(close) {OVER}")).await;
    check_same(&format!("ta_sum(close, 2) {OVER}"), &format!("close + lag(close) {OVER}")).await;
    let session = session(bars());
    let sql =
        format!("SELECT cdl_doji(open, high, low, close) {OVER}, cdldoji(open, high, low, close) {OVER} FROM bars");
    let result = query(&session, &sql).await;
    assert_eq!(result.column(0), result.column(1));
}

#[tokio::test]
async fn sql_keeps_its_own_names() {
    let session = session(bars());
    let sql = format!(
        "SELECT sum(close) {OVER} AS s, stddev(close) {OVER} AS d, max(close) {OVER} AS m, ln(close) AS l, close FROM bars WHERE symbol = 'A' ORDER BY ts"
    );
    let result = query(&session, &sql).await;
    let close = numbers(result.column(4));
    assert_eq!(numbers(result.column(0))[0], close[0], "sum over one row is that row, not NULL");
    assert_eq!(numbers(result.column(3))[0], close[0].map(f64::ln));
    let two = [close[0].unwrap(), close[1].unwrap()];
    let sample = (two[0] - two[1]).abs() / 2f64.sqrt();
    assert!((numbers(result.column(1))[1].unwrap() - sample).abs() < 1e-9, "the sample's standard deviation");
}

#[tokio::test]
async fn every_numeric_type_is_coerced() {
    for sql_type in ["REAL", "INT", "BIGINT UNSIGNED", "DECIMAL(18, 2)", "SMALLINT"] {
        let cast = format!(
            "(SELECT symbol, ts, CAST(close AS {sql_type}) AS x, CAST(CAST(close AS {sql_type}) AS DOUBLE) AS y FROM bars)"
        );
        let sql = format!("SELECT sma(x, 3) {OVER}, sma(y, 3) {OVER} FROM {cast} ORDER BY symbol, ts");
        let result = query(&session(bars()), &sql).await;
        assert_close(sql_type, &numbers(result.column(0)), &numbers(result.column(1)));
        assert_eq!(result.column(0).null_count(), 5);
    }
    let session = session(bars());
    let result = query(&session, &format!("SELECT sma(NULL, 3) {OVER} AS n FROM bars")).await;
    assert_eq!(result.column(0).null_count(), 191);
}

#[tokio::test]
async fn several_outputs_are_one_struct_that_is_computed_once() {
    check_same(
        &format!("(macd(close) {OVER})['macd'] - (macd(close) {OVER})['signal']"),
        &format!("(macd(close) {OVER})['hist']"),
    )
    .await;
    check_same(&format!("macd(close, 5, 9) {OVER} ['signal']"), &format!("(macd(close, 5, 9) {OVER})['signal']")).await;
    let session = session(bars());
    let sql = format!("SELECT (macd(close) {OVER})['macd'], (macd(close) {OVER})['hist'] FROM bars");
    let plan = session.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
    let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
    let (_, functions) = text.split_once("functions=[").unwrap();
    assert_eq!(functions.matches("macd(bars.close)").count(), 1, "{text}");
}

#[tokio::test]
async fn the_whole_struct_is_null_where_nothing_was_computed() {
    let session = session(bars());
    let sql = format!(
        "SELECT m IS NULL AS n FROM (SELECT symbol, ts, macd(close) {OVER} AS m FROM bars) WHERE symbol = 'A' ORDER BY ts"
    );
    let result = query(&session, &sql).await;
    let n_null = result.column(0).as_boolean().true_count();
    assert_eq!(n_null, 33);
}

#[tokio::test]
async fn column_names_are_those_that_were_written() {
    let session = session(bars());
    let sql = format!("SELECT rsi(close, 14) {OVER} FROM bars");
    let frame = session.sql(&sql).await.unwrap();
    let name = frame.schema().field(0).name().clone();
    assert!(name.starts_with("rsi(bars.close,Int64(14)) PARTITION BY [bars.symbol]"), "{name}");
    let batch = &frame.collect().await.unwrap()[0];
    assert_eq!(batch.schema().field(0).name(), &name);
    let frame = session.sql(&sql).await.unwrap().filter(col(format!("\"{name}\"")).is_not_null()).unwrap();
    assert_eq!(frame.count().await.unwrap(), 150 - 14 + 40 - 14);
}

#[tokio::test]
async fn subqueries_views_qualify_and_other_window_functions() {
    let session = session(bars());
    query(&session, &format!("CREATE VIEW v AS SELECT symbol, ts, rsi(close) {OVER} AS r FROM bars")).await;
    let n = |sql: String| {
        let session = &session;
        async move { query(session, &sql).await.num_rows() }
    };
    assert_eq!(n("SELECT * FROM v WHERE r IS NOT NULL AND symbol = 'B'".into()).await, 26);
    assert_eq!(n(format!("SELECT symbol, ts FROM bars QUALIFY rsi(close) {OVER} IS NOT NULL")).await, 162);
    assert_eq!(
        n(format!("SELECT lag(close) {OVER}, row_number() {OVER}, avg(close) {OVER}, sma(close, 2) {OVER} FROM bars"))
            .await,
        191
    );
    assert_eq!(
        n(format!("SELECT sma(x, 2) {OVER} FROM (SELECT symbol, ts, ema(close, 3) {OVER} AS x FROM bars)")).await,
        191
    );
    assert_eq!(n(format!("SELECT rsi(close) {OVER} AS r FROM bars ORDER BY symbol, ts LIMIT 3")).await, 3);
}

#[tokio::test]
async fn a_prepared_parameter_is_a_literal_when_it_counts() {
    let session = session(bars());
    let prepare = format!("PREPARE p(BIGINT) AS SELECT rsi(close, $1) {OVER} AS r FROM bars ORDER BY symbol, ts");
    session.sql(&prepare).await.unwrap().collect().await.unwrap();
    let prepared = query(&session, "EXECUTE p(9)").await;
    let plain = query(&session, &format!("SELECT rsi(close, 9) {OVER} AS r FROM bars ORDER BY symbol, ts")).await;
    assert_close("rsi", &numbers(prepared.column(0)), &numbers(plain.column(0)));
}

#[tokio::test]
async fn a_call_without_a_window_is_refused_and_there_is_a_hint() {
    let session = session(bars());
    let error = session.sql("SELECT rsi(close) FROM bars").await.unwrap_err();
    let hint = crate::indicator::sql::hint(&error).unwrap();
    assert_eq!(hint, "`rsi` needs a window: rsi(close) OVER (PARTITION BY symbol ORDER BY ts)");
    let error = session.sql("SELECT nonsense(close) FROM bars").await.unwrap_err();
    assert_eq!(crate::indicator::sql::hint(&error), None);
}

#[tokio::test]
async fn functions_are_shown() {
    let config = SessionConfig::new().with_information_schema(true);
    let session = session_with(config, vec![vec![bars()]]);
    let names = "SELECT DISTINCT routine_name FROM information_schema.routines WHERE routine_name IN ('rsi', 'ta_rsi', 'ta_sum')";
    assert!(query(&session, names).await.num_rows() >= 2);
    assert!(session.sql("SHOW FUNCTIONS").await.unwrap().collect().await.is_ok());
}

/// The numbers do not depend on batch size, number of cores, or the order in which rows come.
#[tokio::test]
async fn the_whole_catalogue_in_one_query_however_the_rows_come() {
    let bars = bars();
    let sql =
        format!("{} ORDER BY symbol, ts", sample_select(&["symbol", "ts"], "bars", "PARTITION BY symbol ORDER BY ts"));
    let started = Instant::now();
    let whole = query(&session(bars.clone()), &sql).await;
    assert!(started.elapsed() < Duration::from_secs(60), "{:?} for 237 functions", started.elapsed());
    assert_eq!((whole.num_rows(), whole.num_columns()), (191, 239));

    let reversed = {
        let n = bars.num_rows() as u32;
        let order = (0..n).rev().collect::<arrow::array::UInt32Array>();
        arrow::compute::take_record_batch(&bars, &order).unwrap()
    };
    let pieces: Vec<Vec<RecordBatch>> = (0..4)
        .map(|p| {
            (0..48)
                .step_by(7)
                .filter_map(|i| {
                    let from = p * 48 + i;
                    let n = 7.min(48 - i).min(reversed.num_rows().saturating_sub(from));
                    (n > 0).then(|| reversed.slice(from, n))
                })
                .collect()
        })
        .collect();
    for (batch_size, cores) in [(3, 1), (64, 4)] {
        let config = SessionConfig::new().with_batch_size(batch_size).with_target_partitions(cores);
        let other = query(&session_with(config, pieces.clone()), &sql).await;
        for (index, field) in whole.schema().fields().iter().enumerate().skip(2) {
            for (ours, theirs) in outputs(other.column(index)).iter().zip(outputs(whole.column(index))) {
                assert_close(field.name(), &numbers(ours), &numbers(&theirs));
            }
        }
    }
}

#[tokio::test]
async fn one_symbol_alone_has_the_values_that_it_has_among_others() {
    let sql = |table: &str| format!("{} ORDER BY ts", sample_select(&["ts"], table, "PARTITION BY symbol ORDER BY ts"));
    let among = query(&session(bars()), &sql("bars").replace("SELECT ts", "SELECT symbol, ts")).await;
    let alone =
        query(&session(table(&[("B", &wave(40, 2))])), &sql("bars").replace("SELECT ts", "SELECT symbol, ts")).await;
    let is_b = among
        .column(0)
        .as_string::<i32>()
        .iter()
        .map(|it| it.map(|it| it == "B"))
        .collect::<arrow::array::BooleanArray>();
    let among = arrow::compute::filter_record_batch(&among, &is_b).unwrap();
    for index in 2..among.num_columns() {
        for (ours, theirs) in outputs(among.column(index)).iter().zip(outputs(alone.column(index))) {
            assert_close(among.schema().field(index).name(), &numbers(ours), &numbers(&theirs));
        }
    }
}

#[tokio::test]
async fn every_example_of_the_catalogue_runs() {
    let session = session(bars());
    for definition in catalogue() {
        let result = query(&session, &definition.sql_example()).await;
        assert_eq!(
            (result.num_rows(), result.num_columns()),
            (191, 2 + definition.outputs.len()),
            "{}",
            definition.name
        );
    }
}

#[tokio::test]
async fn expressions_equal_sql_and_columns_are_named() {
    let session = session(bars());
    let specs =
        parse_list(&["sma(20)", "macd", "rsi(14)", "bbands(20, 2.5)", "obv", "ema(12, input = high)", "sum(5)"])
            .unwrap();
    let mut exprs = vec![col("symbol"), col("ts")];
    for spec in &specs {
        exprs.extend(expr_fn::columns(spec).unwrap());
    }
    let frame = session.table("bars").await.unwrap().select(exprs).unwrap();
    let frame = frame.sort(vec![col("symbol").sort(true, false), col("ts").sort(true, false)]).unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let ours = arrow::compute::concat_batches(&schema, &frame.collect().await.unwrap()).unwrap();
    let names: Vec<_> = schema.fields().iter().skip(2).map(|it| it.name().clone()).collect();
    assert_eq!(names, specs.iter().flat_map(IndicatorSpec::columns).collect::<Vec<_>>());
    let sql = format!(
        "SELECT sma(close, 20) {OVER}, (macd(close) {OVER})['macd'], (macd(close) {OVER})['signal'], (macd(close) {OVER})['hist'], \
         rsi(close, 14) {OVER}, (bbands(close, 20, 2.5) {OVER})['upper'], (bbands(close, 20, 2.5) {OVER})['middle'], \
         (bbands(close, 20, 2.5) {OVER})['lower'], obv(close, volume) {OVER}, ema(high, 12) {OVER}, ta_sum(close, 5) {OVER} \
         FROM bars ORDER BY symbol, ts"
    );
    let theirs = query(&session, &sql).await;
    for (index, name) in names.iter().enumerate() {
        assert_close(name, &numbers(ours.column(index + 2)), &numbers(theirs.column(index)));
    }
}

#[tokio::test]
async fn flat_samples_are_the_fields_of_the_structs() {
    let session = session(bars());
    let window = "PARTITION BY symbol ORDER BY ts";
    let flat = query(
        &session,
        &format!(
            "{} ORDER BY symbol, ts",
            sample_select_flat(&["ts"], "bars", window).replace("SELECT ts", "SELECT symbol, ts")
        ),
    )
    .await;
    let whole =
        query(&session, &format!("{} ORDER BY symbol, ts", sample_select(&["symbol", "ts"], "bars", window))).await;
    let fields: Vec<_> = whole.columns()[2..].iter().flat_map(outputs).collect();
    assert_eq!(fields.len(), flat.num_columns() - 2);
    for (flat, field) in flat.columns()[2..].iter().zip(&fields) {
        assert_close("flat", &numbers(flat), &numbers(field));
    }
}

/// Keys of all calls in the physical plan, in its order.
async fn keys(sql: &str) -> Vec<String> {
    let plan = session(bars()).sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let mut keys = Vec::new();
    let mut rest = vec![plan];
    while let Some(node) = rest.pop() {
        let ours = node.downcast_ref::<crate::window::SymbolWindowExec>().map(|it| it.window_expr());
        let theirs = node.downcast_ref::<datafusion::physical_plan::windows::WindowAggExec>();
        if let Some(exprs) = ours.or(theirs.map(|it| it.window_expr())) {
            for expr in exprs {
                let (call, stamp) = call_of_window(expr.as_ref()).unwrap().unwrap();
                let stamp = stamp.unwrap();
                assert!(stamp.key.starts_with(&call.definition().name), "{}", stamp.key);
                assert!(stamp.n_order >= 1 && stamp.has_interval);
                keys.push(stamp.key);
            }
        }
        rest.extend(node.children().into_iter().cloned());
    }
    keys
}

#[tokio::test]
async fn keys_are_stable_and_tell_calls_apart() {
    let one = keys(&format!("SELECT rsi(close) {OVER} AS a FROM bars")).await;
    assert_eq!(one.len(), 1);
    let same = format!(
        "SELECT s, a + 1 FROM (SELECT symbol AS s, rsi(close) {OVER} AS a, open FROM bars) WHERE s > 'A' ORDER BY a"
    );
    assert_eq!(keys(&same).await, one);
    let other = keys(&format!(
        "SELECT rsi(close, 9) {OVER}, rsi(open) {OVER}, rsi(close) OVER (ORDER BY symbol, ts) AS x FROM bars"
    ))
    .await;
    assert_eq!(other.len(), 3);
    assert_eq!(other.iter().chain(&one).collect::<std::collections::HashSet<_>>().len(), 4);
}

#[test]
fn helpers_fit_the_catalogue() {
    for (name, n_inputs, parameters) in expr_fn::HELPERS {
        let definition = catalogue().get(name).unwrap();
        let names: Vec<_> = definition.parameters.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((definition.inputs.len(), &names[..parameters.len()]), (*n_inputs, *parameters), "{name}");
    }
    assert!(expr_fn::rsi(col("close"), 1).is_err() && expr_fn::rsi(col("close"), 2).is_ok());
    assert!(expr_fn::call("atr", vec![col("close")], &[]).is_err());
}

#[tokio::test]
async fn null_and_nan_rows_are_skipped_in_sql_too() {
    let session = session(bars());
    let holed = "(SELECT symbol, ts, CASE WHEN CAST(volume AS BIGINT) % 5 = 0 THEN NULL WHEN CAST(volume AS BIGINT) % 5 = 1 THEN CAST('NaN' AS DOUBLE) ELSE close END AS x FROM bars)";
    let with_holes = format!("SELECT symbol, ts, x, rsi(x, 3) {OVER} AS r FROM {holed} ORDER BY symbol, ts");
    let without =
        format!("SELECT rsi(x, 3) {OVER} AS r FROM {holed} WHERE x IS NOT NULL AND NOT isnan(x) ORDER BY symbol, ts");
    let (with_holes, without) = (query(&session, &with_holes).await, query(&session, &without).await);
    let x = cast(with_holes.column(2), &DataType::Float64).unwrap();
    let kept = numbers(&x).into_iter().zip(numbers(with_holes.column(3)));
    let (holes, kept): (Vec<_>, Vec<_>) = kept.partition(|(x, _)| x.is_none_or(f64::is_nan));
    assert!(holes.len() > 40 && holes.iter().all(|(_, r)| r.is_none()));
    assert_close("rsi", &kept.into_iter().map(|it| it.1).collect::<Vec<_>>(), &numbers(without.column(0)));
}
