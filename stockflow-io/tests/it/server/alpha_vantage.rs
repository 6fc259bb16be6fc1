//! `/query?function=TIME_SERIES_DAILY_ADJUSTED&symbol=..&outputsize=full&apikey=..`: everything with status 200.

use chrono::DateTime;
use serde_json::{Map, Value, json};

use super::daily::{self, DAY};
use super::wire::{Answer, Call};

const LAST_DAY: i64 = 20_700;

pub(super) fn answer(call: &Call) -> Answer {
    if call.parameter("apikey").is_none_or(|key| key.is_empty()) {
        return error("the parameter apikey is invalid or missing. Please claim your free API key.");
    }
    let symbol = call.parameter("symbol").unwrap_or_default();
    let is_known = call.parameter("function").as_deref() == Some("TIME_SERIES_DAILY_ADJUSTED");
    if !is_known || symbol.is_empty() || symbol.starts_with("NONE") {
        return error("Invalid API call. Please retry or visit the documentation for TIME_SERIES_DAILY_ADJUSTED.");
    }
    let is_full = call.parameter("outputsize").as_deref() == Some("full");
    let days = daily::days(&symbol, if is_full { LAST_DAY - 7300 } else { LAST_DAY - 140 }, LAST_DAY);
    let date = |day: i64| DateTime::from_timestamp(day * DAY, 0).unwrap().date_naive().to_string();
    let series: Map<String, Value> = days
        .iter()
        .map(|bar| {
            let values = json!({
                "1. open": format!("{:.4}", bar.open),
                "2. high": format!("{:.4}", bar.high),
                "3. low": format!("{:.4}", bar.low),
                "4. close": format!("{:.4}", bar.close),
                "5. adjusted close": format!("{:.4}", bar.adjusted),
                "6. volume": bar.volume.to_string(),
                "7. dividend amount": format!("{:.4}", bar.dividend.unwrap_or_default()),
                "8. split coefficient": "1.0",
            });
            (date(bar.day), values)
        })
        .collect();
    let size = if is_full { "Full size" } else { "Compact" };
    let meta = json!({
        "1. Information": "Daily Time Series with Splits and Dividend Events",
        "2. Symbol": symbol,
        "3. Last Refreshed": date(LAST_DAY),
        "4. Output Size": size,
        "5. Time Zone": "US/Eastern",
    });
    Answer::json(200, json!({ "Meta Data": meta, "Time Series (Daily)": series }))
}

fn error(text: &str) -> Answer {
    Answer::json(200, json!({ "Error Message": text }))
}
