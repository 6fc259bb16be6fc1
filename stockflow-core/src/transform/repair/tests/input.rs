//! Reads the test data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use chrono::{DateTime, NaiveDate};

use super::super::{Action, Bar, Kind, Series, Width};

/// The folder that has `data/`, if the judges are to run.
pub(super) fn shared() -> Option<PathBuf> {
    std::env::var_os("STOCKFLOW_SHARED").map(PathBuf::from)
}

fn number(text: Option<&str>) -> Option<f64> {
    text?.trim().parse().ok()
}

fn columns(reader: &mut csv::Reader<impl std::io::Read>) -> BTreeMap<String, usize> {
    let headers = reader.headers().unwrap();
    headers.iter().enumerate().map(|(place, name)| (name.trim().to_lowercase(), place)).collect()
}

/// A file in yfinance's form.
pub(super) fn yahoo(path: &std::path::Path, width: Width) -> Series {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns = columns(&mut reader);
    let mut series = Series { bars: Vec::new(), actions: Vec::new(), width };
    for row in reader.records() {
        let row = row.unwrap();
        let get = |name: &str| number(columns.get(name).and_then(|it| row.get(*it)));
        let time = DateTime::parse_from_str(&row[0], "%Y-%m-%d %H:%M:%S%:z").unwrap();
        let date = time.date_naive();
        series.bars.push(Bar {
            ts: time.timestamp_micros(),
            date,
            open: get("open"),
            high: get("high"),
            low: get("low"),
            close: get("close"),
            volume: get("volume"),
            adj_close: get("adj close"),
        });
        let mut add = |kind, value: f64| {
            let (paid, ratio) = if kind == Kind::Split { (None, Some(value)) } else { (Some(value), None) };
            series.actions.push(Action { date, kind, value: paid, numerator: ratio, denominator: ratio.map(|_| 1.0) });
        };
        for (name, kind) in
            [("dividends", Kind::Dividend), ("capital gains", Kind::CapitalGain), ("stock splits", Kind::Split)]
        {
            if let Some(value) = get(name).filter(|it| *it != 0.0) {
                add(kind, value);
            }
        }
    }
    series
}

fn plain(row: &csv::StringRecord, columns: &BTreeMap<String, usize>) -> Bar {
    let get = |name: &str| number(columns.get(name).and_then(|it| row.get(*it)));
    let date: NaiveDate = row[columns["date"]].parse().unwrap();
    Bar {
        ts: date.and_hms_opt(14, 30, 0).unwrap().and_utc().timestamp_micros(),
        date,
        open: get("open"),
        high: get("high"),
        low: get("low"),
        close: get("close"),
        volume: get("volume"),
        adj_close: get("adj close"),
    }
}

fn daily(bars: Vec<Bar>) -> Series {
    Series { bars, actions: Vec::new(), width: Width::Day }
}

/// The series of WIKI, as traded.
pub(super) fn bokeh() -> Vec<(String, Series)> {
    let Some(shared) = shared() else { return Vec::new() };
    ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
        .into_iter()
        .map(|name| {
            let mut reader = csv::Reader::from_path(shared.join(format!("data/prices/bokeh/{name}.csv"))).unwrap();
            let columns = columns(&mut reader);
            let bars = reader.records().map(|row| plain(&row.unwrap(), &columns)).collect();
            (name.to_string(), daily(bars))
        })
        .collect()
}

/// The 505 series of the S&P 500, split-adjusted, without actions and adjusted closes.
pub(super) fn sp500() -> Vec<(String, Series)> {
    let Some(shared) = shared() else { return Vec::new() };
    let path = shared.join("data/prices/all_stocks_5yr.csv.gz");
    let text = Command::new("gzip").arg("-dc").arg(path).output().unwrap().stdout;
    let mut reader = csv::Reader::from_reader(text.as_slice());
    let columns = columns(&mut reader);
    let mut found: BTreeMap<String, Vec<Bar>> = BTreeMap::new();
    for row in reader.records() {
        let row = row.unwrap();
        found.entry(row[columns["name"]].to_string()).or_default().push(plain(&row, &columns));
    }
    found.into_iter().map(|(name, bars)| (name, daily(bars))).collect()
}
