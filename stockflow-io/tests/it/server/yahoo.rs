//! Yahoo's endpoints: chart, quoteSummary, quote, insights, search, and the way to a crumb.
//!
//! Symbols that begin with `NONE` are not known, those with `EMPTY` have no bars, those with `LATE` begin in the future.

mod chart;
mod company;

use super::wire::{Answer, Call};
use serde_json::json;

/// Which cookie and crumb are good at present.
#[derive(Default)]
pub(super) struct Session {
    generation: u64,
}

impl Session {
    pub(super) fn expire(&mut self) {
        self.generation += 1;
    }

    fn cookie(&self) -> String {
        format!("cookie-of-the-server-{}", self.generation)
    }

    /// Eleven characters, one of which must be escaped.
    fn crumb(&self) -> String {
        format!("cRuMb/{:05}", self.generation)
    }

    fn has_cookie(&self, call: &Call) -> bool {
        call.cookie("A3") == Some(&self.cookie())
    }

    fn set_cookie(&self, name: &str) -> String {
        format!(
            "{name}={}; Max-Age=31536000; Domain=.yahoo.com; Path=/; SameSite=None; Secure; HttpOnly",
            self.cookie()
        )
    }
}

pub(super) fn answer(session: &mut Session, consent: bool, call: &Call) -> Answer {
    let path = call.path();
    match (call.host.as_str(), path) {
        // Its answer is an error; what counts is the cookie, which Europe gets only for consent.
        ("fc.yahoo.com", _) if consent => Answer::new(502, "text/html", "<html>Bad Gateway</html>"),
        ("fc.yahoo.com", _) => {
            Answer::new(404, "text/html", "<html>Not Found</html>").with_header("Set-Cookie", session.set_cookie("A3"))
        }
        ("finance.yahoo.com", _) => start_page(session, consent, call),
        ("guce.yahoo.com", "/consent") => {
            Answer::redirect(302, "https://consent.yahoo.com/v2/collectConsent?sessionId=3_cc-session_7".into())
        }
        ("guce.yahoo.com", "/copyConsent") => {
            Answer::redirect(302, "https://finance.yahoo.com/quote/AAPL?guccounter=1".into())
                .with_header("Set-Cookie", session.set_cookie("A3"))
                .with_header("Set-Cookie", session.set_cookie("A1"))
        }
        ("consent.yahoo.com", "/v2/collectConsent") => consent_form(call),
        (_, "/v1/test/getcrumb") if session.has_cookie(call) => Answer::new(200, "text/plain", session.crumb()),
        (_, "/v1/test/getcrumb") => Answer::new(401, "text/plain", "Invalid Cookie"),
        (_, "/v1/finance/search") => company::search(call),
        (_, "/v7/finance/quote") => guarded(session, call, company::quote),
        _ if path.starts_with("/v8/finance/chart/") => chart::answer(call),
        _ if path.starts_with("/v10/finance/quoteSummary/") => guarded(session, call, company::summary),
        _ if path.starts_with("/ws/insights/") => company::insights(call),
        _ => Answer::new(404, "application/xml", UNKNOWN_PATH),
    }
}

const UNKNOWN_PATH: &str = r#"<?xml version="1.0"?><yahoo:error xmlns:yahoo="urn:yahoo"><yahoo:description>NotFoundException: HTTP 404 Not Found</yahoo:description></yahoo:error>"#;

fn guarded(session: &Session, call: &Call, answer: fn(&Call) -> Answer) -> Answer {
    if session.has_cookie(call) && call.parameter("crumb") == Some(session.crumb()) {
        return answer(call);
    }
    let error = json!({ "code": "Unauthorized", "description": "Invalid Crumb" });
    Answer::json(401, json!({ "finance": { "result": null, "error": error } }))
}

fn start_page(session: &Session, consent: bool, call: &Call) -> Answer {
    if session.has_cookie(call) {
        return Answer::new(200, "text/html", "<html><body>AAPL</body></html>");
    }
    if !consent {
        return Answer::new(200, "text/html", "<html><body>AAPL</body></html>")
            .with_header("Set-Cookie", session.set_cookie("A3"));
    }
    let to = "https://guce.yahoo.com/consent?brandType=nonEu&gcrumb=gcrumb-of-the-server&done=https%3A%2F%2Ffinance.yahoo.com%2Fquote%2FAAPL";
    Answer::redirect(307, to.into())
        .with_header("Set-Cookie", "GUCS=guest; Max-Age=1800; Domain=.yahoo.com; Path=/; Secure".into())
}

fn consent_form(call: &Call) -> Answer {
    if call.method == "GET" {
        return Answer::new(
            200,
            "text/html",
            r#"<!DOCTYPE html><html><form method="post" class="consent-form">
            <input type="hidden" name="csrfToken" value="token&amp;of-the-server">
            <input type="hidden" name="sessionId" value="3_cc-session_7">
            <input type="hidden" name="originalDoneUrl" value="https://finance.yahoo.com/quote/AAPL?guccounter=1">
            <input type="hidden" name="namespace" value="yahoo">
            <button type="submit" name="agree" value="agree">Accept all</button></form></html>"#,
        );
    }
    let expected = [("csrfToken", "token&of-the-server"), ("sessionId", "3_cc-session_7"), ("agree", "agree")];
    if expected.iter().all(|(name, value)| call.field(name).as_deref() == Some(value)) {
        let to = "https://guce.yahoo.com/copyConsent?sessionId=3_cc-session_7&lang=en-GB";
        return Answer::redirect(302, to.into());
    }
    Answer::new(400, "text/html", "<html>not agreed</html>")
}
