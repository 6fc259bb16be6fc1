//! How far a pipeline has come: printable plain data.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Per partition of a source the last position that is safely out.
///
/// A position is text whose meaning belongs to the source: an offset, a file's version, a date.
/// Printed as `{raw-stock-data/0@1042, AAPL@2024-06-28}`, so that tests assert on short strings.
///
/// The checkpoint store writes it as deltas with a snapshot now and then (see [`CheckpointDelta`]): a source with very
/// many positions (files) needs no ledger of its own.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(BTreeMap<String, String>);

impl Checkpoint {
    /// Nothing has been read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of one partition.
    pub fn get(&self, partition: &str) -> Option<&str> {
        self.0.get(partition).map(String::as_str)
    }

    /// Sets the position of one partition.
    pub fn set(&mut self, partition: impl Into<String>, position: impl Into<String>) {
        self.0.insert(partition.into(), position.into());
    }

    /// The same checkpoint with one partition set.
    #[must_use]
    pub fn with(mut self, partition: impl Into<String>, position: impl Into<String>) -> Self {
        self.set(partition, position);
        self
    }

    /// Partitions and positions, ordered by partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(partition, position)| (partition.as_str(), position.as_str()))
    }

    /// Number of partitions.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What must be applied to `self` to get `to`.
    pub fn delta(&self, to: &Checkpoint) -> CheckpointDelta {
        let set = to.0.iter().filter(|(partition, position)| self.0.get(*partition) != Some(*position));
        let removed = self.0.keys().filter(|partition| !to.0.contains_key(*partition));
        CheckpointDelta {
            set: set.map(|(partition, position)| (partition.clone(), position.clone())).collect(),
            removed: removed.cloned().collect(),
        }
    }

    /// Applies a delta; applying it twice changes nothing more.
    pub fn apply(&mut self, delta: &CheckpointDelta) {
        for partition in &delta.removed {
            self.0.remove(partition);
        }
        for (partition, position) in &delta.set {
            self.0.insert(partition.clone(), position.clone());
        }
    }
}

/// The partitions that differ between two checkpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointDelta {
    /// New or moved partitions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Partitions that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (idx, (partition, position)) in self.0.iter().enumerate() {
            if idx > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{partition}@{position}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<P: Into<String>, Q: Into<String>> FromIterator<(P, Q)> for Checkpoint {
    fn from_iter<T: IntoIterator<Item = (P, Q)>>(iter: T) -> Self {
        Self(iter.into_iter().map(|(partition, position)| (partition.into(), position.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_partitions_in_order() {
        let checkpoint = Checkpoint::new().with("raw-stock-data/0", "1042").with("AAPL", "2024-06-28");
        assert_eq!(checkpoint.to_string(), "{AAPL@2024-06-28, raw-stock-data/0@1042}");
    }

    #[test]
    fn a_delta_leads_from_one_checkpoint_to_the_other() {
        let from = Checkpoint::from_iter([("a", "1"), ("b", "1"), ("c", "1")]);
        let to = Checkpoint::from_iter([("a", "1"), ("b", "2"), ("d", "1")]);
        let delta = from.delta(&to);
        assert_eq!(delta.set.len(), 2, "only what moved is in the delta");
        let mut moved = from;
        moved.apply(&delta);
        moved.apply(&delta);
        assert_eq!(moved, to);
    }
}
