//! Reads the test data.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Float64Type};
use chrono::{DateTime, NaiveDate};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::super::{Action, Bar, Kind, Series, Width};
use crate::transform::testing::shared_file;

/// The rows of a CSV file without quotes, by lower-case column name.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<String> = lines.next().unwrap().split(',').map(|it| it.trim().to_lowercase()).collect();
    let row = |line: &str| names.iter().cloned().zip(line.split(',').map(|it| it.trim().to_string())).collect();
    lines.filter(|it| !it.is_empty()).map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> Option<f64> {
    row.get(name)?.parse().ok()
}

fn bar(ts: i64, date: NaiveDate, row: &BTreeMap<String, String>) -> Bar {
    let get = |name: &str| number(row, name);
    let (open, high, low, close) = (get("open"), get("high"), get("low"), get("close"));
    Bar { ts, date, open, high, low, close, volume: get("volume"), adj_close: get("adj close") }
}

/// A file in yfinance's form.
pub(super) fn yahoo(path: &Path, width: Width) -> Series {
    let mut series = Series { bars: Vec::new(), actions: Vec::new(), width };
    for row in rows(path) {
        let time = row.get("date").or(row.get("datetime")).unwrap();
        let time = DateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%:z").unwrap();
        let date = time.date_naive();
        series.bars.push(bar(time.timestamp_micros(), date, &row));
        for (name, kind) in
            [("dividends", Kind::Dividend), ("capital gains", Kind::CapitalGain), ("stock splits", Kind::Split)]
        {
            let Some(value) = number(&row, name).filter(|it| *it != 0.0) else { continue };
            let (paid, ratio) = if kind == Kind::Split { (None, Some(value)) } else { (Some(value), None) };
            series.actions.push(Action { date, kind, value: paid, numerator: ratio, denominator: ratio.map(|_| 1.0) });
        }
    }
    series
}

fn open_of(date: NaiveDate) -> i64 {
    date.and_hms_opt(14, 30, 0).unwrap().and_utc().timestamp_micros()
}

fn daily(bars: Vec<Bar>) -> Series {
    Series { bars, actions: Vec::new(), width: Width::Day }
}

/// The series of WIKI, as traded: the example files.
pub(super) fn bokeh() -> Vec<(String, Series)> {
    let read = |name: &str| {
        let path = format!("{}/../examples/data/{name}.csv", env!("CARGO_MANIFEST_DIR"));
        let of = |row: BTreeMap<String, String>| {
            let date: NaiveDate = row["date"].parse().unwrap();
            bar(open_of(date), date, &row)
        };
        (name.to_string(), daily(rows(Path::new(&path)).into_iter().map(of).collect()))
    };
    crate::transform::testing::EXAMPLES.map(read).to_vec()
}

/// The 505 series of the S&P 500, split-adjusted, without actions and adjusted closes. Empty without the shared data.
pub(super) fn sp500() -> Vec<(String, Series)> {
    let Some(path) = shared_file("data/prices/all_stocks_5yr.parquet") else { return Vec::new() };
    let file = std::fs::File::open(path).unwrap();
    let mut found: BTreeMap<String, Vec<Bar>> = BTreeMap::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let column = |name: &str, to: &DataType| {
            let schema = batch.schema();
            let place = schema.fields().iter().position(|it| it.name().eq_ignore_ascii_case(name)).unwrap();
            cast(batch.column(place), to).unwrap()
        };
        let prices = ["open", "high", "low", "close", "volume"].map(|it| column(it, &DataType::Float64));
        let (names, dates) = (column("name", &DataType::Utf8), column("date", &DataType::Date32));
        for row in 0..batch.num_rows() {
            let date = arrow::temporal_conversions::date32_to_datetime(dates.as_primitive::<Date32Type>().value(row));
            let date = date.unwrap().date();
            let [open, high, low, close, volume] = prices.each_ref().map(|it| {
                let it = it.as_primitive::<Float64Type>();
                it.is_valid(row).then(|| it.value(row))
            });
            let bar = Bar { ts: open_of(date), date, open, high, low, close, volume, adj_close: None };
            found.entry(names.as_string::<i32>().value(row).to_string()).or_default().push(bar);
        }
    }
    found.into_iter().map(|(name, bars)| (name, daily(bars))).collect()
}
