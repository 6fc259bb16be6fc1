//! Taking over a table: the fence, and what older attempts left.

use futures::TryStreamExt;
use object_store::path::Path;
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, Result};

use deltalake::protocol::{DeltaOperation, SaveMode};

use super::error::{At, busy};
use super::place::Place;
use super::revisions;
use super::table::Table;
use super::token::{Held, nonce};
use super::writer::delete;

/// How often a commit is tried again when others were faster.
pub(super) const TRIES: usize = 20;

/// A table and its revisions in the hands of one runner.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) sink: SinkId,
    pub(super) generation: Generation,
    pub(super) owner: i64,
    pub(super) table: Table,
    pub(super) revisions: Table,
}

/// Takes over; `before` is what this very sink held until now.
///
/// Of two runners the newer generation may write, of two of one generation the one that came last. A runner that opens again although
/// another one came in between is fenced.
pub(super) async fn open(
    place: &Place,
    sink: &SinkId,
    generation: Generation,
    before: Option<&Opened>,
) -> Result<Opened> {
    let again = before.filter(|before| before.sink == *sink && before.generation == generation);
    let owner = again.map_or_else(nonce, |before| before.owner);
    let mut opened = Opened {
        sink: sink.clone(),
        generation,
        owner,
        table: Table::new(place.clone(), sink),
        revisions: Table::new(place.beside(revisions::SUFFIX)?, sink),
    };
    if opened.table.refresh().await?.is_some() && again.is_some() {
        opened.check_fence(opened.table.held())?;
    }
    take(&mut opened.table, sink, generation, owner).await?;
    if opened.revisions.refresh().await?.is_some() {
        take(&mut opened.revisions, sink, generation, owner).await?;
    }
    for table in [&opened.table, &opened.revisions] {
        if table.state().is_some() {
            sweep(table, sink, generation).await?;
        }
    }
    Ok(opened)
}

impl Opened {
    /// Whether the table is still ours.
    pub(super) fn check_fence(&self, held: Held) -> Result<()> {
        if held.owner == Some(self.owner) {
            return Ok(());
        }
        let newer = held.generation().unwrap_or(Generation(0));
        Err(Error::Fenced { pipeline: self.sink.pipeline.clone(), own: self.generation.0, newer: newer.0 })
    }
}

impl Opened {
    /// Makes sure that the revisions are ours.
    ///
    /// The table decides who writes: whoever holds it takes the revisions back from a runner that was fenced while it made them.
    pub(super) async fn keep_revisions(&mut self) -> Result<()> {
        if self.revisions.held().owner == Some(self.owner) {
            return Ok(());
        }
        let mut table = self.table.clone();
        table.refresh().await?;
        self.check_fence(table.held())?;
        take(&mut self.revisions, &self.sink, self.generation, self.owner).await
    }
}

/// Writes our name into the table; makes the table if it is not there.
async fn take(table: &mut Table, sink: &SinkId, generation: Generation, owner: i64) -> Result<()> {
    let name = table.ids().owner(generation, owner);
    for _ in 0..TRIES {
        if table.state().is_none() {
            table.create(None, name.clone()).await?;
        } else if table.held().owner == Some(owner) {
            return Ok(());
        } else if let Some(newer) = table.held().generation().filter(|held| *held > generation) {
            return Err(Error::Fenced { pipeline: sink.pipeline.clone(), own: generation.0, newer: newer.0 });
        } else {
            table.commit(name.clone(), note()).await?;
            table.refresh().await?;
        }
    }
    Err(busy(&table.place.text, "others write to the table all the time, so it could not be taken over"))
}

/// The operation of a commit that only notes something.
pub(super) fn note() -> DeltaOperation {
    DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None }
}

/// The beginning of the names of an attempt's files.
pub(super) fn file_prefix(sink: &SinkId, epoch: &EpochToken, generation: Generation, attempt: i64) -> String {
    format!("epoch-{}-{}-{attempt:016x}-{}", epoch.epoch, generation.0, tag(sink))
}

/// What the name of an attempt's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileName<'a> {
    epoch: u64,
    generation: u64,
    pub(super) attempt: i64,
    tag: &'a str,
}

impl<'a> FileName<'a> {
    /// `None` for a file of anybody else.
    pub(super) fn parse(path: &'a str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let mut parts = name.strip_prefix("epoch-")?.splitn(5, '-');
        Some(Self {
            epoch: parts.next()?.parse().ok()?,
            generation: parts.next()?.parse().ok()?,
            attempt: i64::from_str_radix(parts.next()?, 16).ok()?,
            tag: parts.next()?,
        })
    }
}

/// Eight characters that tell the sinks of one table apart (FNV-1a).
fn tag(sink: &SinkId) -> String {
    let hash = sink
        .to_string()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}", hash >> 32)
}

/// Removes files of attempts that were never committed.
///
/// These are ours by name, of an epoch above the one that the table holds, or of that epoch but of another attempt.
/// Files of older epochs are left alone: they are part of older versions of the table.
///
/// The snapshot is one after our own name was written into the table, so that no older runner can commit any more: what it does not
/// list, of our generation and below, will never be visible. A runner may sleep between any two of these steps, so files of a
/// newer generation are never touched.
pub(super) async fn sweep(table: &Table, sink: &SinkId, generation: Generation) -> Result<()> {
    let store = table.place.store();
    let held = table.held();
    let tag = tag(sink);
    let live = table.file_names()?;
    let leftover = |path: &Path| {
        let name = FileName::parse(path.as_ref())?;
        let committed = held.token().is_some_and(|token| {
            name.epoch < token.epoch || (name.epoch == token.epoch && held.attempt == Some(name.attempt))
        });
        Some(name.tag == tag && name.generation <= generation.0 && !committed && !live.contains(path.filename()?))
    };
    let log = Path::from("_delta_log");
    let mut left = Vec::new();
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await.at("list", &table.place.text)? {
        if !object.location.prefix_matches(&log) && leftover(&object.location) == Some(true) {
            left.push(object.location);
        }
    }
    if !left.is_empty() {
        tracing::info!(table = %table.place.text, files = left.len(), "removing what an unfinished attempt left");
    }
    delete(&store, &table.place.text, left).await
}
