//! The live client.

pub(super) mod attempt;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;
use url::Url;

use super::error::FetchError;
use super::limit::{Gate, Permit};
use super::options::HttpOptions;
use super::request::{Fetch, Reply, Request};
use attempt::{Course, Outcome};
use wire::Wire;

/// Asks over the network. Clones share connections, cookies and limits.
///
/// # Guarantees
///
/// A request is sent again only if no acceptable reply came to the attempts before.
/// Dropping the future gives everything back that it holds.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

struct Shared {
    options: HttpOptions,
    wire: Wire,
    gates: Mutex<HashMap<String, Arc<Gate>>>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client that has not asked anything yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Option`] if a limit is 0, a base is no HTTP URL, or the system's certificates cannot be read.
    pub fn new(options: HttpOptions) -> Result<Self, FetchError> {
        options.limit.validate()?;
        options.limits.values().try_for_each(super::Limit::validate)?;
        let wire = Wire::new(&options)?;
        Ok(Self { shared: Arc::new(Shared { options, wire, gates: Mutex::default() }) })
    }

    /// Asks until there is a final reply.
    ///
    /// # Errors
    ///
    /// Any [`FetchError`] that is not about recordings.
    pub(crate) async fn send(&self, request: &Request) -> Result<Reply, FetchError> {
        let gate = self.gate(request.url());
        let patience = request.patience().map(|own| own.min(gate.patience()));
        let mut course = Course::new(request, &self.shared.options, patience.unwrap_or_else(|| gate.patience()));
        let since = Instant::now();
        loop {
            let permit = match gate.pass(&course.key, since, patience).await {
                Ok(permit) => permit,
                Err(blocked) => return Err(course.throttled(blocked.waited)),
            };
            let outcome = course.attempt(&self.shared.wire).await;
            settle(&permit, &outcome, request);
            drop(permit);
            if let Some(reply) = course.conclude(outcome).await? {
                return Ok(reply);
            }
        }
    }

    /// Forgets all cookies.
    pub(crate) fn clear_cookies(&self) {
        self.shared.wire.clear_cookies();
    }

    fn gate(&self, url: &Url) -> Arc<Gate> {
        let (name, limit) = self.shared.options.limit_of(url.host_str().unwrap_or_default());
        let mut gates = self.shared.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(name.to_owned()).or_insert_with(|| Gate::new(*limit)))
    }
}

#[async_trait]
impl Fetch for HttpClient {
    async fn get(&self, request: &Request) -> Result<Reply, FetchError> {
        self.send(request).await
    }
}

/// Tells the gate what came back.
fn settle(permit: &Permit, outcome: &Outcome, request: &Request) {
    match outcome {
        Outcome::Reply(_) => permit.answered(),
        Outcome::Throttled { retry_after, last } => {
            if let Some(pause) = permit.throttled(*retry_after) {
                let (place, pause) = (request.place(), pause.as_secs_f64());
                let rate = permit.rate();
                tracing::warn!(%place, last, pause, rate, "the host asks for fewer requests, all of its requests wait");
            }
        }
        Outcome::Fault { .. } | Outcome::Malformed { .. } | Outcome::Failed(_) => {}
    }
}
