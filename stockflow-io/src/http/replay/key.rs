//! What of a request decides which recording answers it.

use std::fmt;

use url::Url;

use crate::http::record::decoded;
use crate::http::secret;

/// The parameters of windows, as pairs of begin and end.
const WINDOWS: [(&str, &str); 2] = [("period1", "period2"), ("d1", "d2")];

/// Yahoo's parameters that shape how a reply is presented, not what it says.
const PRESENTATION: [&str; 9] =
    ["corsDomain", "formatted", "includeAdjustedClose", "lang", "listsCount", "newsCount", "region", "ssl", "useYfid"];

/// Which corporate actions a chart tells. Every spelling works, but one that leaves splits out is not the same question.
const EVENTS: &str = "events";

/// Bars before and after the session, which only bars within the day have.
const PRE_POST: &str = "includePrePost";

/// Intervals that Yahoo gives within the day.
const INTRADAY: [&str; 8] = ["1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h"];

/// A request without what is secret or does not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    method: String,
    host: String,
    path: String,
    /// Sorted.
    parameters: Vec<(String, String)>,
    /// The corporate actions asked for, in one spelling.
    events: Vec<String>,
}

impl Key {
    pub(super) fn of(method: &str, url: &Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        // The two are one service.
        let host = if host == "query2.finance.yahoo.com" { "query1.finance.yahoo.com" } else { host };
        let pairs = url.query_pairs().filter(|(name, _)| !secret::is_secret(name));
        let mut parameters: Vec<_> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        parameters.sort();
        let mut events = Vec::new();
        if host == "query1.finance.yahoo.com" {
            let is_daily = parameters.iter().any(|(name, it)| name == "interval" && !INTRADAY.contains(&it.as_str()));
            events = parameters.iter().filter(|(name, _)| name == EVENTS).flat_map(|(_, it)| kinds_of(it)).collect();
            events.sort();
            parameters.retain(|(name, _)| {
                let is_presentation = PRESENTATION.iter().any(|it| it.eq_ignore_ascii_case(name));
                !(is_presentation || name == EVENTS || is_daily && name == PRE_POST)
            });
        }
        let (method, host) = (method.to_ascii_uppercase(), host.to_owned());
        Self { method, host, path: decoded(url.path()), parameters, events }
    }

    /// The same question of another set of corporate actions is answered only where nothing fits better.
    pub(super) fn tells_the_same_events(&self, asked: &Self) -> bool {
        self.events == asked.events
    }

    pub(super) fn events(&self) -> String {
        if self.events.is_empty() { "no events".to_owned() } else { format!("the events {}", self.events.join(", ")) }
    }

    pub(super) fn is_same(&self, asked: &Self) -> bool {
        self.is_same_but_for_window(asked) && self.parameters == asked.parameters
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

/// The corporate actions of a list, in one spelling: clients write `div,splits,capitalGains` and `div|split|earn`. Earnings
/// do not count, nor do capital gains, which come with the dividends.
fn kinds_of(list: &str) -> impl Iterator<Item = String> {
    let kinds = list.split([',', '|']).map(|kind| kind.trim_end_matches('s').to_owned());
    kinds.filter(|kind| kind == "div" || kind == "split")
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHART: &str = "https://query1.finance.yahoo.com/v8/finance/chart/A";

    #[track_caller]
    fn check(recorded: &str, asked: &str, is_same: bool, tells_the_same: bool) {
        let key = |query: &str| Key::of("GET", &Url::parse(&format!("{CHART}?{query}")).unwrap());
        let (recorded, asked) = (key(recorded), key(asked));
        assert_eq!((recorded.is_same(&asked), recorded.tells_the_same_events(&asked)), (is_same, tells_the_same));
    }

    #[test]
    fn presentation_does_not_matter() {
        let recorded = "useYfid=true&interval=1d&includePrePost=true&events=div%7Csplit%7Cearn&lang=en-US&region=US&formatted=true&crumb=x";
        check(recorded, "interval=1d&includePrePost=false&events=div,splits,capitalGains", true, true);
        check(recorded, "interval=1d&includeAdjustedClose=true&corsDomain=a.test", true, false);
        check("interval=1d&events=div", "interval=1d&events=div,splits", true, false);
        check("interval=1d", "interval=1h", false, true);
        check("interval=1h&includePrePost=true", "interval=1h&includePrePost=false", false, true);
    }

    #[test]
    fn other_hosts_mean_what_they_say() {
        let key = |query: &str| Key::of("GET", &Url::parse(&format!("https://a.test/x?{query}")).unwrap());
        assert_ne!(key("lang=en"), key("lang=de"));
    }
}
