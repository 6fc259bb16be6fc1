//! What a message is about, where a topic holds messages of several kinds.

/// The header that says which relation a message's rows are of: `bars`, `actions`, `holders_institutions`, …
pub(super) const KIND: &str = "kind";
