//! Source and sink in memory: complete twins of real connectors, for tests, examples and throw-away pipelines.
//!
//! A clone of a twin is another handle on the same data, as a restarted process would open it. Both can be told to misbehave
//! as real systems do: outages, undecodable input, unreadable partitions, refused rows.

mod sink;
mod source;

pub use sink::{MemorySink, RefuseIn};
pub use source::MemorySource;
