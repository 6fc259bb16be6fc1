//! The engine against its contracts (design section 4, paragraph by paragraph) with the twins in memory.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub)]

mod adapters;
mod companion;
mod continuous;
mod crash;
mod derived;
mod epochs;
mod errors;
mod goes_on;
mod guarantee;
mod identity;
mod kit;
mod property;
mod rebuild;
mod replay;
mod support;
mod telemetry;
