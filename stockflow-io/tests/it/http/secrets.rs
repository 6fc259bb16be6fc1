//! Secrets are in nothing that is written down.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stockflow_io::http::{
    Fetch, FetchError, HttpClient, HttpOptions, Recorder, Replayer, Request, Verdict, accept_json,
};
use stockflow_io::yahoo::session::YahooSession;
use url::Url;

use super::{client, fast, options, yahoo};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

/// Holds characters that are escaped in URLs.
const KEY: &str = "sentinel/KEY 42";
/// What of it is in every spelling.
const SENTINELS: [&str; 6] = ["sentinel", "KEY", "cRuMb", "cookie-of-the-server", "token&of", "3_cc-session"];

#[track_caller]
fn check(text: &str) {
    for sentinel in SENTINELS {
        assert!(!text.contains(sentinel), "`{sentinel}` in {text}");
    }
}

fn keyed() -> Request {
    let mut url =
        Url::parse("https://www.alphavantage.co/query?function=TIME_SERIES_DAILY_ADJUSTED&symbol=AAPL").unwrap();
    url.query_pairs_mut().append_pair("apikey", KEY);
    Request::new(url).with_symbol("AAPL").with_deadline(Duration::from_millis(300))
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn exhausted(reply: &stockflow_io::http::Reply) -> Verdict {
    Verdict::Exhausted(String::from_utf8_lossy(&reply.body).into_owned())
}

async fn error_of(trouble: Trouble, request: Request) -> FetchError {
    let server = Server::start(Script::default().with("/", When::Always, trouble)).await;
    let limit = stockflow_io::http::Limit { patience: Duration::from_millis(50), ..fast() };
    HttpClient::new(options(&server, limit)).unwrap().get(&request).await.unwrap_err()
}

#[tokio::test]
async fn no_error_event_or_recording_holds_a_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, an event that another thread comes upon first would be off for all of them.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let echo = || Trouble::information(KEY);
    let no_json = format!("your key is {KEY}");
    let Trouble::Answer { headers, .. } = Trouble::empty() else { panic!("an answer") };
    let text = |status| Trouble::Answer { status, headers: headers.clone(), body: no_json.clone() };
    let mut errors = vec![
        error_of(Trouble::page(503), keyed()).await,
        error_of(Trouble::Close, keyed()).await,
        error_of(Trouble::Slow(Duration::from_secs(9)), keyed()).await,
        error_of(text(503), keyed()).await,
        error_of(text(429), keyed()).await,
        error_of(text(200), keyed().with_judge(accept_json)).await,
        error_of(echo(), keyed().with_judge(exhausted)).await,
        error_of(Trouble::too_many(), keyed()).await,
    ];
    // A host that is not there, without a base: the URL is in reqwest's own error.
    let mut url = Url::parse("http://127.0.0.1:1/").unwrap();
    url.set_query(keyed().url().query());
    let gone = HttpClient::new(HttpOptions::default()).unwrap();
    errors.push(gone.get(&Request::new(url).with_deadline(Duration::from_millis(300))).await.unwrap_err());

    // The crumb of a European session, and one that is refused.
    let (server, folder) = (Server::start(Script::european()).await, tempfile::tempdir().unwrap());
    let session = Arc::new(YahooSession::new(client(&server)));
    let recorder = Recorder::new(session.clone(), folder.path()).unwrap();
    let quote = yahoo("/v7/finance/quote?symbols=AAPL");
    let reply = recorder.get(&quote).await.unwrap();
    let refusing = Server::start(Script::default().with("/v7", When::Always, Trouble::invalid_crumb())).await;
    errors.push(YahooSession::new(client(&refusing)).get(&quote).await.unwrap_err());

    // A reply that repeats the key, recorded; and a recorder below the session.
    let echoing = Server::start(Script::default().with("/query", When::Always, echo())).await;
    let below = Arc::new(Recorder::new(Arc::new(client(&echoing)), folder.path()).unwrap());
    let echoed = below.get(&keyed()).await.unwrap();
    assert!(String::from_utf8_lossy(&echoed.body).contains(KEY));
    let mut crumbed = yahoo("/v8/finance/chart/AAPL").url().clone();
    crumbed.query_pairs_mut().append_pair("crumb", "cRuMb/sentinel");
    below.get(&Request::new(crumbed)).await.unwrap();
    errors.push(Replayer::open(tempfile::tempdir().unwrap().path()).unwrap().get(&keyed()).await.unwrap_err());

    for error in &errors {
        check(&error.to_string());
        check(&format!("{error:?}"));
    }
    check(&format!("{:?} {reply:?} {echoed:?} {session:?} {recorder:?}", keyed()));
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        check(&format!("{} {}", path.display(), std::fs::read_to_string(&path).unwrap()));
        files += 1;
    }
    assert_eq!(files, 3);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("will ask again"), "{log}");
    check(&log);
}
