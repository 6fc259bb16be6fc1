//! Hand-written replies of every shape.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use arrow::util::pretty::pretty_format_batches;
use chrono::{DateTime, Utc};

use super::*;
use crate::yahoo::decode::ReplyClass;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A request long after everything.
fn request(interval: &str) -> ChartRequest {
    ChartRequest::new("A", interval.parse().unwrap(), at("2026-01-01T00:00:00Z"))
}

fn decode(body: &str, request: &ChartRequest) -> Result<Chart, ReplyError> {
    chart(&Reply::new(200, body), request)
}

/// A New York reply of `interval` with a close a row, and the rest of `meta`.
fn reply(interval: &str, meta: &str, rows: &[(&str, Option<f64>, f64)]) -> String {
    let list = |text: Vec<String>| format!("[{}]", text.join(","));
    let stamps = list(rows.iter().map(|(stamp, ..)| at(stamp).timestamp().to_string()).collect());
    let number = |number: Option<f64>| number.map_or("null".to_owned(), |number| number.to_string());
    let prices = |add: f64| list(rows.iter().map(|(_, close, _)| number(close.map(|close| close + add))).collect());
    let volumes = list(rows.iter().map(|(.., volume)| volume.to_string()).collect());
    format!(
        r#"{{"chart":{{"result":[{{"meta":{{"currency":"USD","exchangeTimezoneName":"America/New_York","dataGranularity":"{interval}"{meta}}},
        "timestamp":{stamps},"indicators":{{"quote":[{{"open":{0},"high":{1},"low":{2},"close":{0},"volume":{volumes}}}]}}}}],"error":null}}}}"#,
        prices(0.0),
        prices(1.0),
        prices(-1.0)
    )
}

#[track_caller]
fn check(bars: &RecordBatch, columns: &[&str], expected: &str) {
    let columns: Vec<usize> = columns.iter().map(|name| bars.schema().index_of(name).unwrap()).collect();
    let table = pretty_format_batches(&[bars.project(&columns).unwrap()]).unwrap().to_string();
    assert_eq!(table, expected.trim());
}

fn regular(start: &str, end: &str) -> String {
    let (start, end) = (at(start).timestamp(), at(end).timestamp());
    format!(r#","currentTradingPeriod":{{"regular":{{"start":{start},"end":{end}}}}}"#)
}

#[test]
fn a_bad_cell_costs_its_row_and_an_empty_one_nothing() {
    let body = r#"{"chart":{"result":[{"meta":{"currency":"GBp","exchangeTimezoneName":"Europe/London","dataGranularity":"1d"},
        "timestamp":[1577952000,1578038400,"1578297600",null,1578470400,1598880600000,1578556800],
        "indicators":{"quote":[{"open":[1,"x",3,4,null,6,{}],"high":[1,2,3,4,null,6,{"raw":7}],"low":[1,2,3,4,null,6],
            "close":[1,2,"3.5",4,null,6,7],"volume":[null,2,3,4,0,6,7,8]}],
        "adjclose":[{"adjclose":["Infinity",2,[],4,null,6,6.5]}]}}],"error":null}}"#;
    let chart = decode(body, &request("1d")).unwrap();
    let expected = "
+------------+------+------+-----+-------+--------+-----------+----------+
| date       | open | high | low | close | volume | adj_close | currency |
+------------+------+------+-----+-------+--------+-----------+----------+
| 2020-01-02 | 1.0  | 1.0  | 1.0 | 1.0   |        |           | GBp      |
| 2020-01-06 | 3.0  | 3.0  | 3.0 | 3.5   | 3.0    |           | GBp      |
| 2020-01-09 |      | 7.0  |     | 7.0   | 7.0    | 6.5       | GBp      |
+------------+------+------+-----+-------+--------+-----------+----------+";
    check(&chart.bars, &["date", "open", "high", "low", "close", "volume", "adj_close", "currency"], expected);
    let missing: Vec<_> = chart.missing.iter().map(|missing| (missing.date.to_string(), missing.row)).collect();
    assert_eq!(missing, [("2020-01-08".to_owned(), 4)]);
    let rejects: Vec<_> =
        chart.rejects.iter().map(|it| format!("{} {}: {}", it.partition, it.position, it.reason)).collect();
    assert_eq!(
        rejects,
        [
            "bars/A/1d 1@1578038400: open is no number",
            "bars/A/1d 3: no timestamp",
            "bars/A/1d 5@1598880600000: timestamp 1598880600000 is not within the years 1800 to 2199",
            "bars/A/1d 7: no timestamp",
        ]
    );
    let payload = r#"{"adjclose":2,"close":2,"high":2,"low":2,"open":"x","timestamp":1578038400,"volume":2}"#;
    assert_eq!(chart.rejects[0].payload.parse::<Value>().unwrap(), payload.parse::<Value>().unwrap());
    assert_eq!(chart.rejects[0].symbol.as_deref(), Some("A"));
}

#[test]
fn a_forming_day_is_not_final_until_its_close_is_known() {
    let meta = |last: &str| {
        let last = at(last).timestamp();
        format!(r#"{},"regularMarketTime":{last}"#, regular("2024-10-03T13:30:00Z", "2024-10-03T20:00:00Z"))
    };
    let is_final = |last: &str, as_of: &str| {
        let rows = [("2024-10-02T13:30:00Z", Some(5.0), 9.0), ("2024-10-03T13:30:00Z", Some(6.0), 9.0)];
        let request = ChartRequest { as_of: at(as_of), ..request("1d") };
        let chart = decode(&reply("1d", &meta(last), &rows), &request).unwrap();
        let finals: Vec<bool> = chart.bars.column(14).as_boolean().iter().flatten().collect();
        assert!(finals[0]);
        finals[1]
    };
    assert!(!is_final("2024-10-03T15:00:00Z", "2024-10-03T15:00:05Z"));
    // Closed, but the quotes may be late.
    assert!(!is_final("2024-10-03T19:50:00Z", "2024-10-03T20:05:00Z"));
    assert!(is_final("2024-10-03T20:00:01Z", "2024-10-03T20:05:00Z"));
    assert!(is_final("2024-10-03T19:50:00Z", "2024-10-03T20:30:00Z"));
    // Stamped with the last trade.
    assert!(!is_final("2024-10-03T13:30:00Z", "2024-10-03T20:45:00Z"));
    assert!(is_final("2024-10-03T13:30:00Z", "2024-10-04T12:00:00Z"));
}

#[test]
fn two_rows_of_a_day_are_one() {
    let rows = [
        ("2024-10-03T13:30:00Z", Some(6.0), 9.0),
        ("2024-10-02T13:30:00Z", Some(5.0), 9.0),
        ("2024-10-03T20:00:01Z", Some(7.0), 9.0),
        ("2024-10-02T13:30:00Z", None, 0.0),
    ];
    let chart = decode(&reply("1d", "", &rows), &request("1d")).unwrap();
    let expected = "
+----------------------+------------+-------+----------------------+
| ts                   | date       | close | source_ts            |
+----------------------+------------+-------+----------------------+
| 2024-10-02T00:00:00Z | 2024-10-02 | 5.0   | 2024-10-02T13:30:00Z |
| 2024-10-03T00:00:00Z | 2024-10-03 | 7.0   | 2024-10-03T20:00:01Z |
+----------------------+------------+-------+----------------------+";
    check(&chart.bars, &["ts", "date", "close", "source_ts"], expected);
    assert_eq!((chart.n_duplicates, chart.missing.len()), (2, 0));
}

#[test]
fn a_slipped_midnight_is_mended_and_a_trade_at_that_hour_is_not() {
    let rows = [("2024-07-02T03:00:00Z", Some(5.0), 9.0), ("2024-07-03T03:00:00Z", Some(6.0), 9.0)];
    let last = format!(r#","regularMarketTime":{}"#, at("2024-07-03T03:00:00Z").timestamp());
    let chart = decode(&reply("1d", &last, &rows), &request("1d")).unwrap();
    let expected = "
+------------+----------------------+
| date       | source_ts            |
+------------+----------------------+
| 2024-07-02 | 2024-07-03T03:00:00Z |
+------------+----------------------+";
    check(&chart.bars, &["date", "source_ts"], expected);
    let chart = decode(&reply("1d", "", &rows), &request("1d")).unwrap();
    let expected = "
+------------+----------------------+
| date       | source_ts            |
+------------+----------------------+
| 2024-07-02 | 2024-07-02T03:00:00Z |
| 2024-07-03 | 2024-07-03T03:00:00Z |
+------------+----------------------+";
    check(&chart.bars, &["date", "source_ts"], expected);
}

#[test]
fn a_reply_without_a_result_is_an_error() {
    let say = |result: &str| {
        decode(&format!(r#"{{"chart":{{"result":{result},"error":null}}}}"#), &request("1d")).unwrap_err().to_string()
    };
    assert_eq!(say("[]"), "unknown or delisted symbol: Yahoo gives neither a result nor a reason");
    assert!(say("null").starts_with("malformed reply: `chart.result` is no list of one object"));
    assert!(say("[7]").starts_with("malformed reply"));
}

#[test]
fn the_running_day_is_added_to_its_week() {
    let rows = [
        ("2024-09-23T04:00:00Z", Some(5.0), 9.0),
        ("2024-09-30T04:00:00Z", Some(6.0), 8.0),
        ("2024-10-02T20:00:01Z", Some(7.0), 2.0),
    ];
    let request = ChartRequest { as_of: at("2024-10-02T20:10:00Z"), ..request("1wk") };
    let chart = decode(&reply("1wk", "", &rows), &request).unwrap();
    let expected = "
+----------------------+------+------+-----+-------+--------+----------+
| ts                   | open | high | low | close | volume | is_final |
+----------------------+------+------+-----+-------+--------+----------+
| 2024-09-23T00:00:00Z | 5.0  | 6.0  | 4.0 | 5.0   | 9.0    | true     |
| 2024-09-30T00:00:00Z | 6.0  | 8.0  | 5.0 | 7.0   | 10.0   | false    |
+----------------------+------+------+-----+-------+--------+----------+";
    check(&chart.bars, &["ts", "open", "high", "low", "close", "volume", "is_final"], expected);
}

#[test]
fn months_and_quarters_are_dated_by_their_first() {
    let rows = [
        ("2024-03-01T05:00:00Z", Some(5.0), 9.0),
        ("2024-06-01T04:00:00Z", Some(6.0), 8.0),
        ("2024-08-15T20:00:01Z", Some(7.0), 2.0),
    ];
    let dates = |interval: &str| {
        let request = ChartRequest { as_of: at("2024-08-15T20:10:00Z"), ..request(interval) };
        let chart = decode(&reply(interval, "", &rows), &request).unwrap();
        let finals = chart.bars.column(14).as_boolean().iter().flatten().collect::<Vec<_>>();
        let dates = chart.bars.column(3).as_primitive::<arrow::datatypes::Date32Type>().clone();
        let date = |days: &i32| (NaiveDate::default() + chrono::Duration::days(i64::from(*days))).to_string();
        (dates.values().iter().map(date).collect::<Vec<_>>(), finals)
    };
    assert_eq!(dates("3mo"), (vec!["2024-03-01".into(), "2024-06-01".into()], vec![true, false]));
    assert_eq!(
        dates("1mo"),
        (vec!["2024-03-01".into(), "2024-06-01".into(), "2024-08-01".into()], vec![true, true, false])
    );
}

#[test]
fn the_appended_price_is_not_final() {
    let rows = [
        ("2024-10-02T19:58:00Z", Some(5.0), 9.0),
        ("2024-10-02T19:59:00Z", Some(6.0), 8.0),
        ("2024-10-02T20:00:07Z", Some(6.0), 0.0),
    ];
    let chart = decode(&reply("1m", "", &rows), &request("1m")).unwrap();
    let finals: Vec<bool> = chart.bars.column(14).as_boolean().iter().flatten().collect();
    assert_eq!(finals, [true, true, false]);

    let between = request("1m").between(at("2024-10-02T19:00:00Z"), at("2024-10-02T19:59:00Z"));
    let chart = decode(&reply("1m", "", &rows), &between).unwrap();
    let expected = "
+----------------------+----------+
| ts                   | is_final |
+----------------------+----------+
| 2024-10-02T19:58:00Z | true     |
| 2024-10-02T20:00:00Z | false    |
+----------------------+----------+";
    check(&chart.bars, &["ts", "is_final"], expected);
}

#[test]
fn sessions_by_either_form_of_trading_periods_or_by_hours() {
    let period =
        |start: &str, end: &str| format!(r#"{{"start":{},"end":{}}}"#, at(start).timestamp(), at(end).timestamp());
    let (open, close) = ("2024-10-02T13:30:00Z", "2024-10-02T20:00:00Z");
    let list = format!(r#","tradingPeriods":[[{}]]"#, period(open, close));
    let object = format!(
        r#","tradingPeriods":{{"pre":[[{}]],"regular":[[{}]],"post":[[{}]]}}"#,
        period("2024-10-02T08:00:00Z", open),
        period(open, close),
        period(close, "2024-10-03T00:00:00Z")
    );
    let hours = format!(
        r#","currentTradingPeriod":{{"pre":{},"regular":{},"post":{}}}"#,
        period("2024-12-02T09:00:00Z", "2024-12-02T14:30:00Z"),
        period("2024-12-02T14:30:00Z", "2024-12-02T21:00:00Z"),
        period("2024-12-02T21:00:00Z", "2024-12-03T01:00:00Z")
    );
    let rows = [
        ("2024-10-02T13:25:00Z", Some(5.0), 9.0),
        ("2024-10-02T13:30:00Z", Some(5.0), 9.0),
        ("2024-10-02T19:55:00Z", Some(5.0), 9.0),
        ("2024-10-02T20:00:00Z", Some(5.0), 9.0),
    ];
    for meta in [list, object, hours] {
        let chart = decode(&reply("5m", &meta, &rows), &request("5m")).unwrap();
        let names: Vec<_> = chart.bars.column(12).as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["pre", "regular", "regular", "post"], "{meta}");
    }
    let chart = decode(&reply("5m", "", &rows), &request("5m")).unwrap();
    assert_eq!(chart.bars.column(12).null_count(), 4);
}

#[test]
fn refuses_bars_of_another_width() {
    let rows = [("2024-10-02T13:30:00Z", Some(5.0), 9.0)];
    let error = decode(&reply("3mo", "", &rows), &request("1d")).unwrap_err();
    assert_eq!(error.to_string(), "asked for bars of 1d, got 3mo");
    assert_eq!(error.class(), ReplyClass::Final);
    assert!(decode(&reply("60m", "", &rows), &request("1h")).is_ok());
    assert!(decode(&reply("1h", "", &rows), &request("60m")).is_ok());
}

#[test]
fn nothing_is_told_apart() {
    let empty = |meta: &str| {
        format!(
            r#"{{"chart":{{"result":[{{"meta":{{"symbol":"A","dataGranularity":"1d"{meta}}},"indicators":{{"quote":[{{}}]}}}}],"error":null}}}}"#
        )
    };
    let say = |meta: &str, start: &str, end: &str| {
        decode(&empty(meta), &request("1d").between(at(start), at(end))).unwrap_err().to_string()
    };
    let (saturday, monday) = ("2025-02-01T00:00:00Z", "2025-02-03T00:00:00Z");
    assert_eq!(say("", saturday, monday), "no bars, closed: the exchange of `A` does not trade on these days or hours");
    let husk = r#","exchangeName":"YHD","instrumentType":"MUTUALFUND","currency":null"#;
    assert_eq!(say(husk, saturday, monday), "delisted: Yahoo keeps `A` only as a husk (exchange YHD)");
    let young = r#","firstTradeDate":1740000000"#;
    assert_eq!(say(young, saturday, monday), "no bars, not yet listed: `A` has traded since 2025-02-19");
    let old = r#","regularMarketTime":1637355590"#;
    let weekdays = ("2025-02-03T00:00:00Z", "2025-02-05T00:00:00Z");
    assert_eq!(say(old, weekdays.0, weekdays.1), "no bars, no longer traded: `A` last traded on 2021-11-19");
    let short = r#","validRanges":["1d","5d"]"#;
    assert_eq!(say(short, weekdays.0, weekdays.1), "no bars, no history: Yahoo allows `A` the last days only");
    let night = ("2025-02-03T21:00:00Z", "2025-02-04T14:00:00Z");
    let hours =
        regular("2025-02-05T14:30:00Z", "2025-02-05T21:00:00Z") + r#","exchangeTimezoneName":"America/New_York""#;
    assert_eq!(
        say(&hours, night.0, night.1),
        "no bars, closed: the exchange of `A` does not trade on these days or hours"
    );
    let fresh = r#","regularMarketTime":1767225600"#;
    assert_eq!(
        say(fresh, weekdays.0, weekdays.1),
        "no bars, no trading in the range: Yahoo knows `A` and has no trades of it"
    );
    assert_eq!(chart_facts(&Reply::new(200, empty(fresh))).unwrap().symbol.as_deref(), Some("A"));
}

#[test]
fn events_are_dated_by_themselves() {
    let body = r#"{"chart":{"result":[{"meta":{"currency":"GBp","exchangeTimezoneName":"Europe/London","dataGranularity":"1mo"},
        "events":{
            "dividends":{
                "1577836800":{"amount":2.5,"date":1580371200},
                "1580515200":{"amount":{"raw":3},"date":1582790400,"currency":"GBP"},
                "1580515201":{"amount":3,"date":1582790400,"currency":"GBP"},
                "1580515202":{"amount":1,"date":1582790401,"currency":"GBP"},
                "-252322200":{"amount":0.5},
                "x":{"amount":1}, "1583020800":{"date":1583020800}, "1583020801":7},
            "splits":{"1583107200":{"date":1583107200,"numerator":3.0,"denominator":0},
                      "1583193600":{"date":1583193600,"splitRatio":"3:2"}},
            "capitalGains":[{"amount":9,"date":1583280000}]}}],"error":null}}"#;
    let chart = decode(body, &request("1mo")).unwrap();
    let expected = "
+------------+--------------+-------+-----------+-------------+----------+
| date       | kind         | value | numerator | denominator | currency |
+------------+--------------+-------+-----------+-------------+----------+
| 1962-01-02 | dividend     | 0.5   |           |             |          |
| 2020-01-30 | dividend     | 2.5   |           |             |          |
| 2020-02-27 | dividend     | 4.0   |           |             | GBP      |
| 2020-03-03 | split        |       | 3.0       | 2.0         |          |
| 2020-03-04 | capital_gain | 9.0   |           |             |          |
+------------+--------------+-------+-----------+-------------+----------+";
    check(&chart.actions, &["date", "kind", "value", "numerator", "denominator", "currency"], expected);
    let places: Vec<_> = chart.rejects.iter().map(|it| it.position.as_str()).collect();
    assert_eq!(places, ["dividends/1583020800", "dividends/1583020801", "dividends/x", "splits/1583107200"]);
}

#[test]
fn a_huge_reply_is_read_in_one_go() {
    let n = 100_000;
    let stamps: Vec<i64> = (0..n).map(|row| 1_000_000_000 + row * 60).collect();
    let prices: Vec<f64> = (0..n).map(|row| row as f64).collect();
    let body = serde_json::json!({"chart": {"result": [{
        "meta": {"exchangeTimezoneName": "America/New_York", "dataGranularity": "1m"},
        "timestamp": stamps,
        "indicators": {"quote": [{"open": prices, "high": prices, "low": prices, "close": prices, "volume": prices}]},
    }], "error": null}})
    .to_string();
    let began = std::time::Instant::now();
    let chart = decode(&body, &request("1m")).unwrap();
    assert_eq!(chart.bars.num_rows(), 100_000);
    assert_eq!(chart.bars.column(7).as_primitive::<Float64Type>().value(99_999), 99_999.0);
    // Generous: unoptimised code on a busy machine. Quadratic code would take minutes.
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}

/// A London reply with a bar, and the rest of `meta`.
fn in_pence(meta: &str) -> String {
    format!(
        r#"{{"chart":{{"result":[{{"meta":{{"currency":"GBp","symbol":"A.L","instrumentType":"EQUITY","shortName":"A",
        "longName":"A plc","exchangeTimezoneName":"Europe/London","priceHint":2,"firstTradeDate":1279695600{meta}}},
        "timestamp":[1577952000],"indicators":{{"quote":[{{"close":[500]}}]}}}}],"error":null}}}}"#
    )
}

#[test]
fn a_symbol_is_described_in_the_currency_itself_with_its_sub_unit() {
    let chart = decode(&in_pence(r#","exchangeName":"LSE""#), &request("1d")).unwrap();
    let columns: Vec<String> = chart.symbols.schema().fields().iter().map(|it| it.name().clone()).collect();
    let (first, rest) = columns.split_at(9);
    let names = |names: &[String]| names.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(names(rest), "tick_size first_trade_date renamed_from renamed_to renamed_on delisted_on provider as_of");
    check(
        &chart.symbols,
        &first.iter().map(String::as_str).collect::<Vec<_>>(),
        "
+--------+-------+--------+----------+----------+----------+----------+-----------------+---------------+
| symbol | name  | kind   | exchange | calendar | currency | sub_unit | sub_unit_factor | time_zone     |
+--------+-------+--------+----------+----------+----------+----------+-----------------+---------------+
| A      | A plc | EQUITY | LSE      | XLON     | GBP      | GBp      | 0.01            | Europe/London |
+--------+-------+--------+----------+----------+----------+----------+-----------------+---------------+",
    );
    check(
        &chart.symbols,
        &rest.iter().map(String::as_str).collect::<Vec<_>>(),
        "
+-----------+------------------+--------------+------------+------------+-------------+----------+----------------------+
| tick_size | first_trade_date | renamed_from | renamed_to | renamed_on | delisted_on | provider | as_of                |
+-----------+------------------+--------------+------------+------------+-------------+----------+----------------------+
| 0.0001    | 2010-07-21       |              |            |            |             | yahoo    | 2026-01-01T00:00:00Z |
+-----------+------------------+--------------+------------+------------+-------------+----------+----------------------+",
    );
}

#[test]
fn only_a_husk_is_delisted_and_silence_describes_nothing() {
    let last = r#","regularMarketTime":1561759658,"exchangeName":"#;
    let delisted = |exchange: &str| {
        let reply = Reply::new(200, in_pence(&format!("{last}\"{exchange}\"")));
        let row = chart_symbols(&reply, &request("1d")).unwrap();
        let date = row.column_by_name("delisted_on").unwrap();
        date.is_valid(0).then(|| arrow::util::display::array_value_to_string(date, 0).unwrap())
    };
    assert_eq!(delisted("YHD").as_deref(), Some("2019-06-28"));
    assert_eq!(delisted("LSE"), None, "it may be suspended");
    let husk = r#"{"chart":{"result":[{"meta":{"exchangeName":"YHD","symbol":"A"},"indicators":{"quote":[{}]}}],"error":null}}"#;
    assert!(matches!(decode(husk, &request("1d")), Err(ReplyError::NotFound { kind: NotFound::Delisted, .. })));
    let silent =
        r#"{"chart":{"result":[{"timestamp":[1577952000],"indicators":{"quote":[{"close":[5]}]}}],"error":null}}"#;
    assert_eq!(decode(silent, &request("1d")).unwrap().symbols.num_rows(), 0);
}

/// Minutes of New York from 14:30 UTC on, and an entry with the latest price.
fn with_latest(latest: &str, volume: f64) -> String {
    let session = regular("2024-01-03T14:30:00Z", "2024-01-03T21:00:00Z");
    let minute = |minute: &str| format!("2024-01-03T14:{minute}:00Z");
    let (first, second) = (minute("30"), minute("31"));
    let rows = [(first.as_str(), Some(10.0), 100.0), (second.as_str(), Some(11.0), 50.0), (latest, Some(13.0), volume)];
    reply("1m", &session, &rows)
}

#[track_caller]
fn check_latest(latest: &str, volume: f64, as_of: &str, expected: &[&str]) {
    let asked = ChartRequest::new("A", "1m".parse().unwrap(), at(as_of));
    let bars = decode(&with_latest(latest, volume), &asked).unwrap().bars;
    let cell =
        |name: &str, row| arrow::util::display::array_value_to_string(bars.column_by_name(name).unwrap(), row).unwrap();
    let columns = ["ts", "open", "high", "close", "volume", "is_final"];
    let row = |row| columns.map(|name| cell(name, row)).join(" ").replace("2024-01-03T", "");
    assert_eq!((0..bars.num_rows()).map(row).collect::<Vec<_>>(), expected);
}

#[test]
fn the_latest_price_belongs_to_the_bar_that_is_forming() {
    let first = "14:30:00Z 10.0 11.0 10.0 100.0 true";
    // Into the bar that is there.
    let merged = ["14:30:00Z 10.0 11.0 10.0 100.0 true", "14:31:00Z 11.0 14.0 13.0 50.0 false"];
    check_latest("2024-01-03T14:31:40Z", 0.0, "2024-01-03T14:31:45Z", &merged);
    // Quotes come late: the bar's minute has passed, but nothing after it was seen.
    check_latest("2024-01-03T14:31:40Z", 0.0, "2024-01-03T14:32:20Z", &merged);
    // Its bar is not there yet.
    let own = [first, "14:31:00Z 11.0 12.0 11.0 50.0 true", "14:32:00Z 13.0 14.0 13.0 7.0 false"];
    check_latest("2024-01-03T14:32:10Z", 7.0, "2024-01-03T14:32:15Z", &own);
    // Long after, a bar that is over stays as it is.
    let over = [first, "14:31:00Z 11.0 12.0 11.0 50.0 true"];
    check_latest("2024-01-03T14:31:40Z", 0.0, "2024-01-04T09:00:00Z", &over);
}

#[test]
fn a_width_that_is_not_told_must_show() {
    let untold = |rows: &[(&str, Option<f64>, f64)]| reply("1d", "", rows).replace(r#","dataGranularity":"1d""#, "");
    let quarters = ["2023-01-03", "2023-04-03", "2023-07-03", "2023-10-02"].map(|date| format!("{date}T14:30:00Z"));
    let rows: Vec<_> = quarters.iter().map(|stamp| (stamp.as_str(), Some(10.0), 1.0)).collect();
    let error = decode(&untold(&rows), &request("1d")).unwrap_err();
    assert_eq!(error.to_string(), "asked for bars of 1d, got bars of an untold width, 90 days apart");
    let days = [("2024-01-02T14:30:00Z", Some(10.0), 1.0), ("2024-01-03T14:30:00Z", Some(10.0), 1.0)];
    assert_eq!(decode(&untold(&days), &request("1d")).unwrap().bars.num_rows(), 2);
}
