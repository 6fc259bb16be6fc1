//! How far an epoch has read a log, in that log's own words.

/// The positions at the end of an epoch, for a sink of the same system: it makes them durable together with the rows.
///
/// The checkpoint stays what counts; these are for those who watch the system itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    /// How the system is reached: a sink of another one has no use for the positions.
    pub at: String,
    /// In whose name it was read.
    pub group: String,
    /// What was read.
    pub topic: String,
    /// Partitions and the next position in each.
    pub next: Vec<(i32, i64)>,
}
