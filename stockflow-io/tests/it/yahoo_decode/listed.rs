//! What each recorded chart says of its symbol. Switched on by `STOCKFLOW_SHARED`, the folder that holds `data/`.

use arrow::util::display::array_value_to_string;
use stockflow_io::yahoo::decode::{ChartRequest, chart_facts, chart_symbols};

use super::Recording;
use crate::support::shared;

/// The row without our name, the provider and the time, NULLs as `-`.
const EXPECTED: &[(&str, &str)] = &[
    (
        "chart/chart-0P000071W8.TO-2020-01-01-to-2020-01-03.json",
        "TD US Index e|MUTUALFUND|TOR|XTSE|CAD|-|-|America/Toronto|0.01|2018-01-02|-|-|-|-",
    ),
    (
        "chart/chart-AAPL-2020-08-31-to-2020-11-07.json",
        "Apple Inc.|EQUITY|NMS|XNYS|USD|-|-|America/New_York|0.01|1980-12-12|-|-|-|-",
    ),
    (
        "chart/chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json",
        "Apple Inc.|EQUITY|NMS|XNYS|USD|-|-|America/New_York|0.01|1980-12-12|-|-|-|-",
    ),
    (
        "chart/chart-BTC-USD-2020-01-01-to-2020-01-03.json",
        "Bitcoin USD|CRYPTOCURRENCY|CCC|24/7|USD|-|-|UTC|0.01|2014-09-17|-|-|-|-",
    ),
    (
        "chart/chart-EURUSD_eq_X-2020-01-01-to-2020-01-03.json",
        "EUR/USD|CURRENCY|CCY|24/5|USD|-|-|Europe/London|0.0001|2003-12-01|-|-|-|-",
    ),
    (
        "chart/chart-GC_eq_F-2020-01-01-to-2020-01-03.json",
        "Gold Apr 25|FUTURE|CMX|CMES|USD|-|-|America/New_York|0.01|2000-08-30|-|-|-|-",
    ),
    (
        "chart/chart-OCDO.L-2020-01-01-to-2020-01-03.json",
        "Ocado Group plc|EQUITY|LSE|XLON|GBP|GBp|0.01|Europe/London|0.0001|2010-07-21|-|-|-|-",
    ),
    (
        "chart/chart-ORSTED.CO-2020-01-01-to-2020-01-03.json",
        "Ørsted A/S|EQUITY|CPH|XCSE|DKK|-|-|Europe/Copenhagen|0.01|2016-06-09|-|-|-|-",
    ),
    (
        "chart/chart-TSLA-2021-11-22-to-2021-11-23-interval-30m.json",
        "-|EQUITY|NMS|XNYS|USD|-|-|America/New_York|0.01|2010-06-29|-|-|-|-",
    ),
    // Suspended for a year and a half by then, and not delisted.
    (
        "chart/chart-WSKT.JK-2020-01-01-to-2020-01-03.json",
        "PT Waskita Karya (Persero) Tbk|MUTUALFUND|JKT|XIDX|IDR|-|-|Asia/Jakarta|0.01|2012-12-19|-|-|-|-",
    ),
    (
        "chart/chart-WSU.DE-2023-08-04-to-2023-08-09.json",
        "WashTec AG|EQUITY|GER|XETR|EUR|-|-|Europe/Berlin|0.01|1998-11-09|-|-|-|-",
    ),
    (
        "chart/historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json",
        "Microsoft Corporation|EQUITY|NMS|XNYS|USD|-|-|America/New_York|0.01|1986-03-13|-|-|-|-",
    ),
    (
        "chart/pricehist-ibm-long-partial.body.json",
        "International Business Machines Corporation|EQUITY|NYQ|XNYS|USD|-|-|America/New_York|0.01|1962-01-02|-|-|-|-",
    ),
    (
        "errors/chart-IDX_VXAPL-2020-01-01-to-2020-01-03.json",
        "-|INDEX|WCB|XNYS|USD|-|-|America/New_York|0.01|-|-|-|-|-",
    ),
    (
        "errors/chart-LUCYW-null-currency.json",
        "Innovative Eyewear, Inc.|EQUITY|NCM|XNYS|-|-|-|America/New_York|0.0001|2022-08-15|-|-|-|-",
    ),
];

#[test]
fn every_kind_of_symbol_is_described() {
    let Some(folder) = shared("data/yahoo") else { return };
    let mut wrong = Vec::new();
    for (name, expected) in EXPECTED {
        let recording = Recording::read(&folder.join(name));
        let request = ChartRequest::new("S", "1d".parse().unwrap(), recording.as_of);
        let row = chart_symbols(&recording.reply, &request).unwrap();
        let cell = |column: &arrow::array::ArrayRef| {
            if column.is_null(0) { "-".to_owned() } else { array_value_to_string(column, 0).unwrap() }
        };
        let cells: Vec<String> = row.columns().iter().map(cell).collect();
        assert_eq!((row.num_rows(), cells[0].as_str(), cells[15].as_str()), (1, "S", "yahoo"), "{name}");
        let said = cells[1..15].join("|");
        if said != *expected {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_describe_no_symbol() {
    let Some(folder) = shared("data/yahoo/errors") else { return };
    for name in ["chart-BEKE-2020-01-01-to-2020-01-03.json", "historical-via-chart-SI-2020-01-01-to-2020-01-03.json"] {
        let recording = Recording::read(&folder.join(name));
        let request = ChartRequest::new("S", "1d".parse().unwrap(), recording.as_of);
        assert!(chart_symbols(&recording.reply, &request).is_err(), "{name}");
        assert!(chart_facts(&recording.reply).is_err(), "{name}");
    }
}
