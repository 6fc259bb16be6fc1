//! The dead letters of an epoch: collected, limited, kept over attempts.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use object_store::ObjectStore;

use super::graph::SideOutputs;
use super::report::{Note, NoteLevel};
use crate::checkpoint::CheckpointDelta;
use crate::error::{Error, Result};
use crate::schema::DeadLetter;
use crate::sink::RefusedRow;
use crate::source::Window;
use crate::store::{CheckpointStore, Kept, LETTERS, Lines, RefusedBy, StoredLetter, ndjson};

/// How many partitions an error names.
const SHOWN_PARTITIONS: usize = 3;

/// The reason of bars that are older than what was delivered; they do not count against the limit.
pub(crate) const LATE: &str = "late";

/// The file name of the letters that an attempt of a replay has refused again.
const AGAIN: &str = "refused_again.ndjson";

/// Which border refused what, and why: whether a letter of a replay is refused again.
type Place = (Option<RefusedBy>, [String; 4]);

fn place(kept: &Kept) -> Place {
    let DeadLetter { connector, partition, position, reason, .. } = &kept.letter;
    (kept.refused_by, [connector, partition, position, reason].map(String::clone))
}

/// The dead letters of one epoch: the union over its attempts.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    new: BTreeSet<Kept>,
    /// Where the letters of a replay were refused before …
    replayed: BTreeSet<Place>,
    /// … and those that are refused there again.
    again: BTreeSet<Kept>,
}

impl Letters {
    /// The letters of a replay: what is refused at the same place for the same reason is no new letter.
    pub(crate) fn expect(&mut self, letters: &[StoredLetter]) {
        self.replayed = letters.iter().map(|letter| place(&letter.kept())).collect();
    }

    pub(crate) fn extend(&mut self, by: RefusedBy, letters: impl IntoIterator<Item = DeadLetter>) {
        self.extend_kept(letters.into_iter().map(|letter| Kept { letter, refused_by: Some(by) }));
    }

    pub(crate) fn extend_kept(&mut self, letters: impl IntoIterator<Item = Kept>) {
        for kept in letters {
            let again = !self.replayed.is_empty() && self.replayed.contains(&place(&kept));
            if again {
                self.again.insert(kept)
            } else {
                self.new.insert(kept)
            };
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.new.len() as u64
    }

    pub(crate) fn to_vec(&self) -> Vec<DeadLetter> {
        self.new.iter().map(|kept| kept.letter.clone()).collect()
    }

    pub(crate) fn first(&self, n: usize) -> Vec<DeadLetter> {
        self.new.iter().take(n).map(|kept| kept.letter.clone()).collect()
    }

    /// The ids of the letters of a replay that it closes: of what was not refused again, all stands in the sinks or in new
    /// letters.
    pub(crate) fn closed(&self, letters: &[StoredLetter]) -> Vec<String> {
        let again: BTreeSet<Place> = self.again.iter().map(place).collect();
        let is_closed = |letter: &&StoredLetter| !again.contains(&place(&letter.kept()));
        letters.iter().filter(is_closed).map(|letter| letter.id.clone()).collect()
    }

    /// Leaves out what a backfill is not about: it was told when it was read first.
    pub(crate) fn keep_within(&mut self, window: &Window) {
        // Steps after the first know rows by symbol, interval and time.
        let day = |letter: &DeadLetter| {
            letter.position.rsplit('|').next()?.get(..10).and_then(|day| day.parse::<chrono::NaiveDate>().ok())
        };
        self.new.retain(|Kept { letter, .. }| {
            let Some(symbol) = &letter.symbol else { return false };
            let within = day(letter)
                .is_none_or(|day| window.from.is_none_or(|from| from <= day) && window.to.is_none_or(|to| day <= to));
            within && (window.symbols.is_empty() || window.symbols.contains(symbol))
        });
    }

    /// Fails if more rows were refused than allowed, or if nothing else was left of the epoch; `read` says what it read.
    pub(crate) fn check(&self, max: Option<u64>, rows: u64, read: &CheckpointDelta) -> Result<()> {
        let counted: Vec<&DeadLetter> =
            self.new.iter().map(|kept| &kept.letter).filter(|letter| letter.reason != LATE).collect();
        let refused = counted.len() as u64;
        let Some(first) = counted.first() else { return Ok(()) };
        let first = format!("{} {}@{}: {}", first.connector, first.partition, first.position, first.reason);
        if max.is_some_and(|max| refused > max) {
            let max = max.unwrap_or_default();
            return Err(Error::DeadLetters {
                refused,
                reason: format!("max_dead_letters = {max}; nothing was delivered{}", of(read)),
                first,
            });
        }
        if rows == 0 {
            return Err(Error::DeadLetters {
                refused,
                reason: format!("nothing else was left of the epoch; nothing was delivered{}", of(read)),
                first,
            });
        }
        Ok(())
    }

    /// Adds what earlier attempts of the same intent left.
    pub(crate) async fn load_attempts(&mut self, store: &CheckpointStore, folder: &str) -> Result<()> {
        let path = store.path(folder);
        let names: Vec<_> =
            store.object_store().list(Some(&path)).map_ok(|meta| meta.location).try_collect().await.or_else(
                |source| match source {
                    object_store::Error::NotFound { .. } => Ok(Vec::new()),
                    source => Err(Error::Store { operation: "list", path: path.to_string(), source: Box::new(source) }),
                },
            )?;
        for name in &names {
            let Some(file) = name.filename().filter(|file| [LETTERS, AGAIN].contains(file)) else { continue };
            let attempt = name.parts().rev().nth(1).map(|part| part.as_ref().to_owned()).unwrap_or_default();
            let mut lines = Lines::open(store, &format!("{folder}/{attempt}/{file}")).await?;
            while let Some(kept) = lines.next(store).await? {
                self.extend_kept([kept]);
            }
        }
        Ok(())
    }

    /// Makes them durable; says where the new ones are.
    pub(crate) async fn save(&self, store: &CheckpointStore, folder: &str, attempt: &str) -> Result<Option<String>> {
        if !self.again.is_empty() {
            store.put(&format!("{folder}/{attempt}/{AGAIN}"), ndjson(&self.again)?).await?;
        }
        if self.new.is_empty() {
            return Ok(None);
        }
        let name = format!("{folder}/{attempt}/{LETTERS}");
        store.put(&name, ndjson(&self.new)?).await?;
        Ok(Some(name))
    }
}

/// The partitions that were read, as the end of a sentence.
fn of(read: &CheckpointDelta) -> String {
    if read.set.is_empty() {
        return String::new();
    }
    let shown: Vec<&str> = read.set.keys().map(String::as_str).take(SHOWN_PARTITIONS).collect();
    let more = read.set.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; it read `{}`{more}", shown.join("`, `"))
}

/// The rejects of a step, as dead letters.
pub(crate) async fn rejects_of(step: &str, frame: &DataFrame) -> Result<Vec<DeadLetter>> {
    let mut letters = Vec::new();
    for batch in frame.clone().collect().await? {
        let text = |name: &str| -> Result<_> {
            let column = batch
                .column_by_name(name)
                .ok_or_else(|| Error::schema(step, format!("the rejects lack the column `{name}`")))?;
            Ok(arrow::compute::cast(column, &DataType::Utf8)?)
        };
        let (partition, position, symbol, reason, payload) =
            (text("partition")?, text("position")?, text("symbol")?, text("reason")?, text("payload")?);
        let value = |array: &dyn Array, idx: usize| -> Option<String> {
            let array = array.as_string::<i32>();
            array.is_valid(idx).then(|| array.value(idx).to_owned())
        };
        letters.extend((0..batch.num_rows()).map(|idx| DeadLetter {
            connector: step.to_owned(),
            partition: value(&partition, idx).unwrap_or_default(),
            position: value(&position, idx).unwrap_or_default(),
            symbol: value(&symbol, idx),
            reason: value(&reason, idx).unwrap_or_default(),
            payload: value(&payload, idx).unwrap_or_default(),
        }));
    }
    Ok(letters)
}

/// Rows that a sink refused, as dead letters.
pub(crate) fn refused_by(sink: &str, relation: &str, rows: &[RefusedRow]) -> Vec<DeadLetter> {
    let position = |row: &RefusedRow| row.key.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join("|");
    rows.iter()
        .map(|row| DeadLetter {
            connector: sink.to_owned(),
            partition: relation.to_owned(),
            position: position(row),
            symbol: row.symbol.clone(),
            reason: row.reason.clone(),
            payload: row.payload.clone(),
        })
        .collect()
}

/// The notes of a step.
pub(crate) async fn notes_of(side: &SideOutputs) -> Result<Vec<Note>> {
    let mut notes = Vec::new();
    for frame in &side.notes {
        for batch in frame.clone().collect().await? {
            let column = |idx: usize, to: &DataType| -> Result<_> {
                let column = batch.columns().get(idx).ok_or_else(|| {
                    Error::schema(
                        &side.step,
                        "notes have the columns kind, symbol, rows, level and text, in this order",
                    )
                })?;
                Ok(arrow::compute::cast(column, to)?)
            };
            let text = |idx: usize| column(idx, &DataType::Utf8);
            let (kind, symbol, level, sentence) = (text(0)?, text(1)?, text(3)?, text(4)?);
            let rows = column(2, &DataType::Int64)?;
            let rows = rows.as_primitive::<Int64Type>();
            for idx in 0..batch.num_rows() {
                let value = |array: &dyn Array| {
                    array
                        .as_string_opt::<i32>()
                        .filter(|array| array.is_valid(idx))
                        .map(|array| array.value(idx).to_owned())
                };
                let level = match value(&level).as_deref() {
                    Some("fail") => NoteLevel::Fail,
                    Some("warning") => NoteLevel::Warning,
                    _ => NoteLevel::Info,
                };
                notes.push(Note {
                    step: side.step.clone(),
                    kind: value(&kind).unwrap_or_default(),
                    symbol: value(&symbol),
                    rows: rows.value(idx),
                    level,
                    text: value(&sentence).unwrap_or_default(),
                });
            }
        }
    }
    notes.sort_by(|a, b| (&a.kind, &a.symbol).cmp(&(&b.kind, &b.symbol)));
    Ok(notes)
}
