#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float32Array, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampNanosecondArray,
};
use arrow::datatypes::DataType;

use super::*;
use crate::transform::testing::{
    EXAMPLES, apply, csv, epoch, example, from_file, inputs, notes, refused, rejects, relation, table, with_column,
};

const HEADER: &str = "Date,Open,High,Low,Close,Volume";

async fn normalize(transform: Normalize, text: &str) -> Outputs {
    let epoch = epoch();
    apply(&transform, &epoch, relation(&epoch, vec![csv(text, false)])).await
}

async fn columns_of(outputs: &Outputs, columns: &[&str]) -> Vec<String> {
    table(&outputs.output.as_ref().unwrap().frame, columns).await
}

#[tokio::test]
async fn gives_the_schema_of_a_bar_exactly() {
    let epoch = epoch();
    let output = apply(
        &Normalize::new(),
        &epoch,
        relation(&epoch, vec![csv("date,open,high,low,close,volume,Name\n2024-01-02,1,2,1,2,5,A\n", true)]),
    )
    .await
    .output
    .unwrap();
    assert_eq!(output.schema(), bar_schema());
    assert_eq!(output.key, BAR_KEY);
    assert_eq!(output.version.as_deref(), Some(AS_OF));
    let batch = output.frame.collect().await.unwrap().remove(0);
    assert_eq!(batch.schema(), bar_schema(), "what runs has the types that were planned");
}

#[tokio::test]
async fn planning_reads_nothing_and_gives_the_same_columns() {
    let mut epoch = epoch();
    epoch.planning = true;
    let empty =
        RecordBatch::new_empty(csv(&format!("{HEADER},Ticker,Foo\n2024-01-02,1,2,1,2,5,A,x\n"), false).schema());
    let output = apply(&Normalize::new(), &epoch, relation(&epoch, vec![empty])).await.output.unwrap();
    assert_eq!(output.schema(), bar_schema());
}

#[tokio::test]
async fn the_examples_lose_no_row_and_take_their_symbols_from_the_files() {
    let epoch = epoch();
    let batches = EXAMPLES.map(example).to_vec();
    let outputs = apply(&Normalize::new(), &epoch, relation(&epoch, batches)).await;
    let counted = outputs
        .output
        .clone()
        .unwrap()
        .frame
        .aggregate(vec![column("symbol")], vec![count(lit(1_i64)).alias("n")])
        .unwrap();
    assert_eq!(table(&counted, &["symbol", "n"]).await, ["AAPL 3270", "FB 196", "GOOG 2148", "IBM 3270", "MSFT 3270"]);
    assert!(rejects(&outputs).await.is_empty());
    let first = outputs
        .output
        .clone()
        .unwrap()
        .frame
        .filter(column("symbol").eq(lit("AAPL")).and(column("source_seq").eq(lit(0_i64))))
        .unwrap();
    assert_eq!(
        table(&first, &["symbol", "interval", "ts", "date", "close", "adj_close", "basis", "is_final"]).await,
        ["AAPL 1d 2000-03-01T00:00:00Z 2000-03-01 130.31 4.186662803811 raw true"]
    );
}

#[tokio::test]
async fn dates_in_five_formats_are_read_and_nonsense_is_refused_with_column_and_value() {
    let text = format!(
        "{HEADER},Ticker\n2024-01-02,1,1,1,1,1,A\n01/03/2024,1,1,1,1,1,A\n04.01.2024,1,1,1,1,1,A\n5-Jan-2024,1,1,1,1,1,A\n20240108,1,1,1,1,1,A\nyesterday,1,1,1,1,1,A\n,1,1,1,1,1,A\n"
    );
    let outputs = normalize(Normalize::new(), &text).await;
    assert_eq!(
        columns_of(&outputs, &["date"]).await,
        ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"]
    );
    assert_eq!(
        rejects(&outputs).await,
        ["A column `Date`: `NULL` is no date", "A column `Date`: `yesterday` is no date"]
    );
    let payloads = table(&outputs.rejects[0], &["payload"]).await;
    assert_eq!(
        payloads[0], r#"{"Date":"yesterday","Open":"1","High":"1","Low":"1","Close":"1","Volume":"1","Ticker":"A"}"#,
        "the row as it came"
    );
}

#[tokio::test]
async fn numbers_in_text_are_read_and_nonsense_is_refused_with_column_and_value() {
    let text = format!("{HEADER},Ticker\n2024-01-02,$1.5,abc,1,1,1,A\n2024-01-03,N/A,2,1,1.5,1.2M,A\n");
    let outputs = normalize(Normalize::new(), &text).await;
    assert_eq!(rejects(&outputs).await, ["A column `High`: `abc` is no number"]);
    assert_eq!(columns_of(&outputs, &["open", "high", "volume"]).await, ["2.0 1200000.0"]);
}

#[tokio::test]
async fn a_row_without_a_symbol_is_refused() {
    let outputs =
        normalize(Normalize::new(), &format!("{HEADER},Ticker\n2024-01-02,1,1,1,1,1, \n2024-01-02,1,1,1,1,1,A\n"))
            .await;
    assert_eq!(rejects(&outputs).await, ["the symbol is missing"]);
    assert_eq!(columns_of(&outputs, &["symbol"]).await, ["A"]);
}

#[tokio::test]
async fn the_symbol_comes_from_where_it_is_said() {
    let text = format!("{HEADER},Ticker\n2024-01-02,1,1,1,1,1,A\n");
    let epoch = epoch();
    for (symbol, expected) in [
        (SymbolFrom::Auto, "A"),
        (SymbolFrom::FileName, "BRK.B"),
        (SymbolFrom::Given("X".into()), "X"),
        (SymbolFrom::Column("Close".into()), "1"),
    ] {
        let input = relation(&epoch, vec![from_file(&csv(&text, false), "in/BRK.B_2024.csv", 0)]);
        let outputs = apply(&Normalize::new().with_symbol(symbol), &epoch, input).await;
        assert_eq!(columns_of(&outputs, &["symbol"]).await, [expected]);
    }
}

#[tokio::test]
async fn what_is_missing_is_said_with_the_columns_that_are_there() {
    let epoch = epoch();
    let input = || relation(&epoch, vec![csv("Day,Open,High,Low,Settle,Ticker\n2024-01-02,1,1,1,1,A\n", false)]);
    let text = refused(&Normalize::new(), &epoch, input()).await;
    assert_eq!(
        text,
        "schema mismatch at normalize: no column is known to be `close`; the input has `Day`, `Open`, `High`, `Low`, `Settle`, `Ticker`; say which it is with `columns`, as in `columns = { close = \"…\" }`"
    );
    let mapped = Normalize::new().with_column("close", "Settle");
    assert_eq!(columns_of(&apply(&mapped, &epoch, input()).await, &["close", "volume"]).await, ["1.0"]);
    let text = refused(&Normalize::new().with_column("close", "Setle"), &epoch, input()).await;
    assert!(text.contains("no column `Setle` for `close`; it has `Day`"), "{text}");
    let text = refused(&Normalize::new().with_column("clos", "Settle"), &epoch, input()).await;
    assert!(text.contains("a bar has no column `clos`"), "{text}");
    let text = refused(&Normalize::new().with_timezone("Mars/Base"), &epoch, input()).await;
    assert!(text.contains("`Mars/Base` is no time zone"), "{text}");
}

#[tokio::test]
async fn columns_without_a_place_are_named_once() {
    let outputs =
        normalize(Normalize::new(), &format!("{HEADER},Ticker,Name,Foo\n2024-01-02,1,1,1,1,1,A,Alpha,x\n")).await;
    assert_eq!(columns_of(&outputs, &["symbol"]).await, ["A"], "a name is a symbol only where nothing better is there");
    assert_eq!(notes(&outputs).await, ["normalize.basis  1 info", "normalize.columns  2 info"]);
}

#[tokio::test]
async fn other_types_are_read_as_they_are() {
    let epoch = epoch();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("symbol", Arc::new(StringViewArray::from(vec!["A"]))),
        ("date", Arc::new(Date32Array::from(vec![19_724]))),
        ("open", Arc::new(Float32Array::from(vec![1.5]))),
        ("high", Arc::new(Int32Array::from(vec![2]))),
        ("low", Arc::new(Int64Array::from(vec![1]))),
        ("close", Arc::new(Float32Array::from(vec![f32::NAN]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let outputs = apply(&Normalize::new(), &epoch, relation(&epoch, vec![batch.clone()])).await;
    assert_eq!(
        columns_of(&outputs, &["symbol", "date", "open", "high", "low", "close"]).await,
        ["A 2024-01-02 1.5 2.0 1.0 NaN"]
    );
    let bad = with_column(&batch, "volume", Arc::new(arrow::array::BooleanArray::from(vec![true])));
    let text = refused(&Normalize::new(), &epoch, relation(&epoch, vec![bad])).await;
    assert_eq!(text, "schema mismatch at normalize: column `volume` is of type Boolean; `volume` is a number");
}

#[tokio::test]
async fn a_timestamp_at_midnight_in_a_column_of_dates_is_a_day() {
    let epoch = epoch();
    let batch = csv("open,high,low,close,ticker\n1,1,1,1,A\n", true);
    let stamps: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_704_153_600_000_000_000]));
    let outputs = apply(&Normalize::new(), &epoch, relation(&epoch, vec![with_column(&batch, "Date", stamps)])).await;
    assert_eq!(columns_of(&outputs, &["interval", "ts", "date"]).await, ["1d 2024-01-02T00:00:00Z 2024-01-02"]);
    let yfinance =
        normalize(Normalize::new(), &format!("{HEADER},Ticker\n2024-01-02 00:00:00-05:00,1,1,1,1,1,A\n")).await;
    assert_eq!(
        columns_of(&yfinance, &["interval", "ts", "date", "source_ts"]).await,
        ["1d 2024-01-02T00:00:00Z 2024-01-02 2024-01-02T05:00:00Z"]
    );
}

#[tokio::test]
async fn the_interval_is_recognised_where_the_stamps_are_regular() {
    let row = |clock: &str, symbol: &str| format!("2024-01-02 {clock},1,1,1,1,1,{symbol}\n");
    let mut text = format!("{HEADER},Ticker\n").replace("Date", "Datetime");
    for clock in ["09:30", "09:35", "09:40", "09:45", "09:50"] {
        text += &row(clock, "A");
    }
    text += &row("09:30", "B");
    let outputs = normalize(Normalize::new().with_timezone("America/New_York"), &text).await;
    assert_eq!(
        columns_of(&outputs, &["symbol", "interval", "ts", "date"]).await[0],
        "A 5m 2024-01-02T14:30:00Z 2024-01-02"
    );
    assert_eq!(columns_of(&outputs, &["symbol"]).await.len(), 5);
    assert_eq!(
        rejects(&outputs).await,
        ["B the interval cannot be recognised from the time stamps; give it with `interval`"]
    );
    let given = normalize(Normalize::new().with_interval("5m".parse().unwrap()), &text).await;
    assert_eq!(columns_of(&given, &["symbol"]).await.len(), 6);
}

#[tokio::test]
async fn an_interval_of_a_day_and_more_is_stamped_at_its_start() {
    let text = format!(
        "{HEADER},Ticker,Interval\n2024-01-05 21:00:00Z,1,1,1,1,1,A,1wk\n2024-01-31,1,1,1,1,1,A,monthly\n2024-01-31 14:30,1,1,1,1,1,A,1d\n2024-01-31,1,1,1,1,1,A,fortnight\n2024-01-31,1,1,1,1,1,A,5m\n"
    );
    let outputs = normalize(Normalize::new(), &text).await;
    assert_eq!(
        columns_of(&outputs, &["interval", "ts", "date", "source_ts"]).await,
        [
            "1d 2024-01-31T00:00:00Z 2024-01-31 2024-01-31T14:30:00Z",
            "1mo 2024-01-01T00:00:00Z 2024-01-01",
            "1wk 2024-01-01T00:00:00Z 2024-01-01 2024-01-05T21:00:00Z"
        ]
    );
    assert_eq!(
        rejects(&outputs).await,
        ["A a bar of interval `5m` needs a time of day", "A column `Interval`: `fortnight` is no interval"]
    );
}

#[tokio::test]
async fn a_date_and_a_time_in_two_columns_are_one_stamp() {
    let text = "<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<TICKER>\n20240102,15:30:00,1,1,1,1,1,A\n20240102,153500,1,1,1,1,1,A\n";
    let outputs = normalize(Normalize::new().with_interval("5m".parse().unwrap()), text).await;
    assert_eq!(
        columns_of(&outputs, &["ts", "date"]).await,
        ["2024-01-02T15:30:00Z 2024-01-02", "2024-01-02T15:35:00Z 2024-01-02"]
    );
}

#[tokio::test]
async fn basis_and_as_of_come_from_the_source_or_are_taken_to_be_raw_and_now() {
    let text = format!(
        "{HEADER},Ticker,Basis,As Of\n2024-01-02,1,1,1,1,1,A,Split,2024-01-03T00:00:00Z\n2024-01-03,1,1,1,1,1,A,,\n2024-01-04,1,1,1,1,1,A,cooked,\n2024-01-05,1,1,1,1,1,A,,soon\n"
    );
    let outputs = normalize(Normalize::new(), &text).await;
    assert_eq!(
        columns_of(&outputs, &["date", "basis", "as_of"]).await,
        ["2024-01-02 split 2024-01-03T00:00:00Z", "2024-01-03 raw 2024-06-01T12:00:00Z"]
    );
    assert_eq!(
        rejects(&outputs).await,
        ["A column `As Of`: `soon` is no point in time", "A column `Basis`: `cooked` is no basis"]
    );
    let given =
        normalize(Normalize::new().with_basis(Basis::Total), &format!("{HEADER},Ticker\n2024-01-02,1,1,1,1,1,A\n"))
            .await;
    assert_eq!(columns_of(&given, &["basis"]).await, ["total"]);
    assert!(notes(&given).await.is_empty());
}

#[tokio::test]
async fn a_header_alone_gives_no_bar_and_no_error() {
    let outputs = normalize(Normalize::new(), &format!("{HEADER},Ticker\n")).await;
    assert!(
        columns_of(&outputs, &["symbol"]).await.is_empty()
            && rejects(&outputs).await.is_empty()
            && notes(&outputs).await.is_empty()
    );
}

#[test]
fn the_definition_names_every_parameter() {
    let definition = Normalize::new()
        .with_basis(Basis::Split)
        .with_column("close", "Last")
        .with_interval(Interval::DAY)
        .definition();
    assert_eq!(definition["type"], "normalize");
    assert_eq!(definition["basis"], "split");
    assert_eq!(definition["interval"], "1d");
    assert_eq!(definition["columns"]["close"], "Last");
    assert_ne!(definition, Normalize::new().definition());
}

#[tokio::test]
async fn an_unknown_relation_is_an_error() {
    let epoch = epoch();
    let none = crate::relation::Relations::new("nothing", Default::default());
    assert!(Normalize::new().apply(&none, &epoch).await.is_err());
    assert!(
        DataType::Utf8
            == *inputs(relation(&epoch, vec![csv("a\n1\n", false)])).input().unwrap().schema().field(0).data_type()
    );
}
