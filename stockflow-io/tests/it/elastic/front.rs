//! Stands before a real Elasticsearch and gets in the way of `_bulk` as told; everything else is passed on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::server::wire::{self, Answer, Call};

/// What happens to one `_bulk` request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing: it is passed on.
    Pass,
    /// It is answered with a status and a body, and not passed on.
    Status(u16, &'static str),
    /// Every second document is not passed on and answered with this status.
    Documents(u16),
    /// The connection ends without an answer.
    Reset,
    /// It is passed on, and the answer is lost.
    LoseAnswer,
}

/// A running front; it ends when dropped.
pub(crate) struct Front {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    target: String,
    client: reqwest::Client,
    faults: Mutex<VecDeque<Fault>>,
    /// Documents of each `_bulk` request that was seen.
    seen: Mutex<Vec<usize>>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// Before the server at `target`; the faults strike one request after the other, and then all is passed on.
    pub(crate) async fn start(target: &str, client: reqwest::Client, faults: impl IntoIterator<Item = Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            target: target.trim_end_matches('/').to_owned(),
            client,
            faults: Mutex::new(faults.into_iter().collect()),
            seen: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { url, shared, task }
    }

    /// Faults that have not struck.
    pub(crate) fn left(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }

    /// How many documents each `_bulk` request had.
    pub(crate) fn seen(&self) -> Vec<usize> {
        self.shared.seen.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(call) = wire::read(&mut stream, &mut buffer).await {
        let answer = if call.path() == "/_bulk" {
            let documents = call.body.iter().filter(|byte| **byte == b'\n').count() / 2;
            shared.seen.lock().unwrap().push(documents);
            let fault = shared.faults.lock().unwrap().pop_front().unwrap_or(Fault::Pass);
            match fault {
                Fault::Pass => Some(shared.pass(&call, call.body.clone()).await),
                Fault::Status(status, body) => Some(Answer::new(status, "application/json", body)),
                Fault::Documents(status) => Some(shared.halved(&call, status).await),
                Fault::Reset => None,
                Fault::LoseAnswer => {
                    shared.pass(&call, call.body.clone()).await;
                    None
                }
            }
        } else {
            Some(shared.pass(&call, call.body.clone()).await)
        };
        let Some(answer) = answer else { return };
        if !wire::write(&mut stream, &call, None, answer, false).await {
            return;
        }
    }
}

impl Shared {
    async fn pass(&self, call: &Call, body: Vec<u8>) -> Answer {
        let method = call.method.parse().unwrap();
        let mut request = self.client.request(method, format!("{}{}", self.target, call.target)).body(body);
        for name in ["content-type", "authorization"] {
            if let Some(value) = call.headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        Answer::new(status, "application/json", answer.bytes().await.unwrap().to_vec())
    }

    async fn halved(&self, call: &Call, status: u16) -> Answer {
        let lines: Vec<&[u8]> = call.body.split_inclusive(|byte| *byte == b'\n').collect();
        let passed: Vec<u8> = lines.chunks(2).step_by(2).flatten().flat_map(|line| line.to_vec()).collect();
        let answer = self.pass(call, passed).await;
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let mut there = answer["items"].as_array().unwrap().iter().cloned();
        let error = json!({"type": "es_rejected_execution_exception", "reason": "queue is full"});
        let items: Vec<Value> = (0..lines.len() / 2)
            .map(|item| match item % 2 {
                0 => there.next().unwrap(),
                _ => json!({"index": {"status": status, "error": error}}),
            })
            .collect();
        Answer::json(200, json!({"errors": true, "items": items}))
    }
}
