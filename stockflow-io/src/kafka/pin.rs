//! What an epoch will read: the offsets of each partition.

use serde::{Deserialize, Serialize};
use stockflow_core::{Error, Result};

/// Offsets `start..end` of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) partition: i32,
    pub(super) start: i64,
    pub(super) end: i64,
}

impl Range {
    /// About how many messages these are: compaction and the marks of transactions leave gaps.
    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.end - self.start).unwrap_or(0)
    }
}

/// The pins of one epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pins {
    pub(super) ranges: Vec<Range>,
    /// Offsets that were gone before they were read, where that is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) lost: Vec<Range>,
}

impl Pins {
    pub(super) fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::internal(format!("pins cannot be written: {error}")))
    }

    pub(super) fn from_json(pins: &serde_json::Value) -> Result<Self> {
        Self::deserialize(pins)
            .map_err(|error| Error::internal(format!("the pins of a Kafka epoch are unreadable: {error}")))
    }
}

/// Shares a budget of rows out among partitions: none waits behind a larger one.
pub(super) fn share(ranges: &mut [Range], mut rows: u64) {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|idx| ranges.get(*idx).map_or(0, Range::len));
    let mut left = ranges.len() as u64;
    for idx in order {
        let Some(range) = ranges.get_mut(idx) else { continue };
        let take = range.len().min((rows / left.max(1)).max(1));
        range.end = range.start + i64::try_from(take).unwrap_or(i64::MAX);
        rows = rows.saturating_sub(take);
        left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lengths: &[i64], rows: u64, expected: &[u64]) {
        let mut ranges: Vec<Range> =
            lengths.iter().map(|len| Range { partition: 0, start: 10, end: 10 + len }).collect();
        share(&mut ranges, rows);
        assert_eq!(ranges.iter().map(Range::len).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn small_partitions_are_read_whole_and_large_ones_share_the_rest() {
        check(&[100, 5, 1000], 1000, &[100, 5, 895]);
        check(&[1000, 1000], 100, &[50, 50]);
        check(&[3, 3, 3], 2, &[1, 1, 1]);
        check(&[7], 100, &[7]);
        check(&[], 100, &[]);
    }
}
