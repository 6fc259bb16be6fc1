//! The public conformance kit: any source or sink, ours or a stranger's, held against the contracts.
//!
//! Implement [`SinkCase`] or [`SourceCase`] for a connector and call [`check_sink`] or [`check_source`] in a test: they run
//! every check and give back the [`Failure`]s. [`crash_matrix`] runs a whole pipeline and kills it at every step of the epoch
//! protocol; [`KillHere`] does so with a real `kill -9` in a child process. An [`Oracle`] knows every row that was sent, and says
//! what was lost or doubled.
//!
//! A check that cannot fail proves nothing: the kit's own tests hold broken twins against it, each of which must be rejected
//! by the check that is meant for it.

mod crash;
mod data;
mod oracle;
mod sink;
mod source;

pub use crash::{CrashCase, KillHere, KillOnce, crash_matrix};
pub use data::{bars, bars_relation, day, rows_of, table_of};
pub use oracle::{Findings, Oracle};
pub use sink::{SINK_CHECKS, SinkCase, SinkPlace, check_sink};
pub use source::{SOURCE_CHECKS, SourceCase, SourcePlace, check_source};

/// A check that a connector did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The check's name.
    pub check: &'static str,
    /// What was expected and what was found.
    pub reason: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.check, self.reason)
    }
}

/// What a check gives: `Err` with what was expected and what was found.
pub(crate) type Verdict = std::result::Result<(), String>;

/// Fails with a sentence.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// An error of the connector where none belongs.
pub(crate) fn unexpected(during: &'static str) -> impl Fn(crate::Error) -> String {
    move |error| format!("{during} gave an error: {}", error.chain().join(": "))
}
