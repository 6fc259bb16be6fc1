//! Stooq and Alpha Vantage complain with status 200: what a source's judge makes of it.

use stockflow_io::http::{Fetch, FetchError, Reply, Request, Verdict, accept_json, accept_text};
use url::Url;

use super::client;
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

fn stooq(reply: &Reply) -> Verdict {
    match String::from_utf8_lossy(&reply.body) {
        body if body.starts_with("Exceeded the daily hits limit") => Verdict::Exhausted(body.into_owned()),
        body if body.starts_with("Get your apikey") => Verdict::Unauthorized("no API key".into()),
        _ => accept_text(reply),
    }
}

fn alpha_vantage(reply: &Reply) -> Verdict {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = |member: &str| body.get(member).and_then(serde_json::Value::as_str).map(str::to_owned);
    match (text("Note"), text("Information")) {
        (Some(note), _) => Verdict::Throttled(note),
        (_, Some(information)) => Verdict::Exhausted(information),
        _ => accept_json(reply),
    }
}

fn daily(symbol: &str) -> Request {
    let url = format!("https://stooq.com/q/d/l/?s={symbol}&i=d&d1=20240102&d2=20240108&apikey=secret");
    Request::new(Url::parse(&url).unwrap()).with_judge(stooq)
}

fn series(symbol: &str) -> Request {
    let url = format!(
        "https://www.alphavantage.co/query?function=TIME_SERIES_DAILY_ADJUSTED&symbol={symbol}&outputsize=full&apikey=secret"
    );
    Request::new(Url::parse(&url).unwrap()).with_judge(alpha_vantage)
}

#[tokio::test]
async fn stooq_answers_in_csv_or_in_words() {
    let server = Server::start(Script::default()).await;
    let client = client(&server);
    let csv = String::from_utf8(client.get(&daily("aapl.us")).await.unwrap().body.to_vec()).unwrap();
    let dates: Vec<&str> = csv.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(dates, ["Date", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"]);
    assert_eq!(client.get(&daily("none.us")).await.unwrap().body, "No data");
    let server = Server::start(Script::default().with("/q", When::Always, Trouble::hits_limit())).await;
    let error = super::client(&server).get(&daily("aapl.us")).await.unwrap_err();
    assert!(matches!(error, FetchError::Exhausted { .. }), "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn alpha_vantage_throttles_with_a_note() {
    let script = Script::default().with("/query", When::First(1), Trouble::note()).with(
        "/query",
        When::Every(2),
        Trouble::information("secret"),
    );
    let server = Server::start(script).await;
    let client = client(&server);
    // The first time it waits, the third time the day is over.
    let text = String::from_utf8(client.get(&series("IBM")).await.unwrap().body.to_vec()).unwrap();
    assert!(text.contains("Time Series (Daily)"));
    let error = client.get(&series("IBM")).await.unwrap_err();
    assert!(error.to_string().contains("your API key as REDACTED"), "{error}");
    let unknown = client.get(&series("NONE")).await.unwrap();
    assert!(String::from_utf8_lossy(&unknown.body).contains("Error Message"));
}
