//! `/query?function=TIME_SERIES_DAILY_ADJUSTED&symbol=..&outputsize=full&apikey=..`: everything with status 200.
//!
//! Also `TIME_SERIES_DAILY`, and `TIME_SERIES_INTRADAY` of hours with `month=2024-01` from the listing in February 2024 on.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value, json};

use super::daily::{self, DAY, Daily};
use super::wire::{Answer, Call};

const LAST_DAY: i64 = 20_700;

pub(super) fn answer(call: &Call) -> Answer {
    if call.parameter("apikey").is_none_or(|key| key.is_empty()) {
        return error("the parameter apikey is invalid or missing. Please claim your free API key.");
    }
    let symbol = call.parameter("symbol").unwrap_or_default();
    let function = call.parameter("function").unwrap_or_default();
    let invalid = || {
        let page = "https://www.alphavantage.co/documentation/";
        error(&format!("Invalid API call. Please retry or visit the documentation ({page}) for {function}."))
    };
    if symbol.is_empty() || symbol.starts_with("NONE") {
        return invalid();
    }
    let is_adjusted = match function.as_str() {
        "TIME_SERIES_DAILY_ADJUSTED" => true,
        "TIME_SERIES_DAILY" => false,
        "TIME_SERIES_INTRADAY" => return intraday(call, &symbol).unwrap_or_else(invalid),
        _ => return invalid(),
    };
    let is_full = call.parameter("outputsize").as_deref() == Some("full");
    let days = daily::days(&symbol, if is_full { LAST_DAY - 7300 } else { LAST_DAY - 140 }, LAST_DAY);
    let date = |day: i64| DateTime::from_timestamp(day * DAY, 0).unwrap().date_naive().to_string();
    let series: Map<String, Value> = days
        .iter()
        .map(|bar| {
            let mut values = prices(bar);
            if is_adjusted {
                values["5. adjusted close"] = format!("{:.4}", bar.adjusted).into();
                values["6. volume"] = bar.volume.to_string().into();
                values["7. dividend amount"] = format!("{:.4}", bar.dividend.unwrap_or_default()).into();
                values["8. split coefficient"] = "1.0".into();
            } else {
                values["5. volume"] = bar.volume.to_string().into();
            }
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

fn prices(bar: &Daily) -> Value {
    json!({
        "1. open": format!("{:.4}", bar.open),
        "2. high": format!("{:.4}", bar.high),
        "3. low": format!("{:.4}", bar.low),
        "4. close": format!("{:.4}", bar.close),
    })
}

/// An hour a day; nothing for months before the listing and for those that have not begun.
fn intraday(call: &Call, symbol: &str) -> Option<Answer> {
    let today = Utc::now().date_naive();
    let listed = NaiveDate::from_ymd_opt(2024, 2, 1)?;
    let day_of = |date: NaiveDate| (date - NaiveDate::default()).num_days();
    let (first, last) = match call.parameter("month") {
        Some(month) => {
            let first: NaiveDate = format!("{month}-01").parse().ok()?;
            (first, first.checked_add_months(chrono::Months::new(1))?.pred_opt()?)
        }
        None => (today - chrono::Days::new(30), today),
    };
    if first < listed || today < first {
        return None;
    }
    let hour = |bar: &Daily| {
        let date = DateTime::from_timestamp(bar.day * DAY, 0).unwrap().date_naive();
        let mut values = prices(bar);
        values["5. volume"] = bar.volume.to_string().into();
        (format!("{date} 10:00:00"), values)
    };
    let days = daily::days(symbol, day_of(first), day_of(last.min(today)));
    let series: Map<String, Value> = days.iter().map(hour).collect();
    let meta = json!({ "2. Symbol": symbol, "4. Interval": "60min", "6. Time Zone": "US/Eastern" });
    Some(Answer::json(200, json!({ "Meta Data": meta, "Time Series (60min)": series })))
}

fn error(text: &str) -> Answer {
    Answer::json(200, json!({ "Error Message": text }))
}
