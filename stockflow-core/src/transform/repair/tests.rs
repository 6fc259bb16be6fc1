#![allow(clippy::unwrap_used, clippy::panic)]

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use chrono::{Datelike, NaiveDate};

use super::*;
use crate::transform::testing::{apply, bars, csv, epoch, inputs, normalized, notes, refused, relation, table};
use crate::transform::{Adjust, Interval, Normalize};

const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";
const N_DAYS: usize = 40;

/// The n-th weekday from the second of January 2024 on.
fn day(n: usize) -> NaiveDate {
    let first = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap();
    first.iter_days().filter(|it| it.weekday().number_from_monday() < 6).nth(n).unwrap()
}

/// A calm price.
fn price(n: usize) -> f64 {
    50.0 + [0.0, 0.25, -0.5, 0.75, 0.5][n % 5]
}

/// A series in CSV; `change` may break open, high, low, close, volume and adjusted close of a day.
fn series(symbol: &str, change: impl Fn(usize, &mut [f64; 6])) -> String {
    let row = |n: usize| {
        let close = price(n);
        let mut cells = [close - 0.25, close + 0.5, close - 0.5, close, 1000.0, close];
        change(n, &mut cells);
        let cells = cells.map(|it| it.to_string()).join(",");
        format!("{symbol},{},{cells}\n", day(n))
    };
    (0..N_DAYS).map(row).collect()
}

fn times(cells: &mut [f64; 6], columns: &[usize], factor: f64) {
    columns.iter().for_each(|it| cells[*it] *= factor);
}

const PRICES: [usize; 5] = [0, 1, 2, 3, 5];

#[tokio::test]
async fn values_of_another_type_are_refused_and_not_rounded() {
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{}", series("A", |_, _| {}))).await;
    let columns: Vec<_> = input
        .schema()
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "volume" => cast(column("volume"), DataType::Int64).alias("volume"),
            name => column(name).alias(name),
        })
        .collect();
    let whole = Relation::new(input.frame.select(columns).unwrap());
    let said = refused(&Repair::new(), &epoch, whole).await;
    assert!(said.contains("`volume` is Int64, and not Float64; put `normalize` before it"), "{said}");
}

/// Runs over rows on a basis, with actions.
async fn run_on(repair: Repair, basis: Basis, rows: &str, actions: &str) -> Outputs {
    let epoch = epoch();
    let input = normalized(&epoch, Normalize::new().with_basis(basis), &format!("{HEADER}\n{rows}")).await;
    let header = "symbol,date,kind,value,numerator,denominator";
    let actions = relation(&epoch, vec![csv(&format!("{header}\n{actions}"), false)]);
    let inputs = Relations::new("input", BTreeMap::from([("input".into(), input), ("actions".into(), actions)]));
    repair.with_actions("actions").apply(&inputs, &epoch).await.unwrap()
}

async fn run(repair: Repair, rows: &str) -> Outputs {
    run_on(repair, Basis::Split, rows, "").await
}

fn frame(outputs: &Outputs) -> &DataFrame {
    &outputs.output.as_ref().unwrap().frame
}

/// The repairs as text: column, rule, before and after of each.
async fn repairs(outputs: &Outputs) -> Vec<String> {
    table(&outputs.others[REPAIRS].frame, &["symbol", "date", "column", "step", "rule", "before", "after"]).await
}

/// The closes of a symbol in order of time.
async fn closes(outputs: &Outputs, symbol: &str) -> Vec<Option<f64>> {
    let rows = frame(outputs).clone().filter(column("symbol").eq(lit(symbol))).unwrap();
    let rows = rows.sort(vec![ascending(column("ts"))]).unwrap().select(columns(["close"])).unwrap();
    let batches = rows.collect().await.unwrap();
    let of = |it: &arrow::array::RecordBatch| it.column(0).as_primitive::<Float64Type>().iter().collect::<Vec<_>>();
    batches.iter().flat_map(of).collect()
}

async fn all(outputs: &Outputs) -> Vec<String> {
    let schema = outputs.output.as_ref().unwrap().schema();
    let names: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
    table(frame(outputs), &names).await
}

#[tokio::test]
async fn prices_in_another_unit_are_brought_back_and_recorded() {
    let rows = series("A", |n, cells| {
        if n == 7 {
            times(cells, &PRICES, 0.01)
        }
    });
    let outputs = run(Repair::new(), &rows).await;
    let mended = closes(&outputs, "A").await[7].unwrap();
    assert!((mended / price(7) - 1.0).abs() < 1e-12, "{mended}");
    let found = repairs(&outputs).await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[1], "A 2024-01-11 close 1 unit 0.495 49.5");
    let told = table(&outputs.others[REPAIRS].frame, &["interval", "ts", "reason"]).await;
    assert_eq!(told[0], "1d 2024-01-11T00:00:00Z 100 times too small: in another unit than the series");
    assert!(notes(&outputs).await.contains(&"repair.unit A 5 info".to_string()));
    for without in [Repair::new().without(RepairRule::Unit), Repair::new().with_rules([])] {
        let outputs = run(without, &rows).await;
        assert_eq!(closes(&outputs, "A").await[7], Some(0.495));
        assert_eq!(repairs(&outputs).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_split_that_was_not_applied_is_applied_on_either_basis() {
    let action = format!("A,{},split,,10,1\n", day(20));
    // What Yahoo serves on today's terms, but for the days 5 to 8.
    let is_wrong = |n: usize| (5..9).contains(&n);
    let served = series("A", |n, cells| {
        if is_wrong(n) {
            times(cells, &PRICES, 10.0);
            cells[4] /= 10.0;
        }
    });
    let outputs = run_on(Repair::new(), Basis::Split, &served, &action).await;
    for (n, close) in closes(&outputs, "A").await.into_iter().enumerate() {
        assert!((close.unwrap() / price(n) - 1.0).abs() < 1e-12, "{n}: {close:?}");
    }
    assert_eq!(repairs(&outputs).await.len(), 4 * 6);
    // The same with its split undone.
    let traded = series("A", |n, cells| {
        let by = if is_wrong(n) {
            100.0
        } else if n < 20 {
            10.0
        } else {
            1.0
        };
        times(cells, &[0, 1, 2, 3], by);
        cells[4] /= by;
        if is_wrong(n) {
            cells[5] *= 10.0;
        }
    });
    let outputs = run_on(Repair::new(), Basis::Raw, &traded, &action).await;
    for (n, close) in closes(&outputs, "A").await.into_iter().enumerate() {
        let expected = price(n) * if n < 20 { 10.0 } else { 1.0 };
        assert!((close.unwrap() / expected - 1.0).abs() < 1e-12, "{n}: {close:?}");
    }
    let found = repairs(&outputs).await;
    assert_eq!(found.len(), 4 * 6, "{found:?}");
    let without =
        run_on(Repair::new().without(RepairRule::Split).without(RepairRule::Unit), Basis::Raw, &traded, &action);
    assert_eq!(repairs(&without.await).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_series_as_traded_with_a_split_is_no_error() {
    let traded = series("A", |n, cells| {
        if n < 20 {
            times(cells, &[0, 1, 2, 3], 10.0)
        }
    });
    let outputs = run_on(Repair::new(), Basis::Raw, &traded, &format!("A,{},split,,10,1\n", day(20))).await;
    assert_eq!(repairs(&outputs).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dividend_that_the_adjusted_close_lacks_is_put_in() {
    let action = format!("A,{},dividend,0.5,,\n", day(20));
    let rows = series("A", |_, _| {});
    let outputs = run_on(Repair::new(), Basis::Raw, &rows, &action).await;
    let found = repairs(&outputs).await;
    assert_eq!(found.len(), 20, "{found:?}");
    assert!(found.iter().all(|it| it.contains(" adj_close 1 dividend ")), "{found:?}");
    // Day 19 is the one before the ex-date.
    let factor = 1.0 - 0.5 / price(19);
    assert_eq!(found[19], format!("A {} adj_close 1 dividend {:?} {:?}", day(19), price(19), price(19) * factor));
    let without = run_on(Repair::new().without(RepairRule::Dividend), Basis::Raw, &rows, &action).await;
    assert_eq!(repairs(&without).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_wrong_with_an_action_is_told_on_its_own_terms() {
    // In the other unit, and before a split of two: on today's terms 0.125 and 12.5.
    let stated = 25.0;
    let action = format!("A,{},dividend,{stated},,\nA,{},split,,2,1\n", day(20), day(30));
    let rows = series("A", |n, cells| {
        if n < 20 {
            cells[5] *= 1.0 - 0.125 / price(19);
        }
        if n < 30 {
            times(cells, &[0, 1, 2, 3], 2.0);
        }
    });
    let outputs = run_on(Repair::new(), Basis::Raw, &rows, &action).await;
    assert_eq!(repairs(&outputs).await, [format!("A {} dividend 1 dividend 25.0 0.25", day(20))]);
}

#[tokio::test]
async fn zeros_are_marked_as_missing_and_nothing_is_made_up() {
    let rows = series("A", |n, cells| {
        if n == 7 {
            *cells = [0.0; 6]
        }
    });
    let outputs = run(Repair::new(), &rows).await;
    assert_eq!(closes(&outputs, "A").await[7], None);
    let found = repairs(&outputs).await;
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[0], "A 2024-01-11 adj_close 1 gap 0.0");
    let without = run(Repair::new().without(RepairRule::Gap), &rows).await;
    assert_eq!(closes(&without, "A").await[7], Some(0.0));
    assert_eq!(repairs(&without).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_day_is_put_together_of_its_hours() {
    let epoch = epoch();
    let lost = |n: usize| n == 7;
    let mut text = String::from("Ticker,Interval,Datetime,Open,High,Low,Close,Volume,Adj Close\n");
    for n in 0..N_DAYS {
        let (date, close) = (day(n), price(n));
        let prices =
            if lost(n) { ",,,,,".into() } else { format!("{0},{1},{2},{0},300,{0}", close, close + 1.0, close - 1.0) };
        text += &format!("A,1d,{date} 00:00:00,{prices}\n");
        text += &format!("A,1h,{date} 14:30:00,{close},{},{close},{close},100,\n", close + 1.0);
        text += &format!("A,1h,{date} 15:30:00,{close},{close},{},{close},200,\n", close - 1.0);
    }
    let input = bars(&epoch, &text).await;
    let outputs = apply(&Repair::new(), &epoch, input).await;
    let found =
        table(&outputs.others[REPAIRS].frame, &["interval", "date", "column", "reason", "before", "after"]).await;
    let expected = [
        "adj_close the factor of adjustment is the same before and after  49.5",
        "close made of finer bars  49.5",
        "high made of finer bars  50.5",
        "low made of finer bars  48.5",
        "open made of finer bars  49.5",
        "volume made of finer bars  300.0",
    ];
    assert_eq!(found, expected.map(|it| format!("1d 2024-01-11 {it}")));
}

#[tokio::test]
async fn bars_on_days_without_trade_go_and_are_recorded() {
    // Martin Luther King's day.
    let holiday = (0..N_DAYS).position(|n| day(n) == NaiveDate::from_ymd_opt(2024, 1, 15).unwrap()).unwrap();
    let rows = series("A", |_, _| {});
    let outputs = run(Repair::new().with_calendar("NYSE"), &rows).await;
    // The 19th of February is a holiday, too.
    assert_eq!(closes(&outputs, "A").await.len(), N_DAYS - 2);
    let found = repairs(&outputs).await;
    assert_eq!(found[0], format!("A 2024-01-15 row 1 calendar {:?}", price(holiday)));
    for kept in [Repair::new(), Repair::new().with_calendar("NYSE").without(RepairRule::Calendar)] {
        assert_eq!(closes(&run(kept, &rows).await, "A").await.len(), N_DAYS);
    }
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{rows}{}", rows.replace("A,", "B,"))).await;
    let names = datafusion::logical_expr::when(column("symbol").eq(lit("A")), lit("XNYS")).end().unwrap();
    let input = input.with_frame(input.frame.clone().with_column("mic", names).unwrap());
    let outputs = apply(&Repair::new().with_exchange_column("mic"), &epoch, input).await;
    assert_eq!((closes(&outputs, "A").await.len(), closes(&outputs, "B").await.len()), (N_DAYS - 2, N_DAYS));
}

#[tokio::test]
async fn a_good_series_stays_bit_for_bit_and_another_symbol_is_not_touched() {
    let good = series("GOOD", |_, _| {});
    let rows = good.clone()
        + &series("BAD", |n, cells| {
            if n == 7 {
                times(cells, &PRICES, 100.0)
            }
        });
    let alone = run_on(Repair::new(), Basis::Raw, &good, "").await;
    assert_eq!(repairs(&alone).await, Vec::<String>::new());
    let epoch = epoch();
    let input = normalized(&epoch, Normalize::new().with_basis(Basis::Raw), &format!("{HEADER}\n{good}")).await;
    let before = Outputs::one(input.clone());
    assert_eq!(all(&alone).await, all(&before).await);
    assert_eq!(alone.output.as_ref().unwrap().schema(), input.schema());
    let actions = format!("GOOD,{},split,,3,1\nBAD,{},dividend,,,\n", day(30), day(9));
    let both = run_on(Repair::new(), Basis::Split, &rows, &actions).await;
    let found = repairs(&both).await;
    assert!(found.len() == 5 && found.iter().all(|it| it.starts_with("BAD 2024-01-11 ")), "{found:?}");
}

#[tokio::test]
async fn values_that_were_not_repaired_are_the_same_bit_for_bit() {
    // 1/3 is not to be divided and multiplied again; a factor of 7 would show it.
    let third = |cells: &mut [f64; 6]| times(cells, &[0, 1, 2, 3, 5], 1.0 / 3.0);
    let rows = series("A", |n, cells| {
        third(cells);
        if n < 30 {
            times(cells, &[0, 1, 2, 3], 7.0);
        }
        if n == 7 {
            times(cells, &[0], 100.0);
        }
    });
    let outputs = run_on(Repair::new(), Basis::Raw, &rows, &format!("A,{},split,,7,1\n", day(30))).await;
    assert_eq!(repairs(&outputs).await.len(), 1);
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{rows}")).await;
    let bits = |outputs: Vec<Option<f64>>| outputs.into_iter().map(|it| it.unwrap().to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(closes(&outputs, "A").await), bits(closes(&Outputs::one(input), "A").await));
}

#[tokio::test]
async fn nulls_stay_and_nan_becomes_null() {
    let rows = format!("A,{},,,,,,\nA,{},NaN,2,2,2,NaN,\nA,{},2,2,2,2,1,\n", day(0), day(1), day(2));
    let outputs = run(Repair::new(), &rows).await;
    assert_eq!(closes(&outputs, "A").await, [None, Some(2.0), Some(2.0)]);
    let found = repairs(&outputs).await;
    assert_eq!(found, ["A 2024-01-03 open 1 gap NaN", "A 2024-01-03 volume 1 gap NaN"]);
}

#[tokio::test]
async fn nothing_in_nothing_out() {
    let outputs = run(Repair::new().with_calendar("XNYS"), "").await;
    assert_eq!(all(&outputs).await, Vec::<String>::new());
    assert_eq!(repairs(&outputs).await, Vec::<String>::new());
    let repairs = &outputs.others[REPAIRS];
    assert_eq!((repairs.key.len(), repairs.version.as_deref()), (5, Some("revision")));
    let nullable: Vec<String> =
        repairs.schema().fields().iter().filter(|it| it.is_nullable()).map(|it| it.name().clone()).collect();
    assert_eq!(nullable, ["before", "after"]);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let epoch = epoch();
    let rows = format!("{HEADER}\n{}", series("A", |_, _| {}));
    let input = bars(&epoch, &rows).await;
    let error = refused(&Repair::new().with_calendar("MARS"), &epoch, input.clone()).await;
    assert!(error.contains("MARS"), "{error}");
    let error = refused(&Repair::new().with_actions("nosuch"), &epoch, input.clone()).await;
    assert!(error.contains("nosuch"), "{error}");
    let total = apply(&Adjust::by_ratio(), &epoch, input).await.output.unwrap();
    let outputs = Repair::new().apply(&inputs(total), &epoch).await.unwrap();
    assert!(notes(&outputs).await.contains(&format!("repair.basis A {N_DAYS} fail")));
    assert!("nosuch".parse::<RepairRule>().unwrap_err().chain().join(": ").contains("one of `unit`"));
}

#[tokio::test]
async fn weeks_and_days_of_a_symbol_are_series_of_their_own() {
    let epoch = epoch();
    let text = format!(
        "{HEADER}\n{}",
        series("A", |n, cells| if n == 7 {
            times(cells, &PRICES, 100.0)
        })
    );
    let days = bars(&epoch, &text).await;
    let weeks = normalized(&epoch, Normalize::new().with_interval(Interval::WEEK), &text).await;
    let both = days.with_frame(days.frame.clone().union(weeks.frame.clone()).unwrap());
    let outputs = apply(&Repair::new(), &epoch, both).await;
    let found = table(&outputs.others[REPAIRS].frame, &["interval", "column"]).await;
    assert_eq!(found.iter().filter(|it| it.starts_with("1d ")).count(), 5);
    assert_eq!(found.iter().filter(|it| it.starts_with("1wk ")).count(), 5);
}

#[test]
fn the_definition_tells_what_changes_results() {
    let all = Repair::new().definition();
    assert_eq!(all["rules"].as_array().unwrap().len(), 5);
    for other in [
        Repair::new().without(RepairRule::Gap),
        Repair::new().with_actions("actions"),
        Repair::new().with_calendar("XNYS"),
        Repair::new().with_exchange_column("mic"),
    ] {
        assert_ne!(other.definition(), all);
    }
    assert_eq!(Repair::new().scope(), Scope::Symbol);
}
