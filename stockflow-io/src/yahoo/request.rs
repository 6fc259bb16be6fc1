//! A request to one of Yahoo's endpoints.

use std::time::Duration;

use url::Url;

use super::decode::{self, Asked};
use super::failure::Failure;
use crate::http::{self, Fetch, FetchError, Request, Verdict, accept_json};

/// The URL of an endpoint. The last segment may be a symbol and is escaped.
pub(super) fn url(path: &[&str], parameters: &[(&str, &str)]) -> Result<Url, Failure> {
    // Such segments vanish from a URL.
    if path.iter().any(|it| matches!(*it, "" | "." | "..")) {
        return Err(Failure::Symbol("the symbol makes no URL".to_owned()));
    }
    let mut url = Url::parse("https://query1.finance.yahoo.com/")
        .map_err(|error| Failure::Symbol(format!("{path:?} makes no URL: {error}")))?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url.query_pairs_mut().extend_pairs(parameters);
    Ok(url)
}

/// What a reply of Yahoo's is worth: whole JSON, in which Yahoo does not ask for fewer requests, whatever the status.
pub(crate) fn judge_yahoo(reply: &http::Reply) -> Verdict {
    if decode::is_throttling(reply.status, &reply.body) { Verdict::Throttled(reply.head()) } else { accept_json(reply) }
}

/// The reply about a symbol; who can ask somebody else brings a patience of their own.
pub(super) async fn reply(
    fetch: &dyn Fetch,
    asked: &Asked,
    url: Url,
    patience: Option<Duration>,
) -> Result<decode::Reply, FetchError> {
    let request = Request::new(url).with_symbol(&asked.symbol).with_judge(judge_yahoo).with_patience(patience);
    Ok(decode::Reply::from(&fetch.get(&request).await?))
}
