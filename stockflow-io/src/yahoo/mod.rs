//! Yahoo Finance: [bars and corporate actions](YahooSource) as a source, the [session] that some endpoints ask for, and
//! the [decoders](decode) of all replies.

mod bars;
pub mod decode;
mod position;
pub mod session;
mod source;
mod units;
mod window;

pub use session::YahooSession;
pub use source::YahooSource;
pub use units::in_main_units;

use crate::http;

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
