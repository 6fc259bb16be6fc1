//! How large messages are: the brokers tell how many there are, not how large.

use std::sync::{Mutex, PoisonError};

/// The size of a message where none has been read yet.
const GUESS: u64 = 1024;

/// What older messages still count when new ones are added.
const REMEMBERED: u64 = 1 << 20;

/// Messages and their bytes, of late.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<(u64, u64)>);

impl Sizes {
    pub(super) fn add(&self, messages: usize, bytes: usize) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.0 > REMEMBERED {
            *sums = (sums.0 / 2, sums.1 / 2);
        }
        *sums = (sums.0 + messages as u64, sums.1 + bytes as u64);
    }

    /// About how many messages so many bytes are; at least one.
    pub(super) fn messages(&self, bytes: u64) -> u64 {
        let (messages, known) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let size = known.checked_div(messages).unwrap_or(GUESS).max(1);
        (bytes / size).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_messages_of_the_size_seen_of_late() {
        let sizes = Sizes::default();
        assert_eq!(sizes.messages(10 * GUESS), 10, "none was read yet");
        sizes.add(10, 1000);
        assert_eq!(sizes.messages(1000), 10);
        sizes.add(2_000_000, 20_000_000);
        sizes.add(2_000_000, 800_000_000);
        assert_eq!(sizes.messages(1000), 3, "the larger ones are newer");
        assert_eq!(sizes.messages(0), 1);
        sizes.add(1, 0);
        Sizes::default().add(0, 0);
    }
}
