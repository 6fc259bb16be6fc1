//! How a server misbehaves.

use std::collections::HashMap;
use std::time::Duration;

/// The rules; for each request the first that strikes counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    rules: Vec<(String, When, Trouble)>,
    /// Whether to ask for consent, as Yahoo does in Europe.
    pub(crate) consent: bool,
    /// Whether to compress for those who understand it.
    pub(crate) gzip: bool,
}

/// Which requests a rule strikes, of those for its path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    Always,
    /// The first so many.
    First(u64),
    /// The first so many of each path.
    FirstOfEach(u64),
    /// Every so many-th.
    Every(u64),
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// This comes instead.
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    /// The right answer comes late.
    Slow(Duration),
    /// The connection is closed without an answer.
    Close,
    /// The connection is closed in the middle of the body.
    Drop,
    /// The body breaks off, although its length is right.
    Truncated,
}

impl Script {
    /// Adds a rule for paths that begin with `path`.
    pub(crate) fn with(mut self, path: &str, when: When, trouble: Trouble) -> Self {
        self.rules.push((path.to_owned(), when, trouble));
        self
    }

    /// The European Yahoo, whose cookie comes only with consent.
    pub(crate) fn european() -> Self {
        Self { consent: true, ..Self::default() }
    }

    /// Compresses.
    pub(crate) fn gzip() -> Self {
        Self { gzip: true, ..Self::default() }
    }

    pub(super) fn trouble(&self, counts: &mut HashMap<(usize, String), u64>, path: &str) -> Option<Trouble> {
        let matching = self.rules.iter().enumerate().filter(|(_, (prefix, ..))| path.starts_with(prefix.as_str()));
        for (i, (_, when, trouble)) in matching {
            let of = if matches!(when, When::FirstOfEach(_)) { path.to_owned() } else { String::new() };
            let count = counts.entry((i, of)).or_default();
            *count += 1;
            let strikes = match when {
                When::Always => true,
                When::First(n) | When::FirstOfEach(n) => *count <= *n,
                When::Every(n) => count.is_multiple_of(*n),
            };
            if strikes {
                return Some(trouble.clone());
            }
        }
        None
    }
}

impl Trouble {
    fn answer(status: u16, content_type: &str, body: &str) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self::Answer { status, headers, body: body.to_owned() }
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// 429 in plain text.
    pub(crate) fn too_many() -> Self {
        Self::answer(429, "text/plain", "Edge: Too Many Requests")
    }

    /// The text of 429 with status 200, as getcrumb has been seen to answer.
    pub(crate) fn too_many_with_200() -> Self {
        Self::answer(200, "text/plain", "Too Many Requests\r\n")
    }

    /// A page of this status.
    pub(crate) fn page(status: u16) -> Self {
        Self::answer(status, "text/html", "<!DOCTYPE html><title>Yahoo</title><h1>Will be right back...</h1>")
    }

    /// A page with status 200.
    pub(crate) fn html() -> Self {
        Self::page(200)
    }

    pub(crate) fn empty() -> Self {
        Self::answer(200, "application/json", "")
    }

    pub(crate) fn invalid_crumb() -> Self {
        let body = r#"{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#;
        Self::answer(401, "application/json", body)
    }

    pub(crate) fn invalid_cookie() -> Self {
        Self::answer(200, "text/plain", "Invalid Cookie")
    }

    /// For getcrumb: a crumb that no cookie fits.
    pub(crate) fn wrong_crumb() -> Self {
        Self::answer(200, "text/plain", "wrongCRUMB0")
    }

    /// Stooq's end of the day.
    pub(crate) fn hits_limit() -> Self {
        Self::answer(200, "text/plain", "Exceeded the daily hits limit")
    }

    /// Alpha Vantage's limit by the minute.
    pub(crate) fn note() -> Self {
        Self::answer(
            200,
            "application/json",
            r#"{"Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute."}"#,
        )
    }

    /// Alpha Vantage's limit by the day. It repeats the key.
    pub(crate) fn information(key: &str) -> Self {
        let body = format!(
            r#"{{"Information": "We have detected your API key as {key} and our standard API rate limit is 25 requests per day."}}"#
        );
        Self::answer(200, "application/json", &body)
    }
}
