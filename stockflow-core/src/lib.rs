//! The contracts and the engine of stockflow: bars in, indicators out, epoch by epoch.
//!
//! A [`Pipeline`](pipeline::Pipeline) is one set of DataFusion plans between a resumable [`Source`](source::Source)
//! and idempotent [`Sink`](sink::Sink)s, executed epoch by epoch.
//! This crate knows no network client: connectors live in `stockflow-io`.
//!
//! Read in this order: [`schema`] (what a bar is), [`relation`], [`checkpoint`], [`source`], [`transform`], [`sink`],
//! [`pipeline`], [`store`], [`indicator`].

pub mod error;
pub mod schema;
pub mod relation;
pub mod checkpoint;
pub mod token;
pub mod source;
pub mod transform;
pub mod sink;
pub mod history;
pub mod indicator;
pub mod context;
pub mod functions;
pub mod retry;
pub mod telemetry;
pub mod store;
pub mod pipeline;
pub mod memory;
#[cfg(feature = "testing")]
pub mod testing;

pub use error::{Error, ErrorClass, Origin, Result};
