//! Who may ask a host next: a token bucket, a bound on what runs at once, and turns for symbols.
//!
//! Every host (or domain whose hosts are one service) has a [`Gate`].
//! Those who wait at it stand in one queue per symbol; the symbols take turns, so one with a hundred requests does not
//! starve the others.
//! No task runs in the background: the foremost waiter sleeps until the next token and wakes the one after it.

mod bucket;
mod clock;
mod gate;

use std::time::Duration;

use super::backoff::Backoff;
use super::error::FetchError;

pub(crate) use gate::{Gate, Permit};

/// How often a host is asked.
///
/// In any time of `t` seconds it gets at most `burst + t · per_second` attempts.
/// Redirects within one attempt are not counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Requests per second, 2. Halved by every 429, but not below a sixteenth; a good reply gives back a fiftieth.
    pub per_second: f64,
    /// How many may come at once after a rest, 4.
    pub burst: u32,
    /// How many run at the same time, 4.
    pub parallel: usize,
    /// The pauses after replies of 429 without `Retry-After`: 2 s doubling to 2 minutes.
    pub pause: Backoff,
    /// How long a host may answer nothing but 429 before those who wait for it fail, 15 minutes.
    pub patience: Duration,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            per_second: 2.0,
            burst: 4,
            parallel: 4,
            pause: Backoff::new(Duration::from_secs(2), Duration::from_secs(120)),
            patience: Duration::from_secs(900),
        }
    }
}

impl Limit {
    /// So many requests a second, everything else by default.
    pub fn per_second(per_second: f64) -> Self {
        Self { per_second, ..Self::default() }
    }

    pub(crate) fn validate(&self) -> Result<(), FetchError> {
        let refuse = |option, reason: String| Err(FetchError::Option { option, reason });
        if !(self.per_second.is_finite() && self.per_second > 0.0) {
            return refuse("per_second", format!("{} is not a number above 0", self.per_second));
        }
        if self.burst == 0 {
            return refuse("burst", "0 is not at least 1".into());
        }
        if self.parallel == 0 {
            return refuse("parallel", "0 is not at least 1".into());
        }
        Ok(())
    }
}
