//! The connectors of stockflow: where bars come from and where they go.
//!
//! One folder and one cargo feature for each; connectors never import each other.
//!
//! | connector | source | sink | feature |
//! |---|---|---|---|
//! | [`mod@file`] CSV, Parquet, NDJSON | yes | yes | always there |
//! | [`console`] | | yes | always there |
//! | [`delta`] tables of the lake | as history | yes | `delta` |
//!
//! Files live on the local disk or in any object store: see [`location`] for the URLs (feature `s3` for `s3://`).

mod columnar;
pub mod console;
pub mod file;
pub mod location;
mod once;

#[cfg(feature = "delta")]
pub mod delta;

pub use columnar::ParquetCompression;
