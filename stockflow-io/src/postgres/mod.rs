//! PostgreSQL: tables that bars and whatever is computed from them are merged into.
//!
//! [`PostgresSink`] writes a relation to a table, [`PostgresSource`] reads a table or a query, [`PostgresOptions`] says how to reach the
//! server.
//!
//! # How rows go in
//!
//! `stage` copies them in binary into a temporary table of the session that will commit; `commit` merges that into the table, in one
//! transaction with the fence and the token. Of rows of one key the newer version counts; an equal or older one changes nothing.
//!
//! # What holds
//!
//! * **One transaction.** Rows and the token (`stockflow_tokens`, one row for each sink and table) become visible together.
//! * **The fence is atomic**: the same transaction locks the token's row and looks who opened the table last.
//! * **What is staged is invisible**, unlogged, and goes with its session: a killed runner leaves nothing, and after a crash of the
//!   server the epoch is staged again.
//! * **Bad rows are left out**, not the epoch: texts with a NUL, numbers that do not fit, NULL in a key before anything is sent;
//!   what the server refuses (SQLSTATE 22, 23) by cutting the rows up until single ones are left. Rows that only the table as a whole
//!   refuses (a unique key, a foreign key) are found in `commit`.
//! * **An outage is no bad row**: SQLSTATE 08, 40, 53, 55, 57 and lost connections are transient; 28 and 42 are for someone to mend.
//!
//! # Tables
//!
//! A table that is missing is made of the relation's columns, with the key as primary key; a column that is missing is added; both
//! unless `create = false`. Every step is recorded in `stockflow_migrations`. A table that is there must have the columns and a unique
//! index on exactly the key. `types.rs` says which type goes into which column.
//!
//! # Trying it
//!
//! `scripts/services up postgres` starts a real server, `eval "$(scripts/services env postgres)"` says where.

mod attempt;
mod commit;
mod connection;
mod decode;
mod encode;
mod error;
mod filter;
mod layout;
mod migrate;
mod months;
mod name;
mod origin;
mod read;
mod refused;
mod sink;
mod source;
mod stage;
mod state;
mod tls;
mod token;
mod types;

pub use connection::PostgresOptions;
pub use layout::Change;
pub use sink::PostgresSink;
pub use source::PostgresSource;
pub use tls::SslMode;
