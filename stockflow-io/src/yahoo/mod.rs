//! Yahoo Finance: [bars and corporate actions](YahooSource) and [what is known of companies](YahooCompany) as sources, the
//! [session] that some endpoints ask for, and the [decoders](decode) of all replies.

pub(crate) mod bars;
mod company;
pub mod decode;
mod failure;
mod position;
mod request;
pub mod session;
mod source;
mod symbols;
mod units;
mod window;

pub(crate) use request::judge_yahoo;

pub use company::{Endpoint, YahooCompany};
pub use session::YahooSession;
pub use source::YahooSource;
pub use units::in_main_units;

use crate::http;

/// What the sources are called in errors, dead letters and definitions.
const CONNECTOR: &str = "yahoo";

impl From<&http::Reply> for decode::Reply {
    fn from(reply: &http::Reply) -> Self {
        Self {
            status: reply.status,
            content_type: reply.headers.content_type.clone(),
            retry_after: reply.headers.retry_after(),
            body: reply.body.to_vec(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_reply_keeps_all_that_decoders_look_at() {
        let headers = http::ReplyHeaders { content_type: Some("text/plain".into()), retry_after: Some(" 7 ".into()) };
        let reply = http::Reply::new(429, headers, "no".into(), "https://a.test/?crumb=x".parse().unwrap());
        let expected =
            decode::Reply::new(429, "no").with_content_type("text/plain").with_retry_after(Duration::from_secs(7));
        assert!(decode::Reply::from(&reply) == expected);
    }
}
