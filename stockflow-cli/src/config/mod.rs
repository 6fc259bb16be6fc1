//! The pipeline file: TOML in, checked settings out; nothing here opens anything.
//!
//! `tree` parses, `interpolate` fills in environment variables, `section` reads fields and refuses what is unknown,
//! `problem` collects everything that is wrong.

mod interpolate;
mod problem;
mod secret;
mod section;
mod tree;

pub(crate) use interpolate::{Env, Variable};
pub(crate) use problem::{ConfigError, Problems, nearest};
pub(crate) use secret::{Secret, SecretRef};
pub(crate) use section::Section;
