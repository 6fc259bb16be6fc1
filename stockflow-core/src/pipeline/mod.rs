//! The pipeline: builder, identity, guarantee and the epoch engine.

pub(crate) mod spool;
