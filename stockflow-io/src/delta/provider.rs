//! A Delta table as a DataFusion table with the relation's own columns and types.
//!
//! deltalake's scan gives text as views and partition columns as dictionaries, depending on the session; here a column has the type
//! that it was written with, and the generated partition column is left out. Filters go down to partitions, file statistics and
//! Parquet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::error::{DataFusionError, Result as QueryResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use deltalake::DeltaTable;
use deltalake::delta_datafusion::{DeltaScanConfig, DeltaScanNext};
use deltalake::table::state::DeltaTableState;
use stockflow_core::Result;

use super::error::{At, refused};
use super::partition::SPAN;
use super::place::Place;
use super::table::is_bare;

/// One version of a Delta table.
#[derive(Debug)]
struct DeltaRows {
    scan: DeltaScanNext,
    table: Handle,
    schema: SchemaRef,
}

/// deltalake's table without `Debug`.
struct Handle(DeltaTable);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DeltaTable").field(self.0.table_url()).finish()
    }
}

/// The newest version of a Delta table, for SQL: its columns as the relation has them.
///
/// # Errors
///
/// Class config: there is no table, or no epoch was written to it yet.
pub async fn open_table(url: impl AsRef<str>) -> Result<Arc<dyn TableProvider>> {
    let place = Place::parse(url.as_ref())?;
    let state = load(&place, None).await?.ok_or_else(|| {
        refused(&place.text, format!("there is no Delta table at `{}`, or nothing was written to it yet", place.text))
    })?;
    rows(&place, state, None)
}

/// The table at a version; `None` if there is none or if it has no columns yet.
pub(super) async fn load(place: &Place, version: Option<u64>) -> Result<Option<DeltaTableState>> {
    let log = place.log();
    if !log.is_delta_table_location().await.at("open", &place.text)? {
        return Ok(None);
    }
    let state = DeltaTableState::try_new(log.as_ref(), version).await.at("open", &place.text)?;
    Ok(Some(state).filter(|state| !is_bare(state)))
}

/// The rows of a snapshot, of all files or of some.
pub(super) fn rows(
    place: &Place,
    state: DeltaTableState,
    files: Option<Vec<String>>,
) -> Result<Arc<dyn TableProvider>> {
    let generated = state.metadata().partition_columns().iter().any(|column| column == SPAN);
    let all = state.snapshot().arrow_schema();
    let fields: Vec<_> = all.fields().iter().filter(|field| !(generated && field.name() == SPAN)).cloned().collect();
    let config =
        DeltaScanConfig { schema_force_view_types: false, ..DeltaScanConfig::new().with_wrap_partition_values(false) };
    let mut scan = DeltaScanNext::new(state.snapshot().clone(), config).at("read", &place.text)?;
    if let Some(files) = files {
        scan = scan.with_file_paths(files);
    }
    Ok(Arc::new(DeltaRows {
        scan,
        table: Handle(DeltaTable::new(Arc::clone(place.log()))),
        schema: Arc::new(Schema::new(fields)),
    }))
}

#[async_trait]
impl TableProvider for DeltaRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> QueryResult<Arc<dyn ExecutionPlan>> {
        self.table.0.update_datafusion_session(session).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema.project(columns)?),
            None => Arc::clone(&self.schema),
        };
        let there = self.scan.schema();
        let columns = wanted
            .fields()
            .iter()
            .map(|field| there.index_of(field.name()))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let plan = self.scan.scan(session, Some(&columns), filters, limit).await?;
        plain(plan, &wanted)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> QueryResult<Vec<TableProviderFilterPushDown>> {
        self.scan.supports_filters_pushdown(filters)
    }
}

/// The same rows in the wanted types.
fn plain(plan: Arc<dyn ExecutionPlan>, wanted: &SchemaRef) -> QueryResult<Arc<dyn ExecutionPlan>> {
    let schema = plan.schema();
    if schema.fields().iter().zip(wanted.fields()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
    {
        return Ok(plan);
    }
    let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(wanted.fields().len());
    for field in wanted.fields() {
        let column = Arc::new(Column::new_with_schema(field.name(), &schema)?);
        columns.push((cast(column, &schema, field.data_type().clone())?, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}
