//! The time at a gate. In unit tests it is made up: it stands still while anybody has something to do.
//!
//! tokio has such a clock, but the feature for it would change tokio for everything that is built on it.

#[cfg(not(test))]
use tokio::time::Instant;
#[cfg(not(test))]
pub(super) use tokio::time::sleep_until;

#[cfg(not(test))]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
pub(super) use fake::{now, run, sleep_until};

#[cfg(test)]
mod fake {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use tokio::time::Instant;

    thread_local! {
        static CLOCK: RefCell<Clock> = RefCell::new(Clock { now: Instant::now(), alarms: Vec::new() });
    }

    struct Clock {
        now: Instant,
        alarms: Vec<(Instant, Waker)>,
    }

    impl Clock {
        /// Goes on to the next alarm; whether there was one.
        fn advance(&mut self) -> bool {
            let Some(next) = self.alarms.iter().map(|(at, _)| *at).min() else { return false };
            self.now = self.now.max(next);
            for (_, waker) in self.alarms.extract_if(.., |(at, _)| *at <= next) {
                waker.wake();
            }
            true
        }
    }

    pub(in crate::http::limit) fn now() -> Instant {
        CLOCK.with_borrow(|clock| clock.now)
    }

    pub(in crate::http::limit) async fn sleep_until(at: Instant) {
        std::future::poll_fn(|context| {
            CLOCK.with_borrow_mut(|clock| {
                if clock.now >= at {
                    return Poll::Ready(());
                }
                clock.alarms.push((at, context.waker().clone()));
                Poll::Pending
            })
        })
        .await;
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Runs a future to its end without waiting.
    pub(in crate::http::limit) fn run<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            if woken.0.swap(false, Ordering::SeqCst) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return output;
                }
            } else {
                assert!(CLOCK.with_borrow_mut(Clock::advance), "everybody waits for something that does not come");
            }
        }
    }
}
