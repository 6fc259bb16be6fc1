//! Keeping a table in shape: small files are put together, files that no kept version needs are removed.
//!
//! Both are safe beside a running writer. Compaction changes no rows: it is committed as such, one partition at a time, and gives way
//! to a writer that was faster. Vacuum keeps what a version within the retention needs (pinned versions of open intents, queries that
//! are running) and what is too young to be a leftover (a writer's staged files).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::execute_stream;
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use serde::Serialize;
use stockflow_core::Result;
use stockflow_core::relation::RelationSchema;
use stockflow_core::token::SinkId;

use super::error::{At, refused};
use super::layout::Layout;
use super::live::LiveFile;
use super::open::TRIES;
use super::order::sorted_files;
use super::partition::folder;
use super::place::Place;
use super::reader::ReadSpec;
use super::table::Table;
use super::token::nonce;
use super::writer::{PartitionWriter, WriteSpec, delete};
use crate::columnar::ParquetCompression;

/// A file that was never part of the table and is younger may belong to an epoch that is being written.
const YOUNG: Duration = Duration::from_secs(24 * 3600);

/// What is to be done to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintainOptions {
    /// Files of at least three quarters of this size (bytes) are left alone; the others of a partition are put together.
    pub target_file_size: u64,
    /// Files of versions that were replaced longer ago are removed; seven days by default, and at most the thirty days for which a
    /// table remembers what it removed.
    pub retention: Duration,
    /// Only says what would be done.
    pub dry_run: bool,
    /// Whether small files are put together.
    pub compact: bool,
    /// Whether old files are removed.
    pub vacuum: bool,
}

impl Default for MaintainOptions {
    fn default() -> Self {
        Self {
            target_file_size: 128 << 20,
            retention: Duration::from_secs(7 * 24 * 3600),
            dry_run: false,
            compact: true,
            vacuum: true,
        }
    }
}

/// What was done to a table, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MaintainReport {
    /// The table.
    pub table: String,
    /// Nothing was changed; sizes after compaction are not known.
    pub dry_run: bool,
    /// Partitions whose small files were put together.
    pub compacted: Vec<CompactedPartition>,
    /// Partitions that a writer changed meanwhile: they are left for the next time.
    pub given_way: Vec<String>,
    /// Files that no kept version needs.
    pub removed_files: u64,
    /// Their bytes.
    pub removed_bytes: u64,
}

/// A partition whose small files were put together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CompactedPartition {
    /// `interval=1d/span=2024`; empty for a table in one folder.
    pub partition: String,
    /// Small files before.
    pub files_before: u64,
    /// Their bytes.
    pub bytes_before: u64,
    /// Files in their place; 0 in a dry run.
    pub files_after: u64,
    /// Their bytes; 0 in a dry run.
    pub bytes_after: u64,
}

/// Compacts and vacuums the table at a path or URL. A table's revisions are a table of their own.
///
/// # Errors
///
/// Class config: there is no table.
pub async fn maintain(url: impl AsRef<str>, options: &MaintainOptions) -> Result<MaintainReport> {
    let place = Place::parse(url.as_ref())?;
    let mut table = Table::new(place, &SinkId::new("lake", "maintain"));
    let text = table.place.text.clone();
    if table.refresh().await?.is_none() {
        return Err(refused(&text, format!("there is no Delta table at `{text}`")));
    }
    let mut report = MaintainReport { table: text, dry_run: options.dry_run, ..MaintainReport::default() };
    if options.compact {
        compact(&mut table, options, &mut report).await?;
    }
    if options.vacuum {
        vacuum(&mut table, options, &mut report).await?;
    }
    Ok(report)
}

async fn compact(table: &mut Table, options: &MaintainOptions, report: &mut MaintainReport) -> Result<()> {
    let partition = table.partition_columns();
    for (values, files) in table.files()? {
        let small: Vec<_> = files.into_iter().filter(|file| file.size < options.target_file_size / 4 * 3).collect();
        if small.len() < 2 {
            continue;
        }
        let name = folder(&partition, &values).trim_end_matches('/').to_owned();
        let mut done = CompactedPartition {
            partition: name.clone(),
            files_before: small.len() as u64,
            bytes_before: small.iter().map(|file| file.size).sum(),
            ..CompactedPartition::default()
        };
        if options.dry_run {
            report.compacted.push(done);
            continue;
        }
        match put_together(table, values, &small, options.target_file_size, ParquetCompression::default()).await? {
            Some((files_after, bytes_after)) => {
                (done.files_after, done.bytes_after) = (files_after, bytes_after);
                report.compacted.push(done);
            }
            None => report.given_way.push(name),
        }
    }
    Ok(())
}

/// Puts some files of a partition together: how many there are now, and their bytes; `None` if a writer was faster.
pub(super) async fn put_together(
    table: &mut Table,
    values: Vec<Option<String>>,
    small: &[Arc<LiveFile>],
    target_file_size: u64,
    compression: ParquetCompression,
) -> Result<Option<(u64, u64)>> {
    let Some(schema) = table.schema() else { return Ok(None) };
    let relation = RelationSchema::new(table.place.text.clone(), Arc::clone(&schema));
    let layout = Arc::new(Layout::new(&relation, schema, table.partition_columns(), false)?);
    let prefix = format!("compact-{:016x}", nonce());
    let (store, text) = (table.place.store(), table.place.text.clone());
    let spec = WriteSpec::new(store, &text, &layout, target_file_size, compression, prefix)?;
    let spec = Arc::new(spec.without_data_change());
    let outcome = exchange(table, &layout, &spec, values, small, target_file_size).await;
    if !matches!(outcome, Ok(Some(_))) {
        // The error at hand says more than one of the clean-up would.
        let discarded = spec.discard().await;
        outcome.as_ref().map_or(Ok(()), |_| discarded)?;
    }
    outcome
}

/// Writes the rows of some files to new ones and commits the exchange; `None` if a writer was faster.
async fn exchange(
    table: &mut Table,
    layout: &Arc<Layout>,
    spec: &Arc<WriteSpec>,
    values: Vec<Option<String>>,
    small: &[Arc<LiveFile>],
    target_file_size: u64,
) -> Result<Option<(u64, u64)>> {
    let read = ReadSpec::new(table.place.store(), &table.place.text, layout);
    let mut rows = execute_stream(sorted_files(&read, small, layout)?, Arc::new(TaskContext::default()))?;
    let mut writer = PartitionWriter::new(spec, values);
    while let Some(batch) = rows.next().await {
        writer.write(&batch?).await?;
    }
    let adds = writer.finish().await?;
    let after = (adds.len() as u64, adds.iter().filter_map(|add| u64::try_from(add.size).ok()).sum());
    let mut actions: Vec<Action> = small.iter().map(|file| Action::Remove(file.remove(false))).collect();
    actions.extend(adds.into_iter().map(Action::Add));
    for _ in 0..TRIES {
        let moved = table.refresh().await?.unwrap_or_default();
        let there: BTreeSet<String> = table.files()?.into_values().flatten().map(|file| file.path.clone()).collect();
        if moved.metadata || !small.iter().all(|file| there.contains(&file.path)) {
            return Ok(None);
        }
        let operation = DeltaOperation::Optimize {
            predicate: None,
            target_size: i64::try_from(target_file_size).unwrap_or(i64::MAX),
        };
        let committed = table.commit(actions.clone(), operation).await;
        if matches!(committed, Ok(false)) {
            continue;
        }
        // A commit whose answer was lost is a commit: read before deciding.
        let read = table.refresh().await;
        let there: BTreeSet<String> = table.files()?.into_values().flatten().map(|file| file.path.clone()).collect();
        let exchanged = !small.iter().any(|file| there.contains(&file.path));
        return match committed {
            Ok(_) => Ok(Some(after)),
            Err(_) if read.is_ok() && exchanged => Ok(Some(after)),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

async fn vacuum(table: &mut Table, options: &MaintainOptions, report: &mut MaintainReport) -> Result<()> {
    table.refresh().await?;
    let text = table.place.text.clone();
    let now = Utc::now();
    let live: BTreeSet<Path> = table.files()?.into_values().flatten().map(|file| file.object()).collect();
    let removed = tombstones(table).await?;
    let store = table.place.store();
    let mut old = Vec::new();
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await.at("list", &text)? {
        if is_hidden(&object.location) || live.contains(&object.location) {
            continue;
        }
        let (since, enough) = match removed.get(&object.location) {
            Some(removed) => (*removed, options.retention),
            None => (object.last_modified, options.retention.max(YOUNG)),
        };
        let age = now.signed_duration_since(since).to_std().unwrap_or_default();
        if age >= enough {
            report.removed_files += 1;
            report.removed_bytes += object.size;
            old.push(object.location);
        }
    }
    if options.dry_run {
        return Ok(());
    }
    delete(&store, &text, old).await
}

/// Files that were taken out of the table, and when.
async fn tombstones(table: &Table) -> Result<BTreeMap<Path, DateTime<Utc>>> {
    let text = &table.place.text;
    let Some(state) = table.state() else { return Ok(BTreeMap::new()) };
    let mut removed = BTreeMap::new();
    let mut views = state.all_tombstones(table.place.log().as_ref());
    while let Some(view) = views.try_next().await.at("read", text)? {
        let path = Path::parse(view.path().as_ref()).unwrap_or_else(|_| Path::from(view.path().as_ref()));
        // Without a time it was removed just now, as far as anyone knows.
        let at = view.deletion_timestamp().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now);
        removed.insert(path, at);
    }
    Ok(removed)
}

/// The log, and whatever other programs keep under names that readers pass over; partition folders may begin with `_`, too.
fn is_hidden(path: &Path) -> bool {
    path.parts().any(|part| {
        let name = part.as_ref();
        name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_hidden() {
        assert!(is_hidden(&Path::from("_delta_log/00.json")));
        assert!(!is_hidden(&Path::from("_x=1/part.parquet")));
        assert!(!is_hidden(&Path::from("interval=1d/part.parquet")));
    }
}
