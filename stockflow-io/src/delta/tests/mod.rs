//! The sink on real tables in temporary folders.
#![allow(clippy::unwrap_used, clippy::panic)]

mod basics;
mod support;
