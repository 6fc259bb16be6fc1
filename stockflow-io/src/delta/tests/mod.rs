//! The sink on real tables in temporary folders.
#![allow(clippy::unwrap_used, clippy::panic)]

mod basics;
mod columns;
mod corrections;
mod maintain;
mod model;
mod protocol;
mod s3;
mod support;
