#![allow(clippy::unwrap_used, clippy::panic)]
mod clean;
mod fixtures;
mod inject;
mod input;
mod property;
mod random;
