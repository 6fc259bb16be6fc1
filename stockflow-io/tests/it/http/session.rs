//! Cookie and crumb.

use futures::future::join_all;
use stockflow_io::http::{Fetch, FetchError};
use stockflow_io::yahoo::session::YahooSession;

use super::{chart, client, yahoo};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

const CRUMB: &str = "/v1/test/getcrumb";

fn summary(symbol: &str) -> stockflow_io::http::Request {
    yahoo(&format!("/v10/finance/quoteSummary/{symbol}?modules=majorHoldersBreakdown")).with_symbol(symbol)
}

/// Asks for a summary that must arrive; returns how often the crumb was asked for.
async fn crumbs_for_one(script: Script) -> usize {
    let server = Server::start(script).await;
    let reply = YahooSession::new(client(&server)).get(&summary("AAPL")).await.unwrap();
    assert_eq!(reply.status, 200);
    server.count(CRUMB)
}

#[tokio::test]
async fn prices_need_no_crumb() {
    let server = Server::start(Script::default()).await;
    let session = YahooSession::new(client(&server));
    assert_eq!(session.get(&chart("AAPL")).await.unwrap().status, 200);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_requests_share_one_crumb() {
    let server = Server::start(Script::default()).await;
    let session = YahooSession::new(client(&server));
    let symbols: Vec<String> = (0..50).map(|i| format!("S{i}")).collect();
    let replies =
        join_all(symbols.iter().map(|symbol| async { session.get(&summary(symbol)).await.unwrap().status })).await;
    assert!(replies.iter().all(|status| *status == 200));
    assert_eq!(server.count(CRUMB), 1);
    assert_eq!(server.seen().len(), 52);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_session_is_renewed_once_for_all() {
    let server = Server::start(Script::default()).await;
    let session = YahooSession::new(client(&server));
    session.get(&summary("AAPL")).await.unwrap();
    server.expire_sessions();
    let symbols: Vec<String> = (0..20).map(|i| format!("S{i}")).collect();
    let replies =
        join_all(symbols.iter().map(|symbol| async { session.get(&summary(symbol)).await.unwrap().status })).await;
    assert!(replies.iter().all(|status| *status == 200));
    assert_eq!(server.count(CRUMB), 2);
}

#[tokio::test]
async fn the_way_to_a_crumb_may_be_stony() {
    assert_eq!(crumbs_for_one(Script::default()).await, 1);
    // A refusal once, in each of its forms.
    assert_eq!(crumbs_for_one(Script::default().with("/v10", When::First(1), Trouble::invalid_crumb())).await, 2);
    assert_eq!(crumbs_for_one(Script::default().with("/v10", When::First(1), Trouble::invalid_cookie())).await, 2);
    assert_eq!(crumbs_for_one(Script::default().with(CRUMB, When::First(1), Trouble::wrong_crumb())).await, 2);
    // Throttled, also in plain text with status 200: waited for, and never taken for a crumb.
    assert_eq!(crumbs_for_one(Script::default().with(CRUMB, When::First(2), Trouble::too_many())).await, 3);
    assert_eq!(crumbs_for_one(Script::default().with(CRUMB, When::First(2), Trouble::too_many_with_200())).await, 3);
    // A page or nothing in place of a crumb: the start page is the other way.
    assert_eq!(crumbs_for_one(Script::default().with(CRUMB, When::First(1), Trouble::html())).await, 2);
    assert_eq!(crumbs_for_one(Script::default().with(CRUMB, When::First(1), Trouble::empty())).await, 2);
}

#[tokio::test]
async fn in_europe_it_agrees() {
    let server = Server::start(Script::european()).await;
    let session = YahooSession::new(client(&server));
    assert_eq!(session.get(&summary("AAPL")).await.unwrap().status, 200);
    let hosts: Vec<String> = server.seen().into_iter().map(|seen| seen.host).collect();
    let expected = [
        "fc.yahoo.com",
        "query1.finance.yahoo.com",
        "finance.yahoo.com",
        "guce.yahoo.com",
        "consent.yahoo.com",
        "consent.yahoo.com",
        "guce.yahoo.com",
        "finance.yahoo.com",
        "query1.finance.yahoo.com",
        "query1.finance.yahoo.com",
    ];
    assert_eq!(hosts, expected);
}

#[tokio::test]
async fn a_blocked_cookie_host_is_not_fatal() {
    // A European server has no cookie there either; here the connection breaks.
    let script = Script::default().with("/", When::First(1), Trouble::Close);
    let server = Server::start(script).await;
    let session = YahooSession::new(client(&server));
    assert_eq!(session.get(&summary("AAPL")).await.unwrap().status, 200);
    assert_eq!(server.count("/quote/AAPL"), 1);
}

#[tokio::test]
async fn a_crumb_that_is_always_refused_fails_after_one_renewal() {
    let server = Server::start(Script::default().with("/v10", When::Always, Trouble::invalid_crumb())).await;
    let error = YahooSession::new(client(&server)).get(&summary("AAPL")).await.unwrap_err();
    assert!(matches!(error, FetchError::Unauthorized { .. }), "{error}");
    assert_eq!((server.count("/v10"), server.count(CRUMB)), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_for_a_crumb_in_vain_fail_together() {
    let server = Server::start(Script::default().with(CRUMB, When::Always, Trouble::html())).await;
    let session = YahooSession::new(client(&server));
    let symbols: Vec<String> = (0..50).map(|i| format!("S{i}")).collect();
    let errors =
        join_all(symbols.iter().map(|symbol| async { session.get(&summary(symbol)).await.unwrap_err() })).await;
    assert!(errors.iter().all(|error| matches!(error, FetchError::Session { .. })), "{}", errors[0]);
    assert_eq!(server.count(CRUMB), 2);
}
