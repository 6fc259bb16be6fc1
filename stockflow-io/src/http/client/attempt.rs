//! The attempts of one request: what each one came to, and whether there is another.

use std::time::Duration;

use tokio::time::Instant;

use super::wire::{Lost, Wire};
use crate::http::error::FetchError;
use crate::http::options::HttpOptions;
use crate::http::request::{Reply, Request};
use crate::http::secret::Secrets;
use crate::http::verdict::Verdict;

/// What one attempt came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A final reply.
    Reply(Box<Reply>),
    /// The host asks for fewer requests.
    Throttled { retry_after: Option<Duration>, last: String },
    /// The host or the connection failed.
    Fault { retry_after: Option<Duration>, last: String },
    /// A reply of the wrong kind.
    Malformed { reason: String, head: String },
    /// Asking again is of no use.
    Failed(FetchError),
}

impl Outcome {
    /// Sorts a reply by its status and by the request's judge.
    pub(crate) fn of(request: &Request, reply: Reply) -> Self {
        let secrets = Secrets::of(request.url());
        let retry_after = reply.headers.retry_after();
        match reply.status {
            429 => Self::Throttled { retry_after, last: secrets.hide(&seen(&reply)) },
            408 | 425 | 500..=599 | 999 => Self::Fault { retry_after, last: secrets.hide(&seen(&reply)) },
            status => match (request.judge())(&reply) {
                Verdict::Accept => Self::Reply(Box::new(reply)),
                Verdict::Malformed(_) | Verdict::Unauthorized(_) if !(200..=299).contains(&status) => {
                    Self::Reply(Box::new(reply))
                }
                Verdict::Malformed(reason) => {
                    Self::Malformed { reason: secrets.hide(&reason), head: secrets.hide(&reply.head()) }
                }
                Verdict::Throttled(words) => Self::Throttled { retry_after, last: secrets.hide(&words) },
                Verdict::Exhausted(words) => {
                    Self::Failed(FetchError::Exhausted { place: request.place(), reason: secrets.hide(&words) })
                }
                Verdict::Unauthorized(words) => Self::Failed(FetchError::Unauthorized {
                    place: request.place(),
                    reason: secrets.hide(&words),
                    advice: "set a valid key",
                }),
            },
        }
    }
}

impl Outcome {
    /// What it comes to where there is no other attempt.
    pub(crate) fn after_the_last_attempt(self, request: &Request) -> Result<Reply, FetchError> {
        let place = request.place();
        match self {
            Self::Reply(reply) => Ok(*reply),
            Self::Failed(error) => Err(error),
            Self::Throttled { last, .. } => Err(FetchError::Throttled { place, waited: Duration::ZERO, last }),
            Self::Malformed { reason, head } => Err(FetchError::Malformed { place, attempts: 1, reason, head }),
            Self::Fault { last, .. } => Err(FetchError::Deadline { place, attempts: 1, spent: Duration::ZERO, last }),
        }
    }
}

/// Status and beginning of a reply, for "last seen".
fn seen(reply: &Reply) -> String {
    let retry_after = match &reply.headers.retry_after {
        Some(retry_after) => format!(", retry after {retry_after}"),
        None => String::new(),
    };
    match reply.head() {
        head if head.is_empty() => format!("HTTP status {}{retry_after}", reply.status),
        head => format!("HTTP status {}{retry_after} (`{head}`)", reply.status),
    }
}

/// How a request has fared so far.
pub(crate) struct Course<'a> {
    request: &'a Request,
    options: &'a HttpOptions,
    patience: Duration,
    /// What takes turns at the gate.
    pub(crate) key: String,
    attempts: u32,
    malformed: u32,
    faults: u32,
    /// In attempts and back-off.
    spent: Duration,
    deadline: Duration,
    throttled_since: Option<Instant>,
    last: String,
}

impl<'a> Course<'a> {
    pub(crate) fn new(request: &'a Request, options: &'a HttpOptions, patience: Duration) -> Self {
        Self {
            request,
            options,
            patience,
            key: request.symbol().unwrap_or(request.url().path()).to_owned(),
            attempts: 0,
            malformed: 0,
            faults: 0,
            spent: Duration::ZERO,
            deadline: request.deadline().unwrap_or(options.deadline),
            throttled_since: None,
            last: "nothing".into(),
        }
    }

    /// Asks once, within what is left of the time.
    pub(crate) async fn attempt(&mut self, wire: &Wire) -> Outcome {
        let (start, left) = (Instant::now(), self.deadline.saturating_sub(self.spent));
        let limit = left.min(self.options.attempt_timeout);
        let outcome = match tokio::time::timeout(limit, wire.ask(self.request)).await {
            Ok(Ok(reply)) => Outcome::of(self.request, reply),
            Ok(Err(Lost::Connection(last))) => Outcome::Fault { retry_after: None, last },
            Ok(Err(Lost::For(error))) => Outcome::Failed(error),
            Err(_) => {
                let last = format!("no whole reply within {:.1} s", limit.as_secs_f64());
                Outcome::Fault { retry_after: None, last }
            }
        };
        self.attempts += 1;
        // Time is not up because a host throttles.
        if !matches!(outcome, Outcome::Throttled { .. }) {
            self.spent += start.elapsed();
        }
        outcome
    }

    /// The reply, or nothing if there is to be another attempt, for which it has waited.
    ///
    /// # Errors
    ///
    /// Why there is to be none.
    pub(crate) async fn conclude(&mut self, outcome: Outcome) -> Result<Option<Reply>, FetchError> {
        let retry_after = match outcome {
            Outcome::Reply(reply) => return Ok(Some(*reply)),
            Outcome::Failed(error) => return Err(error),
            Outcome::Throttled { last, .. } => return self.bear_throttling(last).map(|()| None),
            Outcome::Malformed { reason, head } => {
                self.malformed += 1;
                self.last = format!("{reason} (`{head}`)");
                if self.malformed >= self.options.malformed_attempts || self.attempts >= self.request.attempts() {
                    let (place, attempts) = (self.request.place(), self.malformed);
                    return Err(FetchError::Malformed { place, attempts, reason, head });
                }
                None
            }
            Outcome::Fault { retry_after, last } => {
                self.last = last;
                retry_after
            }
        };
        self.back_off(retry_after).await.map(|()| None)
    }

    /// The gate makes it wait; here is seen only that it does not wait for ever while others are served.
    fn bear_throttling(&mut self, last: String) -> Result<(), FetchError> {
        self.last = last;
        let waited = self.throttled_since.get_or_insert_with(Instant::now).elapsed();
        if waited >= self.patience || self.attempts >= self.request.attempts() {
            return Err(self.throttled(waited));
        }
        Ok(())
    }

    async fn back_off(&mut self, retry_after: Option<Duration>) -> Result<(), FetchError> {
        self.faults += 1;
        let wait = self.options.backoff.wait(self.faults).max(retry_after.unwrap_or_default());
        if self.spent + wait >= self.deadline || self.attempts >= self.request.attempts() {
            return Err(FetchError::Deadline {
                place: self.request.place(),
                attempts: self.attempts,
                spent: self.spent,
                last: std::mem::take(&mut self.last),
            });
        }
        let place = self.request.place();
        tracing::debug!(%place, last = self.last, attempt = self.attempts, wait = wait.as_secs_f64(), "will ask again");
        tokio::time::sleep(wait).await;
        self.spent += wait;
        Ok(())
    }

    /// The error of a host that throttles for too long.
    pub(crate) fn throttled(&mut self, waited: Duration) -> FetchError {
        // Who had no turn at all tells at least why.
        let last = if self.attempts == 0 {
            "HTTP status 429 to other requests".into()
        } else {
            std::mem::take(&mut self.last)
        };
        FetchError::Throttled { place: self.request.place(), waited, last }
    }
}
