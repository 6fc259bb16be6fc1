//! The pipeline: builder, identity, guarantee and the epoch engine.
//!
//! Read in this order: [`Pipeline`] and its builder, [`Guarantee`], then `run.rs` (a run: claim, open, one epoch after the
//! other) and `epoch.rs` (one epoch in the order of its protocol).

mod at_history;
mod builder;
mod carry;
mod clock;
mod companion;
mod compare;
mod continuous;
mod counted;
mod definition;
mod describe;
mod epoch;
mod graph;
mod guarantee;
mod kill_point;
mod latest;
mod letters;
mod progress;
mod reference;
mod replay;
mod report;
mod rows;
mod run;
pub(crate) mod spool;
mod state;
mod status;

pub use builder::{Builder, DEAD_LETTER_SINK, LatePolicy, Mode, Pipeline, SinkStep, Step};
pub use continuous::Continuous;
pub use describe::{Description, RelationDescription, SinkDescription, StepDescription};
pub use guarantee::{Guarantee, derive_guarantee};
pub use kill_point::{KillPoint, Probe};
pub use progress::{NoProgress, Progress};
pub use replay::{NotReplayed, ReplayLetters};
pub use report::{EpochReport, Note, NoteLevel, Replayed, RunReport, SinkReport};
pub use run::{Rebuild, RunOptions, Shutdown};
pub use status::Status;
