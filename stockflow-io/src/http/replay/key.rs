//! What of a request decides which recording answers it.

use std::fmt;

use url::Url;

use crate::http::record::decoded;
use crate::http::secret;

/// The parameters of windows, as pairs of begin and end.
const WINDOWS: [(&str, &str); 2] = [("period1", "period2"), ("d1", "d2")];

/// A request without what is secret or does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    method: String,
    host: String,
    path: String,
    /// Sorted.
    parameters: Vec<(String, String)>,
}

impl Key {
    pub(super) fn of(method: &str, url: &Url) -> Self {
        let pairs = url.query_pairs().filter(|(name, _)| !secret::is_secret(name));
        let mut parameters: Vec<_> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        parameters.sort();
        let host = url.host_str().unwrap_or_default();
        // The two are one service.
        let host = if host == "query2.finance.yahoo.com" { "query1.finance.yahoo.com" } else { host };
        Self { method: method.to_ascii_uppercase(), host: host.to_owned(), path: decoded(url.path()), parameters }
    }

    /// The window, if there is one with both ends.
    pub(super) fn window(&self) -> Option<Window> {
        WINDOWS.iter().find_map(|(begin, end)| Some(Window { begin: self.number(begin)?, end: self.number(end)? }))
    }

    fn number(&self, parameter: &str) -> Option<i64> {
        self.value(parameter)?.parse().ok()
    }

    fn value(&self, parameter: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == parameter).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_same_but_for_window(&self, other: &Self) -> bool {
        self.method == other.method
            && self.host == other.host
            && self.path == other.path
            && self.without_window().eq(other.without_window())
    }

    fn without_window(&self) -> impl Iterator<Item = &(String, String)> {
        let is_window = |name: &str| WINDOWS.iter().any(|(begin, end)| name == *begin || name == *end);
        self.parameters.iter().filter(move |(name, _)| !is_window(name))
    }

    /// How this recorded request differs from the one asked: a distance, and in words.
    pub(super) fn differences(&self, asked: &Self) -> (usize, Vec<String>) {
        let mut found = (0, Vec::new());
        let mut differs = |weight: usize, what: String| {
            found.0 += weight;
            found.1.push(what);
        };
        for (weight, what, here, there) in [
            (20, "the method", &self.method, &asked.method),
            (20, "the host", &self.host, &asked.host),
            (if parent(&self.path) == parent(&asked.path) { 5 } else { 10 }, "the path", &self.path, &asked.path),
        ] {
            if here != there {
                differs(weight, format!("{what} is `{here}` instead of `{there}`"));
            }
        }
        for (name, value) in &asked.parameters {
            match self.value(name) {
                Some(recorded) if recorded == value => {}
                Some(recorded) => differs(1, format!("`{name}` is `{recorded}` instead of `{value}`")),
                None => differs(1, format!("`{name}={value}` is missing")),
            }
        }
        for (name, value) in self.parameters.iter().filter(|(name, _)| asked.value(name).is_none()) {
            differs(1, format!("there is also `{name}={value}`"));
        }
        found
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// From begin to end, in whatever numbers the provider counts time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) begin: i64,
    pub(super) end: i64,
}

impl Window {
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.begin <= other.begin && other.end <= self.end
    }

    pub(super) fn width(&self) -> i64 {
        self.end.saturating_sub(self.begin)
    }

    pub(super) fn is_continued_by(&self, other: &Self) -> bool {
        self.begin <= other.begin && other.begin <= self.end && self.end < other.end
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.begin, self.end)
    }
}
