//! The stable names of spans, events and metrics.
//!
//! Every step of an epoch is a `tracing` span called [`STEP`] with the fields `pipeline`, `epoch`, `step` and, where there
//! is one, `sink`; it stands within a span [`EPOCH`], and that within [`RUN`].
//! Metrics go through the `metrics` facade: without a recorder they cost nothing.

use std::future::Future;
use std::time::Instant;

use tracing::Instrument;

/// Span of a whole run.
pub const RUN: &str = "stockflow.run";
/// Span of an epoch.
pub const EPOCH: &str = "stockflow.epoch";
/// Span of a step of an epoch.
pub const STEP: &str = "stockflow.step";

/// Event: a sink has written an epoch and makes it visible next. Each sink with transactions tells it once a commit.
pub const WRITTEN: &str = "stockflow.written";
/// Event: a sink without transactions has written a part of an epoch, which readers see already.
pub const PART_WRITTEN: &str = "stockflow.part_written";

/// Counter: epochs committed. Label `pipeline`.
pub const EPOCHS: &str = "stockflow_epochs_total";
/// Counter: rows read from sources. Label `pipeline`.
pub const ROWS_READ: &str = "stockflow_rows_read_total";
/// Counter: rows that became visible. Labels `pipeline`, `sink`.
pub const ROWS_WRITTEN: &str = "stockflow_rows_written_total";
/// Counter: dead letters. Labels `pipeline`, `connector`.
pub const DEAD_LETTERS: &str = "stockflow_dead_letters_total";
/// Counter: transient errors that were retried. Label `what`.
pub const RETRIES: &str = "stockflow_retries_total";
/// Counter: runs that ended with an error. Labels `pipeline`, `class`.
pub const ERRORS: &str = "stockflow_errors_total";
/// Histogram: seconds per step of an epoch. Labels `pipeline`, `step`.
pub const STEP_SECONDS: &str = "stockflow_step_seconds";
/// Gauge: the last committed epoch. Label `pipeline`.
pub const LAST_EPOCH: &str = "stockflow_last_epoch";
/// Gauge: Unix time of the last commit, in seconds. Label `pipeline`.
pub const LAST_COMMIT: &str = "stockflow_last_commit_timestamp_seconds";

/// Runs one step of an epoch within its span and records how long it took.
pub(crate) async fn step<T>(
    pipeline: &str,
    epoch: u64,
    step: &'static str,
    sink: Option<&str>,
    work: impl Future<Output = T>,
) -> T {
    let start = Instant::now();
    let span = tracing::info_span!("stockflow.step", pipeline, epoch, step, sink);
    let result = work.instrument(span).await;
    metrics::histogram!(STEP_SECONDS, "pipeline" => pipeline.to_owned(), "step" => step)
        .record(start.elapsed().as_secs_f64());
    result
}
