//! What a reply that is no data means, and what to do about it.

use std::time::Duration;

use serde_json::Value;

use super::Reply;
use super::json::{at, shorten, text};
use stockflow_core::ErrorClass;

/// What a caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplyClass {
    /// Back off and ask again.
    Retry,
    /// Drop cookie and crumb together, fetch both anew, ask once more.
    RefreshCrumb,
    /// Final for this symbol and range; others go on.
    Final,
    /// No other symbol will fare better: someone has to change something.
    Fatal,
}

/// Which kind of unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotFound {
    /// Yahoo knows it only as a husk (exchange `YHD`): delisted.
    Delisted,
    /// Yahoo has no data under this name: it never existed or was removed; Yahoo does not say which.
    UnknownOrDelisted,
    /// Yahoo knows no such symbol.
    Unknown,
    /// The symbol exists; the asked modules are empty for it.
    NoModule,
}

/// Why there are no bars in a range although the symbol is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoData {
    /// The range lies before the listing.
    NotYetListed,
    /// The range holds no regular trading hours: a weekend, a night.
    Closed,
    /// Yahoo keeps no history of the symbol: an index of which there are only the last days.
    NoHistory,
    /// The symbol has not traded for long: a retired index, a suspended share.
    Retired,
    /// A holiday, a halt, an instrument without trades, or Yahoo has none.
    NoTrading,
}

/// A reply that is no data. Each text passes Yahoo's own reason on; crumbs and the like are masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Too many requests, or a client that does not look like a browser.
    #[error("rate limited by Yahoo{}", wait(*.retry_after))]
    RateLimited {
        /// How long Yahoo asks to wait.
        retry_after: Option<Duration>,
    },
    /// Cookie and crumb are missing, stale or do not belong together.
    #[error("Yahoo wants a valid cookie and crumb: {reason}")]
    Unauthorized {
        /// Yahoo's reason.
        reason: String,
    },
    /// The symbol, or the asked part of it, is not there.
    #[error("{}: {reason}", unknown(*.kind))]
    NotFound {
        /// Which kind.
        kind: NotFound,
        /// Yahoo's reason.
        reason: String,
    },
    /// The symbol is known, the range holds no bars.
    #[error("no bars, {}: {reason}", nothing(*.kind))]
    NoData {
        /// Why.
        kind: NoData,
        /// Yahoo's reason, or what the reply shows.
        reason: String,
    },
    /// The range begins before what Yahoo keeps of this interval.
    #[error("range too old for this interval: {reason}")]
    TooOld {
        /// Yahoo's reason.
        reason: String,
    },
    /// Yahoo is down or busy.
    #[error("Yahoo is overloaded (HTTP {status}): {reason}")]
    Overloaded {
        /// The HTTP status.
        status: u16,
        /// Yahoo's reason, or the first bytes.
        reason: String,
        /// How long Yahoo asks to wait.
        retry_after: Option<Duration>,
    },
    /// Yahoo refuses this request, for a reason of its own.
    #[error("Yahoo refuses the request (HTTP {status}, {code}): {reason}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Yahoo's word for it.
        code: String,
        /// Yahoo's reason.
        reason: String,
    },
    /// Yahoo does not serve this client or this country.
    #[error("Yahoo blocks this client (HTTP {status}): {reason}")]
    Blocked {
        /// The HTTP status.
        status: u16,
        /// Yahoo's reason, or the first bytes.
        reason: String,
    },
    /// The path is not one of Yahoo's, or no longer.
    #[error("Yahoo has no such endpoint (HTTP {status}): {reason}")]
    UnknownEndpoint {
        /// The HTTP status.
        status: u16,
        /// The first bytes.
        reason: String,
    },
    /// The reply is not of the shape of this endpoint.
    #[error("malformed reply: {reason}; it begins with `{start}`")]
    Malformed {
        /// What is wrong.
        reason: String,
        /// The first bytes.
        start: String,
    },
    /// The bars have another width than asked for.
    #[error("asked for bars of {asked}, got {got}")]
    Granularity {
        /// The interval asked for.
        asked: String,
        /// The interval that came.
        got: String,
    },
    /// A broken promise of these decoders.
    #[error("internal error: {reason}; please report it")]
    Internal {
        /// Which promise.
        reason: String,
    },
}

impl ReplyError {
    /// What a caller does next.
    pub fn class(&self) -> ReplyClass {
        match self {
            Self::RateLimited { .. } | Self::Overloaded { .. } | Self::Malformed { .. } => ReplyClass::Retry,
            Self::Unauthorized { .. } => ReplyClass::RefreshCrumb,
            Self::NotFound { .. }
            | Self::NoData { .. }
            | Self::TooOld { .. }
            | Self::Refused { .. }
            | Self::Granularity { .. } => ReplyClass::Final,
            Self::Blocked { .. } | Self::UnknownEndpoint { .. } | Self::Internal { .. } => ReplyClass::Fatal,
        }
    }

    /// The class in the words of the core, once retries and a new crumb did not help.
    pub fn error_class(&self) -> ErrorClass {
        match self {
            Self::Internal { .. } => ErrorClass::Internal,
            Self::RateLimited { .. } | Self::Overloaded { .. } | Self::Unauthorized { .. } => ErrorClass::Transient,
            Self::Blocked { .. } | Self::UnknownEndpoint { .. } | Self::Granularity { .. } | Self::TooOld { .. } => {
                ErrorClass::Config
            }
            _ => ErrorClass::Data,
        }
    }

    /// How long Yahoo asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Overloaded { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(super) fn malformed(reply: &Reply, reason: impl Into<String>) -> Self {
        Self::Malformed { reason: reason.into(), start: start(reply) }
    }
}

fn wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| format!(", wait {} s", wait.as_secs()))
}

fn unknown(kind: NotFound) -> &'static str {
    match kind {
        NotFound::Delisted => "delisted",
        NotFound::UnknownOrDelisted => "unknown or delisted symbol",
        NotFound::Unknown => "unknown symbol",
        NotFound::NoModule => "nothing of this kind for the symbol",
    }
}

fn nothing(kind: NoData) -> &'static str {
    match kind {
        NoData::NotYetListed => "not yet listed",
        NoData::Closed => "closed",
        NoData::NoHistory => "no history",
        NoData::Retired => "no longer traded",
        NoData::NoTrading => "no trading in the range",
    }
}

/// The first bytes of a body as one short line.
fn start(reply: &Reply) -> String {
    let head = reply.body.get(..400).unwrap_or(&reply.body);
    said(String::from_utf8_lossy(head).trim(), 120)
}

/// Foreign text for an error: masked, one line, not too long.
fn said(words: &str, chars: usize) -> String {
    shorten(&masked(words), chars)
}

/// A text in which the values of crumbs and consent tokens are replaced by `***`, in URLs and in JSON alike.
pub fn masked(words: &str) -> String {
    const SECRETS: [&str; 3] = ["crumb", "sessionid", "csrftoken"];
    // ASCII only, so that places in both are the same.
    let lower = words.to_ascii_lowercase();
    let mut out = String::with_capacity(words.len());
    let mut done = 0;
    while let Some((found, name)) =
        SECRETS.iter().filter_map(|name| lower.get(done..)?.find(name).map(|found| (done + found, name))).min()
    {
        let after = found + name.len();
        let rest = words.get(after..).unwrap_or_default();
        let sign = separator(rest);
        let value = rest.get(sign..).unwrap_or_default();
        let length = if sign == 0 { 0 } else { value.find(ends_value).unwrap_or(value.len()) };
        out.push_str(words.get(done..after + sign).unwrap_or_default());
        if length > 0 {
            out.push_str("***");
        }
        done = after + sign + length;
    }
    out.push_str(words.get(done..).unwrap_or_default());
    out
}

/// The length of what stands between a name and its value, `=` or `": "`; 0 if no value follows.
fn separator(rest: &str) -> usize {
    let value = rest.trim_start_matches(['"', '\'', '\\', ' ']);
    let value = match value.strip_prefix([':', '=']).or_else(|| value.strip_prefix("%3D")) {
        Some(value) => value.trim_start_matches(['"', '\'', '\\', ' ']),
        None => return 0,
    };
    rest.len() - value.len()
}

fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '&' | '"' | '\'' | '<' | '>' | ',' | ';' | '`' | '}')
}

/// What a body is at first sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Html,
    Xml,
    Other,
}

fn look(reply: &Reply, body: &str) -> Body {
    let head = body.get(..300).unwrap_or(body).to_ascii_lowercase();
    let typed = reply.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    if head.contains("<yahoo:error") || head.starts_with("<?xml") {
        Body::Xml
    } else if head.starts_with("<!doctype")
        || head.starts_with("<html")
        || head.contains("<html")
        || (typed.contains("html") && !head.starts_with('{'))
    {
        Body::Html
    } else {
        Body::Other
    }
}

/// The keys under which Yahoo puts an error, whatever the endpoint.
const ROOTS: [&str; 5] = ["chart", "quoteSummary", "quoteResponse", "finance", "spark"];

/// The part of a good reply under `root`; anything else is an error of its kind.
///
/// # Errors
///
/// Every [`ReplyError`] but `Granularity`; a symbol's own emptiness is found later.
pub(super) fn open(reply: &Reply, root: &str) -> Result<Value, ReplyError> {
    let mut body = parse(reply)?;
    refused(reply, &body)?;
    match body.get_mut(root) {
        Some(value) => Ok(value.take()),
        None => Err(ReplyError::malformed(reply, format!("no `{root}` in it"))),
    }
}

/// The whole body of a good reply.
pub(super) fn open_bare(reply: &Reply) -> Result<Value, ReplyError> {
    let body = parse(reply)?;
    refused(reply, &body)?;
    if body.is_object() { Ok(body) } else { Err(ReplyError::malformed(reply, "it is no object")) }
}

/// The words of a host that asks for fewer requests.
const TOO_MANY: &str = "too many requests";

/// A longer body is what was asked for: a headline may have the words.
const NOTICE: usize = 4096;

/// Whether Yahoo asks for fewer requests, be it in plain text, in a page or in JSON, whatever the status.
pub(crate) fn is_throttling(status: u16, body: &[u8]) -> bool {
    if status == 429 || body.len() > NOTICE {
        return status == 429;
    }
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim();
    if !text.contains(TOO_MANY) {
        return false;
    }
    match serde_json::from_str::<Value>(text) {
        // All is in lower case here.
        Ok(body) => {
            let roots = ROOTS.iter().filter_map(|root| body.get(root.to_ascii_lowercase()));
            let told = roots.chain([&body]).filter_map(|it| it.get("error")).any(says_too_many);
            told || text_of(&body).is_some_and(|it| it.contains(TOO_MANY))
        }
        Err(_) => text.starts_with('<') || text.len() < 200,
    }
}

/// An error as an object or as text.
fn says_too_many(error: &Value) -> bool {
    let said = ["code", "description", "message"].into_iter().filter_map(|key| text_of(error.get(key)?));
    said.chain(text_of(error)).any(|it| it.contains(TOO_MANY))
}

fn text_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("message")?.as_str())
}

/// A status or a text that is plain whatever the endpoint.
pub(super) fn plain(reply: &Reply) -> Result<(), ReplyError> {
    let body = String::from_utf8_lossy(reply.body.get(..2000).unwrap_or(&reply.body));
    let body = body.trim();
    let head = body.get(..64).unwrap_or(body).to_ascii_lowercase();
    if is_throttling(reply.status, &reply.body) {
        return Err(ReplyError::RateLimited { retry_after: reply.retry_after });
    }
    if head.starts_with("invalid cookie") || head.starts_with("invalid crumb") {
        return Err(ReplyError::Unauthorized { reason: said(body, 120) });
    }
    match (reply.status, look(reply, body)) {
        (300..=399, _) => Err(ReplyError::Unauthorized {
            reason: format!("redirected (HTTP {}), as to the consent page", reply.status),
        }),
        // An error page with a body of JSON says more: see `refused`.
        (_, Body::Other) => Ok(()),
        (401, _) => Err(ReplyError::Unauthorized { reason: start(reply) }),
        (403 | 451, _) => Err(ReplyError::Blocked { status: reply.status, reason: start(reply) }),
        (404 | 410, _) => Err(ReplyError::UnknownEndpoint { status: reply.status, reason: start(reply) }),
        (200..=299, Body::Xml) => Err(ReplyError::malformed(reply, "it is XML")),
        (200..=299, Body::Html) | (500.., _) => Err(overloaded(reply, start(reply))),
        _ => Err(by_status(reply, start(reply))),
    }
}

fn parse(reply: &Reply) -> Result<Value, ReplyError> {
    plain(reply)?;
    // A name in a broken encoding must not cost the prices beside it.
    let body = String::from_utf8_lossy(&reply.body);
    let body = body.trim_start_matches('\u{feff}');
    match serde_json::from_str(body) {
        Ok(value) => Ok(value),
        Err(_) if !(200..=299).contains(&reply.status) => Err(by_status(reply, start(reply))),
        Err(_) if body.trim().is_empty() => Err(ReplyError::malformed(reply, "it is empty")),
        Err(error) => Err(ReplyError::malformed(reply, format!("it is no JSON: {error}"))),
    }
}

/// An error inside the body, or a status that is one.
fn refused(reply: &Reply, body: &Value) -> Result<(), ReplyError> {
    let told = ROOTS.iter().find_map(|root| at(body, &[root, "error"]).filter(|error| !error.is_null()));
    if let Some(error) = told {
        let code = text(error.get("code")).unwrap_or_default();
        let reason = text(error.get("description")).or_else(|| text(Some(error))).unwrap_or(code);
        return Err(classify(reply, code, reason));
    }
    match reply.status {
        200..=299 => Ok(()),
        // Yahoo's own endpoints answer under their own key.
        404 if ROOTS.iter().all(|root| body.get(root).is_none()) => {
            Err(ReplyError::UnknownEndpoint { status: 404, reason: start(reply) })
        }
        _ => Err(by_status(reply, format!("HTTP {} without a reason", reply.status))),
    }
}

/// A status that is an error, whatever the body.
pub(super) fn refused_status(reply: &Reply) -> Result<(), ReplyError> {
    if (200..=299).contains(&reply.status) { Ok(()) } else { Err(by_status(reply, format!("HTTP {}", reply.status))) }
}

fn overloaded(reply: &Reply, reason: String) -> ReplyError {
    ReplyError::Overloaded { status: reply.status, reason, retry_after: reply.retry_after }
}

/// The meaning of a status alone.
fn by_status(reply: &Reply, reason: String) -> ReplyError {
    match reply.status {
        300..=399 | 401 => ReplyError::Unauthorized { reason },
        403 | 451 => ReplyError::Blocked { status: reply.status, reason },
        404 | 410 => ReplyError::NotFound { kind: NotFound::Unknown, reason },
        422 => ReplyError::TooOld { reason },
        429 => ReplyError::RateLimited { retry_after: reply.retry_after },
        408 | 500.. => overloaded(reply, reason),
        status => ReplyError::Refused { status, code: "no code".into(), reason },
    }
}

/// The meaning of Yahoo's own words; the status only decides where they leave it open.
fn classify(reply: &Reply, code: &str, reason: &str) -> ReplyError {
    let status = reply.status;
    let word = code.to_ascii_lowercase();
    let has = |part: &str| reason.contains(part);
    let said = || said(reason, 300);
    let not_found = |kind| ReplyError::NotFound { kind, reason: said() };
    if word == "unauthorized" || status == 401 || has("Invalid Crumb") || has("Invalid Cookie") {
        ReplyError::Unauthorized { reason: said() }
    } else if has("No fundamentals data found") {
        not_found(NotFound::NoModule)
    } else if has("Quote not found") {
        not_found(NotFound::Unknown)
    } else if word == "not found" {
        not_found(NotFound::UnknownOrDelisted)
    } else if has("Data doesn't exist") {
        ReplyError::NoData { kind: NoData::NotYetListed, reason: said() }
    } else if has("data not available for startTime") || word == "unprocessable entity" {
        ReplyError::TooOld { reason: said() }
    } else if status >= 500 || word.starts_with("internal") {
        overloaded(reply, said())
    } else if word == "forbidden" || status == 403 {
        ReplyError::Blocked { status, reason: said() }
    } else {
        let code = if code.is_empty() { "no code".into() } else { self::said(code, 60) };
        ReplyError::Refused { status, code, reason: said() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str, class: ReplyClass) {
        let error = open(&Reply::new(status, body), "chart").unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.class(), class);
    }

    #[test]
    fn tells_failures_apart() {
        use ReplyClass::{Fatal, Final, RefreshCrumb, Retry};
        let json = |code: &str, reason: &str| {
            serde_json::json!({"chart": {"result": null, "error": {"code": code, "description": reason}}}).to_string()
        };
        check(429, "Edge: Too Many Requests", "rate limited by Yahoo", Retry);
        check(404, "Edge: Too Many Requests", "rate limited by Yahoo", Retry);
        check(403, &json("Too Many Requests", "Rate limited. Try after a while."), "rate limited by Yahoo", Retry);
        check(200, r#"{"finance":{"error":"Too Many Requests"}}"#, "rate limited by Yahoo", Retry);
        check(200, r#"{"error":{"code":429,"message":"Too Many Requests"}}"#, "rate limited by Yahoo", Retry);
        check(403, "<html><title>Too Many Requests</title>", "rate limited by Yahoo", Retry);
        check(200, "Too Many Requests\n", "rate limited by Yahoo", Retry);
        check(200, "Invalid Cookie", "Yahoo wants a valid cookie and crumb: Invalid Cookie", RefreshCrumb);
        check(
            307,
            "",
            "Yahoo wants a valid cookie and crumb: redirected (HTTP 307), as to the consent page",
            RefreshCrumb,
        );
        check(
            404,
            &json("Not Found", "No data found, symbol may be delisted"),
            "unknown or delisted symbol: No data found, symbol may be delisted",
            Final,
        );
        check(
            400,
            &json("Bad Request", "Data doesn't exist for startDate = 1, endDate = 2"),
            "no bars, not yet listed: Data doesn't exist for startDate = 1, endDate = 2",
            Final,
        );
        check(
            400,
            &json("Bad Request", "Invalid input - interval=7m is not supported"),
            "Yahoo refuses the request (HTTP 400, Bad Request): Invalid input - interval=7m is not supported",
            Final,
        );
        check(
            422,
            &json("Unprocessable Entity", "1h data not available for startTime=1 and endTime=2."),
            "range too old for this interval: 1h data not available for startTime=1 and endTime=2.",
            Final,
        );
        check(503, "busy", "Yahoo is overloaded (HTTP 503): busy", Retry);
        check(999, "<html>x", "Yahoo is overloaded (HTTP 999): <html>x", Retry);
        check(
            200,
            "<!DOCTYPE html>Will be right back",
            "Yahoo is overloaded (HTTP 200): <!DOCTYPE html>Will be right back",
            Retry,
        );
        check(403, "no", "Yahoo blocks this client (HTTP 403): no", Fatal);
        check(404, "<yahoo:error>x", "Yahoo has no such endpoint (HTTP 404): <yahoo:error>x", Fatal);
        check(200, "", "malformed reply: it is empty; it begins with ``", Retry);
        check(200, "{}", "malformed reply: no `chart` in it; it begins with `{}`", Retry);
        check(404, "{}", "Yahoo has no such endpoint (HTTP 404): {}", Fatal);
        check(404, r#"{"chart":{"result":[],"error":null}}"#, "unknown symbol: HTTP 404 without a reason", Final);
    }

    #[test]
    fn waits_as_told() {
        let reply = Reply::new(429, "").with_retry_after(Duration::from_secs(7));
        let error = open(&reply, "chart").unwrap_err();
        assert_eq!(error.to_string(), "rate limited by Yahoo, wait 7 s");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn masks_secrets() {
        let check = |words: &str, expected: &str| assert_eq!(masked(words), expected);
        check("GET /v7?symbols=A&crumb=ab/C.d&x=1", "GET /v7?symbols=A&crumb=***&x=1");
        check(r#"{"Crumb": "abc", "y": 1}"#, r#"{"Crumb": "***", "y": 1}"#);
        check("gcrumb%3Dabc", "gcrumb%3D***");
        check("sessionId=3_cc&csrfToken=q", "sessionId=***&csrfToken=***");
        check("Invalid Crumb", "Invalid Crumb");
        check("crumb=", "crumb=");
        check("é crumb=é", "é crumb=***");
    }
}
