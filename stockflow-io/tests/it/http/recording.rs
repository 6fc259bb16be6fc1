//! Recording and replaying.

use std::sync::Arc;

use bytes::Bytes;
use stockflow_io::http::{Fetch, FetchError, Recorder, Replayer, Request, accept_json};
use stockflow_io::yahoo::session::YahooSession;
use url::Url;

use super::{chart, client, yahoo};
use crate::server::Server;
use crate::server::script::Script;
use crate::support::shared;

fn window(begin: i64, end: i64) -> Request {
    yahoo(&format!("/v8/finance/chart/AAPL?interval=1d&period1={begin}&period2={end}")).with_symbol("AAPL")
}

#[tokio::test]
async fn what_was_recorded_is_replayed_to_the_byte() {
    let (server, folder) = (Server::start(Script::gzip()).await, tempfile::tempdir().unwrap());
    let live = Arc::new(YahooSession::new(client(&server)));
    let recorder = Recorder::new(live, folder.path()).unwrap();
    let requests = [
        chart("AAPL"),
        chart("%5EGSPC").with_symbol("^GSPC"),
        chart("NONE"),
        yahoo("/v7/finance/quote?symbols=AAPL,MSFT"),
        yahoo("/nothing"),
        Request::new(Url::parse("https://stooq.com/q/d/l/?s=aapl.us&i=d&d1=20240101&d2=20240201&apikey=K").unwrap()),
    ];
    let mut recorded = Vec::new();
    for request in &requests {
        recorded.push(recorder.get(request).await.unwrap());
    }
    drop(server);
    let replayer = Replayer::open(folder.path()).unwrap();
    for (request, recorded) in requests.iter().zip(recorded) {
        let replayed = replayer.get(request).await.unwrap();
        assert_eq!((replayed.status, &replayed.body), (recorded.status, &recorded.body), "{request:?}");
        assert_eq!((replayed.headers, replayed.note), (recorded.headers, None));
    }
    // Another key, another order, the other of the two hosts.
    let other = Url::parse("https://stooq.com/q/d/l/?d2=20240201&d1=20240101&i=d&apikey=OTHER&s=aapl.us").unwrap();
    assert_eq!(replayer.get(&Request::new(other)).await.unwrap().note, None);
    let other =
        "https://query2.finance.yahoo.com/v8/finance/chart/AAPL?period2=1706745600&interval=1d&period1=1704067200";
    assert_eq!(replayer.get(&Request::new(Url::parse(other).unwrap())).await.unwrap().note, None);
}

#[tokio::test]
async fn windows_that_were_not_recorded_find_one_that_serves() {
    let (server, folder) = (Server::start(Script::default()).await, tempfile::tempdir().unwrap());
    let recorder = Recorder::new(Arc::new(client(&server)), folder.path()).unwrap();
    for (begin, end) in [(0, 1_000_000), (500_000, 800_000), (900_000, 2_000_000)] {
        recorder.get(&window(begin, end)).await.unwrap();
    }
    let replayer = Replayer::open(folder.path()).unwrap();
    let note = async |begin, end| replayer.get(&window(begin, end)).await.map(|reply| reply.note.unwrap_or_default());
    assert_eq!(note(0, 1_000_000).await.unwrap(), "");
    // The narrowest of two that cover it.
    assert_eq!(note(600_000, 700_000).await.unwrap(), "recorded for 500000 to 800000, asked for 600000 to 700000");
    // "Until now", later.
    let expected = "recorded for 900000 to 2000000, asked for 950000 to 3000000: the end is missing";
    assert_eq!(note(950_000, 3_000_000).await.unwrap(), expected);
    // Half of it is not enough, and nothing of it still less.
    assert!(note(600_000, 3_000_000).await.is_err());
    assert!(note(2_500_000, 3_000_000).await.is_err());
}

#[tokio::test]
async fn a_miss_names_the_nearest_recording() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Replayer::open(folder.path()).unwrap().get(&chart("AAPL")).await.unwrap_err();
    assert!(empty.to_string().ends_with("there are none at all, record some first"), "{empty}");
    let url = "https://query1.finance.yahoo.com/v8/finance/chart/AAPL?interval=1d&range=1y";
    write(&folder, "sub/mine.json", &format!(r#"{{"request": {{"url": "{url}"}}, "response": {{"bodyJson": {{}}}}}}"#));
    let replayer = Replayer::open(folder.path()).unwrap();
    let error = replayer.get(&yahoo("/v8/finance/chart/AAPL?interval=1h&range=1y")).await.unwrap_err();
    assert!(
        error.to_string().ends_with("the nearest is `sub/mine.json`, where `interval` is `1d` instead of `1h`"),
        "{error}"
    );
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Replays a file written by hand with this response.
async fn by_hand(response: &str) -> Result<(u16, Bytes), FetchError> {
    let folder = tempfile::tempdir().unwrap();
    write(
        &folder,
        "a.json",
        &format!(r#"{{"request": {{"url": "https://a.test/x?crumb=REDACTED"}}, "response": {response}}}"#),
    );
    let request = Request::new(Url::parse("https://a.test/x").unwrap()).with_judge(accept_json);
    Replayer::open(folder.path())?.get(&request).await.map(|reply| (reply.status, reply.body))
}

#[tokio::test]
async fn recordings_can_be_written_by_hand() {
    let json = by_hand(r#"{"bodyJson": {"a": [1.10, null]}}"#).await.unwrap();
    assert_eq!(json, (200, Bytes::from_static(br#"{"a": [1.10, null]}"#)));
    let text = by_hand(r#"{"status": 404, "headers": {"Content-Type": ["a", "b"]}, "bodyText": "no"}"#).await.unwrap();
    assert_eq!(text, (404, Bytes::from_static(b"no")));
    let hex = by_hand(r#"{"status": 404, "bodyHex": "ff00"}"#).await.unwrap();
    assert_eq!(hex, (404, Bytes::from_static(b"\xff\x00")));
    let both = by_hand(r#"{"bodyJson": {}, "body": ""}"#).await.unwrap_err();
    assert!(both.to_string().contains("keep one"), "{both}");
    let throttled = by_hand(r#"{"status": 429, "body": "Too Many Requests"}"#).await.unwrap_err();
    assert!(matches!(throttled, FetchError::Throttled { .. }), "{throttled}");
    let html = by_hand(r#"{"body": "<html>"}"#).await.unwrap_err();
    assert!(matches!(html, FetchError::Malformed { .. }), "{html}");
    let broken = by_hand("{").await.unwrap_err();
    assert!(
        broken.to_string().contains("a.json` is no recording") || broken.to_string().contains("is no recording"),
        "{broken}"
    );
}

#[tokio::test]
async fn the_replies_in_the_shared_folder_are_recordings() {
    let Some(folder) = shared("data/yahoo") else { return };
    let replayer = Replayer::open(folder).unwrap();
    let url = "https://query2.finance.yahoo.com/v8/finance/chart/BEKE?useYfid=true&interval=1d&includePrePost=true&events=div%7Csplit%7Cearn&lang=en-US&period1=1577836800&period2=1578009600";
    assert_eq!(replayer.get(&Request::new(Url::parse(url).unwrap())).await.unwrap().status, 400);
}
