//! stub

#[cfg(feature = "delta")]
pub mod delta;
