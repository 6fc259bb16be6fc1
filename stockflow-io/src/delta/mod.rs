//! Delta tables: the lake.
//!
//! [`DeltaSink`] writes a relation to a table that any Delta reader opens (Spark, DuckDB, Polars, Trino: reader version 1, writer version
//! 2, no table features), [`DeltaHistory`] gives a pipeline the rows that such a table held at a pinned version, [`open_table`] makes one
//! a table for SQL, [`AsOfTable`] and [`as_of_view`] tell what was known at a point in time, [`maintain`] keeps it in shape.
//!
//! # Where rows go
//!
//! | relation | partitions | |
//! |---|---|---|
//! | `interval` and `ts` in its key | `interval`, `span` | `span` is the year of `ts`, for intraday bars its month: a generated string column |
//! | any other | none | |
//!
//! Files are Parquet (zstd), sorted by symbol and time, 128 MiB at most unless told otherwise, with bounds in the log and in every row
//! group, so that readers of one symbol or one month skip the rest. Floats have no dictionary.
//!
//! # Which rows count
//!
//! Of rows of one key the higher version counts; an equal or lower one changes nothing, and neither does one without a real difference
//! (floats: 1e-6 of the value for relations versioned by `as_of`, exact for derived ones). Within an epoch the higher version counts, of
//! equal ones the later row. Only the partitions of an epoch's keys are looked at, there only the files whose bounds admit one, and only
//! files with a row that is replaced are written again. What corrections replace is appended to `<table>_revisions` (the table's columns
//! and [`REPLACED_AS_OF`]), for relations versioned by `as_of`.
//!
//! # What holds
//!
//! * **One commit.** Rows, new columns and the token (epoch, 63 bits of its hash) become visible in one Delta commit. An epoch without
//!   changes commits its token alone. A table and its revisions are two commits, the revisions first, each with its token.
//! * **The fence is atomic.** `open` writes its nonce into the table (`txn` actions, see `token.rs`); an epoch is committed as the
//!   version right after the one on which that nonce was read, or not at all. A table that does not exist yet is made by `open`, with a
//!   stand-in column until the first epoch brings the relation's own.
//! * **What is staged is invisible**: Parquet files that the log does not name. Their names tell sink, epoch and attempt, so the next
//!   `open` finds and removes what a killed runner left.
//! * **Others may write, too.** An epoch whose table was changed since it was staged is staged again; compaction gives way.
//! * Guarantees are for crashes of the process, not of the machine: the local file system is not synced.
//!
//! # Columns
//!
//! A new column is added, older rows have NULL there. A column that is gone or of another type is refused with the difference. Types are
//! mapped as `schema.rs` lists; points in time are µs UTC. A row with a NULL in its key is a refused row.
//!
//! # Object stores
//!
//! `s3://bucket/folder` (feature `s3`) goes through object_store's client; it needs a server that creates objects only if they are absent
//! (`If-None-Match: *`), as S3 does.

mod attempt;
mod commit;
mod error;
mod history;
mod latest;
mod layout;
mod live;
mod maintain;
mod merge;
mod object;
mod open;
mod order;
mod partition;
mod place;
mod provider;
mod reader;
mod revisions;
mod schema;
mod sink;
mod stage;
mod stats;
mod table;
mod tidy;
mod token;
mod touched;
mod view;
mod writer;

pub use history::DeltaHistory;
pub use maintain::{CompactedPartition, MaintainOptions, MaintainReport, maintain};
pub use partition::SPAN;
pub use provider::open_table;
pub use revisions::REPLACED_AS_OF;
pub use sink::DeltaSink;
pub use view::{AsOfTable, as_of_view};

#[cfg(test)]
mod tests;
