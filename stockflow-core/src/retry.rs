//! Waiting out an outage: back-off, and the adapters that retry a source or a sink.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::checkpoint::Checkpoint;
use crate::consumed::Consumed;
use crate::error::{Error, Result};
use crate::relation::RelationSchema;
use crate::schema::DeadLetter;
use crate::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use crate::source::{EpochLimit, EpochPlan, Redecoded, Replay, Scan, Source};
use crate::token::{EpochToken, Generation, SinkId};

/// How long to wait between attempts, and for how long in all.
///
/// Only transient errors are retried (see [`crate::ErrorClass`]): bad data and wrong settings come back at once.
/// The wait doubles from `initial` to `max`, each time shortened by up to half at random, so that many clients do not
/// return in step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Give up after this; `None` waits for as long as the outage lasts.
    pub deadline: Option<Duration>,
}

impl Default for Backoff {
    /// 200 ms doubling to 30 s, for ten minutes.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(200),
            max: Duration::from_secs(30),
            deadline: Some(Duration::from_secs(600)),
        }
    }
}

impl Backoff {
    /// Every error comes back at once.
    pub fn none() -> Self {
        Self { initial: Duration::ZERO, max: Duration::ZERO, deadline: Some(Duration::ZERO) }
    }

    /// Calls until it succeeds, fails for good, or the deadline has passed.
    ///
    /// # Errors
    ///
    /// The last error of `call`.
    pub async fn retry<T, F, Fut>(&self, what: &str, call: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        self.retry_by(what, Instant::now, tokio::time::sleep, call).await
    }

    /// The same by another clock.
    async fn retry_by<T, F, Fut, N, S, SFut>(&self, what: &str, now: N, sleep: S, mut call: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
        N: Fn() -> Instant,
        S: Fn(Duration) -> SFut,
        SFut: Future<Output = ()>,
    {
        let mut patience = Patience { backoff: *self, start: now(), wait: self.initial };
        loop {
            match call().await {
                Ok(done) => return Ok(done),
                Err(error) => sleep(patience.next(what, error, now())?).await,
            }
        }
    }

    /// For a caller that has more to do between two attempts than to call again.
    pub(crate) fn patience(&self) -> Patience {
        Patience { backoff: *self, start: Instant::now(), wait: self.initial }
    }
}

/// How long an operation has been waited for.
#[derive(Debug)]
pub(crate) struct Patience {
    backoff: Backoff,
    start: Instant,
    wait: Duration,
}

impl Patience {
    /// Waits before the next attempt.
    ///
    /// # Errors
    ///
    /// The error itself if it is not transient, or if the deadline has passed.
    pub(crate) async fn wait(&mut self, what: &str, error: Error) -> Result<()> {
        tokio::time::sleep(self.next(what, error, Instant::now())?).await;
        Ok(())
    }

    fn next(&mut self, what: &str, error: Error, now: Instant) -> Result<Duration> {
        let wait = jitter(self.wait);
        let is_over = self.backoff.deadline.is_some_and(|deadline| now - self.start + wait >= deadline);
        if !error.is_retryable() || is_over {
            return Err(error);
        }
        tracing::warn!(what, error = %error.chain().join(": "), wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "transient error, will try again");
        metrics::counter!(crate::telemetry::RETRIES, "what" => what.to_owned()).increment(1);
        self.wait = (self.wait * 2).min(self.backoff.max);
        Ok(wait)
    }
}

/// Between half of the wait and all of it.
fn jitter(wait: Duration) -> Duration {
    // The random bits of a UUID do: no need for a generator of our own.
    let fraction = (uuid::Uuid::new_v4().as_u128() & 0xffff) as f64 / f64::from(0xffff);
    wait.mul_f64(0.5 + fraction / 2.0)
}

/// A source or sink whose transient errors are waited out: it is one itself.
#[derive(Debug)]
pub struct Retry<T> {
    inner: T,
    backoff: Backoff,
}

impl<T> Retry<T> {
    /// Wraps a source or a sink.
    pub fn new(inner: T, backoff: Backoff) -> Self {
        Self { inner, backoff }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Source> Source for Retry<T> {
    fn relations(&self) -> Vec<RelationSchema> {
        self.inner.relations()
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.backoff.retry("plan", || self.inner.plan(from, limit)).await
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        self.backoff.retry("scan", || self.inner.scan(plan)).await
    }

    async fn commit(&self, upto: &Checkpoint) -> Result<()> {
        self.backoff.retry("source commit", || self.inner.commit(upto)).await
    }

    fn consumed(&self, upto: &Checkpoint) -> Option<Consumed> {
        self.inner.consumed(upto)
    }

    fn replay(&self) -> Replay {
        self.inner.replay()
    }

    fn partitions_per_epoch(&self) -> Option<usize> {
        self.inner.partitions_per_epoch()
    }

    fn rows_per_epoch(&self) -> Option<u64> {
        self.inner.rows_per_epoch()
    }

    async fn redecode(&self, letters: &[DeadLetter], known: &Checkpoint) -> Result<Redecoded> {
        self.backoff.retry("redecode", || self.inner.redecode(letters, known)).await
    }

    fn decoding(&self) -> &'static [&'static str] {
        self.inner.decoding()
    }

    fn definition(&self) -> serde_json::Value {
        self.inner.definition()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Sink> Sink for Retry<T> {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.backoff.retry("open", || self.inner.open(sink, generation)).await
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        self.backoff.retry("stage", || self.inner.stage(epoch, rows)).await
    }

    /// Not retried here: only the engine can open the sink again and see whether the commit took place.
    async fn commit(&self, staged: Staged) -> Result<Written> {
        self.inner.commit(staged).await
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        self.inner.abort(staged).await
    }

    fn idempotence(&self) -> Idempotence {
        self.inner.idempotence()
    }

    fn write_mode(&self) -> WriteMode {
        self.inner.write_mode()
    }

    fn fence(&self) -> Fence {
        self.inner.fence()
    }

    fn definition(&self) -> serde_json::Value {
        self.inner.definition()
    }
}

/// A source or sink that is asked at most so often: every `plan` and `scan`, every `stage` and `commit` waits for its turn.
#[derive(Debug)]
pub struct RateLimit<T> {
    inner: T,
    every: Duration,
    next: tokio::sync::Mutex<Option<Instant>>,
}

impl<T> RateLimit<T> {
    /// At most one call per `every`.
    pub fn new(inner: T, every: Duration) -> Self {
        Self { inner, every, next: tokio::sync::Mutex::new(None) }
    }

    async fn turn(&self) {
        let mut next = self.next.lock().await;
        if let Some(at) = *next {
            tokio::time::sleep_until(at).await;
        }
        *next = Some(Instant::now() + self.every);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Source> Source for RateLimit<T> {
    fn relations(&self) -> Vec<RelationSchema> {
        self.inner.relations()
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.turn().await;
        self.inner.plan(from, limit).await
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        self.turn().await;
        self.inner.scan(plan).await
    }

    async fn commit(&self, upto: &Checkpoint) -> Result<()> {
        self.inner.commit(upto).await
    }

    fn consumed(&self, upto: &Checkpoint) -> Option<Consumed> {
        self.inner.consumed(upto)
    }

    fn replay(&self) -> Replay {
        self.inner.replay()
    }

    fn partitions_per_epoch(&self) -> Option<usize> {
        self.inner.partitions_per_epoch()
    }

    fn rows_per_epoch(&self) -> Option<u64> {
        self.inner.rows_per_epoch()
    }

    async fn redecode(&self, letters: &[DeadLetter], known: &Checkpoint) -> Result<Redecoded> {
        self.turn().await;
        self.inner.redecode(letters, known).await
    }

    fn decoding(&self) -> &'static [&'static str] {
        self.inner.decoding()
    }

    fn definition(&self) -> serde_json::Value {
        self.inner.definition()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Sink> Sink for RateLimit<T> {
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.inner.open(sink, generation).await
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        self.turn().await;
        self.inner.stage(epoch, rows).await
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        self.turn().await;
        self.inner.commit(staged).await
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        self.inner.abort(staged).await
    }

    fn idempotence(&self) -> Idempotence {
        self.inner.idempotence()
    }

    fn write_mode(&self) -> WriteMode {
        self.inner.write_mode()
    }

    fn fence(&self) -> Fence {
        self.inner.fence()
    }

    fn definition(&self) -> serde_json::Value {
        self.inner.definition()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::{ErrorClass, Origin};

    /// Calls and whether it succeeded, by a clock that jumps instead of sleeping; and how far it jumped.
    async fn attempts(class: ErrorClass, fail: u32, backoff: Backoff) -> (u32, bool, Duration) {
        let calls = AtomicU32::new(0);
        let (start, slept) = (Instant::now(), std::sync::Mutex::new(Duration::ZERO));
        let result = backoff
            .retry_by(
                "test",
                || start + *slept.lock().unwrap(),
                |wait| {
                    *slept.lock().unwrap() += wait;
                    std::future::ready(())
                },
                || async {
                    if calls.fetch_add(1, Ordering::SeqCst) < fail {
                        Err(Error::refused(Origin::new("test"), class, "no"))
                    } else {
                        Ok(())
                    }
                },
            )
            .await;
        (calls.into_inner(), result.is_ok(), slept.into_inner().unwrap())
    }

    #[tokio::test]
    async fn a_transient_error_is_waited_out() {
        let (calls, done, slept) = attempts(ErrorClass::Transient, 5, Backoff::default()).await;
        assert_eq!((calls, done), (6, true));
        // 0.2 + 0.4 + 0.8 + 1.6 + 3.2 seconds, each shortened by up to half.
        assert!(slept > Duration::from_millis(3000) && slept <= Duration::from_millis(6200), "{slept:?}");
    }

    #[tokio::test]
    async fn bad_data_and_settings_come_back_at_once() {
        for class in [ErrorClass::Data, ErrorClass::Config, ErrorClass::Internal] {
            assert_eq!(attempts(class, 5, Backoff::default()).await, (1, false, Duration::ZERO));
        }
    }

    #[tokio::test]
    async fn the_deadline_ends_it() {
        let (calls, done, slept) = attempts(
            ErrorClass::Transient,
            u32::MAX,
            Backoff { deadline: Some(Duration::from_secs(60)), ..Backoff::default() },
        )
        .await;
        assert!(calls > 3 && !done && slept <= Duration::from_secs(60), "{calls} calls in {slept:?}");
    }
}
