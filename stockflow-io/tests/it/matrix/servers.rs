//! The servers of the environment, and a set of the matrix's own that it may kill.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::cell::{SinkKind, SourceKind};
use crate::elastic::server::{Login, Place as Index};
use crate::support::left_out;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Server {
    Kafka,
    /// The first of three brokers; what they hold stands on all of them.
    BrokerOfThree,
    Postgres,
    Elasticsearch,
}

impl Server {
    /// Its name in `scripts/services`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kafka | Self::BrokerOfThree => "kafka",
            Self::Postgres => "postgres",
            Self::Elasticsearch => "elasticsearch",
        }
    }

    /// What `scripts/services` is told besides.
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::BrokerOfThree => &[("STOCKFLOW_KAFKA_BROKERS", "3"), ("STOCKFLOW_KAFKA_KILL", "1")],
            // Two of them at once: small ones.
            Self::Elasticsearch => &[("STOCKFLOW_ELASTICSEARCH_HEAP", "512m")],
            Self::Kafka | Self::Postgres => &[],
        }
    }

    /// The file with the process's number, below the folder of the set.
    fn pid_file(self) -> &'static str {
        match self {
            Self::Kafka | Self::BrokerOfThree => "kafka/kafka-1.pid",
            Self::Postgres => "postgres/postgres.pid",
            Self::Elasticsearch => "elasticsearch/elasticsearch.pid",
        }
    }
}

/// Where an Elasticsearch is, and how it is entered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Elasticsearch {
    url: String,
    login: Option<Login>,
    ca: Option<String>,
}

impl Elasticsearch {
    /// An index of a name.
    pub(super) fn index(&self, name: &str) -> Index {
        Index { index: name.to_owned(), ..Index::new(self.url.clone(), self.login.clone(), self.ca.clone()) }
    }
}

/// Where servers are, as far as there are any.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Servers {
    pub(super) kafka: Option<String>,
    /// URL and password.
    pub(super) postgres: Option<(String, String)>,
    pub(super) elasticsearch: Option<Elasticsearch>,
}

impl Servers {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            kafka: variable("STOCKFLOW_TEST_KAFKA"),
            postgres: variable("STOCKFLOW_TEST_POSTGRES_URL").zip(variable("STOCKFLOW_TEST_POSTGRES_PASSWORD")),
            elasticsearch: variable("STOCKFLOW_TEST_ELASTIC_URL").map(|url| Elasticsearch {
                url,
                login: variable("STOCKFLOW_TEST_ELASTIC_USER").zip(variable("STOCKFLOW_TEST_ELASTIC_PASSWORD")),
                ca: variable("STOCKFLOW_TEST_ELASTIC_CA"),
            }),
        }
    }

    /// These, and for what they lack the others.
    pub(super) fn or(self, others: &Self) -> Self {
        Self {
            kafka: self.kafka.or_else(|| others.kafka.clone()),
            postgres: self.postgres.or_else(|| others.postgres.clone()),
            elasticsearch: self.elasticsearch.or_else(|| others.elasticsearch.clone()),
        }
    }

    /// Those of `scripts/services env`.
    pub(super) fn of_environment() -> Self {
        Self::of(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn has(&self, server: Server) -> bool {
        match server {
            Server::Kafka | Server::BrokerOfThree => self.kafka.is_some(),
            Server::Postgres => self.postgres.is_some(),
            Server::Elasticsearch => self.elasticsearch.is_some(),
        }
    }

    /// Whether the servers of a pair are there; counted as left out if they are not.
    pub(super) fn have(&self, what: &str, source: SourceKind, sink: SinkKind) -> bool {
        let missing: Vec<&str> = [source.server(), sink.server()]
            .into_iter()
            .flatten()
            .filter(|server| !self.has(*server))
            .map(Server::name)
            .collect();
        if !missing.is_empty() {
            let (source, sink, missing) = (source.name(), sink.name(), missing.join(", "));
            left_out(&format!("{what}, {source} -> {sink}: no {missing}, see scripts/services"));
        }
        missing.is_empty()
    }
}

/// Servers in a folder of their own.
#[derive(Debug, Clone)]
pub(super) struct OwnServers {
    folder: PathBuf,
}

impl OwnServers {
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// `scripts/services COMMAND SERVER`.
    pub(super) fn call(&self, command: &str, server: Server) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let output = Command::new(script)
            .args([command, server.name()])
            .env("STOCKFLOW_SERVICES_DIR", &self.folder)
            .envs(server.settings().iter().copied())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/services {command} {}: {error}", server.name());
        String::from_utf8(output.stdout).unwrap()
    }

    fn servers(&self, servers: &[Server]) -> Servers {
        let env: String = servers.iter().map(|server| self.call("env", *server)).collect();
        Servers::of(|name| {
            let start = format!("export {name}=");
            // Written for a shell: a comma has a backslash before it.
            env.lines().find_map(|line| line.strip_prefix(&start)).map(|value| value.replace('\\', ""))
        })
    }

    /// The number of the server's process.
    pub(super) fn process(&self, server: Server) -> String {
        std::fs::read_to_string(self.folder.join(server.pid_file())).unwrap()
    }
}

/// Own servers that are gone after the test.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) own: OwnServers,
    servers: Vec<Server>,
    folder: tempfile::TempDir,
}

impl Started {
    pub(super) fn new(servers: &[Server]) -> Self {
        let folder = tempfile::Builder::new().prefix("matrix").tempdir().unwrap();
        let started = Self { own: OwnServers::at(folder.path()), servers: servers.to_vec(), folder };
        for server in servers {
            started.own.call("up", *server);
        }
        started
    }

    /// Where they are.
    pub(super) fn servers(&self) -> Servers {
        self.own.servers(&self.servers)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Not asserted: a panic here would hide the test's own.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        for server in &self.servers {
            let _ = Command::new(script)
                .args(["down", server.name()])
                .env("STOCKFLOW_SERVICES_DIR", self.folder.path())
                .envs(server.settings().iter().copied())
                .output();
        }
    }
}
