//! Why nothing could be fetched, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use stockflow_core::{Error, ErrorClass, Origin};
use url::Url;

/// What was asked for, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The provider's host.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// The symbol, if the request is for one.
    pub symbol: Option<String>,
}

impl Place {
    pub(crate) fn of(url: &Url, symbol: Option<&str>) -> Self {
        Self {
            host: url.host_str().unwrap_or_default().to_owned(),
            path: url.path().to_owned(),
            symbol: symbol.map(str::to_owned),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(symbol) = &self.symbol {
            write!(f, "{symbol} from ")?;
        }
        write!(f, "{}{}", self.host, self.path)
    }
}

/// Why there is no reply. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The host could not be reached, or failed, until the request's time was over.
    #[error(
        "{place}: no reply after {attempts} attempts in {} s, last seen: {last}; try again later, or allow more time for a request",
        secs(spent)
    )]
    Deadline {
        /// What was asked for.
        place: Box<Place>,
        /// How often.
        attempts: u32,
        /// Time in attempts and back-off.
        spent: Duration,
        /// The last reply or fault.
        last: String,
    },
    /// The host did nothing but ask for fewer requests. This is about the host, not the symbol: stop asking it.
    #[error(
        "{place}: the host has asked for fewer requests for {} s, last seen: {last}; wait some hours, or lower the rate of requests",
        secs(waited)
    )]
    Throttled {
        /// What was asked for.
        place: Box<Place>,
        /// For how long.
        waited: Duration,
        /// The last reply.
        last: String,
    },
    /// The provider's quota is used up.
    #[error("{place}: the quota is used up ({reason}); wait for the provider's next period, or use another key")]
    Exhausted {
        /// What was asked for.
        place: Box<Place>,
        /// The provider's words.
        reason: String,
    },
    /// The provider knows no such key, or Yahoo's session was refused also when it was new.
    #[error("{place}: not authorised ({reason}); {advice}")]
    Unauthorized {
        /// What was asked for.
        place: Box<Place>,
        /// The provider's words.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// Yahoo gives no cookie or no crumb.
    #[error("{place}: Yahoo gives no session ({reason}); {advice}")]
    Session {
        /// What was asked for.
        place: Box<Place>,
        /// What was tried, and how it failed.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// The reply is not of the kind that was asked for, also when asked again.
    #[error(
        "{place}: the reply is {reason}, also after {attempts} attempts; the provider may be overloaded, or has changed its format; it begins with `{head}`"
    )]
    Malformed {
        /// What was asked for.
        place: Box<Place>,
        /// How often.
        attempts: u32,
        /// What it is instead.
        reason: String,
        /// Its first bytes.
        head: String,
    },
    /// The reply is longer than allowed; the rest was not read.
    #[error("{place}: the reply is longer than {limit} bytes; ask for less at once, or raise the limit of a body")]
    TooLarge {
        /// What was asked for.
        place: Box<Place>,
        /// The limit.
        limit: usize,
    },
    /// The reply points elsewhere once too often, or to a place where the client does not go.
    #[error("{place}: {reason}; see whether the URL is still right")]
    Redirect {
        /// What was asked for.
        place: Box<Place>,
        /// What is wrong.
        reason: String,
    },
    /// No recorded reply answers the request.
    #[error("{place}: no recording in `{}` answers the request; {nearest}", folder.display())]
    NoRecording {
        /// What was asked for.
        place: Box<Place>,
        /// The folder.
        folder: PathBuf,
        /// The nearest recording and how it differs.
        nearest: String,
    },
    /// A recording could not be written or read.
    #[error("recording `{}`: {reason}", path.display())]
    Recording {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The client cannot be set up so.
    #[error("invalid {option} of the HTTP client: {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// The value, and what is wrong with it.
        reason: String,
    },
}

impl FetchError {
    /// Whether the same request may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Deadline { .. }
                | Self::Throttled { .. }
                | Self::Exhausted { .. }
                | Self::Session { .. }
                | Self::Malformed { .. }
        )
    }

    /// What a caller can do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            _ if self.is_retryable() => ErrorClass::Transient,
            Self::TooLarge { .. } | Self::Redirect { .. } | Self::NoRecording { .. } => ErrorClass::Data,
            _ => ErrorClass::Config,
        }
    }

    /// The same as an error of a connector; the partition is the symbol.
    pub fn into_error(self, connector: &str) -> Error {
        let symbol = self.place().and_then(|place| place.symbol.as_deref());
        let origin = symbol.into_iter().fold(Origin::new(connector), Origin::partition);
        Error::Connector { origin: Box::new(origin), operation: "fetch", class: self.class(), source: Box::new(self) }
    }

    /// What was asked for, unless the error is about a folder or an option.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Deadline { place, .. }
            | Self::Throttled { place, .. }
            | Self::Exhausted { place, .. }
            | Self::Unauthorized { place, .. }
            | Self::Session { place, .. }
            | Self::Malformed { place, .. }
            | Self::TooLarge { place, .. }
            | Self::Redirect { place, .. }
            | Self::NoRecording { place, .. } => Some(place),
            Self::Recording { .. } | Self::Option { .. } => None,
        }
    }
}

fn secs(time: &Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(symbol: Option<&str>) -> Box<Place> {
        Box::new(Place { host: "a.test".into(), path: "/x".into(), symbol: symbol.map(str::to_owned) })
    }

    #[track_caller]
    fn check(error: FetchError, class: ErrorClass, chain: [&str; 2]) {
        let error = error.into_error("yahoo");
        assert_eq!((error.class(), error.is_retryable()), (class, class == ErrorClass::Transient));
        assert_eq!(error.chain(), chain);
    }

    #[test]
    fn errors_of_a_connector_say_where_and_what_can_be_done() {
        let throttled =
            FetchError::Throttled { place: place(Some("IBM")), waited: Duration::from_secs(900), last: "429".into() };
        let text = "IBM from a.test/x: the host has asked for fewer requests for 900.0 s, last seen: 429; wait some hours, or lower the rate of requests";
        check(throttled, ErrorClass::Transient, ["yahoo IBM: fetch failed", text]);
        let large = FetchError::TooLarge { place: place(None), limit: 9 };
        let text = "a.test/x: the reply is longer than 9 bytes; ask for less at once, or raise the limit of a body";
        check(large, ErrorClass::Data, ["yahoo: fetch failed", text]);
        let option = FetchError::Option { option: "base", reason: "none".into() };
        check(option, ErrorClass::Config, ["yahoo: fetch failed", "invalid base of the HTTP client: none"]);
    }
}
