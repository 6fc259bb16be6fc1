//! Requests and their answers, without secrets in what goes wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::error::Failure;
use crate::secret::Secret;

type Answer<T> = std::result::Result<T, Failure>;

/// What may stand in a part of a path as it is.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A part of a path, such as a document's id.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// A connection to one server. Plain JSON is asked for and sent: OpenSearch refuses Elasticsearch's own media type.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    secrets: Vec<Secret>,
    timeout: Duration,
    let_in: Arc<AtomicBool>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) is_opensearch: bool,
    version: String,
}

impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_opensearch { "OpenSearch" } else { "Elasticsearch" };
        write!(f, "{name} {}", self.version)
    }
}

#[derive(Debug, Deserialize)]
struct Root {
    version: Version,
}

#[derive(Debug, Deserialize)]
struct Version {
    number: String,
    #[serde(default)]
    distribution: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Health {
    status: String,
}

impl Client {
    /// `let_in` outlives it: whether this login has ever been accepted.
    pub(super) fn new(
        http: reqwest::Client,
        base: Url,
        secrets: Vec<Secret>,
        timeout: Duration,
        let_in: Arc<AtomicBool>,
    ) -> Self {
        Self { http, base, secrets, timeout, let_in }
    }

    /// A request, and its answer of whatever status.
    async fn send(&self, method: Method, path: &str, body: Option<(&str, Bytes)>) -> Answer<(StatusCode, Bytes)> {
        let url = self.base.join(path).map_err(|error| Failure::internal(format!("`{path}` is no path: {error}")))?;
        let mut request = self.http.request(method, url);
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let outcome = async {
            let answer = request.send().await?;
            let status = answer.status();
            Ok((status, answer.bytes().await?))
        };
        outcome.await.map_err(|error| self.hidden(Failure::unanswered(error, self.timeout.as_secs())))
    }

    fn hidden(&self, failure: Failure) -> Failure {
        failure.map(|text| self.secrets.iter().fold(text, |text, secret| secret.hide(&text)))
    }

    fn decoded<T: DeserializeOwned>(&self, status: StatusCode, body: &[u8]) -> Answer<T> {
        if !status.is_success() {
            let failure = self.hidden(Failure::answered(status, body));
            // A server that is starting knows nobody until it has found the index of its users.
            let knew_us = status == StatusCode::UNAUTHORIZED && self.let_in.load(Ordering::Relaxed);
            return Err(if knew_us { failure.for_now() } else { failure });
        }
        self.let_in.store(true, Ordering::Relaxed);
        serde_json::from_slice(body).map_err(|error| {
            // A proxy's page instead of an answer.
            Failure::config(format!("its answer has no meaning: {error}; is it Elasticsearch or OpenSearch?"))
        })
    }

    /// A request with a JSON body or none, whose answer is JSON.
    pub(super) async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&Value>) -> Answer<T> {
        let body = body.map(|body| ("application/json", Bytes::from(body.to_string())));
        let (status, body) = self.send(method, path, body).await?;
        self.decoded(status, &body)
    }

    /// The same; what is not there (404) is `None`.
    pub(super) async fn look<T: DeserializeOwned>(&self, path: &str) -> Answer<Option<T>> {
        match self.ask(Method::GET, path, None).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// A request that only has to succeed.
    pub(super) async fn tell(&self, method: Method, path: &str, body: Option<&Value>) -> Answer<()> {
        self.ask::<serde::de::IgnoredAny>(method, path, body).await.map(drop)
    }

    /// Lines of JSON.
    pub(super) async fn lines<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Answer<T> {
        let (status, body) = self.send(Method::POST, path, Some(("application/x-ndjson", body))).await?;
        self.decoded(status, &body)
    }

    /// Which server it is.
    pub(super) async fn info(&self) -> Answer<Info> {
        let root: Root = self.ask(Method::GET, "", None).await?;
        Ok(Info {
            is_opensearch: root.version.distribution.as_deref() == Some("opensearch"),
            version: root.version.number,
        })
    }

    /// The health of these indices, or of all with the empty text: `green`, `yellow` or `red`, which is waited for a little to end.
    /// `None` where we may not ask.
    pub(super) async fn health(&self, indices: &str) -> Answer<Option<String>> {
        let path = format!("_cluster/health/{indices}?wait_for_status=yellow&timeout=5s&filter_path=status");
        match self.ask::<Health>(Method::GET, path.trim_start_matches('/'), None).await {
            Ok(health) => Ok(Some(health.status)),
            Err(failure) if failure.is(StatusCode::FORBIDDEN) => {
                tracing::debug!(%failure, "the user may not ask for the server's health");
                Ok(None)
            }
            // It was red for all of the time.
            Err(failure) if failure.is(StatusCode::REQUEST_TIMEOUT) => Ok(Some("red".into())),
            Err(failure) => Err(failure),
        }
    }
}
