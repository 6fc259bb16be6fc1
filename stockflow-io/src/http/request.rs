//! Requests, replies, and the trait between a source and whoever answers.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

use super::error::{FetchError, Place};
use super::secret;
use super::verdict::{Judge, accept_all};

/// Whoever answers requests: the live client, a recorder, a folder of recordings.
#[async_trait]
pub trait Fetch: fmt::Debug + Send + Sync {
    /// Answers with a final reply: look at its status, which may be 404.
    ///
    /// # Errors
    ///
    /// Any [`FetchError`]; what can be waited out has been waited out.
    async fn get(&self, request: &Request) -> Result<Reply, FetchError>;
}

/// One request.
#[derive(Clone)]
pub struct Request {
    url: Url,
    symbol: Option<String>,
    deadline: Option<Duration>,
    attempts: Option<u32>,
    patience: Option<Duration>,
    judge: Judge,
    form: Option<Vec<(String, String)>>,
}

impl Request {
    /// A GET of `url`.
    pub fn new(url: Url) -> Self {
        Self { url, symbol: None, deadline: None, attempts: None, patience: None, judge: accept_all, form: None }
    }

    /// A POST of a form.
    pub(crate) fn post(url: Url, form: Vec<(String, String)>) -> Self {
        Self { form: Some(form), ..Self::new(url) }
    }

    /// Says whose data it is: for errors, and for the turns that symbols take.
    #[must_use]
    pub fn with_symbol(mut self, symbol: impl Into<String>) -> Self {
        self.symbol = Some(symbol.into());
        self
    }

    /// Gives up after so much time in attempts and back-off; waiting for a turn and for a throttling host does not count.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Gives up after so many attempts.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Does not wait for a throttling host longer than this, and not at all for one that has been throttling for so long:
    /// somebody else can be asked. The host's [`Limit::patience`](super::Limit::patience) counts where it is shorter.
    #[must_use]
    pub fn with_patience(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    /// Says which replies are acceptable.
    #[must_use]
    pub fn with_judge(mut self, judge: Judge) -> Self {
        self.judge = judge;
        self
    }

    /// The same request of another URL.
    #[must_use]
    pub(crate) fn with_url(mut self, url: Url) -> Self {
        self.url = url;
        self
    }

    /// The URL, with its secrets.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The symbol, if the request is for one.
    pub fn symbol(&self) -> Option<&str> {
        self.symbol.as_deref()
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(u32::MAX)
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience
    }

    pub(crate) fn judge(&self) -> Judge {
        self.judge
    }

    pub(crate) fn form(&self) -> Option<&[(String, String)]> {
        self.form.as_deref()
    }

    pub(crate) fn place(&self) -> Box<Place> {
        Box::new(Place::of(&self.url, self.symbol()))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("url", &secret::masked(&self.url).as_str())
            .field("symbol", &self.symbol)
            .field("deadline", &self.deadline)
            .field("attempts", &self.attempts)
            .field("patience", &self.patience)
            // Forms carry tokens.
            .field("form", &self.form.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

/// The answer to a request.
#[derive(Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers that matter.
    pub headers: ReplyHeaders,
    /// The body, decompressed.
    pub body: Bytes,
    /// Where it came from after all redirects, without secrets.
    pub url: Url,
    /// What a replayer did to find it, if it is not the recording of this very request.
    pub note: Option<String>,
    /// The same place with secrets, for going on from there.
    pub(crate) target: Url,
}

impl Reply {
    /// A reply with this body from `target`, which may hold secrets; what stands in `url` does not.
    pub fn new(status: u16, headers: ReplyHeaders, body: Bytes, target: Url) -> Self {
        Self { status, headers, body, url: secret::masked(&target), note: None, target }
    }

    /// Whether the status is one of 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first bytes of the body in one line, for messages.
    pub(crate) fn head(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..400).unwrap_or(&self.body)).into_owned();
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(120).collect()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("headers", &self.headers)
            // A body may be a crumb.
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("url", &self.url.as_str())
            .field("note", &self.note)
            .finish_non_exhaustive()
    }
}

/// The headers of a reply that a source may want to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyHeaders {
    /// The media type.
    pub content_type: Option<String>,
    /// Seconds or a date, as the host wrote it.
    pub retry_after: Option<String>,
}

impl ReplyHeaders {
    /// How long the host asks to wait; nothing if it asks for no time or not readably.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.retry_after.as_deref()?.trim();
        let wait = match text.parse::<u64>() {
            Ok(secs) => Duration::from_secs(secs),
            Err(_) => {
                let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
                (date.with_timezone(&chrono::Utc) - chrono::Utc::now()).to_std().ok()?
            }
        };
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(retry_after: &str, from: u64, to: u64) {
        let headers = ReplyHeaders { retry_after: Some(retry_after.into()), ..ReplyHeaders::default() };
        let secs = headers.retry_after().map_or(0, |wait| wait.as_secs());
        assert!((from..=to).contains(&secs), "{retry_after}: {secs}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        check("120", 120, 120);
        check("0", 0, 0);
        check("soon", 0, 0);
        check("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0);
        let soon = chrono::Utc::now() + chrono::TimeDelta::seconds(60);
        check(&soon.format("%a, %d %b %Y %H:%M:%S GMT").to_string(), 55, 60);
    }
}
