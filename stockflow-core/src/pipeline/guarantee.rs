//! What a source and a sink can promise together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::sink::Idempotence;
use crate::source::Replay;

/// How often a row that was read once is seen by a reader of the sink. Ordered from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Never lost, perhaps doubled after a crash.
    AtLeastOnce,
    /// Never lost; a repeated row replaces itself by key and version.
    EffectivelyOnce,
    /// Never lost, never doubled: an epoch is visible as a whole, once.
    ExactlyOnce,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at-least-once",
            Self::EffectivelyOnce => "effectively-once",
            Self::ExactlyOnce => "exactly-once",
        })
    }
}

impl std::str::FromStr for Guarantee {
    type Err = crate::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "at-least-once" => Ok(Self::AtLeastOnce),
            "effectively-once" => Ok(Self::EffectivelyOnce),
            "exactly-once" => Ok(Self::ExactlyOnce),
            _ => Err(crate::Error::parameter(
                "pipeline",
                "require",
                format!("`{text}` is none of at-least-once, effectively-once, exactly-once"),
            )),
        }
    }
}

/// The guarantee of one source/sink pair, with the reason in one sentence. It is per sink: two sinks are never atomic with
/// each other.
///
/// | source \ sink | transactional | keyed | none |
/// |---|---|---|---|
/// | exact replay | exactly-once | effectively-once | at-least-once |
/// | best effort | exactly-once, from the spool on | effectively-once | at-least-once |
///
/// The input of a best-effort source is spooled and sealed before anything is delivered, so what was read once is delivered
/// as from an exact source; what the source itself forgets or repeats between two reads no pipeline can mend.
/// A keyed sink needs a relation with a key: without one, repeated rows are doubled.
pub fn derive_guarantee(replay: Replay, idempotence: Idempotence, keyed: bool) -> (Guarantee, String) {
    let (guarantee, reason) = match (idempotence, keyed) {
        (Idempotence::Transactional, _) => (Guarantee::ExactlyOnce, "rows and token become visible in one commit"),
        (Idempotence::Keyed, true) => (Guarantee::EffectivelyOnce, "a repeated row replaces itself by key and version"),
        (Idempotence::Keyed, false) => (Guarantee::AtLeastOnce, "the sink writes by key and the relation has none"),
        (Idempotence::None, _) => (Guarantee::AtLeastOnce, "the sink cannot recognise a repeated epoch"),
    };
    let source = match replay {
        Replay::Exact => "the source gives the same rows again",
        Replay::BestEffort => "the source may give other rows again, so they are spooled and sealed first",
    };
    (guarantee, format!("{source}; {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_derived_from_both_sides() {
        use Guarantee::*;
        let cases = [
            (Replay::Exact, Idempotence::Transactional, true, ExactlyOnce),
            (Replay::Exact, Idempotence::Keyed, true, EffectivelyOnce),
            (Replay::Exact, Idempotence::Keyed, false, AtLeastOnce),
            (Replay::Exact, Idempotence::None, true, AtLeastOnce),
            (Replay::BestEffort, Idempotence::Transactional, true, ExactlyOnce),
            (Replay::BestEffort, Idempotence::Keyed, true, EffectivelyOnce),
            (Replay::BestEffort, Idempotence::None, false, AtLeastOnce),
        ];
        for (replay, idempotence, keyed, expected) in cases {
            assert_eq!(derive_guarantee(replay, idempotence, keyed).0, expected, "{replay:?} {idempotence:?} {keyed}");
        }
        assert!(AtLeastOnce < EffectivelyOnce && EffectivelyOnce < ExactlyOnce);
    }
}
