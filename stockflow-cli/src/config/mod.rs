//! The pipeline file: TOML in, checked settings out; nothing here opens anything.
//!
//! `tree` parses, `interpolate` fills in environment variables, `section` reads fields and refuses what is unknown,
//! `problem` collects everything that is wrong.

mod interpolate;
mod moment;
mod pipeline;
mod problem;
mod section;
mod tree;

pub(crate) use moment::Moment;
pub(crate) use pipeline::{NamedSink, ObjectStoreConfig, PipelineConfig, StoreConfig};
pub(crate) use problem::{ConfigError, hint, nearest};
pub(crate) use section::Section;
pub(crate) use stockflow_io::secret::SecretRef;
