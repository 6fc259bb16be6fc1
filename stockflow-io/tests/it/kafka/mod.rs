//! The Kafka connector against a real broker: `scripts/services up kafka` and `eval "$(scripts/services env kafka)"`.

mod avro;
pub(crate) mod broker;
mod conformance;
mod pipeline;
mod security;
mod sink;
mod source;
