//! The dead letters that a store keeps: read newest first, one epoch after the other, and removed.
//!
//! A commit names the object with its epoch's letters, a letter a line, and the object with the letters that it replayed. A
//! letter is open unless a later epoch has replayed it; the same letter of several epochs (a line that is read again and
//! refused again) is one, with the newest epoch.

use std::collections::{HashMap, HashSet};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::record::{Commit, RecordBody};
use super::{CheckpointStore, json};
use crate::error::{Error, Result};
use crate::schema::DeadLetter;

/// The file name of an attempt's letters.
pub(crate) const LETTERS: &str = "dead_letters.ndjson";

/// Digits of an id: enough for a name that a person types.
const ID: usize = 16;

/// At which border a row was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusedBy {
    /// The source could not decode it: the payload is its text.
    Source,
    /// A step: the payload is the step's input row as JSON.
    Step,
    /// The history relation, because it was late: the payload is the bar as JSON.
    Late,
    /// A sink: the payload is the row as JSON.
    Sink,
}

/// A dead letter and the border that refused it, as an epoch keeps them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(flatten)]
    pub(crate) letter: DeadLetter,
    /// `None`: kept by a version that did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused_by: Option<RefusedBy>,
}

impl Kept {
    /// Names the letter, whenever and however often it was refused.
    fn id(&self) -> String {
        let DeadLetter { connector, partition, position, reason, payload, .. } = &self.letter;
        let mut digest = Sha256::new();
        digest.update([self.refused_by.map_or(0, |by| by as u8 + 1)]);
        for text in [connector, partition, position, reason, payload] {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        }
        let mut id: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        id.truncate(ID);
        id
    }
}

/// A dead letter of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredLetter {
    /// Its name: the same for the same row at the same place with the same reason.
    pub id: String,
    /// The last epoch that refused it.
    pub epoch: u64,
    /// That epoch's time.
    pub at: DateTime<Utc>,
    /// At which border; `None` for letters of older versions.
    pub refused_by: Option<RefusedBy>,
    /// The letter.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The epoch that replayed it; `None`: it is open.
    pub replayed: Option<u64>,
}

impl StoredLetter {
    pub(crate) fn kept(&self) -> Kept {
        Kept { letter: self.letter.clone(), refused_by: self.refused_by }
    }
}

/// Which letters; what is not said does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Ids, or the beginnings of some.
    pub ids: Vec<String>,
    /// Of these symbols.
    pub symbols: Vec<String>,
    /// With this text in their reason; case does not count.
    pub reason: Option<String>,
    /// Refused by these: the type of a source, the name of a step or sink.
    pub connectors: Vec<String>,
    /// Of this epoch.
    pub epoch: Option<u64>,
    /// Those that were replayed, too.
    pub replayed: bool,
}

impl LetterFilter {
    /// Whether a letter is meant.
    pub fn matches(&self, letter: &StoredLetter) -> bool {
        let DeadLetter { connector, symbol, reason, .. } = &letter.letter;
        let text = self.reason.as_ref().map(|text| text.to_lowercase());
        (self.replayed || letter.replayed.is_none())
            && (self.ids.is_empty() || self.ids.iter().any(|id| letter.id.starts_with(id.as_str())))
            && (self.symbols.is_empty() || symbol.as_ref().is_some_and(|symbol| self.symbols.contains(symbol)))
            && text.is_none_or(|text| reason.to_lowercase().contains(&text))
            && (self.connectors.is_empty() || self.connectors.contains(connector))
            && self.epoch.is_none_or(|epoch| letter.epoch == epoch)
    }
}

/// What [`CheckpointStore::purge_letters`] removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Purged {
    /// Letters.
    pub letters: u64,
    /// Epochs that they stood in.
    pub epochs: u64,
}

/// Gives a store's letters, newest epoch first; at most one epoch's are on their way, and of those only what was asked for.
#[derive(Debug)]
pub struct LetterReader<'s> {
    store: &'s CheckpointStore,
    /// Number in the log of the next commit to look at.
    next: Option<u64>,
    epoch: u64,
    at: DateTime<Utc>,
    lines: Option<Lines>,
    replayed: HashMap<String, u64>,
    seen: HashSet<String>,
}

impl LetterReader<'_> {
    /// The next letter; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] and [`Error::StoreCorrupt`].
    pub async fn next(&mut self) -> Result<Option<StoredLetter>> {
        loop {
            if let Some(lines) = &mut self.lines {
                if let Some(kept) = lines.next(self.store).await? {
                    let id = kept.id();
                    if !self.seen.insert(id.clone()) {
                        continue;
                    }
                    let replayed = self.replayed.get(&id).copied();
                    let Kept { letter, refused_by } = kept;
                    let (epoch, at) = (self.epoch, self.at);
                    return Ok(Some(StoredLetter { id, epoch, at, refused_by, letter, replayed }));
                }
                self.lines = None;
            }
            let Some((commit, before)) = self.store.commit_at(self.next).await? else { return Ok(None) };
            self.next = before;
            if let Some((object, _)) = &commit.replayed {
                let bytes = self.store.get(object).await?.ok_or_else(|| self.store.lost(object))?;
                for id in self.store.parse::<Vec<String>>(object, &bytes)? {
                    self.replayed.entry(id).or_insert(commit.epoch);
                }
            }
            if let Some((object, _)) = &commit.dead_letters {
                (self.epoch, self.at) = (commit.epoch, commit.now);
                self.lines = Some(Lines::open(self.store, object).await?);
            }
        }
    }
}

impl CheckpointStore {
    /// The dead letters of all committed epochs, newest epoch first.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] and [`Error::StoreCorrupt`].
    pub async fn letters(&self) -> Result<LetterReader<'_>> {
        Ok(LetterReader {
            store: self,
            next: self.head().await?.last_commit,
            epoch: 0,
            at: DateTime::UNIX_EPOCH,
            lines: None,
            replayed: HashMap::new(),
            seen: HashSet::new(),
        })
    }

    /// Removes letters for good, with all that attempts left of them. Fences nobody: what is not committed is not touched.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] and [`Error::StoreCorrupt`]; what was removed before stays removed.
    pub async fn purge_letters(&self, filter: &LetterFilter) -> Result<Purged> {
        let mut unwanted = HashSet::new();
        let mut reader = self.letters().await?;
        while let Some(letter) = reader.next().await? {
            if filter.matches(&letter) {
                unwanted.insert(letter.id);
            }
        }
        let mut purged = Purged { letters: unwanted.len() as u64, epochs: 0 };
        let mut next = if unwanted.is_empty() { None } else { self.head().await?.last_commit };
        while let Some((commit, before)) = self.commit_at(next).await? {
            next = before;
            let Some((object, _)) = &commit.dead_letters else { continue };
            let (mut lines, mut n_unwanted, mut rest) = (Lines::open(self, object).await?, 0, Vec::new());
            while let Some(kept) = lines.next(self).await? {
                if unwanted.contains(&kept.id()) { n_unwanted += 1 } else { rest.push(kept) }
            }
            if n_unwanted == 0 {
                continue;
            }
            purged.epochs += 1;
            let bytes = if is_list(object) { json(&rest)? } else { ndjson(&rest)? };
            self.put(object, bytes).await?;
            // The union over the attempts is what was committed: the parts are not needed any more.
            let current = self.path(object);
            if let Some((folder, _)) = object.rsplit_once('/').and_then(|(attempt, _)| attempt.rsplit_once('/')) {
                let is_part = |path: &str| path.ends_with(&format!("/{LETTERS}")) && path != current.as_ref();
                self.remove(folder, is_part).await?;
            }
        }
        Ok(purged)
    }

    /// A commit and the number of the one before it.
    async fn commit_at(&self, number: Option<u64>) -> Result<Option<(Commit, Option<u64>)>> {
        let Some(number) = number else { return Ok(None) };
        let record = self.record(number).await?;
        match record.body {
            RecordBody::Commit(commit) => Ok(Some((commit, record.last_commit))),
            _ => Err(Error::StoreCorrupt {
                path: self.path("log").to_string(),
                reason: format!("record {number} is not the commit that a later one names"),
            }),
        }
    }

    fn lost(&self, object: &str) -> Error {
        Error::StoreCorrupt { path: self.path(object).to_string(), reason: "it is missing".into() }
    }
}

/// Older versions kept an epoch's letters as one list.
fn is_list(object: &str) -> bool {
    object.ends_with(".json")
}

/// Letters, a line each.
pub(crate) fn ndjson<'k>(letters: impl IntoIterator<Item = &'k Kept>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for letter in letters {
        serde_json::to_writer(&mut bytes, letter)
            .map_err(|error| Error::internal(format!("a dead letter does not serialise: {error}")))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The letters of one object as they are asked for.
pub(crate) struct Lines {
    object: String,
    blocks: BoxStream<'static, object_store::Result<Bytes>>,
    buffer: BytesMut,
    list: Option<std::vec::IntoIter<Kept>>,
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("object", &self.object).finish_non_exhaustive()
    }
}

impl Lines {
    pub(crate) async fn open(store: &CheckpointStore, object: &str) -> Result<Self> {
        let path = store.path(object);
        let found = match store.object_store().get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Err(store.lost(object)),
            Err(source) => {
                return Err(Error::Store { operation: "read", path: path.to_string(), source: Box::new(source) });
            }
        };
        let mut lines =
            Self { object: object.into(), blocks: found.into_stream(), buffer: BytesMut::new(), list: None };
        if is_list(object) {
            while lines.more(store).await? {}
            lines.list = Some(store.parse::<Vec<Kept>>(object, &lines.buffer)?.into_iter());
        }
        Ok(lines)
    }

    pub(crate) async fn next(&mut self, store: &CheckpointStore) -> Result<Option<Kept>> {
        if let Some(list) = &mut self.list {
            return Ok(list.next());
        }
        let mut searched = 0;
        loop {
            let end = self.buffer.get(searched..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
            if let Some(end) = end {
                let line = self.buffer.split_to(searched + end + 1);
                return store.parse(&self.object, &line).map(Some);
            }
            searched = self.buffer.len();
            if !self.more(store).await? {
                let rest = self.buffer.split();
                return if rest.is_empty() { Ok(None) } else { store.parse(&self.object, &rest).map(Some) };
            }
        }
    }

    async fn more(&mut self, store: &CheckpointStore) -> Result<bool> {
        let block = self.blocks.try_next().await.map_err(|source| Error::Store {
            operation: "read",
            path: store.path(&self.object).to_string(),
            source: Box::new(source),
        })?;
        if let Some(block) = &block {
            self.buffer.extend_from_slice(block);
        }
        Ok(block.is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter() -> impl Strategy<Value = Kept> {
        let text = || "[a-z|/@ \n\"\u{e4}]{0,12}";
        let by = proptest::option::of(prop_oneof![
            Just(RefusedBy::Source),
            Just(RefusedBy::Step),
            Just(RefusedBy::Late),
            Just(RefusedBy::Sink)
        ]);
        (by, text(), text(), text(), proptest::option::of(text()), text(), text()).prop_map(
            |(refused_by, connector, partition, position, symbol, reason, payload)| Kept {
                letter: DeadLetter { connector, partition, position, symbol, reason, payload },
                refused_by,
            },
        )
    }

    proptest! {
        #[test]
        fn letters_come_back_line_by_line(letters in proptest::collection::vec(letter(), 0..20)) {
            let store = CheckpointStore::in_memory();
            let read = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                store.put("l.ndjson", ndjson(&letters).unwrap()).await.unwrap();
                let (mut lines, mut read) = (Lines::open(&store, "l.ndjson").await.unwrap(), Vec::new());
                while let Some(kept) = lines.next(&store).await.unwrap() {
                    read.push(kept);
                }
                read
            });
            prop_assert_eq!(read, letters);
        }

        /// Neither time nor symbol is part of a letter's name, and texts do not run into each other.
        #[test]
        fn ids_tell_letters_apart(a in letter(), b in letter()) {
            let same = Kept { letter: DeadLetter { symbol: None, ..a.letter.clone() }, refused_by: a.refused_by };
            prop_assert_eq!(same.id(), a.id());
            let without = |kept: &Kept| Kept { letter: DeadLetter { symbol: None, ..kept.letter.clone() }, refused_by: kept.refused_by };
            prop_assert_eq!(a.id() == b.id(), without(&a) == without(&b));
        }
    }

    #[tokio::test]
    async fn lists_of_older_versions_are_read() {
        let store = CheckpointStore::in_memory();
        let old =
            br#"[{"connector":"file","partition":"a.csv","position":"3","symbol":null,"reason":"x","payload":"y"}]"#;
        store.put("dead_letters.json", old.to_vec()).await.unwrap();
        let mut lines = Lines::open(&store, "dead_letters.json").await.unwrap();
        let kept = lines.next(&store).await.unwrap().unwrap();
        assert_eq!((kept.refused_by, kept.letter.position.as_str()), (None, "3"));
        assert!(lines.next(&store).await.unwrap().is_none());
    }
}
