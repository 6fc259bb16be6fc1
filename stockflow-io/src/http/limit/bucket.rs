//! A token bucket whose rate can be lowered while it runs.
//!
//! It is our own because the `governor` crate fixes a limiter's quota when it is made: halving the rate would throw away
//! its state each time, and a pause is not in its model.

use std::time::Duration;

use tokio::time::Instant;

use super::Limit;

/// The least that throttling leaves of the rate.
const FLOOR: f64 = 1.0 / 16.0;
/// What a good reply gives back of the rate.
const RECOVERY: f64 = 1.0 / 50.0;

/// Tokens, one an attempt.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: Limit,
    /// Tokens a second at present.
    rate: f64,
    tokens: f64,
    /// When `tokens` was true. In the future while the bucket is closed.
    at: Instant,
}

impl Bucket {
    pub(super) fn new(limit: Limit, now: Instant) -> Self {
        Self { limit, rate: limit.per_second, tokens: f64::from(limit.burst), at: now }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes a token, or says when to try again.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if now < self.at {
            return Err(self.at);
        }
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() * self.rate).min(f64::from(self.limit.burst));
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A bit more than needed: rounding must not make it wake just too early, again and again.
        Err(now + Duration::from_secs_f64((1.0 - self.tokens) / self.rate) + Duration::from_micros(1))
    }

    /// Until when it gives out nothing; not in the future unless it is closed.
    pub(super) fn closed_until(&self) -> Instant {
        self.at
    }

    /// Gives out nothing for this long, and no burst afterwards.
    pub(super) fn close(&mut self, now: Instant, pause: Duration) {
        self.tokens = self.tokens.min(1.0);
        self.at = self.at.max(now + pause);
    }

    pub(super) fn slow_down(&mut self) {
        self.rate = (self.rate / 2.0).max(self.limit.per_second * FLOOR);
    }

    pub(super) fn recover(&mut self) {
        self.rate = (self.rate + self.limit.per_second * RECOVERY).min(self.limit.per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Limit::default(), start);
        let mut now = start;
        for _ in 0..4 + 20 {
            while let Err(at) = bucket.take(now) {
                now = at;
            }
        }
        let took = (now - start).as_secs_f64();
        assert!((10.0..10.01).contains(&took), "{took}");
    }

    #[test]
    fn a_closed_bucket_opens_without_a_burst() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Limit::default(), now);
        bucket.close(now, Duration::from_secs(60));
        let open = now + Duration::from_secs(60);
        assert_eq!(bucket.take(now), Err(open));
        assert_eq!(bucket.take(open), Ok(()));
        assert!(bucket.take(open).is_err());
    }

    #[test]
    fn the_rate_halves_to_a_floor_and_comes_back_slowly() {
        let mut bucket = Bucket::new(Limit::default(), Instant::now());
        bucket.slow_down();
        assert!((bucket.rate() - 1.0).abs() < 1e-9);
        for _ in 0..10 {
            bucket.slow_down();
        }
        assert!((bucket.rate() - 0.125).abs() < 1e-9);
        for _ in 0..46 {
            bucket.recover();
        }
        assert!(bucket.rate() < 2.0);
        bucket.recover();
        assert!((bucket.rate() - 2.0).abs() < 1e-9);
    }
}
