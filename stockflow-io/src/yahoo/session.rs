//! Yahoo's cookie and crumb, fetched once and only for the endpoints that ask for them.
//!
//! 1. `fc.yahoo.com` sets a cookie. It is on block lists, so its failure does not matter.
//! 2. `getcrumb` gives the crumb that goes with the cookie.
//! 3. If that fails, the start page is asked as a browser would. In Europe it leads to a form of consent, which is agreed to.
//!    Then `getcrumb` is asked again.
//!
//! On 401, "Invalid Crumb" or "Invalid Cookie" both are dropped and fetched again, and the request is sent once more.

mod consent;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::decode;
use super::request::judge_yahoo;
use crate::http::{Fetch, FetchError, HttpClient, Reply, Request, Verdict};

const COOKIE: &str = "https://fc.yahoo.com/";
const CRUMB: &str = "https://query1.finance.yahoo.com/v1/test/getcrumb";
const START_PAGE: &str = "https://finance.yahoo.com/quote/AAPL";

/// Paths that ask for cookie and crumb.
const GUARDED: [&str; 2] = ["/v7/finance/quote", "/v10/finance/quoteSummary"];

/// For each of the session's own requests: others wait for them.
const PATIENCE: Duration = Duration::from_secs(30);

/// After a failure nobody tries again for so long.
const REST: Duration = Duration::from_secs(10);

const ADVICE: &str =
    "try again later or from another network, or leave out what needs a crumb: prices and insights do not";

/// The live client, with a crumb where Yahoo wants one.
///
/// # Guarantees
///
/// However many requests wait for the crumb, it is fetched once; if that fails, all that waited fail, and those
/// that come within ten seconds.
/// Put a recorder around the session, not below it: then no recording needs a crumb.
pub struct YahooSession {
    client: HttpClient,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    crumb: Option<Crumb>,
    /// How many crumbs there were.
    count: u64,
    /// When the last attempt to get one failed, and why.
    failed: Option<(Instant, String)>,
}

#[derive(Clone)]
struct Crumb {
    value: String,
    number: u64,
}

impl fmt::Debug for YahooSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("YahooSession").field("client", &self.client).finish_non_exhaustive()
    }
}

#[async_trait]
impl Fetch for YahooSession {
    async fn get(&self, request: &Request) -> Result<Reply, FetchError> {
        if !is_guarded(request.url()) {
            return self.client.get(request).await;
        }
        let mut refused = None;
        for _ in 0..2 {
            let crumb = self.crumb(request, refused).await?;
            let reply = self.client.get(&with_crumb(request, &crumb)).await?;
            if !is_refusal(&reply) {
                return Ok(reply);
            }
            tracing::info!(place = %request.place(), "the crumb is refused");
            refused = Some(crumb.number);
        }
        let reason = "Yahoo refuses cookie and crumb, also new ones".to_owned();
        Err(FetchError::Unauthorized { place: request.place(), reason, advice: ADVICE })
    }
}

impl YahooSession {
    /// A session that has no crumb yet.
    pub fn new(client: HttpClient) -> Self {
        Self { client, state: Mutex::default() }
    }

    /// The crumb; a new one if there is none or the one with the number `refused`.
    async fn crumb(&self, request: &Request, refused: Option<u64>) -> Result<Crumb, FetchError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(crumb) = state.crumb.as_ref().filter(|crumb| Some(crumb.number) != refused) {
            return Ok(crumb.clone());
        }
        let no_session = |reason| Err(FetchError::Session { place: request.place(), reason, advice: ADVICE });
        // Those who waited while it failed, or come soon after, do not try the same one after the other.
        if let Some((_, reason)) = state.failed.as_ref().filter(|(at, _)| asked < *at + REST) {
            return no_session(reason.clone());
        }
        if state.crumb.take().is_some() {
            self.client.clear_cookies();
        }
        match self.fetch_crumb().await {
            Ok(value) => {
                state.count += 1;
                let crumb = Crumb { value, number: state.count };
                state.crumb = Some(crumb.clone());
                Ok(crumb)
            }
            Err(reason) => {
                state.failed = Some((Instant::now(), reason.clone()));
                no_session(reason)
            }
        }
    }

    async fn fetch_crumb(&self) -> Result<String, String> {
        let cookie = request(COOKIE)?.with_attempts(1).with_deadline(Duration::from_secs(10));
        if let Err(error) = self.client.send(&cookie).await {
            tracing::debug!(%error, "no cookie from here, there is another way");
        }
        let first = match self.ask_for_crumb().await {
            Ok(crumb) => return Ok(crumb),
            Err(reason) => reason,
        };
        tracing::debug!(reason = first, "no crumb yet, asking as a browser would");
        self.agree().await.map_err(|reason| format!("{first}, and then {reason}"))?;
        self.ask_for_crumb().await.map_err(|reason| format!("{reason}, also after the start page"))
    }

    async fn ask_for_crumb(&self) -> Result<String, String> {
        let request = request(CRUMB)?.with_judge(accept_crumb).with_deadline(PATIENCE);
        let reply = self.client.send(&request).await.map_err(|error| error.to_string())?;
        // The reason does not show the body: it might be the crumb.
        decode::crumb(&(&reply).into())
            .map_err(|reason| format!("there is no crumb at {CRUMB} (HTTP status {}: {reason})", reply.status))
    }

    /// Opens the start page, and agrees if it asks for consent.
    async fn agree(&self) -> Result<(), String> {
        let page =
            self.client.send(&request(START_PAGE)?.with_deadline(PATIENCE)).await.map_err(|error| error.to_string())?;
        let Some(form) = consent::form_of(&page.target, &String::from_utf8_lossy(&page.body)) else {
            return Ok(());
        };
        let agreed = Request::post(form.action, form.fields).with_deadline(PATIENCE);
        self.client.send(&agreed).await.map(|_| ()).map_err(|error| error.to_string())
    }
}

fn request(url: &str) -> Result<Request, String> {
    Url::parse(url).map(Request::new).map_err(|error| error.to_string())
}

fn is_guarded(url: &Url) -> bool {
    let is_yahoo = url.host_str().is_some_and(|host| host.ends_with(".yahoo.com"));
    let rests = GUARDED.iter().filter_map(|guarded| url.path().strip_prefix(guarded));
    is_yahoo && rests.into_iter().any(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn with_crumb(request: &Request, crumb: &Crumb) -> Request {
    let mut url = request.url().clone();
    url.query_pairs_mut().append_pair("crumb", &crumb.value);
    request.clone().with_url(url).with_judge(accept_guarded)
}

/// As all of Yahoo's, but a refusal in plain text must not be asked for again with the same crumb.
fn accept_guarded(reply: &Reply) -> Verdict {
    match judge_yahoo(reply) {
        Verdict::Malformed(_) if is_refusal(reply) => Verdict::Accept,
        verdict => verdict,
    }
}

fn is_refusal(reply: &Reply) -> bool {
    let is_told = || {
        let body = String::from_utf8_lossy(&reply.body);
        reply.body.len() < 1000 && (body.contains("Invalid Crumb") || body.contains("Invalid Cookie"))
    };
    reply.status == 401 || is_told()
}

fn accept_crumb(reply: &Reply) -> Verdict {
    if decode::is_throttling(reply.status, &reply.body) {
        Verdict::Throttled("Too Many Requests".into())
    } else {
        Verdict::Accept
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_quotes_and_summaries_need_a_crumb() {
        let guarded = |url| is_guarded(&Url::parse(url).unwrap());
        assert!(guarded("https://query1.finance.yahoo.com/v7/finance/quote?symbols=A"));
        assert!(guarded("https://query2.finance.yahoo.com/v10/finance/quoteSummary/A"));
        assert!(!guarded("https://query1.finance.yahoo.com/v8/finance/chart/A"));
        assert!(!guarded("https://yahoo.test/v7/finance/quote"));
    }
}
