//! The schema registry: what a number in a message means.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use stockflow_core::{Error, Result};

use super::error::Failure;
use crate::secret::SecretRef;

/// How long a registry that does not answer is asked again, where nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// A schema registry with Confluent's interface.
#[derive(Debug, Clone)]
pub struct SchemaRegistry {
    url: Url,
    login: Option<(String, SecretRef)>,
    client: Client,
    patience: Duration,
    /// Schemas never change; neither does that there is none that can be used.
    known: Arc<Mutex<HashMap<u32, Known>>>,
}

/// A schema's text, or why there is none.
type Known = Result<Arc<str>, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    schema: String,
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<serde_json::Value>,
}

impl SchemaRegistry {
    /// A registry at a URL, such as `http://127.0.0.1:8081`; nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidParameter`] if the text is no URL of the kind `http://` or `https://`.
    pub fn new(url: &str) -> Result<Self> {
        let wrong = |reason: String| Error::parameter("kafka", "registry", reason);
        let mut parsed = Url::parse(url).map_err(|error| wrong(format!("`{url}` is no URL: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.password().is_some() {
            return Err(wrong("write it as `https://host:8081`, without a password".into()));
        }
        if !parsed.path().ends_with('/') {
            parsed.set_path(&format!("{}/", parsed.path()));
        }
        let client = Client::builder()
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|error| wrong(format!("no client for it can be made: {error}")))?;
        Ok(Self { url: parsed, login: None, client, patience: PATIENCE, known: Arc::default() })
    }

    /// Logs in by a user and a password that is kept somewhere.
    #[must_use]
    pub fn with_login_from(mut self, user: impl Into<String>, place: SecretRef) -> Self {
        self.login = Some((user.into(), place));
        self
    }

    /// How long a registry that does not answer is asked again; the default is 30 s.
    #[must_use]
    pub fn with_timeout(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The schema of that number, or why there is none. Blocks; to be called beside the runtime.
    pub(super) fn schema(&self, id: u32) -> Result<Known, Failure> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(known.clone());
        }
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|_| Failure::config("the schema registry can only be asked within a runtime of tokio"))?;
        let found = runtime.block_on(self.ask(id))?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, found.clone());
        Ok(found)
    }

    async fn ask(&self, id: u32) -> Result<Known, Failure> {
        let url = self.url.join(&format!("schemas/ids/{id}")).map_err(|error| Failure::config(error.to_string()))?;
        let end = Instant::now() + self.patience;
        loop {
            let failure = match self.ask_once(&url, id).await {
                Err(failure) if failure.class == stockflow_core::ErrorClass::Transient => failure,
                answered => return answered,
            };
            if Instant::now() >= end {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn ask_once(&self, url: &Url, id: u32) -> Result<Known, Failure> {
        let told = |what: String| format!("the schema registry at {}: {what}", self.url);
        let mut request = self.client.get(url.clone()).header("Accept", "application/vnd.schemaregistry.v1+json");
        if let Some((user, place)) = &self.login {
            let password = place.resolve().map_err(Failure::config)?;
            request = request.basic_auth(user, Some(password.reveal()));
        }
        let silent = |what: &dyn fmt::Display| {
            Failure::transient(told(format!("{what}; check that it runs, and the URL in `registry`")))
        };
        let no_answer = |error: reqwest::Error| silent(&innermost(&error.without_url()));
        let answer = request.send().await.map_err(no_answer)?;
        let status = answer.status();
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Err(format!("its schema {id} is unknown to the registry"))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Failure::config(told(format!("{status}; check `registry_user` and `registry_password`"))));
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(silent(&status));
            }
            _ => return Err(Failure::config(told(format!("{status}; is it a registry with Confluent's interface?")))),
        }
        let body = answer.bytes().await.map_err(no_answer)?;
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| Failure::config(told(format!("its answer has no meaning: {error}"))))?;
        Ok(match answer {
            Answer { schema_type: Some(other), .. } if other != "AVRO" => {
                Err(format!("its schema {id} is of the type {other}, not AVRO"))
            }
            Answer { references, .. } if !references.is_empty() => {
                Err(format!("its schema {id} refers to others, which is not supported"))
            }
            Answer { schema, .. } => Ok(schema.into()),
        })
    }
}

/// What is behind an error: the client's own words only say that there was one.
fn innermost(error: &dyn StdError) -> String {
    match error.source() {
        Some(cause) => innermost(cause),
        None => error.to_string(),
    }
}
