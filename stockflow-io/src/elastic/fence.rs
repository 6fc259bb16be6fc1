//! Who may write: one document for each sink and index, in an index of our own.
//!
//! It is only ever changed under the condition that nobody changed it meanwhile. The write of rows is another request, so the fence is
//! checked and not atomic: a runner that stalls between the two may still write, and its documents count by their versions.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stockflow_core::retry::Backoff;
use stockflow_core::token::{Generation, SinkId};
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::client::{Client, part};
use super::error::Failure;
use super::name::DocumentId;

/// For others that come in between, and for an index that is just being made.
const PATIENCE: Backoff = Backoff {
    initial: Duration::from_millis(20),
    max: Duration::from_secs(1),
    deadline: Some(Duration::from_secs(15)),
};

/// An index in the hands of one runner.
#[derive(Debug, Clone)]
pub(super) struct Ownership {
    pub(super) sink: SinkId,
    pub(super) generation: Generation,
    /// No other handle has it.
    pub(super) owner: String,
    /// The index's name.
    pub(super) index: String,
    /// The index that keeps the documents.
    pub(super) meta_index: String,
}

/// The document.
#[derive(Debug, Serialize, Deserialize)]
struct Held {
    sink: String,
    index: String,
    generation: u64,
    owner: String,
}

#[derive(Debug, Deserialize)]
struct Found {
    #[serde(rename = "_seq_no")]
    seq_no: u64,
    #[serde(rename = "_primary_term")]
    primary_term: u64,
    #[serde(rename = "_source")]
    held: Held,
}

impl Ownership {
    fn id(&self) -> String {
        let mut id = DocumentId::default();
        id.push(true, &self.sink.to_string());
        id.push(false, &self.index);
        part(id.finish())
    }

    async fn found(&self, client: &Client) -> std::result::Result<Option<Found>, Failure> {
        client.look(&format!("{}/_doc/{}", self.meta_index, self.id())).await
    }

    fn fenced_by(&self, newer: u64) -> Error {
        Error::Fenced { pipeline: self.sink.pipeline.clone(), own: self.generation.0, newer }
    }

    /// Takes the index over; `again`: this very handle has held it before.
    ///
    /// Of two runners the newer generation may write, of two of one generation the one that came last. A handle that opens again
    /// although another one came in between is fenced.
    pub(super) async fn take(&self, client: &Client, again: bool, create: bool, origin: &Origin) -> Result<()> {
        if create {
            self.make_index(client).await.map_err(|failure| failure.at("take over", origin))?;
        }
        // Where somebody else makes the index at this moment, its shard is not there yet.
        PATIENCE.retry("take over", || self.take_once(client, again, origin)).await
    }

    async fn take_once(&self, client: &Client, again: bool, origin: &Origin) -> Result<()> {
        let at = |failure: Failure| failure.at("take over", origin);
        let found = self.found(client).await.map_err(at)?;
        let condition = match &found {
            None => "op_type=create".to_owned(),
            Some(Found { held, .. }) if held.generation > self.generation.0 || again && held.owner != self.owner => {
                return Err(self.fenced_by(held.generation));
            }
            Some(Found { seq_no, primary_term, .. }) => format!("if_seq_no={seq_no}&if_primary_term={primary_term}"),
        };
        let path = format!("{}/_doc/{}?{condition}", self.meta_index, self.id());
        let held = json!(Held {
            sink: self.sink.to_string(),
            index: self.index.clone(),
            generation: self.generation.0,
            owner: self.owner.clone(),
        });
        match client.tell(Method::PUT, &path, Some(&held)).await {
            Err(failure) if failure.is(StatusCode::CONFLICT) => {
                let reason = format!(
                    "the document of sink `{}` in `{}` was changed by others meanwhile",
                    self.sink, self.meta_index
                );
                Err(Error::refused(origin.clone(), ErrorClass::Transient, reason))
            }
            told => told.map_err(at),
        }
    }

    async fn make_index(&self, client: &Client) -> std::result::Result<(), Failure> {
        let path = format!("{}?filter_path=*.settings.index.uuid", self.meta_index);
        if client.look::<serde::de::IgnoredAny>(&path).await?.is_some() {
            return Ok(());
        }
        let body = json!({
            "settings": {"index.number_of_shards": "1", "index.auto_expand_replicas": "0-1"},
            "mappings": {"dynamic": "strict", "properties": {
                "sink": {"type": "keyword"}, "index": {"type": "keyword"},
                "generation": {"type": "long"}, "owner": {"type": "keyword"},
            }},
        });
        match client.tell(Method::PUT, &self.meta_index, Some(&body)).await {
            Err(failure) if failure.kind != "resource_already_exists_exception" => Err(failure),
            _ => Ok(()),
        }
    }

    /// Whether the index is still ours.
    pub(super) async fn check(&self, client: &Client, origin: &Origin) -> Result<()> {
        let found = self.found(client).await.map_err(|failure| failure.at("check the fence", origin))?;
        let found = found.ok_or_else(|| {
            let reason = format!(
                "the document of sink `{}` in `{}` was removed by others; run again",
                self.sink, self.meta_index
            );
            Error::refused(origin.clone(), ErrorClass::Config, reason)
        })?;
        if found.held.owner == self.owner { Ok(()) } else { Err(self.fenced_by(found.held.generation)) }
    }
}
