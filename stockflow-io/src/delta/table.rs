//! A Delta table as a writer sees it: one snapshot, what its sink left in it, and commits by compare-and-swap.
//!
//! A commit is written as the version right after the snapshot's and fails if that version is taken.
//! What was read on the snapshot (who owns the table, which epoch it holds, which files there are) therefore still holds
//! when the commit becomes visible: that makes the fence atomic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Metadata, MetadataExt, Protocol, StructType, new_metadata};
use deltalake::logstore::get_actions;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use stockflow_core::Result;
use stockflow_core::token::SinkId;

use super::error::{At, is_conflict, refused};
use super::live::LiveFile;
use super::place::Place;
use super::token::{AppIds, Held};

/// Every how many commits deltalake writes a checkpoint: what a reader has to replay at most.
const CHECKPOINT_INTERVAL: &str = "20";

/// For how long a table remembers which files were removed: what `maintain` may keep at most.
const REMEMBERED: &str = "interval 30 days";

/// The property of a table that has no columns of its own yet: it only holds the fence until its first epoch.
const BARE: &str = "stockflow.bare";

/// The column that stands in until then: most readers cannot open a table without any.
const BARE_COLUMN: &str = "not_written_yet";

/// The files of a snapshot by their partition values.
pub(super) type Files = BTreeMap<Vec<Option<String>>, Vec<Arc<LiveFile>>>;

/// Whether a table has no columns of its own yet.
pub(super) fn is_bare(state: &DeltaTableState) -> bool {
    state.metadata().configuration().contains_key(BARE)
}

/// What happened between two snapshots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// Rows were added, removed or changed.
    pub(super) data: bool,
    /// Columns or properties were changed.
    pub(super) metadata: bool,
}

/// A table, as far as it has been read.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) place: Place,
    ids: AppIds,
    state: Option<DeltaTableState>,
    held: Held,
}

impl Table {
    /// A table of which nothing has been read yet.
    pub(super) fn new(place: Place, sink: &SinkId) -> Self {
        Self { place, ids: AppIds::new(sink), state: None, held: Held::default() }
    }

    /// The application ids of the sink.
    pub(super) fn ids(&self) -> &AppIds {
        &self.ids
    }

    /// What the snapshot remembers of the sink.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// The snapshot, if the table exists.
    pub(super) fn state(&self) -> Option<&DeltaTableState> {
        self.state.as_ref()
    }

    /// The snapshot's version.
    pub(super) fn version(&self) -> Option<u64> {
        self.state.as_ref().map(DeltaTableState::version)
    }

    /// The columns, partition columns included; `None` if there are none yet.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        self.state.as_ref().filter(|state| !is_bare(state)).map(|state| state.snapshot().arrow_schema())
    }

    /// The columns that the files are partitioned by.
    pub(super) fn partition_columns(&self) -> Vec<String> {
        self.state.as_ref().map(|state| state.metadata().partition_columns().to_vec()).unwrap_or_default()
    }

    /// Reads what is new; `false` if there is no such table.
    pub(super) async fn refresh(&mut self) -> Result<Option<Moved>> {
        let log = Arc::clone(self.place.log());
        let text = self.place.text.clone();
        let Some(state) = self.state.as_mut() else {
            if !log.is_delta_table_location().await.at("open", &text)? {
                return Ok(None);
            }
            let state = DeltaTableState::try_new(log.as_ref(), None).await.at("open", &text)?;
            self.held = Held::default();
            for id in self.ids.all() {
                if let Some(version) = state.transaction_version(log.as_ref(), &id).await.at("open", &text)? {
                    self.ids.note(&mut self.held, &id, version);
                }
            }
            self.state = Some(state);
            return Ok(Some(Moved::default()));
        };
        let before = state.version();
        state.update(log.as_ref(), None).await.at("read", &text)?;
        let after = state.version();
        let mut moved = Moved::default();
        for version in before + 1..=after {
            let Some(bytes) = log.read_commit_entry(version).await.at("read", &text)? else {
                // The log's tail was cleaned away under a runner that slept for weeks: start over.
                self.state = None;
                let _ = Box::pin(self.refresh()).await?;
                return Ok(Some(Moved { data: true, metadata: true }));
            };
            for action in get_actions(version, &bytes).at("read", &text)? {
                match action {
                    Action::Add(add) => moved.data |= add.data_change,
                    Action::Remove(remove) => moved.data |= remove.data_change,
                    Action::Metadata(_) | Action::Protocol(_) => moved.metadata = true,
                    Action::Txn(txn) => self.ids.note(&mut self.held, &txn.app_id, txn.version),
                    _ => {}
                }
            }
        }
        Ok(Some(moved))
    }

    /// Creates the table; `false` if someone else was faster.
    ///
    /// Without a schema the table has no columns until the first epoch is committed: it only holds the fence.
    pub(super) async fn create(
        &mut self,
        schema: Option<(&SchemaRef, &[String])>,
        mut actions: Vec<Action>,
    ) -> Result<bool> {
        self.place.make()?;
        let text = self.place.text.clone();
        let (metadata, protocol) = first_actions(schema, &text)?;
        let operation = DeltaOperation::Create {
            mode: SaveMode::ErrorIfExists,
            location: self.place.log().root_url().clone(),
            protocol: protocol.clone(),
            metadata: metadata.clone(),
        };
        actions.insert(0, Action::Protocol(protocol));
        actions.insert(1, Action::Metadata(metadata));
        let created = self.write(None, actions, operation).await?;
        self.refresh().await?;
        Ok(created)
    }

    /// Writes the version right after the snapshot's; `false` if it is taken.
    ///
    /// On `true` the snapshot stays where it was: call [`Table::refresh`] before the next commit.
    pub(super) async fn commit(&mut self, actions: Vec<Action>, operation: DeltaOperation) -> Result<bool> {
        let state = self.state.clone();
        self.write(state.as_ref(), actions, operation).await
    }

    async fn write(
        &self,
        state: Option<&DeltaTableState>,
        actions: Vec<Action>,
        operation: DeltaOperation,
    ) -> Result<bool> {
        let text = &self.place.text;
        let builder = CommitBuilder::from(CommitProperties::default().with_max_retries(0)).with_actions(actions);
        let table = state.map(|state| state as &dyn deltalake::kernel::transaction::TableReference);
        let prepared = builder
            .build(table, Arc::clone(self.place.log()), operation)
            .into_prepared_commit_future()
            .await
            .at("commit", text)?;
        let written = match prepared.await {
            Ok(written) => written,
            Err(error) if is_conflict(&error) => return Ok(false),
            Err(error) => return Err(error).at("commit", text),
        };
        // From here on the epoch is durable: a checkpoint that cannot be written only makes the next reader slower.
        if let Err(error) = written.await {
            tracing::warn!(table = %text, error = %error, "the commit is durable, but the work after it (checkpoint, log clean-up) failed");
        }
        Ok(true)
    }

    /// The names of the snapshot's files, without their folders.
    pub(super) fn file_names(&self) -> Result<BTreeSet<String>> {
        let Some(state) = &self.state else { return Ok(BTreeSet::new()) };
        let files = state.snapshot().try_log_data().at("read", &self.place.text)?;
        Ok(files.iter().filter_map(|file| file.path().rsplit('/').next().map(str::to_owned)).collect())
    }

    /// The files of the snapshot by their partition values, in the order of the partition columns.
    pub(super) fn files(&self) -> Result<Files> {
        let mut by_partition = Files::new();
        let columns = self.partition_columns();
        let Some(state) = &self.state else { return Ok(by_partition) };
        for view in state.snapshot().try_log_data().at("read", &self.place.text)?.iter() {
            if view.deletion_vector_descriptor().is_some() {
                return Err(refused(
                    &self.place.text,
                    "the table has deletion vectors, which another program wrote; purge them (`REORG TABLE … APPLY (PURGE)`) before stockflow writes to it",
                ));
            }
            let file = LiveFile::new(&view);
            let values = columns.iter().map(|column| file.partition.get(column).cloned().flatten()).collect();
            by_partition.entry(values).or_default().push(Arc::new(file));
        }
        Ok(by_partition)
    }

    /// The snapshot's metadata with other columns, and for a table without columns with these partition columns.
    pub(super) fn metadata_with(&self, schema: &SchemaRef, partition_columns: &[String]) -> Result<Metadata> {
        let text = &self.place.text;
        let Some(state) = &self.state else { return Ok(first_actions(Some((schema, partition_columns)), text)?.0) };
        let old = state.metadata();
        if old.partition_columns() == partition_columns && !is_bare(state) {
            return old.clone().with_schema(&delta_schema(schema, text)?).at("evolve", text);
        }
        let properties = old.configuration().iter().filter(|(name, _)| *name != BARE);
        let new = new_metadata(&delta_schema(schema, text)?, partition_columns, properties).at("evolve", text)?;
        new.with_table_id(old.id().to_string()).at("evolve", text)
    }
}

fn delta_schema(schema: &SchemaRef, text: &str) -> Result<StructType> {
    schema.as_ref().try_into_kernel().at("map the columns of", text)
}

/// Metadata and protocol of a new table: reader version 1, writer version 2, so that every Delta reader can open it.
fn first_actions(schema: Option<(&SchemaRef, &[String])>, text: &str) -> Result<(Metadata, Protocol)> {
    let bare = Arc::new(Schema::new(vec![Field::new(BARE_COLUMN, DataType::Utf8, true)]));
    let mut properties =
        vec![("delta.checkpointInterval", CHECKPOINT_INTERVAL), ("delta.deletedFileRetentionDuration", REMEMBERED)];
    let (schema, partitions) = schema.unwrap_or_else(|| {
        properties.push((BARE, "true"));
        (&bare, &[])
    });
    let metadata = new_metadata(&delta_schema(schema, text)?, partitions, properties).at("create", text)?;
    let protocol = serde_json::from_value(serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 }))
        .at("create", text)?;
    Ok((metadata, protocol))
}
