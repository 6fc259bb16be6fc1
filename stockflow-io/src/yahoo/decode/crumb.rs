//! The crumb: a token that quote and quoteSummary want beside the cookie.

use super::error::{plain, refused_status};
use super::{Reply, ReplyError};

/// How long a crumb is.
const LENGTH: usize = 11;

/// The crumb in the reply of `v1/test/getcrumb`.
///
/// # Errors
///
/// The reply's own failure ([`ReplyError::RateLimited`], [`ReplyError::Unauthorized`], …), and [`ReplyError::Malformed`] for
/// anything but 11 visible characters: a rate-limit text taken for a crumb would be kept and fail every later call. The text
/// of such an error does not show the body, which may be a crumb after all.
pub fn crumb(reply: &Reply) -> Result<String, ReplyError> {
    plain(reply)?;
    refused_status(reply)?;
    let text = String::from_utf8_lossy(&reply.body);
    let text = text.trim();
    let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'{' | b'"');
    if text.len() == LENGTH && text.bytes().all(visible) {
        return Ok(text.to_owned());
    }
    let reason = format!("no crumb, which has {LENGTH} characters, but {} bytes", reply.body.len());
    Err(ReplyError::Malformed { reason, start: "***".into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yahoo::decode::ReplyClass;

    #[test]
    fn takes_a_crumb_and_nothing_else() {
        let class = |status, body: &str| crumb(&Reply::new(status, body)).map_err(|error| error.class());
        assert_eq!(class(200, "aB3/x.Yz12Q\n"), Ok("aB3/x.Yz12Q".into()));
        assert_eq!(class(200, ""), Err(ReplyClass::Retry));
        assert_eq!(class(200, "Too Many Requests"), Err(ReplyClass::Retry));
        assert_eq!(class(429, "aB3/x.Yz12Q"), Err(ReplyClass::Retry));
        assert_eq!(class(200, "<html></html>"), Err(ReplyClass::Retry));
        assert_eq!(class(200, "Unauthorized"), Err(ReplyClass::Retry));
        assert_eq!(class(401, "aB3/x.Yz12Q"), Err(ReplyClass::RefreshCrumb));
        assert_eq!(class(307, ""), Err(ReplyClass::RefreshCrumb));
        let error = crumb(&Reply::new(200, "aB3/x.Yz12Q7")).unwrap_err();
        assert!(!error.to_string().contains("aB3"), "{error}");
    }
}
