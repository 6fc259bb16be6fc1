//! The turns at one host.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limit;
use super::bucket::Bucket;
use super::clock;

/// A clock that overflows would be a panic: a year is for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// Everyone who asks one host passes here.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: Limit,
    state: Mutex<State>,
}

/// The host has answered nothing but 429 for as long as it is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub(crate) waited: Duration,
}

#[derive(Debug)]
struct State {
    bucket: Bucket,
    in_flight: usize,
    /// Symbols with someone waiting, the next one first.
    turns: VecDeque<String>,
    /// Who waits for each of them; never empty.
    queues: HashMap<String, VecDeque<Arc<Notify>>>,
    /// Grows with every pause, so that the replies of one moment count as one.
    pauses: u64,
    /// Pauses without a good reply in between.
    strikes: u32,
    /// Since when there was no good reply.
    throttled_since: Option<Instant>,
}

/// What the one who waits has to do.
enum Turn {
    Now(u64),
    NotYet,
    SleepUntil(Instant),
    GiveUp(Duration),
}

impl Gate {
    pub(crate) fn new(limit: Limit) -> Arc<Self> {
        let state = State {
            bucket: Bucket::new(limit, clock::now()),
            in_flight: 0,
            turns: VecDeque::new(),
            queues: HashMap::new(),
            pauses: 0,
            strikes: 0,
            throttled_since: None,
        };
        Arc::new(Self { limit, state: Mutex::new(state) })
    }

    /// Waits for a turn. Dropping the future gives the place in the queue back.
    ///
    /// # Errors
    ///
    /// [`Blocked`] if the host has done nothing but throttle for longer than the limit's patience, counted from `since`
    /// at the earliest. Who brings a patience of their own counts from when the throttling began, and does not wait for a
    /// pause that is longer: only when a pause is over one of them at a time tries the host again.
    pub(crate) async fn pass(
        self: &Arc<Self>,
        symbol: &str,
        since: Instant,
        patience: Option<Duration>,
    ) -> Result<Permit, Blocked> {
        let place = Waiting::join(self, symbol);
        loop {
            // The lock is gone before anything is awaited.
            let turn = self.state().turn(&place, &self.limit, since, patience, clock::now());
            match turn {
                Turn::Now(pauses) => return Ok(Permit { gate: Arc::clone(self), pauses }),
                Turn::GiveUp(waited) => return Err(Blocked { waited }),
                Turn::NotYet => place.woken.notified().await,
                Turn::SleepUntil(at) => {
                    tokio::select! {
                        () = clock::sleep_until(at) => {}
                        () = place.woken.notified() => {}
                    }
                }
            }
        }
    }

    /// For how long it may do nothing but throttle.
    pub(crate) fn patience(&self) -> Duration {
        self.limit.patience
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change below is complete before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(
        &mut self,
        waiting: &Waiting<'_>,
        limit: &Limit,
        since: Instant,
        patience: Option<Duration>,
        now: Instant,
    ) -> Turn {
        let is_foremost = self.foremost().is_some_and(|foremost| Arc::ptr_eq(foremost, &waiting.woken));
        let own = patience.zip(self.throttled_since).map(|(patience, throttled)| throttled + patience.min(FOR_EVER));
        let give_up = match patience {
            Some(_) => own,
            None => self.throttled_since.map(|throttled| throttled.max(since) + limit.patience.min(FOR_EVER)),
        };
        let is_over = give_up.is_some_and(|at| at <= now);
        let is_probe = own.is_some() && is_foremost && self.in_flight == 0 && self.bucket.closed_until() <= now;
        let is_hopeless = own.is_some_and(|at| self.bucket.closed_until() > now.max(at));
        if is_hopeless || (is_over && !is_probe) {
            return Turn::GiveUp(now - self.throttled_since.unwrap_or(now));
        }
        // Whoever leaves wakes the next one, also when giving up.
        if !is_foremost || self.in_flight >= limit.parallel {
            return own.map_or(Turn::NotYet, Turn::SleepUntil);
        }
        match self.bucket.take(now) {
            Err(_) if is_over => Turn::GiveUp(now - self.throttled_since.unwrap_or(now)),
            Err(at) => Turn::SleepUntil(give_up.map_or(at, |give_up| at.min(give_up))),
            Ok(()) => {
                self.in_flight += 1;
                self.leave(waiting);
                // The symbol's others come after everyone else's next one.
                if self.turns.front().is_some_and(|symbol| symbol == waiting.symbol) {
                    self.turns.rotate_left(1);
                }
                self.wake();
                Turn::Now(self.pauses)
            }
        }
    }

    fn foremost(&self) -> Option<&Arc<Notify>> {
        self.queues.get(self.turns.front()?)?.front()
    }

    fn wake(&self) {
        if let Some(foremost) = self.foremost() {
            foremost.notify_one();
        }
    }

    fn leave(&mut self, waiting: &Waiting<'_>) {
        if let Some(queue) = self.queues.get_mut(waiting.symbol) {
            queue.retain(|other| !Arc::ptr_eq(other, &waiting.woken));
            if queue.is_empty() {
                self.queues.remove(waiting.symbol);
                self.turns.retain(|symbol| symbol != waiting.symbol);
            }
        }
    }
}

/// A place in the queue, left on drop.
struct Waiting<'a> {
    gate: &'a Gate,
    symbol: &'a str,
    woken: Arc<Notify>,
}

impl<'a> Waiting<'a> {
    fn join(gate: &'a Gate, symbol: &'a str) -> Self {
        let woken = Arc::new(Notify::new());
        let mut state = gate.state();
        if !state.queues.contains_key(symbol) {
            state.turns.push_back(symbol.to_owned());
        }
        state.queues.entry(symbol.to_owned()).or_default().push_back(Arc::clone(&woken));
        Self { gate, symbol, woken }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.leave(self);
        state.wake();
    }
}

/// The right to one attempt.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    pauses: u64,
}

impl Permit {
    /// Requests a second at present.
    pub(crate) fn rate(&self) -> f64 {
        self.gate.state().bucket.rate()
    }

    /// The host has answered properly.
    pub(crate) fn answered(&self) {
        let mut state = self.gate.state();
        // A reply to what was sent before a pause says nothing about the time after it.
        if state.pauses == self.pauses {
            state.strikes = 0;
            state.throttled_since = None;
            state.bucket.recover();
        }
    }

    /// The host asks for fewer requests: pauses it, for everyone.
    ///
    /// Returns the pause if this reply began one.
    pub(crate) fn throttled(&self, retry_after: Option<Duration>) -> Option<Duration> {
        let now = clock::now();
        let mut state = self.gate.state();
        let is_new = state.pauses == self.pauses;
        if is_new {
            state.pauses += 1;
            state.strikes = state.strikes.saturating_add(1);
            state.throttled_since.get_or_insert(now);
            state.bucket.slow_down();
        }
        let pause = match retry_after {
            Some(pause) => pause,
            None if is_new => self.gate.limit.pause.wait(state.strikes),
            None => return None,
        };
        let pause = pause.min(FOR_EVER);
        state.bucket.close(now, pause);
        is_new.then_some(pause)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.in_flight -= 1;
        state.wake();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::http::Backoff;

    fn elapsed(since: Instant) -> Duration {
        clock::now() - since
    }

    fn limit() -> Limit {
        Limit { burst: 1, parallel: 1, per_second: 10.0, ..Limit::default() }
    }

    /// Which symbols passed in which order, if they asked in the order of `symbols`.
    async fn order(symbols: &[&str]) -> Vec<String> {
        let (gate, passed) = (Gate::new(limit()), Mutex::new(Vec::new()));
        join_all(symbols.iter().map(|symbol| async {
            let _permit = gate.pass(symbol, clock::now(), None).await.unwrap();
            passed.lock().unwrap().push((*symbol).to_owned());
        }))
        .await;
        passed.into_inner().unwrap()
    }

    #[test]
    fn symbols_take_turns() {
        clock::run(async {
            assert_eq!(order(&["A", "A", "A", "A", "B", "C", "B"]).await, ["A", "A", "B", "C", "A", "B", "A"]);
        });
    }

    #[test]
    fn a_hundred_requests_of_one_symbol_do_not_starve_the_others() {
        clock::run(async {
            let symbols: Vec<&str> = [vec!["LONG"; 100], vec!["B", "C", "D", "E"]].concat();
            let order = order(&symbols).await;
            let last = order.iter().rposition(|symbol| symbol != "LONG").unwrap();
            assert!(last < 8, "{order:?}");
            assert_eq!(order.len(), 104);
        });
    }

    #[test]
    fn the_rate_holds_and_so_does_the_bound_on_what_runs_at_once() {
        clock::run(async {
            let gate = Gate::new(Limit::default());
            let (start, running) = (clock::now(), Mutex::new((0, 0)));
            join_all((0..24).map(|i| {
                let (gate, running) = (&gate, &running);
                async move {
                    let _permit = gate.pass(&format!("S{i}"), start, None).await.unwrap();
                    {
                        let mut running = running.lock().unwrap();
                        running.0 += 1;
                        running.1 = running.0.max(running.1);
                    }
                    clock::sleep_until(clock::now() + Duration::from_secs(3)).await;
                    running.lock().unwrap().0 -= 1;
                }
            }))
            .await;
            // Four at a time for three seconds each is slower than two a second.
            assert_eq!(elapsed(start).as_secs(), 18);
            assert_eq!(running.into_inner().unwrap(), (0, 4));
        });
    }

    #[test]
    fn retry_after_pauses_everyone_and_halves_the_rate_once() {
        clock::run(async {
            let gate = Gate::new(Limit { parallel: 4, burst: 4, ..Limit::default() });
            let start = clock::now();
            let permits = join_all((0..3).map(|_| gate.pass("A", start, None))).await;
            let pauses: Vec<_> = permits
                .into_iter()
                .map(|permit| permit.unwrap().throttled(Some(Duration::from_secs(60))).map(|pause| pause.as_secs()))
                .collect();
            assert_eq!(pauses, [Some(60), None, None]);
            assert!((gate.state().bucket.rate() - 1.0).abs() < 1e-9);
            drop(gate.pass("B", start, None).await.unwrap());
            assert_eq!(elapsed(start).as_secs(), 60);
            drop(gate.pass("B", start, None).await.unwrap());
            assert_eq!(elapsed(start).as_secs(), 61);
        });
    }

    #[test]
    fn pauses_without_retry_after_grow_until_a_good_reply() {
        clock::run(async {
            let gate =
                Gate::new(Limit { pause: Backoff::new(Duration::from_secs(2), Duration::from_secs(120)), ..limit() });
            let mut pauses = Vec::new();
            for _ in 0..3 {
                pauses.push(gate.pass("A", clock::now(), None).await.unwrap().throttled(None).unwrap());
            }
            assert!(pauses[0] >= Duration::from_secs(1) && pauses[0] <= Duration::from_secs(2), "{pauses:?}");
            assert!(pauses[2] >= Duration::from_secs(4) && pauses[2] <= Duration::from_secs(8), "{pauses:?}");
            gate.pass("A", clock::now(), None).await.unwrap().answered();
            let pause = gate.pass("A", clock::now(), None).await.unwrap().throttled(None).unwrap();
            assert!(pause <= Duration::from_secs(2), "{pause:?}");
        });
    }

    #[test]
    fn patience_ends_for_all_who_wait() {
        clock::run(async {
            let gate = Gate::new(Limit { patience: Duration::from_secs(300), ..limit() });
            let start = clock::now();
            gate.pass("A", start, None).await.unwrap().throttled(Some(Duration::from_secs(86_400)));
            let all = join_all(["A", "B", "C"].map(|symbol| gate.pass(symbol, start, None))).await;
            assert!(all.iter().all(|turn| matches!(turn, Err(Blocked { .. }))), "{all:?}");
            assert_eq!(elapsed(start).as_secs(), 300);
        });
    }

    #[test]
    fn who_can_go_elsewhere_waits_once_for_all_and_one_at_a_time_tries_again() {
        clock::run(async {
            let pause = Backoff::new(Duration::from_secs(4), Duration::from_secs(120));
            let gate = Gate::new(Limit { pause, parallel: 4, ..limit() });
            let (start, short) = (clock::now(), Some(Duration::from_secs(30)));
            let mut n_tried = 0;
            // A batch of requests, each of which would try until it gives up.
            for _ in 0..20 {
                let tries = ["A", "B", "C"].map(|symbol| {
                    let gate = Arc::clone(&gate);
                    async move {
                        let mut n = 0;
                        while let Ok(permit) = gate.pass(symbol, clock::now(), short).await {
                            permit.throttled(None);
                            n += 1;
                        }
                        n
                    }
                });
                n_tried += join_all(tries).await.into_iter().sum::<u32>();
            }
            assert!((10..=30).contains(&elapsed(start).as_secs()), "{:?}", elapsed(start));
            assert!(n_tried < 10, "{n_tried}");
            // Behind the pause one of them finds the host well again, and everybody passes.
            clock::sleep_until(clock::now() + Duration::from_secs(200)).await;
            let probe = gate.pass("A", clock::now(), short).await.unwrap();
            assert!(gate.pass("B", clock::now(), short).await.is_err());
            probe.answered();
            drop(probe);
            drop(gate.pass("B", clock::now(), short).await.unwrap());
        });
    }

    #[test]
    fn a_pause_that_is_too_long_is_not_waited_for() {
        clock::run(async {
            let gate = Gate::new(limit());
            let start = clock::now();
            gate.pass("A", start, None).await.unwrap().throttled(Some(Duration::from_secs(3600)));
            assert!(gate.pass("A", start, Some(Duration::from_secs(30))).await.is_err());
            assert_eq!(elapsed(start).as_secs(), 0);
        });
    }

    #[test]
    fn who_is_cancelled_leaves_the_queue() {
        clock::run(async {
            let gate = Gate::new(limit());
            let first = gate.pass("A", clock::now(), None).await.unwrap();
            for _ in 0..10 {
                let turn = gate.pass("A", clock::now(), None);
                let too_long = clock::sleep_until(clock::now() + Duration::from_millis(10));
                tokio::select! {
                    _ = turn => panic!("the first has not left"),
                    () = too_long => {}
                }
            }
            assert!(gate.state().queues.is_empty() && gate.state().turns.is_empty());
            drop(first);
            drop(gate.pass("B", clock::now(), None).await.unwrap());
            assert_eq!(gate.state().in_flight, 0);
        });
    }
}
