//! 429, the rate, and turns.

use std::time::{Duration, Instant};

use futures::future::join_all;
use stockflow_io::http::{Fetch, FetchError, HttpClient, Limit};

use super::{chart, client, fast, options};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_symbols_arrive_although_a_third_is_throttled() {
    let server = Server::start(
        Script::default().with("/v8", When::Every(6), Trouble::too_many().with_header("Retry-After", "0")).with(
            "/v8",
            When::Every(3),
            Trouble::too_many(),
        ),
    )
    .await;
    // So much throttling keeps the rate near its floor, a sixteenth.
    let limit = Limit { per_second: 8000.0, ..fast() };
    let client = HttpClient::new(options(&server, limit)).unwrap();
    let replies = join_all((0..1000).map(|i| {
        let client = client.clone();
        async move {
            let symbol = format!("S{i}");
            let reply = client.get(&chart(&symbol)).await.unwrap();
            let text = String::from_utf8(reply.body.to_vec()).unwrap();
            assert!(reply.status == 200 && text.contains(&format!("\"{symbol}\"")) && text.contains("timestamp"));
        }
    }))
    .await;
    assert_eq!(replies.len(), 1000);
    let seen = server.seen();
    let throttled = seen.iter().filter(|seen| !seen.is_good).count();
    assert_eq!(seen.len(), 1000 + throttled);
    assert!(throttled > 300, "{throttled}");
    assert!(server.duplicates().is_empty());
    assert!(server.most_running() <= fast().parallel);
    let most = server.most_within(Duration::from_millis(500));
    assert!(most <= 4050, "{most} in half a second");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_sees_the_rate_that_is_set() {
    let server = Server::start(Script::default()).await;
    let limit = Limit { per_second: 100.0, burst: 5, parallel: 8, ..fast() };
    let client = HttpClient::new(options(&server, limit)).unwrap();
    let start = Instant::now();
    join_all((0..205).map(|i| {
        let client = client.clone();
        async move { client.get(&chart(&format!("S{i}"))).await.unwrap().status }
    }))
    .await;
    assert!(start.elapsed() >= Duration::from_millis(1990), "{:?}", start.elapsed());
    // What is on its way may bunch up a little.
    let most = server.most_within(Duration::from_millis(500));
    assert!(most <= 5 + 50 + 10, "{most} in half a second");
    assert!(server.most_running() <= 8);
}

#[tokio::test]
async fn retry_after_stops_the_whole_host() {
    let script = Script::default().with("/v8", When::First(1), Trouble::too_many().with_header("Retry-After", "1"));
    let server = Server::start(script).await;
    let client = client(&server);
    // The first one is throttled before the others ask.
    let (first, rest) = tokio::join!(status(&client, "AAPL"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        join_all(["B", "C", "D"].map(|symbol| status(&client, symbol))).await
    });
    assert_eq!(first, 200);
    assert_eq!(rest, [200, 200, 200]);
    let at: Vec<Duration> = server.seen().iter().map(|seen| seen.at).collect();
    assert_eq!(at.len(), 5);
    assert!(at[1] - at[0] >= Duration::from_millis(990), "{at:?}");
}

async fn status(client: &HttpClient, symbol: &str) -> u16 {
    client.get(&chart(symbol)).await.unwrap().status
}

#[tokio::test]
async fn a_symbol_with_many_windows_does_not_starve_the_others() {
    let server = Server::start(Script::default()).await;
    let limit = Limit { per_second: 500.0, burst: 1, parallel: 1, ..fast() };
    let client = HttpClient::new(options(&server, limit)).unwrap();
    let symbols = std::iter::repeat_n("LONG", 100).chain(["B", "C", "D"]);
    join_all(symbols.map(|symbol| status(&client, symbol))).await;
    let seen = server.seen();
    let last = seen.iter().rposition(|seen| !seen.target.contains("LONG")).unwrap();
    assert!(seen.len() == 103 && last < 8, "{last}");
}

#[tokio::test]
async fn a_host_that_only_throttles_fails_with_what_it_said() {
    let server = Server::start(Script::default().with("/", When::Always, Trouble::too_many())).await;
    let limit = Limit { patience: Duration::from_millis(300), ..fast() };
    let client = HttpClient::new(options(&server, limit)).unwrap();
    let (aapl, msft) = (chart("AAPL"), chart("MSFT"));
    let (asked, queued) = tokio::join!(client.get(&aapl), client.get(&msft));
    for error in [asked.unwrap_err(), queued.unwrap_err()] {
        assert!(matches!(error, FetchError::Throttled { .. }) && error.is_retryable());
        assert!(error.to_string().contains("last seen: HTTP status 429 (`Edge: Too Many Requests`)"), "{error}");
    }
}
