//! The contracts and the engine of stockflow: bars in, indicators out, epoch by epoch.
//!
//! A [`Pipeline`](pipeline::Pipeline) is one set of DataFusion plans between a resumable [`Source`](source::Source)
//! and idempotent [`Sink`](sink::Sink)s, executed epoch by epoch.
//! This crate knows no network client: connectors live in `stockflow-io`.
//!
//! Read in this order: [`schema`] (what a bar is), [`relation`], [`checkpoint`], [`source`], [`transform`], [`sink`],
//! [`pipeline`], [`store`], [`indicator`], [`window`], [`market`].

pub mod checkpoint;
pub mod consumed;
pub mod context;
pub mod error;
pub mod functions;
pub mod history;
pub mod indicator;
pub mod market;
pub mod memory;
pub mod pipeline;
pub mod relation;
pub mod retry;
pub mod schema;
pub mod sink;
pub mod source;
pub mod store;
pub mod table;
pub mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
pub mod transform;
pub mod window;

pub use error::{Error, ErrorClass, Origin, Result};
