//! Elasticsearch and OpenSearch: indices that rows are written to by key, and searched.
//!
//! [`ElasticSink`] writes a relation to an index, [`IndexSearch`] searches one, [`ElasticOptions`] says how to reach the server.
//! Both servers are spoken to in plain JSON over HTTP and are treated alike but for the point in time of a search.
//!
//! # How rows go in
//!
//! `stage` turns them into documents and keeps them, in memory and then on disk; `commit` writes all of them by `_bulk`, in requests
//! that are cut by bytes, several at once.
//!
//! * **The `_id` is the relation's key**, joined by `|`: a repeated row replaces itself. Rows of a relation without a key get ids of
//!   the server's, so a repeated epoch doubles them.
//! * **The version is the version column** (points in time in µs), kept as the document's external version: an equal or older one
//!   changes nothing, in whatever order requests arrive.
//! * **Each document has its own outcome.** Written, or already there as new (409): done. 429 and 5xx: this document alone is sent
//!   again, after a pause. Refused by the mapping (400): a refused row with the server's reason. The index is gone, read-only or
//!   forbidden: the epoch stops, for someone to mend it.
//! * **An outage is no bad row**: whatever the connection or the server as a whole suffers is transient.
//!
//! # What holds
//!
//! Effectively once: no transaction spans documents, so a reader may see half an epoch while it is written and until one that was
//! broken off is run again; it ends with the same documents. The fence is a document for each sink in an index of its own, written
//! under a condition and looked at right before each commit.
//!
//! # Indices
//!
//! For the name `bars` documents go through the alias `bars` into the index `bars-000001`; by months through the alias
//! `bars_y2024m01` into `bars_y2024m01-000001`, all of them read through `bars`. The month is that of the key's time, so a key is
//! always in the same index. Template, mapping and aliases are made of the relation's columns, and columns that are new are added,
//! unless `create = false`. An index that is there under the name itself is taken as it is. `mapping.rs` says which type becomes which field.
//!
//! # Trying it
//!
//! `scripts/services up elasticsearch` starts a real server, `eval "$(scripts/services env elasticsearch)"` says where.

mod bulk;
mod client;
mod document;
mod error;
mod fence;
mod index;
mod mapping;
mod name;
mod options;
mod search;
mod sink;
mod spool;

pub use options::ElasticOptions;
pub use search::{IndexSearch, SearchQuery, SortBy};
pub use sink::{ElasticSink, Refresh};
