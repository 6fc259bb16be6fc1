//! Apache Kafka: topics as source and sink.
//!
//! # Source
//!
//! [`KafkaSource`] reads one topic.
//! A *partition* is one of the topic's, named `topic/number`; its *position* is the offset of the next message with the topic's
//! id, as in `105#sa9PtPKvR6Kf6sxS3LitlA`.
//! An epoch is planned by the topic's watermarks, as far as transactions are committed, and reads exactly the offsets that were
//! pinned: replay is exact.
//! The checkpoint counts, not the group's offsets, which are written for tools that watch the lag.
//! New partitions are picked up by the next plan.
//!
//! A message that cannot be decoded is a dead letter with partition, offset, key, headers and its bytes.
//! Gaps within an epoch (compaction, marks of transactions) are normal.
//! Messages that were deleted before they were read are an error, unless that is allowed and then told.
//!
//! # Sink
//!
//! [`KafkaSink`] writes each epoch in one transaction, together with its token: a record in a compacted topic of its own.
//! The transactional id is the sink's id (`pipeline/sink`), so the brokers fence an older runner at the commit.
//! Readers must read by `read_committed`.
//! Rows are keyed by their relation's key, joined by `|`, and placed by their symbol.
//! A row that is larger than the topic takes is refused.
//!
//! # Limits
//!
//! * A topic that was deleted and made again is noticed by its id; of brokers that give no ids, by its watermarks only.
//! * A transaction is as long as the write of one epoch; it must end within the broker's `transaction.max.timeout.ms`.
//!
//! # Trying it
//!
//! `scripts/services up kafka` starts a broker, and `scripts/services env kafka` says where it is.

mod access;
mod client;
mod decode;
mod encode;
mod error;
mod kind;
mod letter;
mod native;
mod options;
mod pin;
mod place;
mod position;
mod registry;
mod scan;
mod sink;
mod sizes;
mod source;
mod spool;
mod token;
mod topics;

pub use access::{AccessRule, Operation, Resource, TopicAccess};
pub use decode::KafkaFormat;
pub use options::{KafkaOptions, SaslMechanism};
pub use registry::SchemaRegistry;
pub use scan::{SOURCE_OFFSET, SOURCE_PARTITION, SOURCE_TIME};
pub use sink::{KafkaCompression, KafkaSink};
pub use source::{KafkaSource, KafkaStart};
pub use topics::{TopicDifference, TopicSpec, apply_topics, check_topics};
