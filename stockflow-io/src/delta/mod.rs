//! Delta tables: the lake.
//!
//! work in progress
mod attempt;
mod commit;
mod error;
mod history;
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
mod provider;
mod reader;
mod revisions;
mod schema;
mod sink;
mod stage;
mod stats;
mod table;
mod token;
mod touched;
mod view;
mod writer;

pub use partition::SPAN;
pub use revisions::REPLACED_AS_OF;
pub use history::DeltaHistory;
pub use provider::open_table;
pub use sink::DeltaSink;
pub use view::as_of_view;

#[cfg(test)]
mod tests;
