//! PostgreSQL: a real server, with TLS, passwords and rights, that is also killed and restarted.

mod conformance;
mod connect;
mod crash;
mod rows;
pub(crate) mod server;
mod source;
mod tables;
