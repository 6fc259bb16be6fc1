//! A provider on this machine that misbehaves as told, and remembers who asked what and when.
//!
//! It stands in for all of Yahoo's hosts, Stooq and Alpha Vantage at once; `X-Forwarded-Host` tells which is meant.
//! Its data is made up, the same for the same symbol each time.

pub(crate) mod script;

mod alpha_vantage;
mod daily;
mod stooq;
pub(crate) mod wire;
mod yahoo;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use url::Url;

use script::{Script, Trouble};
use wire::{Answer, Call};

/// A running server; it ends when dropped.
pub(crate) struct Server {
    base: Url,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Script,
    start: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that were accepted.
    connections: usize,
    seen: Vec<Seen>,
    running: usize,
    most_running: usize,
    /// How often each rule of the script was looked at; by path for rules about each path.
    counts: HashMap<(usize, String), u64>,
    session: yahoo::Session,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Since the server's start.
    pub(crate) at: Duration,
    pub(crate) host: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    /// Whether it was answered as a client hopes.
    pub(crate) is_good: bool,
}

impl Server {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let shared = Arc::new(Shared { script, start: Instant::now(), state: Mutex::default() });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    serving.state.lock().unwrap().connections += 1;
                    tokio::spawn(serve(Arc::clone(&serving), stream));
                }
            }
        });
        Self { base, shared, task }
    }

    pub(crate) fn base(&self) -> Url {
        self.base.clone()
    }

    /// All requests so far, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.state.lock().unwrap().seen.clone()
    }

    /// How many requests were for paths that begin so.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.target.starts_with(path)).count()
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// How many were answered at the same time, at most.
    pub(crate) fn most_running(&self) -> usize {
        self.shared.state.lock().unwrap().most_running
    }

    /// How many came within any time of `window`, at most.
    pub(crate) fn most_within(&self, window: Duration) -> usize {
        let at: Vec<Duration> = self.seen().iter().map(|seen| seen.at).collect();
        let mut first = 0;
        (0..at.len())
            .map(|last| {
                while at[last] - at[first] > window {
                    first += 1;
                }
                last - first + 1
            })
            .max()
            .unwrap_or_default()
    }

    /// What was answered well more than once.
    pub(crate) fn duplicates(&self) -> Vec<String> {
        let mut counts = HashMap::new();
        for seen in self.seen().into_iter().filter(|seen| seen.is_good) {
            *counts.entry(seen.target).or_insert(0) += 1;
        }
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(target, _)| target).collect()
    }

    /// Makes all cookies and crumbs given out so far worthless.
    pub(crate) fn expire_sessions(&self) {
        self.shared.state.lock().unwrap().session.expire();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers on one connection until the other side closes it, or it is to be broken.
async fn serve(shared: Arc<Shared>, mut stream: TcpStream) {
    let mut buffer = Vec::new();
    while let Some(call) = wire::read(&mut stream, &mut buffer).await {
        let (trouble, answer) = shared.begin(&call);
        if let Some(Trouble::Slow(time)) = trouble {
            tokio::time::sleep(time).await;
        }
        let goes_on = wire::write(&mut stream, &call, trouble.as_ref(), answer, shared.script.gzip).await;
        shared.state.lock().unwrap().running -= 1;
        if !goes_on {
            return;
        }
    }
}

impl Shared {
    /// Notes the request, and makes up what it gets.
    fn begin(&self, call: &Call) -> (Option<Trouble>, Answer) {
        let mut state = self.state.lock().unwrap();
        state.running += 1;
        state.most_running = state.most_running.max(state.running);
        let trouble = self.script.trouble(&mut state.counts, call.path());
        let answer = match &trouble {
            Some(Trouble::Answer { status, headers, body }) => {
                Answer { status: *status, headers: headers.clone(), body: body.clone().into_bytes() }
            }
            _ => self.answer(&mut state, call),
        };
        let is_good = answer.status == 200 && matches!(trouble, None | Some(Trouble::Slow(_)));
        state.seen.push(Seen {
            at: self.start.elapsed(),
            host: call.host.clone(),
            target: call.target.clone(),
            headers: call.headers.clone(),
            is_good,
        });
        (trouble, answer)
    }

    fn answer(&self, state: &mut State, call: &Call) -> Answer {
        match call.path() {
            "/big" => {
                let bytes = call.parameter("bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
                Answer { status: 200, headers: Vec::new(), body: vec![b' '; bytes] }
            }
            "/around" => Answer::redirect(302, "/around".into()),
            "/q/d/l/" => stooq::answer(call),
            "/query" => alpha_vantage::answer(call),
            _ => yahoo::answer(&mut state.session, self.script.consent, call),
        }
    }
}
