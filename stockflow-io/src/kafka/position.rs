//! A position within a partition: the offset of the next message, and of which topic of that name.

use std::fmt;

/// `105#sa9PtPKvR6Kf6sxS3LitlA`: an offset, and the id of the topic, if the brokers give one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position<'p> {
    pub(super) offset: i64,
    pub(super) id: Option<&'p str>,
}

impl<'p> Position<'p> {
    pub(super) fn of(offset: i64, id: Option<&'p str>) -> Self {
        Self { offset, id }
    }

    pub(super) fn parse(text: &'p str) -> Option<Self> {
        let (offset, id) = text.split_once('#').map_or((text, None), |(offset, id)| (offset, Some(id)));
        Some(Self { offset: offset.parse().ok()?, id })
    }
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "{}#{id}", self.offset),
            None => write!(f, "{}", self.offset),
        }
    }
}

/// Whether a topic is another one than it was, in words; nothing is known where an id is missing.
pub(super) fn changed(before: Option<&str>, now: Option<&str>) -> Option<String> {
    let (before, now) = (before?, now?);
    (before != now).then(|| format!("its id was {before}, and is {now} now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read_again() {
        for position in [Position::of(105, Some("sa9PtPKvR6Kf6sxS3LitlA")), Position::of(0, None)] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        assert_eq!(Position::parse("x#y"), None);
        assert_eq!(Position::parse(""), None);
    }

    #[test]
    fn only_two_ids_can_differ() {
        assert_eq!(changed(None, Some("a")), None, "a checkpoint of before");
        assert_eq!(changed(Some("a"), None), None);
        assert_eq!(changed(Some("a"), Some("a")), None);
        assert_eq!(changed(Some("a"), Some("b")).as_deref(), Some("its id was a, and is b now"));
    }
}
