//! The binary from the outside: what it prints, what it leaves behind, how it ends.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod company;
mod disk;
mod fetch;
mod help;
mod main_job;
mod other_commands;
mod own_output;
mod pipeline_file;
mod place;
mod restart;
mod scale;
mod seed_job;
mod sql;
