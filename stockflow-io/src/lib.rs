//! The connectors of stockflow: where bars come from and where they go.
//!
//! One folder and one cargo feature for each; connectors never import each other.
//!
//! | connector | source | sink | feature |
//! |---|---|---|---|
//! | [`mod@file`] CSV, Parquet, NDJSON | yes | yes | always there |
//! | [`console`] | | yes | always there |
//! | [`delta`] tables of the lake | as history | yes | `delta` |
//! | [`postgres`] tables of PostgreSQL | yes | yes | `postgres` |
//! | [`kafka`] topics | yes | yes | `kafka` |
//! | [`elastic`] indices of Elasticsearch and OpenSearch | as search | yes | `elastic` |
//! | [`yahoo`] Yahoo Finance | yes | | `yahoo` |
//!
//! [`provider`] (also feature `yahoo`) puts Yahoo, Stooq, Alpha Vantage and files behind one trait and into a chain.
//! [`http`] (also feature `yahoo`) is the client for price providers, with recorded replies in place of the network.
//!
//! Files live on the local disk or in any object store: see [`location`] for the URLs (feature `s3` for `s3://`).

mod columnar;
pub mod console;
pub mod file;
pub mod location;
mod once;
pub mod secret;
mod text;

#[cfg(feature = "delta")]
pub mod delta;

#[cfg(feature = "postgres")]
pub mod postgres;

#[cfg(feature = "kafka")]
pub mod kafka;

#[cfg(feature = "elastic")]
pub mod elastic;

#[cfg(feature = "yahoo")]
pub mod http;
#[cfg(feature = "yahoo")]
pub mod provider;
#[cfg(feature = "yahoo")]
pub mod yahoo;

pub use columnar::ParquetCompression;
