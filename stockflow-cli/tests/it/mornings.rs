//! The watch list of `examples/pipelines/yahoo.toml`, morning after morning, from recordings written here: a split brings the
//! adjusted prices and the indicators of its own symbol up to date, and nobody else's.

use chrono::{Datelike, Days, NaiveDate, Utc};
use serde_json::{Value, json};

use crate::place::{Place, repository};

/// 14:30 UTC: New York opens in winter.
fn open(date: NaiveDate) -> i64 {
    date.and_hms_opt(14, 30, 0).unwrap().and_utc().timestamp()
}

/// The weekdays up to yesterday, the last one last.
fn weekdays(n: usize) -> Vec<NaiveDate> {
    let yesterday = Utc::now().date_naive() - Days::new(1);
    let mut days: Vec<_> = (0..)
        .map(|back| yesterday - Days::new(back))
        .filter(|it| it.weekday().num_days_from_monday() < 5)
        .take(n)
        .collect();
    days.reverse();
    days
}

/// What Yahoo answers about a symbol: closes and volumes on today's terms.
fn record(place: &Place, folder: &str, symbol: &str, days: &[NaiveDate], closes: &[f64], events: &Value) {
    let stamps: Vec<i64> = days.iter().map(|it| open(*it)).collect();
    let end = stamps.last().unwrap() + 6 * 3600 + 1800;
    // A million changes hands each day, at any price.
    let volumes: Vec<f64> = closes.iter().map(|close| 1e6 / close).collect();
    let body = json!({ "chart": { "error": null, "result": [{
        "meta": {
            "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "instrumentType": "EQUITY",
            "exchangeTimezoneName": "America/New_York", "dataGranularity": "1d", "regularMarketTime": end,
            "currentTradingPeriod": { "regular": {
                "timezone": "EST", "gmtoffset": -18000, "start": stamps.last(), "end": end,
            } },
        },
        "timestamp": stamps,
        "events": events,
        "indicators": {
            "quote": [{ "open": closes, "high": closes, "low": closes, "close": closes, "volume": volumes }],
            "adjclose": [{ "adjclose": closes }],
        },
    }] } });
    let url = format!(
        "https://query1.finance.yahoo.com/v8/finance/chart/{symbol}?interval=1d&period1=-2208988800&period2={}&events=div%2Csplits%2CcapitalGains&includePrePost=false&includeAdjustedClose=true",
        Utc::now().timestamp() + 7 * 86_400
    );
    let recording = json!({
        "request": { "method": "GET", "url": url },
        "response": { "status": 200, "headers": { "content-type": "application/json" }, "bodyJson": body },
    });
    place.write(&format!("{folder}/{symbol}.json"), &recording.to_string());
}

fn run(place: &Place, recordings: &str) -> String {
    let example = std::fs::read_to_string(repository().join("examples/pipelines/yahoo.toml")).unwrap();
    let symbols = "symbols = [\"AAPL\", \"MSFT\", \"NVDA\"]";
    assert!(example.contains(symbols));
    place.write(
        "p.toml",
        &example.replace(symbols, &format!("symbols = [\"AAPL\", \"MSFT\"]\nreplay = \"{recordings}\"")),
    );
    place.run(["run", "p.toml"]).ok().stdout
}

/// By symbol: how many rows, the first close, and how many revisions.
fn computed(place: &Place) -> Vec<Value> {
    place.query(
        "SELECT symbol, count(*) AS n, count(DISTINCT revision) AS revisions, \
         round(first_value(close ORDER BY ts), 6) AS first, round(max(rsi_14), 3) AS rsi FROM indicators GROUP BY symbol ORDER BY symbol",
    )
}

#[test]
fn a_split_brings_its_own_symbol_up_to_date_the_next_morning() {
    let days = weekdays(42);
    let closes: Vec<f64> = (0..42).map(|n| 200.0 + f64::from(n * n % 11)).collect();
    let halves: Vec<f64> = closes.iter().map(|it| it / 2.0).collect();
    let none = json!({});
    let split = json!({ "splits": { open(days[41]).to_string(): {
        "date": open(days[41]), "numerator": 2.0, "denominator": 1.0, "splitRatio": "2:1",
    } } });
    let place = Place::empty();
    for symbol in ["AAPL", "MSFT"] {
        record(&place, "first", symbol, &days[..40], &closes[..40], &none);
        record(&place, "second", symbol, &days[..41], &closes[..41], &none);
    }
    // On the third morning Yahoo tells all of Apple's prices on the new terms; Microsoft's as before.
    record(&place, "third", "AAPL", &days, &halves, &split);
    record(&place, "third", "MSFT", &days, &closes, &none);

    run(&place, "first");
    run(&place, "second");
    let before = computed(&place);
    // Each morning's rows and no others: everything goes on from the morning before.
    assert_eq!(before[0]["n"], 41);
    assert_eq!((&before[0]["revisions"], &before[1]["revisions"]), (&json!(2), &json!(2)), "{before:?}");
    assert_eq!(before[0]["first"], json!(200.0));
    run(&place, "third");
    let after = computed(&place);
    assert_eq!(after[0], json!({ "symbol": "AAPL", "n": 42, "revisions": 1, "first": 100.0, "rsi": after[1]["rsi"] }));
    assert_eq!(after[1], json!({ "symbol": "MSFT", "n": 42, "revisions": 3, "first": 200.0, "rsi": after[1]["rsi"] }));

    // The bars as traded are as they were. Only Yahoo's own adjusted close of the days that were read again is another one, and
    // what it was before is kept.
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE symbol = 'AAPL' AND close >= 200"), 41.0);
    let revised = "FROM bars_revisions r JOIN bars b ON r.symbol = b.symbol AND r.ts = b.ts";
    assert_eq!(
        place.number(&format!(
            "SELECT count(*) {revised} WHERE abs(r.close - b.close) > 1e-6 OR abs(r.volume - b.volume) > 1e-3"
        )),
        0.0
    );
    let n_revised =
        place.number(&format!("SELECT count(*) {revised} WHERE r.symbol = 'AAPL' AND r.adj_close = 2 * b.adj_close"));
    assert!((1.0..7.0).contains(&n_revised), "{n_revised}");
    assert_eq!(place.number("SELECT count(*) FROM bars_revisions"), n_revised);
    assert_eq!(place.number("SELECT count(*) FROM actions"), 1.0);
    assert_eq!(place.number("SELECT count(*) FROM actions_at('2020-01-01')"), 0.0);

    // The split was told wrong, and so the prices that were derived from it.
    let corrected = json!({ "splits": { open(days[41]).to_string(): {
        "date": open(days[41]), "numerator": 4.0, "denominator": 2.0, "splitRatio": "4:2",
    } } });
    record(&place, "fourth", "AAPL", &days, &halves, &corrected);
    record(&place, "fourth", "MSFT", &days, &closes, &none);
    run(&place, "fourth");
    assert_eq!(place.number("SELECT numerator FROM actions"), 4.0);
    assert_eq!(place.number("SELECT count(*) FROM actions_revisions"), 1.0);
    assert_eq!(computed(&place)[0]["first"], json!(100.0));
}
