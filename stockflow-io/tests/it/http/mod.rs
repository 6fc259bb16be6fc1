//! The client against a server on this machine that misbehaves.
mod faults;
mod providers;
mod recording;
mod secrets;
mod session;
mod throttling;

use std::time::Duration;

use crate::server::Server;
use stockflow_io::http::{Backoff, HttpClient, HttpOptions, Limit, Request, accept_json};
use url::Url;

/// As fast as this machine can.
pub(crate) fn fast() -> Limit {
    Limit {
        per_second: 2000.0,
        burst: 50,
        parallel: 16,
        pause: Backoff::new(Duration::from_millis(4), Duration::from_millis(50)),
        patience: Duration::from_secs(60),
    }
}

/// Options whose hosts are all the server.
pub(crate) fn options(server: &Server, limit: Limit) -> HttpOptions {
    let mut options = HttpOptions { limit, ..HttpOptions::default() };
    options.backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100));
    options.deadline = Duration::from_secs(30);
    for domain in ["yahoo.com", "stooq.com", "alphavantage.co"] {
        options = options.with_base(domain, server.base()).with_limit(domain, limit);
    }
    options
}

fn client(server: &Server) -> HttpClient {
    HttpClient::new(options(server, fast())).unwrap()
}

fn yahoo(path: &str) -> Request {
    Request::new(Url::parse(&format!("https://query1.finance.yahoo.com{path}")).unwrap())
}

fn chart(symbol: &str) -> Request {
    let path = format!("/v8/finance/chart/{symbol}?interval=1d&period1=1704067200&period2=1706745600");
    yahoo(&path).with_symbol(symbol).with_judge(accept_json)
}
