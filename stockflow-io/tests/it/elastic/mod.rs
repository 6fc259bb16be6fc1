//! Elasticsearch: a real server, with TLS, passwords and rights; without these, and by the same tests, OpenSearch.

mod conformance;
mod connect;
mod front;
mod outcomes;
mod search;
pub(crate) mod server;
mod tables;
