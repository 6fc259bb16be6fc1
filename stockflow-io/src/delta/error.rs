//! The crossing from deltalake's errors to ours: each gets the table it happened at.

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::TransactionError;
use stockflow_core::error::{BoxError, class_of};
use stockflow_core::{Error, ErrorClass, Origin, Result};

/// Where something happened: the table's path or URL as it was given.
pub(super) fn origin(table: &str) -> Origin {
    Origin::new("delta").partition(table)
}

/// A refusal that needs someone to change something.
pub(super) fn refused(table: &str, reason: impl Into<String>) -> Error {
    Error::refused(origin(table), ErrorClass::Config, reason)
}

/// A refusal that may be gone at the next try.
pub(super) fn busy(table: &str, reason: impl Into<String>) -> Error {
    Error::refused(origin(table), ErrorClass::Transient, reason)
}

/// Attaches the table to an error of a client library.
pub(super) trait At<T> {
    /// `operation` is a noun or an infinitive.
    fn at(self, operation: &'static str, table: &str) -> Result<T>;
}

impl<T, E: Into<BoxError>> At<T> for std::result::Result<T, E> {
    fn at(self, operation: &'static str, table: &str) -> Result<T> {
        self.map_err(|error| connector(operation, table, error.into()))
    }
}

fn connector(operation: &'static str, table: &str, source: BoxError) -> Error {
    let class = match (class_of(source.as_ref()), source.downcast_ref::<DeltaTableError>()) {
        // What deltalake says without an object store or a query behind it is about the table itself: someone must look at it.
        (ErrorClass::Internal, Some(_)) => ErrorClass::Config,
        (class, _) => class,
    };
    Error::Connector { origin: Box::new(origin(table)), operation, class, source }
}

/// Whether a commit failed because another one took its version.
pub(super) fn is_conflict(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::VersionAlreadyExists(_) => true,
        DeltaTableError::Transaction { source } => {
            matches!(
                source,
                TransactionError::MaxCommitAttempts(_)
                    | TransactionError::VersionAlreadyExists(_)
                    | TransactionError::CommitConflict(_)
            )
        }
        _ => false,
    }
}
