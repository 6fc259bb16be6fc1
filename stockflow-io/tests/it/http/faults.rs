//! Everything else that goes wrong on the way.

use std::time::{Duration, Instant};

use stockflow_io::http::{Fetch, FetchError, HttpClient, HttpOptions, Limit};
use url::Url;

use super::{chart, client, fast, options, yahoo};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

/// Asks a server that does this to the first two requests.
async fn check_is_retried(trouble: Trouble) {
    let server = Server::start(Script::default().with("/v8", When::First(2), trouble.clone())).await;
    let reply = client(&server).get(&chart("AAPL")).await.unwrap();
    assert_eq!((reply.status, server.count("/v8")), (200, 3), "{trouble:?}");
    assert!(server.duplicates().is_empty());
}

#[tokio::test]
async fn what_passes_is_asked_again() {
    check_is_retried(Trouble::page(503)).await;
    check_is_retried(Trouble::page(999)).await;
    check_is_retried(Trouble::Close).await;
    check_is_retried(Trouble::Drop).await;
    check_is_retried(Trouble::Truncated).await;
    check_is_retried(Trouble::empty()).await;
    check_is_retried(Trouble::html()).await;
    check_is_retried(Trouble::too_many_with_200()).await;
}

#[tokio::test]
async fn a_connection_that_breaks_for_each_symbol_is_asked_again_for_each() {
    let server = Server::start(Script::default().with("/v8", When::FirstOfEach(1), Trouble::Drop)).await;
    let client = client(&server);
    for symbol in ["AAPL", "MSFT", "IBM"] {
        assert_eq!(client.get(&chart(symbol)).await.unwrap().status, 200);
    }
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn refusals_are_final_and_handed_on() {
    let server = Server::start(Script::default()).await;
    let client = client(&server);
    for (symbol, status) in [("NONE", 404), ("LATE", 400)] {
        let reply = client.get(&chart(symbol)).await.unwrap();
        assert_eq!(reply.status, status);
        assert!(reply.headers.content_type.unwrap().starts_with("application/json"));
    }
    let old = yahoo("/v8/finance/chart/AAPL?interval=1h&period1=1000000000&period2=1000086400");
    assert_eq!(client.get(&old).await.unwrap().status, 422);
    assert_eq!(client.get(&yahoo("/nothing")).await.unwrap().status, 404);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn the_deadline_tells_what_was_last_seen() {
    let server = Server::start(Script::default().with("/", When::Always, Trouble::page(503))).await;
    let request = chart("AAPL").with_deadline(Duration::from_millis(400));
    let start = Instant::now();
    let error = client(&server).get(&request).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(server.seen().len() > 2 && error.is_retryable());
    let text = error.to_string();
    assert!(text.starts_with("AAPL from query1.finance.yahoo.com/v8/finance/chart/AAPL: no reply after "), "{text}");
    assert!(text.contains("last seen: HTTP status 503 (`<!DOCTYPE html>"), "{text}");
}

#[tokio::test]
async fn a_slow_server_meets_the_deadline_too() {
    let script = Script::default().with("/", When::Always, Trouble::Slow(Duration::from_secs(60)));
    let server = Server::start(script).await;
    let error = client(&server).get(&chart("AAPL").with_deadline(Duration::from_millis(200))).await.unwrap_err();
    assert!(error.to_string().contains("last seen: no whole reply within 0.2 s"), "{error}");
}

#[tokio::test]
async fn a_slow_attempt_is_given_up_and_asked_again() {
    let script = Script::default().with("/", When::First(1), Trouble::Slow(Duration::from_secs(60)));
    let server = Server::start(script).await;
    let options = HttpOptions { attempt_timeout: Duration::from_millis(200), ..options(&server, fast()) };
    let reply = HttpClient::new(options).unwrap().get(&chart("AAPL")).await.unwrap();
    assert_eq!((reply.status, server.seen().len()), (200, 2));
}

#[tokio::test]
async fn a_host_that_is_not_there_fails_with_the_reason() {
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let base = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let client = HttpClient::new(HttpOptions::default().with_base("yahoo.com", base)).unwrap();
    let error = client.get(&chart("AAPL").with_deadline(Duration::from_millis(300))).await.unwrap_err();
    assert!(error.to_string().to_lowercase().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn html_for_json_fails_with_its_first_bytes() {
    let server = Server::start(Script::default().with("/", When::Always, Trouble::html())).await;
    let error = client(&server).get(&chart("AAPL")).await.unwrap_err();
    assert_eq!(server.seen().len(), 3);
    assert!(error.to_string().contains("is an HTML page, also after 3 attempts"), "{error}");
    assert!(error.to_string().contains("begins with `<!DOCTYPE html>"), "{error}");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_an_error_also_when_compressed() {
    for script in [Script::default(), Script::gzip()] {
        let server = Server::start(script).await;
        let options = HttpOptions { max_body: 100_000, ..options(&server, fast()) };
        let client = HttpClient::new(options).unwrap();
        assert_eq!(client.get(&yahoo("/big?bytes=100000")).await.unwrap().body.len(), 100_000);
        let error = client.get(&yahoo("/big?bytes=100001")).await.unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { limit: 100_000, .. }), "{error}");
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn redirects_have_a_limit() {
    let server = Server::start(Script::default()).await;
    let error = client(&server).get(&yahoo("/around")).await.unwrap_err();
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
    assert_eq!(server.seen().len(), 11);
}

#[tokio::test]
async fn it_looks_like_a_browser_and_reuses_connections() {
    let server = Server::start(Script::gzip()).await;
    let options = HttpOptions { user_agent: "stockflow test".into(), ..options(&server, fast()) };
    let client = HttpClient::new(options).unwrap();
    client.get(&chart("AAPL")).await.unwrap();
    let headers = &server.seen()[0].headers;
    assert_eq!(headers["user-agent"], "stockflow test");
    assert_eq!(headers["accept-language"], "en-US,en;q=0.9");
    assert!(headers["accept-encoding"].contains("gzip") && headers["accept-encoding"].contains("br"));
    assert!(headers["accept"].starts_with("application/json"));
    for symbol in ["MSFT", "IBM", "NONE"] {
        client.get(&chart(symbol)).await.unwrap();
    }
    assert_eq!((server.seen().len(), server.connections()), (4, 1));
}

#[test]
fn limits_of_nothing_are_refused() {
    let check = |limit, text: &str| {
        let error = HttpClient::new(HttpOptions { limit, ..HttpOptions::default() }).unwrap_err();
        assert_eq!(error.to_string(), format!("invalid {text}"));
    };
    check(Limit::per_second(0.0), "per_second of the HTTP client: 0 is not a number above 0");
    check(Limit { burst: 0, ..Limit::default() }, "burst of the HTTP client: 0 is not at least 1");
}
