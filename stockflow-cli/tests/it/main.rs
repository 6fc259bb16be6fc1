//! The binary from the outside: what it prints, what it leaves behind, how it ends.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod company;
mod dates;
mod delivery;
mod disk;
mod dlq;
mod elastic;
mod fetch;
mod help;
mod kafka;
mod main_job;
mod mornings;
mod other_commands;
mod own_output;
mod pipeline_file;
mod place;
mod postgres;
mod providers;
mod restart;
mod scale;
mod seed_flow;
mod seed_job;
#[allow(dead_code)]
#[path = "../../../stockflow-io/tests/it/server/mod.rs"]
mod server;
mod sql;
