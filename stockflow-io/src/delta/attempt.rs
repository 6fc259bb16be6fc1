//! One attempt at an epoch: what is staged, and what will make it visible.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use deltalake::kernel::{Add, Metadata, Remove};
use stockflow_core::Result;
use stockflow_core::relation::{AS_OF, RelationSchema};
use stockflow_core::sink::{EpochRows, RefusedRow, WriteMode};
use stockflow_core::token::EpochToken;

use super::error::{busy, refused};
use super::layout::Layout;
use super::open::{Opened, file_prefix};
use super::partition::{PartitionBy, SPAN, accept};
use super::place::Place;
use super::reader::ReadSpec;
use super::revisions;
use super::schema::{evolve, stored_schema};
use super::stage::Stage;
use super::table::Table;
use super::token::nonce;
use super::writer::WriteSpec;
use crate::columnar::ParquetCompression;

/// What a sink was told.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) place: Place,
    pub(super) mode: WriteMode,
    pub(super) partition_by: PartitionBy,
    pub(super) target_file_size: u64,
    pub(super) compression: ParquetCompression,
}

impl Settings {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            mode: WriteMode::Merge,
            partition_by: PartitionBy::Derived,
            target_file_size: 128 << 20,
            compression: ParquetCompression::default(),
        }
    }
}

/// A staged epoch.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Names the attempt in the table and in its files.
    pub(super) id: i64,
    pub(super) adds: Vec<Add>,
    pub(super) removes: Vec<Remove>,
    /// Other columns than the table had.
    pub(super) metadata: Option<Metadata>,
    /// Rows that become visible.
    pub(super) rows: u64,
    pub(super) corrected: u64,
    pub(super) files_read: u64,
    pub(super) refused: Vec<RefusedRow>,
    /// Whether rows were compared with the table, so that they are wrong if it has changed since.
    pub(super) compared: bool,
    pub(super) partition: Vec<String>,
    /// What goes to the revisions table first.
    pub(super) revisions: Option<Revisions>,
    /// To stage it again, should the table have changed.
    pub(super) source: EpochRows,
    files: Arc<WriteSpec>,
}

/// The part of a staged epoch that goes to the revisions table.
#[derive(Debug)]
pub(super) struct Revisions {
    pub(super) adds: Vec<Add>,
    pub(super) metadata: Option<Metadata>,
    pub(super) files: Arc<WriteSpec>,
}

/// How rows lie in a table, and how the table must change for it.
struct Fit {
    layout: Layout,
    metadata: Option<Metadata>,
}

impl Attempt {
    /// Stages an epoch.
    pub(super) async fn write(
        settings: &Settings,
        opened: &mut Opened,
        token: &EpochToken,
        rows: &EpochRows,
    ) -> Result<Self> {
        let relation = rows.relation();
        if opened.table.refresh().await?.is_none() {
            return Err(refused(
                &settings.place.text,
                "the table was removed while it was being written to; run again to make it anew",
            ));
        }
        opened.check_fence(opened.table.held())?;
        // Bars may have columns of others; what is derived from them is all ours.
        let whole = rows.is_whole() && relation.version.as_deref() != Some(AS_OF);
        let fit = fit(settings, &opened.table, relation, whole)?;
        let layout = Arc::new(fit.layout);
        let compared = layout.is_keyed() && settings.mode == WriteMode::Merge;
        let id = nonce();
        let prefix = file_prefix(&opened.sink, token, opened.generation, id);
        let spec = |place: &Place, layout: &Layout| {
            let (target, compression) = (settings.target_file_size, settings.compression);
            WriteSpec::new(place.store(), &place.text, layout, target, compression, prefix.clone()).map(Arc::new)
        };
        let files = spec(&settings.place, &layout)?;
        let mut revised = None;
        if compared && revisions::are_kept(relation) {
            let old = revisions::layout(&layout);
            let metadata = prepare_revisions(opened, &old).await?;
            revised = Some((spec(&opened.revisions.place, &old)?, metadata));
        }
        let stage = Arc::new(Stage {
            files: if compared { opened.table.files()? } else { Default::default() },
            write: Arc::clone(&files),
            read: ReadSpec::new(settings.place.store(), &settings.place.text, &layout),
            revisions: revised.as_ref().map(|(spec, _)| Arc::clone(spec)),
            layout: Arc::clone(&layout),
        });
        let outcome = match stage.run(rows).await {
            Ok(outcome) => outcome,
            Err(error) => {
                // The error at hand says more than one of the clean-up would; `open` cleans up again.
                for spec in std::iter::once(&files).chain(revised.as_ref().map(|(spec, _)| spec)) {
                    let _ = spec.discard().await;
                }
                return Err(error);
            }
        };
        let attempt = Self {
            id,
            adds: outcome.adds,
            removes: outcome.removes,
            metadata: fit.metadata,
            rows: outcome.rows,
            corrected: outcome.corrected,
            files_read: outcome.files_read,
            refused: outcome.refused,
            compared,
            partition: layout.partition.clone(),
            revisions: revised.filter(|_| !outcome.revisions.is_empty()).map(|(files, metadata)| Revisions {
                adds: outcome.revisions,
                metadata,
                files,
            }),
            source: rows.clone(),
            files,
        };
        tracing::debug!(
            table = %settings.place.text, epoch = token.epoch, rows = attempt.rows, corrected = attempt.corrected,
            files = attempt.adds.len(), rewritten = attempt.removes.len(), files_read = attempt.files_read, "staged"
        );
        Ok(attempt)
    }

    /// Bytes of the files.
    pub(super) fn bytes(&self) -> u64 {
        self.adds.iter().filter_map(|add| u64::try_from(add.size).ok()).sum()
    }

    /// Removes what was staged.
    pub(super) async fn discard(&self) -> Result<()> {
        self.files.discard().await?;
        match &self.revisions {
            Some(revisions) => revisions.files.discard().await,
            None => Ok(()),
        }
    }
}

/// How the rows of a relation lie in the table.
fn fit(settings: &Settings, table: &Table, relation: &RelationSchema, whole: bool) -> Result<Fit> {
    let there = table.schema().filter(|_| settings.mode != WriteMode::Overwrite);
    let partition = match &there {
        Some(_) => table.partition_columns(),
        None => settings.partition_by.columns(relation)?,
    };
    if there.is_some() {
        accept(relation, &settings.partition_by, &partition)?;
    }
    let generated = partition.iter().any(|column| column == SPAN) && !relation.has(SPAN);
    let wanted = stored_schema(&relation.name, &relation.schema, generated.then_some(SPAN))?;
    let (schema, changed) = match &there {
        Some(there) => evolve(&relation.name, there, &wanted, whole, &partition)?,
        None => {
            let same =
                table.schema().is_some_and(|old| same_columns(&old, &wanted)) && table.partition_columns() == partition;
            (wanted, !same)
        }
    };
    let metadata = changed.then(|| table.metadata_with(&schema, &partition)).transpose()?;
    let layout = Layout::new(relation, schema, partition, settings.mode != WriteMode::Append)?;
    Ok(Fit { layout, metadata })
}

fn same_columns(a: &SchemaRef, b: &SchemaRef) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields()
            .iter()
            .zip(b.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type() && a.is_nullable() == b.is_nullable())
}

/// Makes the revisions table, or says how its columns change.
async fn prepare_revisions(opened: &mut Opened, layout: &Layout) -> Result<Option<Metadata>> {
    for _ in 0..super::open::TRIES {
        if opened.revisions.refresh().await?.is_none() {
            let owner = opened.revisions.ids().owner(opened.generation, opened.owner);
            opened.revisions.create(Some((&layout.schema, &layout.partition)), owner).await?;
            continue;
        }
        opened.keep_revisions().await?;
        let Some(there) = opened.revisions.schema() else {
            return Ok(Some(opened.revisions.metadata_with(&layout.schema, &layout.partition)?));
        };
        let (schema, changed) = evolve(&layout.relation, &there, &layout.schema, false, &[])?;
        return changed
            .then(|| opened.revisions.metadata_with(&schema, &opened.revisions.partition_columns()))
            .transpose();
    }
    Err(busy(&opened.revisions.place.text, "the table of revisions could not be made"))
}
