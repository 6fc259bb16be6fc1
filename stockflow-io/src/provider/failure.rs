//! Why a provider gives nothing, and whether another one may.

use arrow::record_batch::RecordBatch;
use stockflow_core::{Error, ErrorClass, Origin};

use crate::http::FetchError;

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The symbol is known, and there is nothing of what was asked for.
    Nothing,
    /// The provider does not know the symbol.
    Unknown,
    /// It asks for fewer requests, or the quota is used up.
    Throttled,
    /// It cannot be reached, or answers in no form that is known.
    Unavailable,
    /// It does not have this interval, range or price basis.
    Unsupported,
    /// It refuses: a wrong key, a wrong option. Somebody must change something.
    Refused,
}

/// Why there is nothing.
#[derive(Debug)]
pub struct Failure {
    /// What kind it is.
    pub kind: FailureKind,
    /// In words, without secrets.
    pub reason: String,
    /// If it is about the whole provider and not the symbol alone.
    pub(crate) error: Option<Box<Error>>,
    /// What the provider tells of the symbol nevertheless, as [`Found::symbols`](super::Found::symbols).
    pub(crate) symbols: Option<RecordBatch>,
}

impl Failure {
    /// A failure of one symbol.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), error: None, symbols: None }
    }

    /// A failure that nobody's symbol escapes.
    pub(crate) fn of_all(kind: FailureKind, error: Error) -> Self {
        let reason = error.chain().join(": ");
        Self { error: Some(Box::new(error)), ..Self::new(kind, reason) }
    }

    /// What no reply means for the symbol and for the provider.
    pub(crate) fn of_fetch(connector: &str, error: FetchError) -> Self {
        match error {
            FetchError::Throttled { .. } | FetchError::Exhausted { .. } => {
                Self::of_all(FailureKind::Throttled, error.into_error(connector))
            }
            FetchError::Session { .. } => Self::of_all(FailureKind::Unavailable, error.into_error(connector)),
            FetchError::Option { .. } | FetchError::Recording { .. } | FetchError::Unauthorized { .. } => {
                Self::of_all(FailureKind::Refused, error.into_error(connector))
            }
            other => Self::new(FailureKind::Unavailable, other.to_string()),
        }
    }

    /// A reply with a status that no provider's pages explain.
    pub(crate) fn of_status(connector: &str, symbol: &str, status: u16) -> Self {
        let reason = format!("{connector} answers with status {status}");
        match status {
            404 | 410 => Self::new(FailureKind::Unknown, reason),
            401 | 403 => {
                let origin = Origin::new(connector).symbol(symbol);
                let error =
                    Error::refused(origin, ErrorClass::Config, format!("{reason}; see whether the key is right"));
                Self::of_all(FailureKind::Refused, error)
            }
            _ => Self::new(FailureKind::Unavailable, reason),
        }
    }
}
