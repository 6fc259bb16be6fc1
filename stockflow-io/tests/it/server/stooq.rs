//! `/q/d/l/?s=aapl.us&i=d&d1=20240101&d2=20240201&apikey=..`: CSV, and everything else as text with status 200.

use chrono::{DateTime, NaiveDate};

use super::daily::{self, DAY};
use super::wire::{Answer, Call};

pub(super) fn answer(call: &Call) -> Answer {
    let text = |text: &str| Answer::new(200, "text/plain", text);
    if call.parameter("apikey").is_none_or(|key| key.is_empty()) {
        return text("Get your apikey:\n\n1. Open https://stooq.com/q/d/?s=aapl.us&get_apikey\n");
    }
    let symbol = call.parameter("s").unwrap_or_default().to_ascii_uppercase();
    if symbol.is_empty() || symbol.starts_with("NONE") {
        return text("No data");
    }
    let first = day_of(call.parameter("d1"), 10_957);
    let last = day_of(call.parameter("d2"), 20_700);
    let mut csv = String::from("Date,Open,High,Low,Close,Volume\r\n");
    let days = daily::days(&symbol, first, last);
    // The words are the same as for an unknown symbol.
    if days.is_empty() {
        return text("No data");
    }
    for bar in days {
        let date = DateTime::from_timestamp(bar.day * DAY, 0).unwrap().date_naive();
        csv += &format!("{date},{},{},{},{},{}\r\n", bar.open, bar.high, bar.low, bar.close, bar.volume);
    }
    Answer::new(200, "text/csv", csv)
}

fn day_of(text: Option<String>, otherwise: i64) -> i64 {
    let date = text.and_then(|text| NaiveDate::parse_from_str(&text, "%Y%m%d").ok());
    date.map_or(otherwise, |date| (date - NaiveDate::default()).num_days())
}
