//! Writing requests, and what becomes of each document.

use bytes::Bytes;
use reqwest::StatusCode;
use serde::Deserialize;
use stockflow_core::retry::Backoff;
use stockflow_core::telemetry::PART_WRITTEN;
use stockflow_core::{ErrorClass, Origin, Result};
use tokio::sync::Mutex;

use super::client::Client;
use super::error::{Failure, Reason};
use super::spool::Request;

/// Writes requests to one server.
#[derive(Debug, Clone)]
pub(super) struct Bulk {
    pub(super) client: Client,
    pub(super) origin: Origin,
    /// Between attempts at documents that the server has no room for now.
    pub(super) backoff: Backoff,
    /// Whether an answer waits until its documents are visible.
    pub(super) wait_for: bool,
}

/// A document that the server does not take.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) document: Vec<u8>,
    pub(super) reason: String,
}

/// What is left to do of a request.
#[derive(Debug, Default)]
struct Work {
    open: Vec<Request>,
    refused: Vec<Refused>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    index: Outcome,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    status: u16,
    #[serde(default)]
    error: Option<Reason>,
}

/// What is to be done about a document.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Again,
    Refuse(String),
    Stop,
}

fn verdict(outcome: &Outcome, failure: impl FnOnce() -> Failure) -> Verdict {
    let told = || outcome.error.as_ref().map_or_else(|| format!("HTTP {}", outcome.status), ToString::to_string);
    match outcome.status {
        200..=299 => Verdict::Done,
        // An equal or newer version is there.
        409 => Verdict::Done,
        400 if !concerns_all(outcome.error.as_ref()) => Verdict::Refuse(told()),
        _ if failure().class == ErrorClass::Transient => Verdict::Again,
        _ => Verdict::Stop,
    }
}

/// Whether a refusal is of the index and not of the document: every row has every column, so a field that is not allowed is
/// none in any of them.
fn concerns_all(error: Option<&Reason>) -> bool {
    error.is_some_and(|error| {
        error.kind == "strict_dynamic_mapping_exception"
            || error.reason.as_deref().is_some_and(|reason| reason.contains("no write index is defined"))
    })
}

impl Bulk {
    /// Writes a request to its end; gives the documents that were refused.
    ///
    /// # Errors
    ///
    /// Class transient: the server is not there, or has had no room for too long. Class config: an index is gone, read-only or
    /// forbidden.
    pub(super) async fn write(&self, request: Request) -> Result<Vec<Refused>> {
        let work = Mutex::new(Work { open: vec![request], refused: Vec::new() });
        let attempt = || async {
            let mut work = work.lock().await;
            match self.attempt(&mut work).await {
                Ok(None) => Ok(Ok(())),
                Ok(Some(pressed)) => Err(pressed.at("write", &self.origin)),
                // Whatever the connection suffers is for the engine to wait out: it opens the sink anew.
                Err(failure) => Ok(Err(failure.at("write", &self.origin))),
            }
        };
        self.backoff.retry("write to Elasticsearch", attempt).await??;
        tracing::debug!(name: PART_WRITTEN, origin = %self.origin, "a request is written");
        Ok(work.into_inner().refused)
    }

    /// Sends what is open; `Some` if the server has no room for some of it now.
    async fn attempt(&self, work: &mut Work) -> Result<Option<Failure>, Failure> {
        let (mut pressed, mut later) = (None, Vec::new());
        while let Some(request) = work.open.last() {
            let sent = self.send(request.body()).await;
            // Only now: whoever breaks off here finds it again.
            let Some(request) = work.open.pop() else { break };
            match sent {
                Ok(answer) => {
                    if let Some((failure, again)) = self.sorted(&request, &answer, &mut work.refused)? {
                        later.push(again);
                        pressed = Some(failure);
                    }
                }
                Err(failure) if failure.is(StatusCode::PAYLOAD_TOO_LARGE) => match request.len() {
                    1 => work.refused.push(Refused {
                        document: request.document(0).to_vec(),
                        reason: format!(
                            "HTTP 413: a document of {} bytes is more than the server takes at once; raise its `http.max_content_length`",
                            request.document(0).len()
                        ),
                    }),
                    _ => work.open.extend(request.halves()),
                },
                // The server is there and asks for patience.
                Err(failure) if failure.status.is_some() && failure.class == ErrorClass::Transient => {
                    later.push(request);
                    pressed = Some(failure);
                    break;
                }
                Err(failure) => return Err(failure),
            }
        }
        work.open.append(&mut later);
        Ok(pressed)
    }

    async fn send(&self, body: Bytes) -> Result<Answer, Failure> {
        let refresh = if self.wait_for { "&refresh=wait_for" } else { "" };
        let path = format!("_bulk?filter_path=errors,items.*.status,items.*.error{refresh}");
        self.client.lines(&path, body).await
    }

    /// Sorts the documents of an answered request; gives those that are to be sent again, with the reason.
    fn sorted(
        &self,
        request: &Request,
        answer: &Answer,
        refused: &mut Vec<Refused>,
    ) -> Result<Option<(Failure, Request)>, Failure> {
        if !answer.errors {
            return Ok(None);
        }
        if answer.items.len() != request.len() {
            let (n, m) = (answer.items.len(), request.len());
            return Err(Failure::internal(format!("the server answered for {n} documents of {m}")));
        }
        let (mut again, mut last) = (Vec::new(), None);
        for (item, Item { index: outcome }) in answer.items.iter().enumerate() {
            let failure = || {
                let status = StatusCode::from_u16(outcome.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let (kind, told) =
                    outcome.error.as_ref().map(|error| (error.kind.clone(), error.to_string())).unwrap_or_default();
                Failure::of(status, kind, &told)
            };
            match verdict(outcome, failure) {
                Verdict::Done => {}
                Verdict::Refuse(reason) => refused.push(Refused { document: request.document(item).to_vec(), reason }),
                Verdict::Stop => return Err(failure()),
                Verdict::Again => {
                    again.push(item);
                    last = Some(failure());
                }
            }
        }
        Ok(last.map(|failure| {
            let n = again.len();
            (failure.map(|text| format!("{n} of {} documents: {text}", request.len())), request.pick(again))
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(outcome: &str, expected: Verdict) {
        let outcome: Outcome = serde_json::from_str(outcome).unwrap();
        let status = StatusCode::from_u16(outcome.status).unwrap();
        assert_eq!(verdict(&outcome, || Failure::of(status, String::new(), "")), expected);
    }

    #[test]
    fn each_document_has_its_outcome() {
        check(r#"{"status":201}"#, Verdict::Done);
        check(
            r#"{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"[a]: version conflict"}}"#,
            Verdict::Done,
        );
        check(r#"{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}"#, Verdict::Again);
        check(r#"{"status":503}"#, Verdict::Again);
        check(
            r#"{"status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse","caused_by":{"type":"x","reason":"out of range\n at [Source: ...]"}}}"#,
            Verdict::Refuse("document_parsing_exception: [1:6] failed to parse: out of range".into()),
        );
        check(r#"{"status":400,"error":{"type":"strict_dynamic_mapping_exception","reason":"[x]"}}"#, Verdict::Stop);
        check(r#"{"status":404,"error":{"type":"index_not_found_exception"}}"#, Verdict::Stop);
        check(r#"{"status":403,"error":{"type":"cluster_block_exception"}}"#, Verdict::Stop);
    }
}
