//! The decoders of Yahoo's replies against recorded replies and against damage.

mod listed;
mod property;
mod recorded;
mod recording;

pub(crate) use recording::Recording;
