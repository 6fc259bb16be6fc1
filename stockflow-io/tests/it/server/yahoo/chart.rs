//! `/v8/finance/chart/{symbol}`: daily and longer bars of New York, and minutes within the limits of how far back.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::daily::{self, DAY, Daily};
use super::super::wire::{Answer, Call};

/// Half past two in the afternoon UTC.
const OPENING: i64 = 52_200;
const SESSION: i64 = 23_400;

pub(super) fn answer(call: &Call) -> Answer {
    let symbol = call.symbol();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let number = |name: &str| call.parameter(name).and_then(|value| value.parse::<i64>().ok());
    let interval = call.parameter("interval").unwrap_or_else(|| "1d".into());
    let begin = number("period1").unwrap_or_else(|| now - range(call.parameter("range").as_deref()) * DAY);
    let end = number("period2").unwrap_or(now);
    if symbol.starts_with("NONE") {
        return error(404, "Not Found", "No data found, symbol may be delisted");
    }
    if symbol.starts_with("LATE") {
        let text = format!("Data doesn't exist for startDate = {begin}, endDate = {end}");
        return error(400, "Bad Request", &text);
    }
    let step = seconds(&interval);
    let furthest = if step == 60 {
        30
    } else if step < 3600 {
        60
    } else {
        730
    };
    if step < DAY && begin < now - furthest * DAY {
        let text = format!(
            "{interval} data not available for startTime={begin} and endTime={end}. The requested range must be within the last {furthest} days."
        );
        return error(422, "Unprocessable Entity", &text);
    }
    let bars = if symbol.starts_with("EMPTY") { Vec::new() } else { bars(&symbol, begin, end, step) };
    Answer::json(200, json!({ "chart": { "result": [result(&symbol, &interval, &bars)], "error": null } }))
}

fn error(status: u16, code: &str, description: &str) -> Answer {
    let error = json!({ "code": code, "description": description });
    Answer::json(status, json!({ "chart": { "result": null, "error": error } }))
}

fn range(range: Option<&str>) -> i64 {
    match range.unwrap_or("1d") {
        "1d" => 1,
        "5d" => 5,
        "1mo" => 30,
        "3mo" => 91,
        "6mo" => 182,
        "2y" => 730,
        "5y" => 1826,
        "10y" | "max" => 3652,
        _ => 365,
    }
}

fn seconds(interval: &str) -> i64 {
    match interval {
        "1m" => 60,
        "2m" => 120,
        "5m" => 300,
        "15m" => 900,
        "30m" => 1800,
        "90m" => 5400,
        "60m" | "1h" => 3600,
        "1wk" => 7 * DAY,
        _ => DAY,
    }
}

/// Bars with their timestamps.
fn bars(symbol: &str, begin: i64, end: i64, step: i64) -> Vec<(i64, Daily)> {
    let days = daily::days(symbol, begin.div_euclid(DAY), end.div_euclid(DAY)).into_iter();
    let within = |at: &i64| (begin..=end).contains(at);
    if step >= DAY {
        // A week is its Monday.
        let is_first = |day: i64| step == DAY || (day + 4).rem_euclid(7) == 1;
        let all = days.filter(|bar| is_first(bar.day)).map(|bar| (bar.day * DAY + OPENING, bar));
        return all.filter(|(at, _)| within(at)).collect();
    }
    let open = |day: i64| (day * DAY + OPENING..day * DAY + OPENING + SESSION).step_by(usize::try_from(step).unwrap());
    let times = days.flat_map(|bar| open(bar.day).collect::<Vec<_>>()).filter(within);
    // Every bar looks like a day that is far away.
    times.filter_map(|at| Some((at, daily::days(symbol, at / step * 7 + 1, at / step * 7 + 1).pop()?))).collect()
}

fn result(symbol: &str, interval: &str, bars: &[(i64, Daily)]) -> Value {
    let mut result = json!({ "meta": meta(symbol, interval, bars), "indicators": { "quote": [{}] } });
    let is_daily = seconds(interval) >= DAY;
    if bars.is_empty() {
        if is_daily {
            result["indicators"]["adjclose"] = json!([{}]);
        }
        return result;
    }
    let column = |value: fn(&Daily) -> f64| bars.iter().map(|(_, bar)| value(bar)).collect::<Vec<f64>>();
    result["timestamp"] = bars.iter().map(|(at, _)| *at).collect();
    result["indicators"]["quote"] = json!([{
        "open": column(|bar| bar.open),
        "high": column(|bar| bar.high),
        "low": column(|bar| bar.low),
        "close": column(|bar| bar.close),
        "volume": bars.iter().map(|(_, bar)| bar.volume).collect::<Vec<u64>>(),
    }]);
    if is_daily {
        result["indicators"]["adjclose"] = json!([{ "adjclose": column(|bar| bar.adjusted) }]);
        let dividends: Map<String, Value> = bars
            .iter()
            .filter_map(|(at, bar)| Some((at.to_string(), json!({ "amount": bar.dividend?, "date": at }))))
            .collect();
        if !dividends.is_empty() {
            result["events"] = json!({ "dividends": dividends });
        }
    }
    result
}

fn meta(symbol: &str, interval: &str, bars: &[(i64, Daily)]) -> Value {
    json!({
        "currency": "USD",
        "symbol": symbol,
        "exchangeName": "NMS",
        "fullExchangeName": "NasdaqGS",
        "instrumentType": "EQUITY",
        "firstTradeDate": 0,
        "regularMarketTime": bars.last().map(|(at, _)| at),
        "regularMarketPrice": bars.last().map(|(_, bar)| bar.close),
        "gmtoffset": -18_000,
        "timezone": "EST",
        "exchangeTimezoneName": "America/New_York",
        "priceHint": 2,
        "dataGranularity": interval,
        "range": "",
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
    })
}
