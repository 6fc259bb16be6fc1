//! Damaged replies: never a panic, never a hang, always an error or tables.

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::{Value, json};
use stockflow_io::yahoo::decode::{
    ChartRequest, Reply, SymbolRequest, chart, chart_facts, chart_symbols, crumb, holders, insights, masked, quote,
    search, undo_splits, undo_splits_of_actions,
};

const INTERVALS: [&str; 7] = ["1m", "30m", "1h", "1d", "1wk", "1mo", "3mo"];

/// Runs every decoder; what comes out must hold together.
fn decode_all(reply: &Reply) {
    let as_of = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    for interval in INTERVALS {
        let mut request = ChartRequest::new("A", interval.parse().unwrap(), as_of);
        if interval == "1d" {
            request = request.between(DateTime::from_timestamp(1_598_000_000, 0).unwrap(), as_of);
        }
        if let Ok(symbols) = chart_symbols(reply, &request) {
            assert!(symbols.num_rows() <= 1);
        }
        if let Ok(chart) = chart(reply, &request) {
            let ts = chart.bars.column(2);
            let ts: &arrow::array::TimestampMicrosecondArray = arrow::array::AsArray::as_primitive(ts);
            assert!(ts.values().windows(2).all(|pair| pair[0] < pair[1]), "{interval}: sorted, one a key");
            assert!(chart.rejects.iter().all(|reject| !reject.reason.is_empty() && !reject.payload.is_empty()));
            undo_splits(&chart.bars, &chart.actions).unwrap();
            undo_splits_of_actions(&chart.actions, &chart.actions).unwrap();
        }
    }
    let request = SymbolRequest::new(["A", "B"], as_of);
    let _ = chart_facts(reply).map(|facts| facts.symbol);
    let _ = holders(reply, &request).map(|holders| holders.modules);
    let _ = insights(reply, &request).map(|insights| insights.absent);
    let _ = quote(reply, &request).map(|quotes| quotes.absent);
    let _ = search(reply, as_of).map(|found| found.n_without_symbol);
    if let Err(error) = crumb(reply) {
        assert!(!error.to_string().contains('\n'));
    }
}

/// Small replies of every endpoint.
fn seeds() -> Vec<Value> {
    let period = |start: i64| json!({"start": start, "end": start + 23_400, "timezone": "EDT", "gmtoffset": -14400});
    vec![
        json!({"chart": {"result": [{
            "meta": {"currency": "GBp", "symbol": "A", "exchangeName": "LSE", "instrumentType": "EQUITY", "firstTradeDate": -5,
                "regularMarketTime": 1_598_967_000, "gmtoffset": 3600, "exchangeTimezoneName": "Europe/London",
                "dataGranularity": "1d", "validRanges": ["1d"], "tradingPeriods": [[period(1_598_880_600)]],
                "currentTradingPeriod": {"pre": period(1_598_860_000), "regular": period(1_598_880_600), "post": period(1_598_910_000)}},
            "timestamp": [1_598_880_600, 1_598_967_000, 1_598_967_007, 1_599_053_400],
            "events": {"dividends": {"1598880600": {"amount": 0.2, "date": 1_598_880_600}},
                "splits": {"1598967000": {"date": 1_598_967_000, "numerator": 4, "denominator": 1, "splitRatio": "4:1"}}},
            "indicators": {"quote": [{"open": [1, 2, 3, null], "high": [1, 2, 3, null], "low": [1, 2, 3, null],
                "close": [1, 2, 3, null], "volume": [4, 5, 0, null]}], "adjclose": [{"adjclose": [1, "Infinity", 3, null]}]},
        }], "error": null}}),
        json!({"quoteSummary": {"result": [{
            "majorHoldersBreakdown": {"insidersPercentHeld": 0.1, "institutionsCount": 7},
            "institutionOwnership": {"ownershipList": [{"organization": "O", "reportDate": {"raw": 86400}, "pctHeld": {"raw": 0.1}, "value": {}}]},
            "insiderTransactions": {"transactions": [{"filerName": "X", "startDate": {"raw": 86400}, "shares": {"raw": 1}}]},
            "insiderHolders": {"holders": [{"name": "X", "latestTransDate": 86400}]},
            "netSharePurchaseActivity": {"period": "6m", "buyInfoCount": 1},
        }], "error": null}}),
        json!({"finance": {"result": [{"symbol": "A", "recommendation": {"rating": "BUY", "targetPrice": 1},
            "instrumentInfo": {"valuation": {"discount": "-4%"}}, "reports": [{"id": "r", "reportDate": "2025-02-19T20:04:05Z", "tickers": ["A"]}],
            "sigDevs": [{"headline": "h", "date": "2025-02-21"}], "secReports": [{"id": "s", "filingDate": 1_738_281_600_000_i64}],
            "events": [{"eventType": "e", "startDate": 1_739_543_400}]}], "error": null}}),
        json!({"quoteResponse": {"result": [{"symbol": "A", "regularMarketPrice": 1.5, "tradeable": false}, {"symbol": "B"}], "error": null}}),
        json!({"quotes": [{"symbol": "A", "shortname": "a", "score": 3}]}),
        json!({"chart": {"result": null, "error": {"code": "Not Found", "description": "No data found"}}}),
    ]
}

/// How many values a value holds, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(count).sum(),
        Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Puts something else where the `place`th value was.
fn replace(value: &mut Value, place: &mut usize, by: &Value) -> bool {
    if *place == 0 {
        *value = by.clone();
        return true;
    }
    *place -= 1;
    match value {
        Value::Array(list) => list.iter_mut().any(|inner| replace(inner, place, by)),
        Value::Object(map) => map.values_mut().any(|inner| replace(inner, place, by)),
        _ => false,
    }
}

/// What has no business where it stands.
fn strange() -> Vec<Value> {
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("Infinity"),
        json!("é\u{0}x"),
        json!([]),
        json!({}),
        json!([null]),
        json!({"raw": {"raw": []}}),
        json!({"raw": "NaN"}),
        json!([[{"start": 1, "end": 0}]]),
        deep,
    ]
}

#[test]
fn every_value_replaced_by_every_strange_one() {
    for seed in seeds() {
        for place in 0..count(&seed) {
            for by in strange() {
                let mut damaged = seed.clone();
                assert!(replace(&mut damaged, &mut place.clone(), &by));
                decode_all(&Reply::new(200, damaged.to_string()));
            }
        }
    }
}

#[test]
fn every_key_left_out() {
    for seed in seeds() {
        let text = seed.to_string();
        for (place, _) in text.match_indices("\":") {
            let mut damaged = text.clone();
            damaged.insert(place, '_');
            decode_all(&Reply::new(200, damaged));
        }
    }
}

#[test]
fn cut_off_anywhere() {
    for seed in seeds() {
        let text = seed.to_string();
        for length in 0..=text.len() {
            decode_all(&Reply::new(200, &text.as_bytes()[..length]));
        }
    }
}

#[test]
fn nested_too_deep() {
    for open in ["[", "{\"chart\":", "{\"a\":["] {
        decode_all(&Reply::new(200, open.repeat(100_000)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_bytes_and_any_status(status in 0_u16..1100, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&Reply::new(status, body));
    }

    #[test]
    fn bytes_changed_in_a_good_reply(seed in 0_usize..6, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut body = seeds()[seed].to_string().into_bytes();
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        decode_all(&Reply::new(200, body));
    }

    #[test]
    fn rows_of_any_stamps_are_sorted_and_single(
        rows in proptest::collection::vec((prop_oneof![-2_000_000_000_i64..2_000_000_000, 1_598_000_000_i64..1_599_500_000, any::<i64>()], any::<Option<f32>>(), 0_u32..3), 0..60),
        zone in prop_oneof![Just("America/New_York"), Just("Europe/London"), Just("Asia/Tokyo"), Just("Nowhere/At_All")],
    ) {
        let stamps: Vec<i64> = rows.iter().map(|row| row.0).collect();
        let prices: Vec<Option<f32>> = rows.iter().map(|row| row.1.filter(|price| price.is_finite())).collect();
        let volumes: Vec<u32> = rows.iter().map(|row| row.2).collect();
        let body = json!({"chart": {"result": [{"meta": {"exchangeTimezoneName": zone, "gmtoffset": 36_000}, "timestamp": stamps,
            "indicators": {"quote": [{"open": prices, "high": prices, "low": prices, "close": prices, "volume": volumes}]}}], "error": null}});
        decode_all(&Reply::new(200, body.to_string()));
    }

    #[test]
    fn any_range_and_any_clock(start in any::<i64>(), length in 0_i64..500_000, as_of in any::<i64>()) {
        let moment = |seconds| DateTime::from_timestamp(seconds, 0);
        let clamp = |seconds: i64| seconds.clamp(DateTime::<chrono::Utc>::MIN_UTC.timestamp(), DateTime::<chrono::Utc>::MAX_UTC.timestamp());
        let mut replies: Vec<Value> = seeds().into_iter().take(1).collect();
        replies.push(json!({"chart": {"result": [{"meta": replies[0]["chart"]["result"][0]["meta"].clone()}], "error": null}}));
        for reply in replies {
            let mut request = ChartRequest::new("A", "1d".parse().unwrap(), moment(clamp(as_of)).unwrap());
            request.start = moment(clamp(start));
            request.end = moment(clamp(start.saturating_add(length)));
            for is_end_exclusive in [false, true] {
                request.is_end_exclusive = is_end_exclusive;
                let _ = chart(&Reply::new(200, reply.to_string()), &request).map(|chart| chart.n_duplicates);
            }
        }
    }

    #[test]
    fn a_crumb_is_never_shown(words in "[ -~]{0,40}", crumb in "[A-Za-z0-9./]{11}") {
        let text = format!("{words} https://h/v7?symbols=A&crumb={crumb}&x=1");
        prop_assert!(!masked(&text).contains(&crumb) || words.contains(&crumb));
    }
}
