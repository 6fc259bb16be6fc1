//! Who watches a run while it goes on.

use std::fmt::Debug;

use super::report::EpochReport;

/// Told about a run while it goes on; all methods must return at once.
pub trait Progress: Debug + Send + Sync {
    /// An epoch begins; about so many rows will be read, if the source knows.
    fn epoch(&self, epoch: u64, rows: Option<u64>);
    /// A step of the epoch begins: `scan`, `apply`, `stage`, `commit`, …
    fn step(&self, epoch: u64, step: &str);
    /// So many more rows were read from the source.
    fn rows(&self, rows: u64);
    /// An epoch is committed: what comes after cannot undo it, even if the run ends with an error.
    fn committed(&self, _report: &EpochReport) {}
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn epoch(&self, _epoch: u64, _rows: Option<u64>) {}
    fn step(&self, _epoch: u64, _step: &str) {}
    fn rows(&self, _rows: u64) {}
}
