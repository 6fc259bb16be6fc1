//! Every recorded reply and what must come out of it. Switched on by `STOCKFLOW_SHARED`, the folder that holds `data/`.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Float64Type};
use chrono::NaiveDate;
use stockflow_io::yahoo::decode::{
    Chart, ChartRequest, Holders, Insights, Quotes, ReplyError, SymbolRequest, chart, crumb, holders, insights, quote,
    undo_splits,
};

use super::recording::Recording;
use crate::support::shared;

/// Folder and file, and the reply in one line.
const EXPECTED: &[(&str, &str)] = &[
    (
        "chart/chart-0P000071W8.TO-2020-01-01-to-2020-01-03.json",
        "1 bars 2020-01-02 73.720 to 2020-01-02 73.720 CAD TOR",
    ),
    (
        "chart/chart-AAPL-2020-08-31-to-2020-11-07.json",
        "49 bars 2020-08-31 129.040 to 2020-11-06 118.690 USD NMS, 1 dividend, 1 split from 2020-08-31 to 2020-11-06",
    ),
    (
        "chart/chart-AAPL-2024-10-02-to-2024-10-03-includePrePost-false-interval-1m.json",
        "390 bars 2024-10-02 225.700 to 2024-10-03 225.670 USD NMS, 1 post, 1 not final, 390 without adj_close, missing 2024-10-02",
    ),
    (
        "chart/chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json",
        "Final: no bars, closed: the exchange of `AAPL` does not trade on these days or hours",
    ),
    ("chart/chart-BTC-USD-2020-01-01-to-2020-01-03.json", "3 bars 2020-01-01 7200.174 to 2020-01-03 7344.884 USD CCC"),
    ("chart/chart-EURUSD_eq_X-2020-01-01-to-2020-01-03.json", "3 bars 2020-01-01 1.122 to 2020-01-03 1.117 USD CCY"),
    ("chart/chart-GC_eq_F-2020-01-01-to-2020-01-03.json", "1 bars 2020-01-02 1524.500 to 2020-01-02 1524.500 USD CMX"),
    ("chart/chart-OCDO.L-2020-01-01-to-2020-01-03.json", "1 bars 2020-01-02 1259.500 to 2020-01-02 1259.500 GBp LSE"),
    ("chart/chart-ORSTED.CO-2020-01-01-to-2020-01-03.json", "1 bars 2020-01-02 681.000 to 2020-01-02 681.000 DKK CPH"),
    (
        "chart/chart-TSLA-2021-11-22-to-2021-11-23-interval-30m.json",
        "30 bars 2021-11-22 1168.700 to 2021-11-22 1156.490 USD NMS, 11 pre, 6 post, 30 without adj_close",
    ),
    ("chart/chart-WSKT.JK-2020-01-01-to-2020-01-03.json", "1 bars 2020-01-02 1505.000 to 2020-01-02 1505.000 IDR JKT"),
    ("chart/chart-WSU.DE-2023-08-04-to-2023-08-09.json", "3 bars 2023-08-04 34.450 to 2023-08-08 33.200 EUR GER"),
    (
        "chart/chart-WSU.DE-2023-08-04-to-2023-08-09.recorded-2023-null-row.json",
        "2 bars 2023-08-04 34.450 to 2023-08-08 33.200 EUR GER, missing 2023-08-07",
    ),
    (
        "chart/historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json",
        "252 bars 2021-02-01 239.650 to 2022-01-28 308.260 USD NMS, 4 dividend from 2021-02-17 to 2021-11-17",
    ),
    (
        "chart/historical-via-chart-dividends-TSLA-no-dividends.json",
        "3303 bars 2010-06-29 1.593 to 2023-08-11 242.650 USD NMS",
    ),
    (
        "chart/pricehist-ibm-long-partial.body.json",
        "10 bars 1962-01-02 7.291 to 2021-01-08 122.878 USD NYQ, 10 dividend, 7 split from 1962-02-06 to 2020-11-09, first as traded 546.845",
    ),
    ("chart/pricehist-tsla-recent.body.json", "5 bars 2021-01-04 243.257 to 2021-01-08 293.340 USD NMS"),
    (
        "chart/yafin-AAPL-1d-1y.body.json",
        "250 bars 2024-11-27 234.930 to 2025-11-26 277.550 USD NMS, 4 dividend from 2025-02-10 to 2025-11-10",
    ),
    (
        "crumb/getCrumb-getcrumb.json",
        "Retry: malformed reply: no crumb, which has 11 characters, but 8 bytes; it begins with `***`",
    ),
    (
        "crumb/getCrumb-quote-AAPL-collectConsentSubmit.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: redirected (HTTP 302), as to the consent page",
    ),
    (
        "crumb/getCrumb-quote-AAPL-consent-final-redirect.html.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: redirected (HTTP 301), as to the consent page",
    ),
    (
        "crumb/getCrumb-quote-AAPL-consent.html.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: redirected (HTTP 302), as to the consent page",
    ),
    (
        "crumb/getCrumb-quote-AAPL-copyConsent.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: redirected (HTTP 302), as to the consent page",
    ),
    (
        "crumb/getCrumb-quote-AAPL.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: redirected (HTTP 307), as to the consent page",
    ),
    (
        "crumb/getCrumb-quote-AAPL.json.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: redirected (HTTP 307), as to the consent page",
    ),
    (
        "errors/chart-BEKE-2020-01-01-to-2020-01-03.json",
        "Final: no bars, not yet listed: Data doesn't exist for startDate = 1577836800, endDate = 1578009600",
    ),
    (
        "errors/chart-IDX_VXAPL-2020-01-01-to-2020-01-03.json",
        "Final: no bars, no history: Yahoo allows `^VXAPL` the last days only",
    ),
    (
        "errors/chart-LUCYW-null-currency.json",
        "Final: no bars, no trading in the range: Yahoo knows `LUCYW` and has no trades of it",
    ),
    ("errors/chart-notimestamp-quotes-length.fake.json", "0 bars USD NMS, refused 0: no timestamp"),
    ("errors/chart-notimestamp-weird-quote.fake.json", "0 bars USD NMS, refused 0: no timestamp"),
    (
        "errors/historical-via-chart-SI-2020-01-01-to-2020-01-03.json",
        "Final: unknown or delisted symbol: No data found, symbol may be delisted",
    ),
    (
        "errors/http-401-invalid-crumb.transcribed.body.json",
        "RefreshCrumb: Yahoo wants a valid cookie and crumb: Invalid Crumb",
    ),
    (
        "errors/http-422-chart-1h-older-than-730d.transcribed.body.json",
        "Final: range too old for this interval: 1h data not available for startTime=1664582400 and endTime=1705276800. The requested range must be within the last 730 days.",
    ),
    ("errors/http-429-edge.transcribed.body.txt", "Retry: rate limited by Yahoo"),
    ("errors/http-429-getcrumb.transcribed.body.txt", "Retry: rate limited by Yahoo"),
    ("errors/pageWith404andJson.fake.json", "Fatal: Yahoo has no such endpoint (HTTP 404): {}"),
    ("errors/pageWithUnknownError.json", "Final: Yahoo refuses the request (HTTP 404, Made Up Error): I'm made up"),
    (
        "errors/quoteSummary-assetProfile-QQQ_comma.json",
        "Final: unknown symbol: Quote not found for ticker symbol: QQQ,",
    ),
    ("errors/quoteSummary-assetProfile-empty-symbol.json", "Final: unknown symbol: HTTP 404 without a reason"),
    (
        "insights/insights-AAPL.json",
        "BUY Bullish Some(280.0) stop Some(232.944749) discount Some(-0.04), 2 reports, 39 filings, 1 events, 0 refused, told 2025-02-21",
    ),
    (
        "insights/insights-AAPL.recorded-older.json",
        "BUY Bearish Some(180.0) stop Some(150.802471) discount Some(-0.12), 2 reports, 5 filings, 1 events, 0 refused, told 2022-03-01",
    ),
    (
        "insights/insights-AFRAF.json",
        "- - None stop None discount None, 2 reports, 0 filings, 0 events, 0 refused, told 2025-01-29",
    ),
    (
        "insights/insights-AMZN.json",
        "BUY Bearish Some(270.0) stop Some(212.033763) discount Some(0.1), 2 reports, 39 filings, 1 events, 0 refused, told 2025-02-19",
    ),
    (
        "insights/insights-BTC-USD.json",
        "- - None stop None discount None, 0 reports, 0 filings, 0 events, 0 refused, told nothing",
    ),
    (
        "insights/insights-MPAY.json",
        "- Bullish None stop Some(25.833198) discount None, 2 reports, 0 filings, 1 events, 0 refused, told 2015-05-06",
    ),
    (
        "insights/insights-OCDO.L.json",
        "- - None stop None discount None, 0 reports, 0 filings, 0 events, 0 refused, told 2025-01-16",
    ),
    (
        "insights/insights-QQQ.json",
        "- Bullish None stop Some(519.301441) discount None, 2 reports, 6 filings, 1 events, 0 refused, told nothing",
    ),
    (
        "insights/yafin-v3-AAPL.body.json",
        "BUY Bullish Some(325.0) stop Some(258.743024) discount Some(-0.1), 4 reports, 42 filings, 1 events, 0 refused, told 2025-11-24",
    ),
    ("quote/quote-0P000071W8.TO.json", "0P000071W8.TO 152.63 CAD; absent [\"NOPE\"], 0 refused"),
    ("quote/quote-AAPL-BABA.json", "AAPL 244.6 USD; BABA 124.73 USD; absent [\"NOPE\"], 0 refused"),
    ("quote/quote-AAPL.json", "AAPL 244.6 USD; absent [\"NOPE\"], 0 refused"),
    ("quote/quote-ADH.json", "ADH priceless, delisted true; absent [\"NOPE\"], 0 refused"),
    ("quote/quote-BTC-USD.json", "BTC-USD 96077.45 USD; absent [\"NOPE\"], 0 refused"),
    ("quote/quote-EURUSD_eq_X.json", "EURUSD=X 1.0489877 USD; absent [\"NOPE\"], 0 refused"),
    ("quote/quote-OCDO.L.json", "OCDO.L 308.8 GBp; absent [\"NOPE\"], 0 refused"),
    ("quote/yafin-AAPL.body.json", "AAPL 277.55 USD; absent [\"NOPE\"], 0 refused"),
    (
        "quoteSummary/quoteSummary-all-AAPL.json",
        "1 breakdown, 0 without institutions_share, sum 0.6271; 10 institutions, 0 without share, sum 0.3279; 10 funds, 0 without share, sum 0.1245; 10 insiders, 1 without direct_position, sum 4679625.0000; 85 transactions, 40 without value, sum 504401364.0000; 1 purchases, 0 without insider_shares, sum 343404576.0000; 7 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-fundOwnership-AAPL.json",
        "10 funds, 0 without share, sum 0.1245; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-fundOwnership-BABA.json",
        "10 funds, 0 without share, sum 0.0187; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-fundOwnership-OCDO.L.json",
        "10 funds, 0 without share, sum 0.1703; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-fundOwnership-ORSTED.CO.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-fundOwnership-QQQ.json", "0 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-insiderHolders-AAPL.json",
        "10 insiders, 1 without direct_position, sum 4679625.0000; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-insiderHolders-BABA.json", "1 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-insiderHolders-OCDO.L.json",
        "10 insiders, 0 without direct_position, sum 395270508.0000; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-insiderHolders-ORSTED.CO.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-insiderHolders-QQQ.json", "0 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-insiderTransactions-AAPL.json",
        "85 transactions, 40 without value, sum 504401364.0000; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-insiderTransactions-BABA.json", "0 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-insiderTransactions-OCDO.L.json",
        "150 transactions, 83 without value, sum 136073.0000; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-insiderTransactions-ORSTED.CO.json", "0 modules, 0 refused"),
    ("quoteSummary/quoteSummary-insiderTransactions-QQQ.json", "0 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-institutionOwnership-AAPL.json",
        "10 institutions, 0 without share, sum 0.3279; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-institutionOwnership-BABA.json",
        "10 institutions, 0 without share, sum 0.0507; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-institutionOwnership-OCDO.L.json",
        "1 institutions, 0 without share, sum 0.0001; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-institutionOwnership-ORSTED.CO.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-institutionOwnership-QQQ.json", "0 modules, 0 refused"),
    ("quoteSummary/quoteSummary-majorDirectHolders-AAPL.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-majorDirectHolders-BABA.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-majorDirectHolders-OCDO.L.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-majorDirectHolders-ORSTED.CO.json", "1 modules, 0 refused"),
    ("quoteSummary/quoteSummary-majorDirectHolders-QQQ.json", "0 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-majorHoldersBreakdown-AAPL.json",
        "1 breakdown, 0 without institutions_share, sum 0.6271; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-majorHoldersBreakdown-BABA.json",
        "1 breakdown, 0 without institutions_share, sum 0.1451; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-majorHoldersBreakdown-OCDO.L.json",
        "1 breakdown, 0 without institutions_share, sum 0.5554; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-majorHoldersBreakdown-ORSTED.CO.json",
        "1 breakdown, 0 without institutions_share, sum 0.2033; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-majorHoldersBreakdown-QQQ.json", "0 modules, 0 refused"),
    (
        "quoteSummary/quoteSummary-netSharePurchaseActivity-AAPL.json",
        "1 purchases, 0 without insider_shares, sum 343404576.0000; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-netSharePurchaseActivity-BABA.json",
        "1 purchases, 0 without insider_shares, sum 8332650.0000; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-netSharePurchaseActivity-OCDO.L.json",
        "1 purchases, 0 without insider_shares, sum 240601008.0000; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/quoteSummary-netSharePurchaseActivity-ORSTED.CO.json",
        "1 purchases, 0 without insider_shares, sum 273585408.0000; 1 modules, 0 refused",
    ),
    ("quoteSummary/quoteSummary-netSharePurchaseActivity-QQQ.json", "0 modules, 0 refused"),
    ("quoteSummary/yafin-fund_ownership-AAPL.body.json", "10 funds, 0 without share, sum 0.1262; 1 modules, 0 refused"),
    (
        "quoteSummary/yafin-insider_holders-AAPL.body.json",
        "10 insiders, 0 without direct_position, sum 9213424.0000; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/yafin-insider_transactions-AAPL.body.json",
        "77 transactions, 39 without value, sum 436007570.0000; 1 modules, 0 refused",
    ),
    (
        "quoteSummary/yafin-institution_ownership-AAPL.body.json",
        "10 institutions, 0 without share, sum 0.3321; 1 modules, 0 refused",
    ),
    ("quoteSummary/yafin-major_direct_holders-AAPL.body.json", "1 modules, 0 refused"),
    (
        "quoteSummary/yafin-major_holders_breakdown-AAPL.body.json",
        "1 breakdown, 0 without institutions_share, sum 0.6436; 1 modules, 0 refused",
    ),
];

const FOLDERS: [&str; 6] = ["chart", "errors", "quoteSummary", "insights", "quote", "crumb"];

#[test]
fn every_recorded_reply_says_what_it_should() {
    let Some(folder) = shared("data/yahoo") else { return };
    let mut wrong = Vec::new();
    for (name, expected) in EXPECTED {
        let got = say(name, &folder.join(name));
        if got != *expected {
            wrong.push(format!("    ({name:?}, {got:?}),"));
        }
    }
    let mut files: Vec<String> = FOLDERS.iter().flat_map(|name| names(&folder, name)).collect();
    files.retain(|file| !EXPECTED.iter().any(|(name, _)| name == file));
    files.sort();
    let unnamed = files.iter().map(|file| format!("    ({file:?}, {:?}),", say(file, &folder.join(file))));
    wrong.extend(unnamed);
    assert!(wrong.is_empty(), "{} files differ or are not named here:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_exclusive_end_drops_the_bar_stamped_so() {
    let Some(folder) = shared("data/yahoo") else { return };
    for name in ["BTC-USD", "EURUSD_eq_X"] {
        let recording = Recording::read(&folder.join(format!("chart/chart-{name}-2020-01-01-to-2020-01-03.json")));
        let request = ChartRequest {
            end: "2020-01-03T00:00:00Z".parse().ok(),
            is_end_exclusive: true,
            ..chart_request(&recording)
        };
        assert_eq!(chart(&recording.reply, &request).unwrap().bars.num_rows(), 2);
    }
}

fn names(folder: &Path, name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(name)).unwrap();
    entries.map(|entry| format!("{name}/{}", entry.unwrap().file_name().to_str().unwrap())).collect()
}

/// The decoder that a file is for, and what it says.
fn say(name: &str, path: &Path) -> String {
    let recording = Recording::read(path);
    let (folder, file) = name.split_once('/').unwrap();
    let kind = match folder {
        "errors" if file.starts_with("quoteSummary") || file.starts_with("page") => "quoteSummary",
        "errors" if file.contains("401") => "quote",
        "errors" if file.contains("getcrumb") => "crumb",
        "errors" => "chart",
        folder => folder,
    };
    let said = match kind {
        "chart" => chart(&recording.reply, &chart_request(&recording)).map(|chart| of_chart(&chart)),
        "quoteSummary" => holders(&recording.reply, &symbols(&recording, "AAPL")).map(|holders| of_holders(&holders)),
        "insights" => {
            let symbol = recording.parameter("symbol").unwrap_or("AAPL");
            insights(&recording.reply, &symbols(&recording, symbol)).map(|insights| of_insights(&insights))
        }
        "quote" => {
            let asked = recording.parameter("symbols").unwrap_or("AAPL").replace("%2C", ",").replace("%3D", "=");
            quote(&recording.reply, &symbols(&recording, &format!("{asked},NOPE"))).map(|quotes| of_quotes(&quotes))
        }
        _ => crumb(&recording.reply),
    };
    said.unwrap_or_else(|error: ReplyError| format!("{:?}: {error}", error.class()))
}

fn symbols(recording: &Recording, symbols: &str) -> SymbolRequest {
    SymbolRequest::new(symbols.split(','), recording.as_of)
}

fn chart_request(recording: &Recording) -> ChartRequest {
    let interval = recording.parameter("interval").unwrap_or("1d").parse().unwrap();
    let mut request = ChartRequest::new("S", interval, recording.as_of);
    request.start = recording.moment("period1");
    request.end = recording.moment("period2");
    request
}

fn date(days: i32) -> String {
    (NaiveDate::default() + chrono::Duration::days(i64::from(days))).to_string()
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a arrow::array::ArrayRef {
    batch.column_by_name(name).unwrap()
}

fn of_chart(chart: &Chart) -> String {
    let bars = &chart.bars;
    let n = bars.num_rows();
    let dates = column(bars, "date").as_primitive::<Date32Type>();
    let closes = column(bars, "close").as_primitive::<Float64Type>();
    let mut said = format!("{n} bars");
    if let Some(last) = n.checked_sub(1) {
        let (first, last) = ((0, closes.value(0)), (last, closes.value(last)));
        said +=
            &format!(" {} {:.3} to {} {:.3}", date(dates.value(first.0)), first.1, date(dates.value(last.0)), last.1);
    }
    said += &format!(
        " {} {}",
        chart.facts.currency.as_deref().unwrap_or("-"),
        chart.facts.exchange.as_deref().unwrap_or("-")
    );
    let word =
        |name: &str| column(bars, name).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    for session in ["pre", "post"] {
        let n = word("session").iter().filter(|word| *word == session).count();
        said += &if n > 0 { format!(", {n} {session}") } else { String::new() };
    }
    let finals = column(bars, "is_final").as_boolean();
    let n_live = finals.len() - finals.true_count();
    said += &if n_live > 0 { format!(", {n_live} not final") } else { String::new() };
    let no_adj = column(bars, "adj_close").null_count();
    said += &if no_adj > 0 { format!(", {no_adj} without adj_close") } else { String::new() };
    for kind in ["dividend", "split", "capital_gain"] {
        let kinds = column(&chart.actions, "kind").as_string::<i32>();
        let n = kinds.iter().filter(|it| *it == Some(kind)).count();
        said += &if n > 0 { format!(", {n} {kind}") } else { String::new() };
    }
    let days = column(&chart.actions, "date").as_primitive::<Date32Type>().values();
    if let (Some(first), Some(last)) = (days.first(), days.last()) {
        said += &format!(" from {} to {}", date(*first), date(*last));
    }
    for missing in &chart.missing {
        said += &format!(", missing {}", missing.date);
    }
    for reject in &chart.rejects {
        said += &format!(", refused {}: {}", reject.position, reject.reason);
    }
    let raw = undo_splits(bars, &chart.actions).unwrap();
    let raw = column(&raw, "close").as_primitive::<Float64Type>();
    if n > 0 && raw.value(0) != closes.value(0) {
        said += &format!(", first as traded {:.3}", raw.value(0));
    }
    said
}

fn sum(batch: &RecordBatch, name: &str) -> f64 {
    column(batch, name).as_primitive::<Float64Type>().iter().flatten().sum()
}

fn of_holders(holders: &Holders) -> String {
    let mut said = String::new();
    let tables = [
        ("breakdown", &holders.breakdown, "institutions_share"),
        ("institutions", &holders.institutions, "share"),
        ("funds", &holders.funds, "share"),
        ("insiders", &holders.insiders, "direct_position"),
        ("transactions", &holders.insider_transactions, "value"),
        ("direct", &holders.direct_holders, "direct_position"),
        ("purchases", &holders.purchases, "insider_shares"),
    ];
    for (name, table, of) in tables {
        if table.num_rows() > 0 {
            let nulls = column(table, of).null_count();
            said += &format!("{} {name}, {nulls} without {of}, sum {:.4}; ", table.num_rows(), sum(table, of));
        }
    }
    format!("{said}{} modules, {} refused", holders.modules.len(), holders.rejects.len())
}

fn of_insights(insights: &Insights) -> String {
    let word = |name: &str| {
        let column = column(&insights.summary, name).as_string::<i32>();
        if column.is_valid(0) { column.value(0).to_owned() } else { "-".to_owned() }
    };
    let number = |name: &str| column(&insights.summary, name).as_primitive::<Float64Type>().iter().flatten().next();
    // No headlines here: they are not ours to repeat.
    let told = column(&insights.developments, "date").as_primitive::<Date32Type>().iter().flatten().next();
    format!(
        "{} {} {:?} stop {:?} discount {:?}, {} reports, {} filings, {} events, {} refused, told {}",
        word("rating"),
        word("short_direction"),
        number("target_price"),
        number("stop_loss"),
        number("discount"),
        insights.reports.num_rows(),
        insights.filings.num_rows(),
        insights.events.num_rows(),
        insights.rejects.len(),
        told.map_or_else(|| "nothing".to_owned(), date)
    )
}

fn of_quotes(quotes: &Quotes) -> String {
    let table = &quotes.quotes;
    let (symbols, currencies) =
        (column(table, "symbol").as_string::<i32>(), column(table, "currency").as_string::<i32>());
    let prices = column(table, "price").as_primitive::<Float64Type>();
    let mut said: Vec<String> = (0..table.num_rows())
        .map(|row| format!("{} {} {}", symbols.value(row), prices.value(row), currencies.value(row)))
        .collect();
    said.extend(quotes.priceless.iter().map(|it| format!("{} priceless, delisted {}", it.symbol, it.is_delisted)));
    said.push(format!("absent {:?}, {} refused", quotes.absent, quotes.rejects.len()));
    said.join("; ")
}
