//! Values against those of the C library, through SQL over several symbols in one table.
//!
//! `testdata/golden` holds a few hundred rows that every clone compares.
//! With `STOCKFLOW_SHARED` set all rows of all four series are compared as well; data that is missing there is a
//! failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::data::{Series, table};
use super::{assert_close, is_close, numbers, outputs, query, session};
use crate::indicator::{Definition, catalogue};

/// How many functions the C library has.
const N_GOLDEN: usize = 201;

/// One golden file.
struct Golden {
    symbol: String,
    batch: RecordBatch,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let schema = Arc::clone(reader.schema());
        let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
        let symbol = path.file_stem().unwrap().to_str().unwrap().to_string();
        Self { symbol, batch: concat_batches(&schema, &batches).unwrap() }
    }

    fn column(&self, name: &str) -> Option<ArrayRef> {
        self.batch.column_by_name(name).map(|it| cast(it, &DataType::Float64).unwrap())
    }

    fn values(&self, name: &str) -> Vec<f64> {
        let column = self.column(name).unwrap_or_else(|| panic!("{}: no column {name}", self.symbol));
        column.as_primitive::<Float64Type>().values().to_vec()
    }

    fn series(&self) -> Series {
        Series {
            open: self.values("open"),
            high: self.values("high"),
            low: self.values("low"),
            close: self.values("close"),
            volume: self.values("volume"),
        }
    }

    /// The input of the Math Transform group; the maximum is that of the whole series, which a cut file keeps.
    fn scaled(&self) -> Vec<f64> {
        if self.batch.column_by_name("scaled").is_some() {
            return self.values("scaled");
        }
        let close = self.values("close");
        let max = close.iter().copied().fold(f64::MIN, f64::max);
        close.iter().map(|it| it / (2.0 * max)).collect()
    }

    fn functions(&self) -> BTreeSet<String> {
        let schema = self.batch.schema();
        schema.fields().iter().filter_map(|it| it.name().split_once('.').map(|(name, _)| name.to_string())).collect()
    }
}

/// The call whose golden values these are.
fn golden_call(definition: &Definition) -> String {
    let inputs: Vec<_> = definition
        .inputs
        .iter()
        .map(|it| match it.name.as_str() {
            _ if definition.group == "Math Transform" => "scaled",
            "periods" => "periods",
            _ => it.usual_column(),
        })
        .collect();
    // The crate's default is 100, the C library's is 30.
    let parameters = if definition.name == "percentile" { ", 30" } else { "" };
    format!("{}({}{parameters})", definition.sql_name, inputs.join(", "))
}

async fn compare(files: &[PathBuf]) {
    let goldens: Vec<_> = files.iter().map(|it| Golden::read(it)).collect();
    let names = goldens[0].functions();
    assert_eq!(names.len(), N_GOLDEN, "functions in {}", files[0].display());
    let definitions: Vec<_> = names.iter().map(|it| catalogue().get(it).unwrap()).collect();

    let series: Vec<_> = goldens.iter().map(|it| (it.symbol.as_str(), it.series())).collect();
    let symbols: Vec<_> = series.iter().map(|(symbol, series)| (*symbol, series)).collect();
    let session = session(with_inputs(table(&symbols), &goldens));
    let calls: Vec<_> = definitions.iter().map(|it| format!("{} OVER w AS \"{}\"", golden_call(it), it.name)).collect();
    let sql = format!(
        "SELECT symbol, {} FROM bars WINDOW w AS (PARTITION BY symbol ORDER BY ts) ORDER BY symbol, ts",
        calls.join(", ")
    );
    let result = query(&session, &sql).await;

    let mut from = 0;
    let by_symbol: BTreeMap<_, _> = goldens.iter().map(|it| (it.symbol.as_str(), it)).collect();
    let mut n_compared = 0;
    for golden in by_symbol.values() {
        let rows = golden.batch.num_rows();
        let part = result.slice(from, rows);
        assert!(part.column(0).as_string::<i32>().iter().all(|it| it == Some(golden.symbol.as_str())));
        for definition in &definitions {
            n_compared += compare_function(golden, definition, part.column_by_name(&definition.name).unwrap());
        }
        from += rows;
    }
    assert_eq!(from, result.num_rows());
    assert_eq!(n_compared, 234 * goldens.len(), "compared output columns");
}

/// Replaces the generated inputs by those that the golden values were made from.
fn with_inputs(table: RecordBatch, goldens: &[Golden]) -> RecordBatch {
    let symbols = table.column_by_name("symbol").unwrap().as_string::<i32>().clone();
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let scaled: BTreeMap<_, _> = goldens.iter().map(|it| (it.symbol.as_str(), it.scaled())).collect();
    let rows: Vec<_> = symbols
        .iter()
        .flatten()
        .map(|symbol| {
            let row = next.entry(symbol).or_default();
            *row += 1;
            (scaled[symbol][*row - 1], 2.0 + ((*row - 1) % 29) as f64)
        })
        .collect();
    let mut columns = table.columns().to_vec();
    columns[table.schema().index_of("scaled").unwrap()] =
        Arc::new(rows.iter().map(|it| it.0).collect::<Float64Array>());
    columns[table.schema().index_of("periods").unwrap()] =
        Arc::new(rows.iter().map(|it| it.1).collect::<Float64Array>());
    RecordBatch::try_new(table.schema(), columns).unwrap()
}

fn compare_function(golden: &Golden, definition: &Definition, ours: &ArrayRef) -> usize {
    let ours = outputs(ours);
    for (output, ours) in definition.outputs.iter().zip(&ours) {
        let name = format!("{}.{}", definition.name, output.native);
        let what = format!("{} {name}", golden.symbol);
        let theirs = golden.column(&name).unwrap_or_else(|| panic!("{what}: no golden column"));
        if matches!(definition.name.as_str(), "maxindex" | "minindex" | "minmaxindex") {
            assert_same_extreme(&what, &numbers(ours), &numbers(&theirs), &golden.values("close"));
        } else {
            assert_close(&what, &numbers(ours), &numbers(&theirs));
        }
    }
    ours.len()
}

/// Which row of a tie is meant is free; its value is not.
#[track_caller]
fn assert_same_extreme(what: &str, ours: &[Option<f64>], theirs: &[Option<f64>], close: &[f64]) {
    assert_eq!(ours.len(), theirs.len(), "{what}: number of rows");
    for (row, pair) in ours.iter().zip(theirs).enumerate() {
        match pair {
            (None, None) => {}
            (Some(ours), Some(theirs)) => {
                let (ours, theirs) = (close[*ours as usize], close[*theirs as usize]);
                assert!(is_close(ours, theirs), "{what}: row {row} points at {ours} and should at {theirs}");
            }
            _ => panic!("{what}: row {row} is {pair:?}"),
        }
    }
}

/// The calls that the golden values were made with are the catalogue's default calls.
fn check_manifest(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let calls = manifest["calls"].as_array().unwrap();
    assert_eq!(calls.len(), N_GOLDEN);
    for call in calls {
        let definition = catalogue().get(call["key"].as_str().unwrap()).unwrap();
        let name = &definition.name;
        let texts =
            |key: &str| -> Vec<&str> { call[key].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect() };
        let inputs: Vec<_> = definition.inputs.iter().map(|it| it.usual_column()).collect();
        assert_eq!(inputs, texts("inputs"), "{name}");
        assert_eq!(
            definition.outputs.iter().map(|it| it.native.as_str()).collect::<Vec<_>>(),
            texts("outputs"),
            "{name}"
        );
        assert_eq!(definition.group, call["group"], "{name}");
        let parameters = call["parameters"].as_object().unwrap();
        assert_eq!(parameters.len(), definition.parameters.len(), "{name}");
        if name == "percentile" {
            assert_eq!(parameters["timeperiod"], 30);
            continue;
        }
        assert_eq!(call["lookback"], definition.default_lookback(), "{name}");
        for parameter in &definition.parameters {
            let default = match parameter.default_value() {
                crate::indicator::Value::Integer(value) => f64::from(value),
                crate::indicator::Value::Real(value) => value,
            };
            assert_eq!(parameters[&parameter.name].as_f64(), Some(default), "{name}");
        }
    }
}

#[tokio::test]
async fn golden_rows_of_this_repository() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    compare(&[folder.join("AAPL.parquet"), folder.join("FB.parquet")]).await;
}

#[tokio::test]
async fn golden_rows_of_all_series() {
    let Some(shared) = std::env::var_os("STOCKFLOW_SHARED") else {
        println!("left out: golden values of four whole series (STOCKFLOW_SHARED is not set)");
        return;
    };
    let folder = PathBuf::from(shared).join("data/golden");
    check_manifest(&folder.join("manifest.json"));
    let names = ["bokeh_AAPL", "bokeh_FB", "sp500_MSFT", "sp500_XOM"];
    compare(&names.map(|it| folder.join(format!("{it}.parquet")))).await;
}
