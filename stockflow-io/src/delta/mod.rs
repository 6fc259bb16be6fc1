//! Delta tables: the lake.
//!
//! work in progress
mod attempt;
mod commit;
mod error;
mod interval;
mod latest;
mod layout;
mod live;
mod merge;
mod object;
mod open;
mod order;
mod partition;
mod place;
mod reader;
mod revisions;
mod schema;
mod sink;
mod stage;
mod stats;
mod table;
mod token;
mod touched;
mod writer;

pub use partition::SPAN;
pub use revisions::REPLACED_AS_OF;
pub use sink::DeltaSink;
