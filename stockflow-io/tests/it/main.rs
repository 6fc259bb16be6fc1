//! The connectors against real files, real servers and real damage.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod bad_input;
mod conformance;
mod console;
mod crash;
mod delta;
mod elastic;
mod expired;
mod file_sink;
mod file_source;
mod fuzz;
mod http;
mod kafka;
mod matrix;
mod postgres;
mod provider_answers;
mod providers;
mod s3;
mod server;
mod support;
mod yahoo_adjust;
mod yahoo_company;
mod yahoo_decode;
mod yahoo_source;
mod yahoo_windows;
