//! What the server and the way to it say, in our words: the class decides what is retried, the text says what to do.

use std::error::Error as StdError;
use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;
use stockflow_core::{Error, ErrorClass, Origin};

/// More of a foreign text says nothing more.
const LONGEST: usize = 400;

/// What to do where nobody answers.
const UNREACHABLE: &str = "check that it runs, and the host and port in the URL";

/// An error of the client or of the server.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) class: ErrorClass,
    /// The status, if the server answered.
    pub(super) status: Option<StatusCode>,
    /// The server's name for it, such as `index_not_found_exception`.
    pub(super) kind: String,
    text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Failure {}

/// The server's own account of an error.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Reason {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    caused_by: Option<Box<Reason>>,
    /// In errors of whole searches: what one of the shards said.
    #[serde(default)]
    root_cause: Vec<Reason>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.kind.clone();
        let mut told = |reason: &Reason| {
            let reason = reason.reason.as_deref().unwrap_or_default();
            // Jackson adds where it stood, with the whole document.
            let reason = reason.lines().next().unwrap_or_default();
            if !reason.is_empty() && !text.contains(reason) {
                text = format!("{text}: {reason}");
            }
        };
        self.root_cause.first().into_iter().for_each(&mut told);
        told(self);
        let mut next = self.caused_by.as_deref();
        while let Some(cause) = next {
            told(cause);
            next = cause.caused_by.as_deref();
        }
        f.write_str(&shortened(&text))
    }
}

/// An error in the body of an answer: an object, or with some proxies a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Told {
    Object { error: Reason },
    Text { error: String },
}

impl Failure {
    pub(super) fn config(text: impl Into<String>) -> Self {
        Self { class: ErrorClass::Config, status: None, kind: String::new(), text: text.into() }
    }

    pub(super) fn transient(text: impl Into<String>) -> Self {
        Self { class: ErrorClass::Transient, ..Self::config(text) }
    }

    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self { class: ErrorClass::Internal, ..Self::config(text) }
    }

    /// An answer that is no success.
    pub(super) fn answered(status: StatusCode, body: &[u8]) -> Self {
        let (kind, told) = match serde_json::from_slice(body) {
            Ok(Told::Object { error }) => (error.kind.clone(), error.to_string()),
            Ok(Told::Text { error }) => (String::new(), shortened(&error)),
            // An HTML page of a proxy says little: its first line will do.
            Err(_) => (String::new(), shortened(String::from_utf8_lossy(body).lines().next().unwrap_or_default())),
        };
        Self::of(status, kind, &told)
    }

    /// A status with the server's account.
    pub(super) fn of(status: StatusCode, kind: String, told: &str) -> Self {
        let mut text = format!("HTTP {}", status.as_u16());
        if !told.is_empty() {
            text = format!("{text}: {told}");
        }
        if let Some(step) = next_step(status, &kind, told) {
            text = format!("{text}; {step}");
        }
        Self { class: class(status), status: Some(status), kind, text }
    }

    /// No answer at all.
    pub(super) fn unanswered(error: reqwest::Error, seconds: u64) -> Self {
        let error = error.without_url();
        let causes = causes(&error);
        let tls = causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            // What a peer garbles may come right; what it is, and what it wants, does not change.
            if matches!(tls, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) {
                return Self::config(
                    "the server does not speak TLS there; write the URL with `http://`, or correct the port",
                );
            }
            if !matches!(tls, rustls::Error::InvalidMessage(_) | rustls::Error::DecryptError) {
                return Self::config(format!(
                    "{tls}; check `ca`, `client_cert` and the host name in the URL against the server's certificate"
                ));
            }
        }
        if error.is_timeout() && !error.is_connect() {
            return Self::transient(format!("the server gave no answer within {seconds} s; {UNREACHABLE}"));
        }
        let mut texts = vec![error.to_string()];
        for cause in &causes {
            let text = cause.to_string();
            if !texts.iter().any(|known| known.contains(&text)) {
                texts.push(text);
            }
        }
        let text = shortened(&texts.join(": "));
        if error.is_builder() { Self::config(text) } else { Self::transient(format!("{text}; {UNREACHABLE}")) }
    }

    /// The same as something that passes.
    pub(super) fn for_now(self) -> Self {
        let text = format!("{} (it did let us in before; it may be starting)", self.text);
        Self { class: ErrorClass::Transient, text, ..self }
    }

    pub(super) fn is(&self, status: StatusCode) -> bool {
        self.status == Some(status)
    }

    /// The error with its place.
    pub(super) fn at(self, operation: &'static str, origin: &Origin) -> Error {
        Error::Connector { origin: Box::new(origin.clone()), operation, class: self.class, source: Box::new(self) }
    }

    /// The same, its text changed.
    pub(super) fn map(self, change: impl FnOnce(String) -> String) -> Self {
        Self { text: change(self.text), ..self }
    }
}

fn causes(error: &reqwest::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut found = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        found.push(cause);
        next = match cause.downcast_ref::<std::io::Error>() {
            // An io error gives the source of what it wraps, not that itself.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => cause.source(),
        };
    }
    found
}

/// The class of a status, of a whole answer or of one document.
///
/// | status | |
/// |---|---|
/// | 429, 5xx | transient: pressure, shards that are not there, a proxy without a server behind it |
/// | 400 of a document | data: told by [`super::bulk`] |
/// | others | config: who we are, what we may, an index that is not there or read-only |
fn class(status: StatusCode) -> ErrorClass {
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        ErrorClass::Transient
    } else {
        ErrorClass::Config
    }
}

/// What to do about it, where there is something to do.
fn next_step(status: StatusCode, kind: &str, told: &str) -> Option<&'static str> {
    Some(match (status, kind) {
        (StatusCode::UNAUTHORIZED, _) => "check `user` and `password`, or `api_key`",
        (StatusCode::FORBIDDEN, "cluster_block_exception") => {
            "make the index writable again: set its `index.blocks.write` and `index.blocks.read_only` to false"
        }
        (StatusCode::FORBIDDEN, _) => "grant the user the right (`docs/pipelines.md` lists those that it needs)",
        (StatusCode::NOT_FOUND, "index_not_found_exception") => {
            "was it deleted? run again to have it made anew, and with `--rebuild` to fill it"
        }
        (StatusCode::BAD_REQUEST, "strict_dynamic_mapping_exception") => {
            "its mapping was changed meanwhile; add the field to it, or run again"
        }
        (StatusCode::BAD_REQUEST, _) if told.contains("no write index is defined for alias") => {
            "set `is_write_index` for one of the alias's indices"
        }
        (StatusCode::TOO_MANY_REQUESTS, _) => {
            "the server has no room now: lower `requests` or `request_mb` of the sink, or give it more memory"
        }
        _ => return None,
    })
}

/// One line of a bearable length.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, class: ErrorClass, text: &str) {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        let failure = Failure::answered(status, body.as_bytes());
        assert_eq!((failure.class, failure.to_string().as_str()), (class, text));
    }

    #[test]
    fn answers_have_a_class_and_a_next_step() {
        check(
            401,
            r#"{"error":{"root_cause":[{"type":"security_exception","reason":"unable to authenticate"}],"type":"security_exception","reason":"unable to authenticate"},"status":401}"#,
            ErrorClass::Config,
            "HTTP 401: security_exception: unable to authenticate; check `user` and `password`, or `api_key`",
        );
        check(503, "<html>\n<p>gateway", ErrorClass::Transient, "HTTP 503: <html>");
        check(500, r#"{"error":"broken"}"#, ErrorClass::Transient, "HTTP 500: broken");
        check(
            429,
            "",
            ErrorClass::Transient,
            "HTTP 429; the server has no room now: lower `requests` or `request_mb` of the sink, or give it more memory",
        );
        check(
            409,
            r#"{"error":{"type":"x","reason":"y","caused_by":{"type":"z","reason":"deeper"}}}"#,
            ErrorClass::Config,
            "HTTP 409: x: y: deeper",
        );
    }

    #[test]
    fn a_search_tells_what_the_shard_said() {
        let body = r#"{"error":{"root_cause":[{"type":"query_shard_exception","reason":"Failed to parse query [(]"}],"type":"search_phase_execution_exception","reason":"all shards failed"},"status":400}"#;
        let text = Failure::answered(StatusCode::BAD_REQUEST, body.as_bytes()).to_string();
        assert!(text.contains("Failed to parse query [(]"), "{text}");
    }
}
