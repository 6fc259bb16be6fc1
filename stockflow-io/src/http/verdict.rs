//! What a successful status is worth: providers also complain, break off and throttle with status 200.

use super::request::Reply;

/// Looks at a reply of status 200 to 299. At one that is a refusal (400, 403, 404 and the like), too, where only
/// [`Verdict::Throttled`] and [`Verdict::Exhausted`] count: those are no word about what was asked for.
pub type Judge = fn(&Reply) -> Verdict;

/// What is to be done with a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Hand it on.
    Accept,
    /// It is something else than asked for, as in `an HTML page`: ask a few times more.
    Malformed(String),
    /// The host asks for fewer requests, in these words: as status 429.
    Throttled(String),
    /// The quota is used up, in these words: give up.
    Exhausted(String),
    /// The key is refused, in these words: give up.
    Unauthorized(String),
}

/// Takes any reply.
pub fn accept_all(_: &Reply) -> Verdict {
    Verdict::Accept
}

/// Takes whole JSON.
pub fn accept_json(reply: &Reply) -> Verdict {
    match serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body) {
        Ok(_) => Verdict::Accept,
        Err(_) if is_throttling(reply) => Verdict::Throttled(reply.head()),
        Err(_) if is_empty(reply) => Verdict::Malformed("empty".into()),
        Err(_) if is_html(reply) => Verdict::Malformed("an HTML page".into()),
        Err(error) if error.is_eof() => Verdict::Malformed("JSON that breaks off".into()),
        Err(_) => Verdict::Malformed("no JSON".into()),
    }
}

/// Takes text that is not empty and not HTML, such as CSV.
pub fn accept_text(reply: &Reply) -> Verdict {
    if is_empty(reply) {
        Verdict::Malformed("empty".into())
    } else if is_throttling(reply) {
        Verdict::Throttled(reply.head())
    } else if is_html(reply) {
        Verdict::Malformed("an HTML page".into())
    } else {
        Verdict::Accept
    }
}

fn is_empty(reply: &Reply) -> bool {
    reply.body.trim_ascii().is_empty()
}

fn is_html(reply: &Reply) -> bool {
    reply.body.trim_ascii_start().starts_with(b"<")
}

/// The text that Yahoo's edge puts in place of a reply.
fn is_throttling(reply: &Reply) -> bool {
    reply.body.len() < 200 && reply.head().contains("Too Many Requests")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::http::ReplyHeaders;

    #[track_caller]
    fn check(judge: Judge, body: &'static str, expected: Verdict) {
        let url = url::Url::parse("https://a.test/").unwrap();
        assert_eq!(judge(&Reply::new(200, ReplyHeaders::default(), body.into(), url)), expected);
    }

    fn malformed(reason: &str) -> Verdict {
        Verdict::Malformed(reason.into())
    }

    #[test]
    fn json_is_told_from_what_comes_in_its_place() {
        check(accept_json, r#"{"chart":{"result":null}}"#, Verdict::Accept);
        check(accept_json, r#"{"chart":{"resu"#, malformed("JSON that breaks off"));
        check(accept_json, " \n", malformed("empty"));
        check(accept_json, "<!DOCTYPE html><p>Will be right back", malformed("an HTML page"));
        check(accept_json, "Invalid Cookie", malformed("no JSON"));
        check(accept_json, "Edge: Too Many Requests", Verdict::Throttled("Edge: Too Many Requests".into()));
    }

    #[test]
    fn text_is_told_from_a_page() {
        check(accept_text, "Date,Open\n", Verdict::Accept);
        check(accept_text, "", malformed("empty"));
        check(accept_text, "\n<html>", malformed("an HTML page"));
        check(accept_text, "Too Many Requests\r\n", Verdict::Throttled("Too Many Requests".into()));
    }
}
