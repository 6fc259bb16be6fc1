//! The server of `scripts/services`, and names of a test's own there. Nothing here goes through the connector.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::json::ReaderBuilder;
use serde_json::{Value, json};
use stockflow_io::elastic::{ElasticOptions, ElasticSink, Refresh};
use stockflow_io::secret::Secret;

use crate::support::left_out;

/// A user with its password.
pub(crate) type Login = (String, String);

/// Where a server is, and an index of the test's own in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    /// None on OpenSearch, which runs without security here.
    pub(crate) login: Option<Login>,
    pub(crate) ca: Option<String>,
    pub(crate) index: String,
    pub(crate) client: reqwest::Client,
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(format!("STOCKFLOW_TEST_ELASTIC_{name}")).ok().filter(|text| !text.is_empty())
}

/// A file that the server's set-up has left: a certificate, a key.
pub(crate) fn file(name: &str) -> PathBuf {
    variable(name).unwrap().into()
}

/// A new name in the server that the environment names; `None` without one.
pub(crate) fn place(test: &str) -> Option<Place> {
    let Some(url) = variable("URL") else {
        left_out(&format!("Elasticsearch, {test}: STOCKFLOW_TEST_ELASTIC_URL is not set, see scripts/services"));
        return None;
    };
    Some(Place::new(url, variable("USER").zip(variable("PASSWORD")), variable("CA")))
}

/// The same, where there are passwords and certificates: only Elasticsearch.
pub(crate) fn secured(test: &str) -> Option<Place> {
    place(test).filter(|place| place.login.is_some())
}

impl Place {
    pub(crate) fn new(url: String, login: Option<Login>, ca: Option<String>) -> Self {
        let mut builder = reqwest::Client::builder();
        if let Some(ca) = &ca {
            let ca = std::fs::read(ca).unwrap();
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca).unwrap());
        }
        let index = format!("it-{}", uuid::Uuid::new_v4().simple());
        Self { url, login, ca, index, client: builder.build().unwrap() }
    }

    /// Another name in the same server.
    pub(crate) fn another(&self) -> Self {
        Self { index: format!("it-{}", uuid::Uuid::new_v4().simple()), ..self.clone() }
    }

    /// How the connector reaches the server.
    pub(crate) fn options(&self) -> ElasticOptions {
        let mut options = ElasticOptions::parse(&self.url).unwrap();
        if let Some(ca) = &self.ca {
            options = options.with_ca(ca);
        }
        self.with_login(options)
    }

    pub(crate) fn with_login(&self, options: ElasticOptions) -> ElasticOptions {
        match &self.login {
            Some((user, password)) => options.with_login(user, Secret::new(password)),
            None => options,
        }
    }

    /// A sink whose rows are seen at once.
    pub(crate) fn sink(&self) -> ElasticSink {
        self.sink_by(self.options())
    }

    pub(crate) fn sink_by(&self, options: ElasticOptions) -> ElasticSink {
        let settings = [("number_of_replicas", "0"), ("refresh_interval", "50ms")];
        ElasticSink::new(options, &self.index).unwrap().with_refresh(Refresh::Now).with_index_settings(settings)
    }

    /// A request of the test's own: status and answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method.parse().unwrap(), format!("{}/{path}", self.url));
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password));
        }
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// A request that must succeed.
    pub(crate) async fn tell(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(method, path, (!body.is_null()).then_some(body)).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// All documents behind the name in the order of their ids, as the server has them; nothing if there is no index.
    pub(crate) async fn hits(&self) -> Vec<Value> {
        self.ask("POST", &format!("{}/_refresh", self.index), None).await;
        let body = json!({"size": 10_000, "version": true});
        let (status, answer) = self.ask("POST", &format!("{}/_search", self.index), Some(body)).await;
        if status == 404 {
            return Vec::new();
        }
        let mut hits = answer["hits"]["hits"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        hits.sort_by_key(|hit| hit["_id"].as_str().unwrap().to_owned());
        hits
    }

    pub(crate) async fn ids(&self) -> Vec<String> {
        self.hits().await.iter().map(|hit| hit["_id"].as_str().unwrap().to_owned()).collect()
    }

    /// What a reader sees in columns of a schema.
    pub(crate) async fn read(&self, schema: &SchemaRef) -> Vec<RecordBatch> {
        let documents: Vec<Value> = self.hits().await.iter().map(|hit| hit["_source"].clone()).collect();
        let mut decoder = ReaderBuilder::new(Arc::clone(schema)).with_batch_size(10_000).build_decoder().unwrap();
        decoder.serialize(&documents).unwrap();
        decoder.flush().unwrap().into_iter().collect()
    }

    /// The names of the indices behind the name.
    pub(crate) async fn indices(&self) -> Vec<String> {
        let (_, answer) = self.ask("GET", &format!("{}/_alias", self.index), None).await;
        let mut names: Vec<String> = answer.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    }
}
