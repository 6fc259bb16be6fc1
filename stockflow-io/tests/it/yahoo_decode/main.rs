//! The decoders of Yahoo's replies against recorded replies and against damage.

// Helpers of tests may stop at the first surprise, as tests do.
#![allow(clippy::unwrap_used)]

mod property;
mod recorded;
mod recording;
