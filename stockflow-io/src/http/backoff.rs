//! Waits that double, each shortened at random so that many clients do not return in step.

use std::time::Duration;

/// How long to wait between attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait.
    pub initial: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// Waits that double from `initial` to `max`.
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The wait before the attempt after `failed` others: between half of the doubled wait and all of it.
    pub(crate) fn wait(&self, failed: u32) -> Duration {
        let doubled = self.initial.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
        doubled.min(self.max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failed: u32, at_most: u64) {
        let backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(120));
        for _ in 0..100 {
            let wait = backoff.wait(failed);
            assert!(wait >= Duration::from_secs(at_most) / 2 && wait <= Duration::from_secs(at_most), "{wait:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        check(1, 2);
        check(2, 4);
        check(6, 64);
        check(7, 120);
        check(u32::MAX, 120);
    }
}
