//! One attempt at an epoch: what is staged, in the session that will commit it.

use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, RefusedRow, WriteMode};
use stockflow_core::token::EpochToken;
use stockflow_core::{Error, Origin, Result};

use super::connection::{PostgresOptions, Session};
use super::layout::{FitColumn, Layout, TableSettings};
use super::migrate::fitted;
use super::months::make_partitions;
use super::name::TableName;
use super::stage::{Loaded, load, make};
use super::state::TableState;
use super::token::Ownership;

/// What a sink was told.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: PostgresOptions,
    pub(super) name: TableName,
    pub(super) mode: WriteMode,
    pub(super) table: TableSettings,
    pub(super) create: bool,
    /// Texts get a sign in place of what PostgreSQL cannot hold: for dead letters.
    pub(super) lossy: bool,
}

impl Settings {
    /// The place for errors.
    pub(super) fn origin(&self) -> Origin {
        self.options.origin(&self.name.to_string())
    }

    /// Whether the rows of a relation are merged by key.
    pub(super) fn merges(&self, relation: &RelationSchema) -> bool {
        self.mode == WriteMode::Merge && !relation.key.is_empty()
    }
}

/// A staged epoch.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) session: Session,
    pub(super) owner: Ownership,
    pub(super) relation: RelationSchema,
    pub(super) layout: Layout,
    pub(super) columns: Vec<FitColumn>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) refused: Vec<RefusedRow>,
}

impl Attempt {
    /// Stages an epoch.
    pub(super) async fn write(
        settings: &Settings,
        owner: &Ownership,
        session: Session,
        token: &EpochToken,
        rows: &EpochRows,
    ) -> Result<Self> {
        let (origin, relation) = (settings.origin(), rows.relation());
        owner.check(&session, &origin).await?;
        let layout = Layout::new(relation, &settings.table, settings.merges(relation))?;
        let columns = fitted(&session, &owner.table, &layout, relation, settings.create, &origin).await?;
        let state =
            TableState::load(&session, &owner.table).await.map_err(|fault| fault.at("look up the table", &origin))?;
        let all: Vec<String> = state.map(|it| it.columns.into_iter().map(|it| it.name).collect()).unwrap_or_default();
        let statement = make(&session, &owner.table, &columns, &all)
            .await
            .map_err(|fault| fault.at("make a staging table", &origin))?;
        let loaded = load(&session, &statement, rows, &layout, columns.clone(), settings.lossy, &origin).await?;
        let Loaded { rows, bytes, refused, months } = loaded;
        if !months.is_empty() {
            make_partitions(&session, &owner.table, &months, &origin).await?;
        }
        tracing::debug!(table = %owner.table, epoch = token.epoch, rows, bytes, refused = refused.len(), "staged");
        Ok(Self { session, owner: owner.clone(), relation: relation.clone(), layout, columns, rows, bytes, refused })
    }

    /// Removes what was staged, and gives the session back.
    pub(super) async fn discard(self, settings: &Settings) -> Result<Session> {
        let sql = format!("DROP TABLE IF EXISTS pg_temp.{}", super::stage::STAGE);
        match self.session.batch(&sql).await {
            Ok(()) => Ok(self.session),
            // It went with its session.
            Err(_) if self.session.is_closed() => Err(Error::refused(
                settings.origin(),
                stockflow_core::ErrorClass::Transient,
                "the connection was lost, and with it what was staged",
            )),
            Err(fault) => Err(fault.at("remove what was staged", &settings.origin())),
        }
    }
}
