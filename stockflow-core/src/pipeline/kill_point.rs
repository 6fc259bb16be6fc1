//! The places between the steps of an epoch where a crash can strike.

use std::fmt::{self, Debug};

use crate::error::Result;

/// A place between two steps of the epoch protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KillPoint {
    /// The store is claimed.
    AfterClaim,
    /// Every sink is open.
    AfterOpen,
    /// The source has planned; nothing is written.
    AfterPlan,
    /// The intent is written.
    AfterIntent,
    /// The source's rows are read, nothing is sealed.
    AfterScan,
    /// The input of a best-effort source is spooled and sealed.
    AfterRead,
    /// The plans stand; nothing is staged.
    AfterApply,
    /// One sink has staged.
    AfterStage(String),
    /// The dead letters are durable.
    AfterDeadLetters,
    /// The state is durable.
    AfterState,
    /// The fence was checked; the sink is about to commit.
    BeforeCommit(String),
    /// The sink has committed.
    AfterCommit(String),
    /// The store has committed.
    AfterStoreCommit,
    /// The source was told.
    AfterSourceCommit,
}

impl KillPoint {
    /// Every point that an epoch with these sinks passes, in order. `AfterRead` only comes with a best-effort source.
    pub fn all(sinks: &[&str]) -> Vec<KillPoint> {
        let mut points = vec![
            Self::AfterClaim,
            Self::AfterOpen,
            Self::AfterPlan,
            Self::AfterIntent,
            Self::AfterScan,
            Self::AfterRead,
            Self::AfterApply,
        ];
        points.extend(sinks.iter().map(|sink| Self::AfterStage((*sink).into())));
        points.extend([Self::AfterDeadLetters, Self::AfterState]);
        points.extend(
            sinks.iter().flat_map(|sink| [Self::BeforeCommit((*sink).into()), Self::AfterCommit((*sink).into())]),
        );
        points.extend([Self::AfterStoreCommit, Self::AfterSourceCommit]);
        points
    }
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterClaim => f.write_str("after-claim"),
            Self::AfterOpen => f.write_str("after-open"),
            Self::AfterPlan => f.write_str("after-plan"),
            Self::AfterIntent => f.write_str("after-intent"),
            Self::AfterScan => f.write_str("after-scan"),
            Self::AfterRead => f.write_str("after-read"),
            Self::AfterApply => f.write_str("after-apply"),
            Self::AfterStage(sink) => write!(f, "after-stage:{sink}"),
            Self::AfterDeadLetters => f.write_str("after-dead-letters"),
            Self::AfterState => f.write_str("after-state"),
            Self::BeforeCommit(sink) => write!(f, "before-commit:{sink}"),
            Self::AfterCommit(sink) => write!(f, "after-commit:{sink}"),
            Self::AfterStoreCommit => f.write_str("after-store-commit"),
            Self::AfterSourceCommit => f.write_str("after-source-commit"),
        }
    }
}

/// Watches an epoch pass its kill points: tests let it strike there.
pub trait Probe: Debug + Send + Sync {
    /// Called at each point.
    ///
    /// # Errors
    ///
    /// An error ends the run on the spot, as a crash would: nothing is aborted or tidied.
    fn at(&self, point: &KillPoint) -> Result<()>;
}
