//! What a sink keeps of an epoch, and who may write.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one epoch of one pipeline for good: its number and a hash of the pipeline's UUID and the epoch's intent.
///
/// For intent E a sink may hold E or E-1; anything else does not belong to this pipeline.
/// The [`Generation`] is only the fence and no part of it: a restarted runner finishes the epoch of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochToken {
    /// The epoch's number, from 1.
    pub epoch: u64,
    /// 63 bits of the SHA-256 of pipeline UUID and intent, so that it fits a signed integer (Delta's `txn` version).
    pub hash: u64,
}

impl fmt::Display for EpochToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.epoch, self.hash)
    }
}

impl std::str::FromStr for EpochToken {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text
            .split_once('-')
            .and_then(|(epoch, hash)| Some((epoch.parse().ok()?, u64::from_str_radix(hash, 16).ok()?)));
        let (epoch, hash) = parts.ok_or_else(|| format!("`{text}` is no epoch token"))?;
        Ok(Self { epoch, hash })
    }
}

/// Orders the runners of a pipeline: each new one claims the store with a higher generation and fences the older ones.
///
/// It is the time of the claim in ms, or one more than the last one if the clock was set back: so it grows even over a new
/// or restored store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `pipeline name/sink name`: the key under which a sink keeps the token (Kafka's transactional id, too).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SinkId {
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name within it.
    pub sink: String,
}

impl SinkId {
    /// A sink of a pipeline.
    pub fn new(pipeline: impl Into<String>, sink: impl Into<String>) -> Self {
        Self { pipeline: pipeline.into(), sink: sink.into() }
    }
}

impl fmt::Display for SinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let token = EpochToken { epoch: 7, hash: 0x1f };
        assert_eq!(token.to_string(), "7-000000000000001f");
        assert_eq!(token.to_string().parse(), Ok(token));
        assert!("7".parse::<EpochToken>().is_err());
    }
}
