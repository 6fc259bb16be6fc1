//! Bars within the day over many requests: none is lost at a cut, none comes twice, and none is cut off.

use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use stockflow_io::http::{Fetch, FetchError, Replayer, Reply, Request};
use stockflow_io::provider::{BarRequest, Provider, Yahoo};

/// A market whose windows are cut to the second, as Yahoo's may be: a bar that a window cuts begins with the window, and its
/// volume is that of what is left of it.
#[derive(Debug)]
struct Market {
    zone: &'static str,
    /// Of each day, in seconds UTC: beginning and length.
    session: (i64, i64),
    width: i64,
    asked: Mutex<Vec<(i64, i64)>>,
    replies: tempfile::TempDir,
}

const DAY: i64 = 86_400;

impl Market {
    fn new(zone: &'static str, session: (i64, i64), width: i64) -> Self {
        Self { zone, session, width, asked: Mutex::default(), replies: tempfile::tempdir().unwrap() }
    }

    /// The bars that overlap a range, with their ends.
    fn bars(&self, begin: i64, end: i64) -> impl Iterator<Item = (i64, i64)> + '_ {
        let (open, length) = self.session;
        let days = (begin.div_euclid(DAY) - 2)..=end.div_euclid(DAY);
        let starts = days.flat_map(move |day| {
            let open = day * DAY + open;
            (open..open + length).step_by(usize::try_from(self.width).unwrap())
        });
        starts.map(|start| (start, start + self.width)).filter(move |(start, bar_end)| *start < end && begin < *bar_end)
    }

    fn chart(&self, interval: &str, begin: i64, end: i64) -> serde_json::Value {
        let bars: Vec<(i64, i64)> = if interval == "1d" {
            Vec::new()
        } else {
            self.bars(begin, end).map(|(start, bar_end)| (start.max(begin), bar_end.min(end))).collect()
        };
        let ones = vec![1.0; bars.len()];
        let volumes: Vec<i64> = bars.iter().map(|(start, end)| end - start).collect();
        let stamps: Vec<i64> = bars.iter().map(|(start, _)| *start).collect();
        let meta = json!({
            "symbol": "S", "currency": "AUD", "exchangeTimezoneName": self.zone, "dataGranularity": interval,
            "instrumentType": "CRYPTOCURRENCY",
        });
        json!({ "chart": { "error": null, "result": [{
            "meta": meta,
            "timestamp": stamps,
            "indicators": { "quote": [{ "open": ones, "high": ones, "low": ones, "close": ones, "volume": volumes }] },
        }] } })
    }
}

#[async_trait]
impl Fetch for Market {
    async fn get(&self, request: &Request) -> Result<Reply, FetchError> {
        let value = |name: &str| request.url().query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let (interval, begin, end) = (value("interval"), value("period1"), value("period2"));
        let (begin, end) = (begin.parse().unwrap(), end.parse().unwrap());
        if interval != "1d" {
            self.asked.lock().unwrap().push((begin, end));
        }
        let recording = json!({
            "request": { "url": request.url().as_str() },
            "response": { "status": 200, "bodyJson": self.chart(&interval, begin, end) },
        });
        std::fs::write(self.replies.path().join("reply.json"), recording.to_string()).unwrap();
        Replayer::open(self.replies.path()).unwrap().get(request).await
    }
}

#[track_caller]
fn check(bars: &[(i64, f64)], market: &Market, begin: i64, now: i64) {
    // The first one may be cut off where Yahoo begins to keep bars, and the last one is forming.
    let whole: Vec<(i64, f64)> = market
        .bars(begin, now)
        .filter(|(start, end)| begin <= *start && *end <= now)
        .map(|(start, end)| (start, (end - start) as f64))
        .collect();
    let first = whole.first().unwrap().0;
    let found: Vec<(i64, f64)> = bars.iter().copied().filter(|(start, _)| first <= *start).collect();
    assert_eq!(found.len(), whole.len());
    assert_eq!(found, whole);
}

#[tokio::test]
async fn every_bar_comes_once_and_whole() {
    let now: DateTime<Utc> = "2024-06-19T03:17:00Z".parse().unwrap();
    let hour = 3600;
    let around_the_clock = |width| Market::new("UTC", (0, DAY), width);
    // Sydney opens at 23:00 UTC in summer; another one has a bar that lies across midnight UTC.
    let sydney = |width| Market::new("Australia/Sydney", (23 * hour, 6 * hour), width);
    let across = |width| Market::new("Australia/Sydney", (23 * hour + 1800, 6 * hour), width);
    for (interval, width, days, n_requests) in [("1m", 60, 29, 6), ("60m", hour, 729, 3)] {
        for market in [around_the_clock(width), sydney(width), across(width)] {
            let market = Arc::new(market);
            let begin = now - chrono::Duration::days(days);
            let request = BarRequest::new("S", interval.parse().unwrap(), now);
            let found = Yahoo::new(Arc::clone(&market) as Arc<dyn Fetch>).bars(&request).await.unwrap();
            assert_eq!(found.rejects, []);
            let stamps = found.bars.column_by_name("ts").unwrap().as_primitive::<TimestampMicrosecondType>();
            let volumes = found.bars.column_by_name("volume").unwrap().as_primitive::<Float64Type>();
            let bars: Vec<(i64, f64)> =
                stamps.values().iter().map(|ts| ts / 1_000_000).zip(volumes.values().iter().copied()).collect();
            check(&bars, &market, begin.timestamp(), now.timestamp());
            let asked = market.asked.lock().unwrap().clone();
            assert_eq!(asked.len(), n_requests, "{asked:?}");
        }
    }
}
