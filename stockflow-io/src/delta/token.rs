//! What a table remembers of its writer: Delta's `txn` actions, committed together with the rows.
//!
//! | application id | its version |
//! |---|---|
//! | `stockflow/<pipeline>/<sink>/epoch` | the epoch that the table holds |
//! | `…/hash` | 63 bits of that epoch's token |
//! | `…/attempt` | the attempt whose files these are |
//! | `…/generation` | the runner that took over last |
//! | `…/owner` | a nonce of that runner's `open`: the fence |

use deltalake::kernel::{Action, Transaction};
use stockflow_core::token::{EpochToken, Generation, SinkId};

const EPOCH: &str = "epoch";
const HASH: &str = "hash";
const ATTEMPT: &str = "attempt";
const GENERATION: &str = "generation";
const OWNER: &str = "owner";

/// What a table remembers of one sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    epoch: Option<i64>,
    hash: Option<i64>,
    /// The attempt that was committed.
    pub(super) attempt: Option<i64>,
    generation: Option<i64>,
    /// Who may commit.
    pub(super) owner: Option<i64>,
}

impl Held {
    /// The epoch that the table holds.
    pub(super) fn token(&self) -> Option<EpochToken> {
        Some(EpochToken { epoch: u64::try_from(self.epoch?).ok()?, hash: u64::try_from(self.hash?).ok()? })
    }

    /// The generation that took over last.
    pub(super) fn generation(&self) -> Option<Generation> {
        self.generation.and_then(|generation| u64::try_from(generation).ok()).map(Generation)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<i64>> {
        Some(match name {
            EPOCH => &mut self.epoch,
            HASH => &mut self.hash,
            ATTEMPT => &mut self.attempt,
            GENERATION => &mut self.generation,
            OWNER => &mut self.owner,
            _ => return None,
        })
    }
}

/// The application ids of one sink.
#[derive(Debug, Clone)]
pub(super) struct AppIds {
    prefix: String,
}

impl AppIds {
    pub(super) fn new(sink: &SinkId) -> Self {
        Self { prefix: format!("stockflow/{sink}/") }
    }

    /// All of them, to be looked up.
    pub(super) fn all(&self) -> impl Iterator<Item = String> + '_ {
        [EPOCH, HASH, ATTEMPT, GENERATION, OWNER].into_iter().map(|name| self.id(name))
    }

    fn id(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Notes what a `txn` says, if it is one of this sink.
    pub(super) fn note(&self, held: &mut Held, app_id: &str, version: i64) {
        if let Some(slot) = app_id.strip_prefix(&self.prefix).and_then(|name| held.slot(name)) {
            *slot = Some(version);
        }
    }

    /// "This epoch is here now."
    pub(super) fn epoch(&self, token: &EpochToken, attempt: i64) -> Vec<Action> {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.actions([(EPOCH, signed(token.epoch)), (HASH, signed(token.hash)), (ATTEMPT, attempt)])
    }

    /// "This runner writes from now on."
    pub(super) fn owner(&self, generation: Generation, owner: i64) -> Vec<Action> {
        self.actions([(GENERATION, i64::try_from(generation.0).unwrap_or(i64::MAX)), (OWNER, owner)])
    }

    fn actions(&self, pairs: impl IntoIterator<Item = (&'static str, i64)>) -> Vec<Action> {
        let now = Some(chrono::Utc::now().timestamp_millis());
        pairs
            .into_iter()
            .map(|(name, version)| Action::Txn(Transaction::new_with_last_update(self.id(name), version, now)))
            .collect()
    }
}

/// A number that nobody else has: 63 bits.
pub(super) fn nonce() -> i64 {
    i64::try_from(uuid::Uuid::new_v4().as_u128() >> 65).unwrap_or_default()
}
