//! Why there is nothing: for a symbol, or for the whole source.

use stockflow_core::{Error, ErrorClass, Origin};

use super::CONNECTOR;
use super::decode::{ReplyClass, ReplyError};
use crate::http::FetchError;
use crate::provider;

/// Why there is nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The symbol is known, and there is nothing of what was asked for.
    Nothing(String),
    /// This symbol cannot be had.
    Symbol(String),
    /// No symbol can be had at the moment, or until somebody changes something.
    Source(Error),
}

impl From<FetchError> for Failure {
    /// What no reply means for the symbol and for the source.
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Throttled { .. }
            | FetchError::Exhausted { .. }
            | FetchError::Session { .. }
            | FetchError::Option { .. }
            | FetchError::Recording { .. }
            | FetchError::Unauthorized { .. } => Self::Source(error.into_error(CONNECTOR)),
            other => Self::Symbol(other.to_string()),
        }
    }
}

impl From<provider::Failure> for Failure {
    fn from(failure: provider::Failure) -> Self {
        match (failure.error, failure.kind) {
            (Some(error), _) => Self::Source(*error),
            (None, provider::FailureKind::Nothing) => Self::Nothing(failure.reason),
            (None, _) => Self::Symbol(failure.reason),
        }
    }
}

impl Failure {
    /// What a reply without data means.
    pub(super) fn of_reply(symbol: &str, error: &ReplyError) -> Self {
        if let ReplyError::NoData { .. } = error {
            return Self::Nothing(error.to_string());
        }
        let of_source =
            |class| Self::Source(Error::refused(Origin::new(CONNECTOR).symbol(symbol), class, error.to_string()));
        if let ReplyError::RateLimited { .. } = error {
            return of_source(ErrorClass::Transient);
        }
        match error.class() {
            ReplyClass::Fatal => of_source(ErrorClass::Config),
            ReplyClass::Final | ReplyClass::Retry | ReplyClass::RefreshCrumb => Self::Symbol(error.to_string()),
        }
    }
}
