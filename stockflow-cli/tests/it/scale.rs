//! The main engine on 619,040 real rows of 505 symbols: the report is right, and no symbol is lost.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::place::{Place, leave_out};

/// Rows without open, or without open, high and low, as the data's README lists them.
const MISSING: [(&str, &str); 11] = [
    ("BHF", "2017-07-26"),
    ("DHR", "2015-07-17"),
    ("DHR", "2016-01-12"),
    ("ES", "2015-07-17"),
    ("FTV", "2016-07-01"),
    ("O", "2015-07-17"),
    ("O", "2016-01-12"),
    ("REGN", "2015-06-09"),
    ("UA", "2016-04-07"),
    ("VRTX", "2015-05-12"),
    ("WRK", "2015-06-26"),
];

/// Short histories: rows in the data.
const SHORT: [(&str, f64); 6] =
    [("APTV", 44.0), ("DWDP", 109.0), ("BHF", 143.0), ("BHGE", 152.0), ("DXC", 215.0), ("HLT", 276.0)];

#[test]
fn five_years_of_505_symbols() {
    let Some(shared) =
        std::env::var_os("STOCKFLOW_SHARED").map(PathBuf::from).filter(|shared| shared.join("data/prices").is_dir())
    else {
        leave_out("five years of 505 symbols", "needs STOCKFLOW_SHARED, a folder with data/prices");
        return;
    };
    let place = Place::empty();
    let input = shared.join("data/prices/all_stocks_5yr.csv.gz").display().to_string();
    place.write("p.toml", &PIPELINE.replace("INPUT", &input));
    let report = place.run(["run", "p.toml", "--json"]).code(3).json();
    assert_eq!(report["epochs"][0]["read"]["input"], 619_040);
    assert_eq!(report["dead_letters"], 23, "11 rows lack a price, 12 have a price outside of low..high");
    assert_eq!(report["left_out"].as_array().unwrap().len(), 0);
    assert_eq!(place.number("SELECT count(*) FROM bars"), 619_017.0);
    assert_eq!(place.number("SELECT count(DISTINCT symbol) FROM bars"), 505.0, "no symbol is lost");
    assert_eq!(place.number("SELECT count(*) FROM quality"), 505.0);
    assert_eq!(place.number("SELECT count(*) FROM indicators"), 619_017.0);

    let said = place
        .run([
            "sql",
            "SELECT symbol, position, reason FROM d",
            "-f",
            "d=stockflow-data/dead_letters",
            "--format",
            "ndjson",
        ])
        .ok();
    let letters: Vec<serde_json::Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let missing = letters.iter().filter(|letter| letter["reason"].as_str().unwrap().starts_with("missing"));
    let missing: BTreeSet<(String, String)> = missing
        .map(|letter| {
            (
                letter["symbol"].as_str().unwrap().to_owned(),
                letter["position"].as_str().unwrap().split('|').nth(2).unwrap()[..10].to_owned(),
            )
        })
        .collect();
    assert_eq!(missing, MISSING.map(|(symbol, date)| (symbol.to_owned(), date.to_owned())).into());
    assert_eq!(letters.len() - missing.len(), 12, "rows whose prices contradict each other");

    for (symbol, rows) in SHORT {
        let refused = letters.iter().filter(|letter| letter["symbol"] == symbol).count() as f64;
        assert_eq!(
            place.number(&format!("SELECT rows FROM quality WHERE symbol = '{symbol}'")),
            rows - refused,
            "{symbol}"
        );
    }
    for symbol in ["BRK.B", "BF.B"] {
        assert_eq!(place.number(&format!("SELECT count(*) FROM bars WHERE symbol = '{symbol}'")), 1259.0, "{symbol}");
    }
    assert_eq!(
        place.number("SELECT count(sma_200) FROM indicators WHERE symbol = 'APTV'"),
        0.0,
        "44 bars are shorter than the lookback"
    );
}

const PIPELINE: &str = r#"
name = "scale"
history = "bars"
[source]
type = "file"
path = "INPUT"
[[transform]]
name = "normalized"
type = "normalize"
basis = "split"
[[transform]]
name = "bars"
type = "clean"
[[transform]]
name = "quality"
type = "quality"
input = "bars"
[[transform]]
name = "indicators"
type = "indicators"
input = "bars"
list = ["sma(20)", "sma(200)", "rsi(14)"]
[[sink]]
name = "bars"
type = "delta"
relation = "bars"
path = "stockflow-data/bars"
[[sink]]
name = "quality"
type = "delta"
relation = "quality"
path = "stockflow-data/quality"
[[sink]]
name = "indicators"
type = "delta"
path = "stockflow-data/indicators"
[dead_letters]
type = "ndjson"
path = "stockflow-data/dead_letters"
"#;
