#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use datafusion::prelude::ParquetReadOptions;

use super::*;
use crate::schema::Basis;
use crate::transform::testing::{
    EXAMPLES, apply, bars, csv, epoch, example, normalized, refused, relation, shared_file, table,
};
use crate::transform::{Clean, Normalize};

const HEADER: &str = "Ticker,Date,Open,High,Low,Close,Volume,Adj Close";

async fn quality(rows: &str) -> DataFrame {
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{rows}")).await;
    apply(&Quality::new(), &epoch, input).await.output.unwrap().frame
}

/// A bar at one price.
fn bar(symbol: &str, date: &str, price: f64, adjusted: &str) -> String {
    format!("{symbol},{date},{price},{price},{price},{price},10,{adjusted}\n")
}

#[tokio::test]
async fn a_gap_is_a_weekday_on_which_half_of_the_others_have_a_bar() {
    let mut rows = String::new();
    // Monday to Friday, and a Saturday on which only two trade.
    for (symbol, dates) in [
        ("A", vec!["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06", "2024-01-08"]),
        ("B", vec!["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06", "2024-01-08"]),
        ("C", vec!["2024-01-01", "2024-01-03", "2024-01-05", "2024-01-08"]),
        ("LATE", vec!["2024-01-05", "2024-01-08"]),
    ] {
        dates.iter().for_each(|date| rows += &bar(symbol, date, 10.0, ""));
    }
    let frame = quality(&rows).await;
    assert_eq!(
        table(&frame, &["symbol", "rows", "first_date", "last_date", "gaps", "gap_dates", "verdict"]).await,
        [
            "A 7 2024-01-01 2024-01-08 0  ok",
            "B 7 2024-01-01 2024-01-08 0  ok",
            "C 4 2024-01-01 2024-01-08 2 2024-01-02, 2024-01-04 gaps",
            "LATE 2 2024-01-05 2024-01-08 0  ok",
        ]
    );
}

#[tokio::test]
async fn alone_nobody_has_a_gap_and_few_others_make_none() {
    let rows = bar("A", "2024-01-01", 10.0, "") + &bar("A", "2024-01-05", 10.0, "");
    assert_eq!(table(&quality(&rows).await, &["gaps", "verdict"]).await, ["0 ok"]);
    // One of three others trades on the second.
    let mut rows = String::new();
    for symbol in ["A", "B", "C", "D"] {
        rows += &bar(symbol, "2024-01-01", 10.0, "");
        rows += &bar(symbol, "2024-01-03", 10.0, "");
    }
    rows += &bar("A", "2024-01-02", 10.0, "");
    assert_eq!(table(&quality(&rows).await, &["symbol", "gaps"]).await, ["A 0", "B 0", "C 0", "D 0"]);
}

#[tokio::test]
async fn many_gaps_are_counted_and_the_first_five_named() {
    let mut rows = String::new();
    for day in 1..=12 {
        rows += &bar("A", &format!("2024-01-{day:02}"), 10.0, "");
    }
    rows += &(bar("B", "2024-01-01", 10.0, "") + &bar("B", "2024-01-12", 10.0, ""));
    let found = table(&quality(&rows).await, &["symbol", "gaps", "gap_dates"]).await;
    assert_eq!(found[1], "B 8 2024-01-02, 2024-01-03, 2024-01-04, 2024-01-05, 2024-01-08, …");
}

#[tokio::test]
async fn a_jump_is_explained_by_the_adjusted_close_or_by_a_usual_ratio() {
    let mut rows = String::new();
    for (symbol, prices) in [
        ("ADJ", [(100.0, "50"), (50.0, "50"), (51.0, "51")]),
        ("CRASH", [(100.0, "50"), (50.0, "25"), (51.0, "26")]),
        ("RATIO", [(100.0, ""), (33.3, ""), (34.0, "")]),
        ("REVERSE", [(1.0, ""), (10.1, ""), (10.0, "")]),
        ("FALL", [(100.0, ""), (60.0, ""), (140.0, "")]),
        ("CALM", [(100.0, ""), (80.0, ""), (99.0, "")]),
    ] {
        for (day, (price, adjusted)) in prices.into_iter().enumerate() {
            rows += &bar(symbol, &format!("2024-01-0{}", day + 1), price, adjusted);
        }
    }
    let frame = quality(&rows).await;
    assert_eq!(
        table(&frame, &["symbol", "jumps", "largest_jump", "largest_jump_date", "splits", "split_dates", "verdict"])
            .await,
        [
            "ADJ 0   1 2024-01-02 ok",
            "CALM 0   0  ok",
            "CRASH 1 -0.5 2024-01-02 0  jumps",
            "FALL 2 1.3333333333333335 2024-01-03 0  jumps",
            "RATIO 0   1 2024-01-02 ok",
            "REVERSE 0   1 2024-01-02 ok",
        ]
    );
}

#[tokio::test]
async fn on_an_adjusted_basis_no_split_explains_a_jump() {
    let epoch = epoch();
    let text = format!("{HEADER}\n{}{}", bar("A", "2024-01-01", 100.0, ""), bar("A", "2024-01-02", 50.0, ""));
    let input = normalized(&epoch, Normalize::new().with_basis(Basis::Split), &text).await;
    let frame = apply(&Quality::new(), &epoch, input).await.output.unwrap().frame;
    assert_eq!(table(&frame, &["basis", "jumps", "splits"]).await, ["split 1 0"]);
}

#[tokio::test]
async fn a_known_split_explains_the_jump_of_its_day() {
    let epoch = epoch();
    let text = format!("{HEADER}\n{}{}", bar("A", "2024-01-01", 100.0, ""), bar("A", "2024-01-02", 40.0, ""));
    let input = bars(&epoch, &text).await;
    let actions = relation(&epoch, vec![csv("symbol,date,kind\nA,2024-01-02,split\n", true)]);
    let inputs = Relations::new("input", BTreeMap::from([("input".into(), input), ("actions".into(), actions)]));
    let quality = Quality::new().with_actions("actions");
    let frame = quality.apply(&inputs, &epoch).await.unwrap().output.unwrap().frame;
    assert_eq!(table(&frame, &["jumps", "splits"]).await, ["0 1"]);
}

#[tokio::test]
async fn duplicates_zero_volumes_and_missing_prices_are_counted() {
    let rows = "A,2024-01-01,1,1,1,1,0,\nA,2024-01-01,1,1,1,1,5,\nA,2024-01-02,,1,1,1,5,\nA,2024-01-03,1,1,NaN,1,5,\n^IDX,2024-01-01,1,1,1,1,0,\n";
    assert_eq!(
        table(&quality(rows).await, &["symbol", "rows", "duplicates", "zero_volume", "null_prices", "verdict"]).await,
        ["A 4 1 1 2 duplicates,null_prices,zero_volume", "^IDX 1 0 1 0 ok",]
    );
}

#[tokio::test]
async fn absurd_prices_neither_overflow_nor_hide() {
    let rows =
        bar("A", "2024-01-01", 1e-300, "") + &bar("A", "2024-01-02", 1e308, "") + &bar("A", "2024-01-03", 1.0, "");
    assert_eq!(table(&quality(&rows).await, &["jumps", "largest_jump"]).await, ["2 inf"]);
}

#[tokio::test]
async fn nothing_in_nothing_out_and_bad_parameters_are_refused() {
    let epoch = epoch();
    assert!(table(&quality("").await, &["symbol"]).await.is_empty());
    let input = bars(&epoch, &format!("{HEADER}\n")).await;
    assert!(
        refused(&Quality::new().with_threshold(0.0), &epoch, input.clone())
            .await
            .contains("0 is not a finite number above zero")
    );
    let planned = apply(&Quality::new(), &epoch, input).await.output.unwrap();
    assert_eq!(
        (planned.key.as_slice(), planned.version.as_deref()),
        (["symbol".to_string(), "interval".to_string()].as_slice(), Some("revision"))
    );
}

#[tokio::test]
async fn the_splits_of_the_examples_are_explained_and_the_crash_of_apple_is_not() {
    let epoch = epoch();
    let input =
        apply(&Normalize::new(), &epoch, relation(&epoch, EXAMPLES.map(example).to_vec())).await.output.unwrap();
    let cleaned = apply(&Clean::new(), &epoch, input).await.output.unwrap();
    let frame = apply(&Quality::new(), &epoch, cleaned).await.output.unwrap().frame;
    let found = table(
        &frame,
        &["symbol", "rows", "first_date", "last_date", "jumps", "largest_jump_date", "splits", "split_dates"],
    )
    .await;
    assert_eq!(found[0], "AAPL 3270 2000-03-01 2013-03-01 1 2000-09-29 2 2000-06-21, 2005-02-28");
    assert!(found[4].ends_with("2003-02-18"), "{found:?}");
}

#[tokio::test]
async fn five_years_of_stocks_are_reported_symbol_by_symbol() {
    let Some(path) = shared_file("data/prices/all_stocks_5yr.parquet") else { return };
    let epoch = epoch();
    let input = epoch.session.read_parquet(path.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
    let normalized =
        apply(&Normalize::new().with_basis(Basis::Split), &epoch, Relation::new(input)).await.output.unwrap();
    let frame = apply(&Quality::new(), &epoch, normalized).await.output.unwrap().frame;
    let all = table(&frame, &["symbol", "rows", "null_prices", "first_date", "gaps"]).await;
    assert_eq!(all.len(), 505);
    let of = |symbol: &str| {
        all.iter()
            .find(|it| it.starts_with(&format!("{symbol} ")))
            .unwrap()
            .split(' ')
            .map(str::to_string)
            .collect::<Vec<_>>()
    };
    for (symbol, rows) in [
        ("APTV", "44"),
        ("DWDP", "109"),
        ("BHF", "143"),
        ("BHGE", "152"),
        ("DXC", "215"),
        ("HLT", "276"),
        ("AAPL", "1259"),
        ("BRK.B", "1259"),
    ] {
        assert_eq!(of(symbol)[1], rows, "{symbol}");
    }
    for (symbol, missing) in [("DHR", "2"), ("O", "2"), ("BHF", "1"), ("AAPL", "0")] {
        assert_eq!(of(symbol)[2], missing, "{symbol}");
    }
}

/// Symbol, gaps and their dates by a calendar.
async fn gaps(quality: &Quality, rows: &str) -> Vec<String> {
    let epoch = epoch();
    let input = bars(&epoch, &format!("{HEADER}\n{rows}")).await;
    let frame = apply(quality, &epoch, input).await.output.unwrap().frame;
    table(&frame, &["symbol", "gaps", "gap_dates", "verdict"]).await
}

#[tokio::test]
async fn with_a_calendar_a_gap_is_a_session_without_a_bar() {
    // Thanksgiving is no gap, though others have a bar; the 26th is one, though all lack it.
    let mut rows = String::new();
    for (symbol, dates) in [
        ("A", vec!["2024-11-25", "2024-11-27", "2024-11-28", "2024-11-29", "2024-12-02"]),
        ("B", vec!["2024-11-25", "2024-11-27", "2024-12-02"]),
        ("NEW", vec!["2024-12-02"]),
    ] {
        dates.iter().for_each(|date| rows += &bar(symbol, date, 10.0, ""));
    }
    assert_eq!(
        gaps(&Quality::new().with_calendar("XNYS"), &rows).await,
        ["A 1 2024-11-26 gaps", "B 2 2024-11-26, 2024-11-29 gaps", "NEW 0  ok"]
    );
    // 1 to 5 of the weekend as well, for who never sleeps.
    assert_eq!(
        gaps(&Quality::new().with_calendar("24/7"), &rows).await[1],
        "B 5 2024-11-26, 2024-11-28, 2024-11-29, 2024-11-30, 2024-12-01 gaps"
    );
}

#[tokio::test]
async fn a_duplicate_day_makes_no_gap_and_unknown_years_have_none() {
    let rows = bar("A", "2024-11-25", 10.0, "") + &bar("A", "2024-11-25", 10.0, "") + &bar("A", "2024-11-27", 10.0, "");
    assert_eq!(gaps(&Quality::new().with_calendar("NYSE"), &rows).await, ["A 1 2024-11-26 gaps,duplicates"]);
    let old = bar("A", "1985-01-02", 10.0, "") + &bar("A", "1985-12-30", 10.0, "");
    assert_eq!(gaps(&Quality::new().with_calendar("NYSE"), &old).await, ["A 0  ok"]);
    // What is known of a span counts: 2 and 3 January 1990.
    let edge = bar("A", "1989-12-01", 10.0, "") + &bar("A", "1990-01-04", 10.0, "");
    assert_eq!(gaps(&Quality::new().with_calendar("NYSE"), &edge).await, ["A 2 1990-01-02, 1990-01-03 gaps"]);
}

#[tokio::test]
async fn bars_wider_than_a_day_are_held_against_the_others_even_with_a_calendar() {
    let epoch = epoch();
    let text = |dates: &[&str]| dates.iter().map(|it| bar("A", it, 10.0, "")).collect::<String>();
    let weekly = format!("{HEADER}\n{}", text(&["2024-01-01", "2024-01-08", "2024-01-15"]));
    let input = normalized(&epoch, Normalize::new().with_interval("1wk".parse().unwrap()), &weekly).await;
    let quality = Quality::new().with_calendar("NYSE");
    let frame = apply(&quality, &epoch, input).await.output.unwrap().frame;
    assert_eq!(table(&frame, &["interval", "gaps", "verdict"]).await, ["1wk 0 ok"]);
}

#[tokio::test]
async fn a_column_names_the_exchange_of_each_symbol() {
    let epoch = epoch();
    let mut rows = String::new();
    for symbol in ["LON", "NY", "NONE", "WRONG"] {
        rows += &bar(symbol, "2024-12-24", 10.0, "");
        rows += &bar(symbol, "2024-12-27", 10.0, "");
    }
    let input = bars(&epoch, &format!("{HEADER}\n{rows}")).await;
    let exchange = when(column("symbol").eq(lit("LON")), lit("LSE"))
        .when(column("symbol").eq(lit("NY")), lit("NYSE"))
        .when(column("symbol").eq(lit("WRONG")), lit("NOWHERE"))
        .end()
        .unwrap();
    let frame = input.frame.clone().with_column("exchange", exchange).unwrap();
    let quality = Quality::new().with_exchange_column("exchange");
    let frame = apply(&quality, &epoch, Relation::new(frame)).await.output.unwrap().frame;
    assert_eq!(
        table(&frame, &["symbol", "gaps", "gap_dates"]).await,
        ["LON 0", "NONE 0", "NY 1 2024-12-26", "WRONG 0"]
    );
    let missing = refused(&quality, &epoch, input.clone()).await;
    assert!(missing.contains("`exchange` is missing"), "{missing}");
    let unknown = refused(&Quality::new().with_calendar("NYSEE"), &epoch, input).await;
    assert!(unknown.contains("invalid calendar for quality: no calendar is known for exchange `NYSEE`"), "{unknown}");
}

#[test]
fn a_calendar_is_part_of_the_definition_only_if_there_is_one() {
    let of = |it: Quality| it.definition().to_string();
    assert_eq!(of(Quality::new()), r#"{"actions":null,"threshold":0.25,"type":"quality"}"#);
    assert!(of(Quality::new().with_calendar("XNYS")).contains(r#""calendar":"XNYS""#));
    assert!(of(Quality::new().with_exchange_column("mic")).contains(r#""exchange_column":"mic""#));
}
