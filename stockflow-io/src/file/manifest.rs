//! Reads what a file sink wrote in mode append.

mod csv;
mod ndjson;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::{MemTable, TableProvider, TableType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use stockflow_core::token::EpochToken;
use stockflow_core::{Error, Result};
use url::Url;

use super::format::FileFormat;
use super::sink::{DataFile, TableLog, files_of, schema_of};
use crate::location::{Location, refuse};
use text::TextTable;

/// The visible rows of a folder that a [`FileSink`](super::FileSink) appends to, as of the moment of opening.
///
/// # Output
///
/// The union of the columns of all epochs, all nullable; what an epoch did not have is NULL in its rows. Types are the
/// sink's; text files give dictionaries as their values, and durations and intervals as text.
///
/// # Errors
///
/// A file that the log names must be there as it was written, and each of its rows must decode: anything else is an error
/// that names the file, when the table is opened or when it is read.
#[derive(Debug)]
pub struct ManifestTable {
    table: Arc<dyn TableProvider>,
    store: Option<(Url, Location)>,
    token: Option<EpochToken>,
}

impl ManifestTable {
    /// Opens the folder at a path or URL.
    ///
    /// # Errors
    ///
    /// Class config if there is no such output, or a file of it is missing; else whatever the store gives.
    pub async fn open(url: &str) -> Result<Self> {
        Self::at(Location::parse(url)?).await
    }

    /// Opens the folder at a place.
    ///
    /// # Errors
    ///
    /// As [`ManifestTable::open`].
    pub async fn at(place: Location) -> Result<Self> {
        let Some((_, entry)) = TableLog::of_folder(&place).newest().await? else {
            return Err(refuse(
                place.text(),
                format!("`{}` is no output of a file sink in mode append: it has no `_stockflow/log`", place.text()),
            ));
        };
        let Some(visible) = entry.visible else {
            let table = empty(Arc::new(Schema::empty()))?;
            return Ok(Self { table, store: None, token: None });
        };
        let token = visible.token.parse().ok();
        let schema = schema_of(place.text(), &visible.columns)?;
        let files = files_of(&place, &visible).await?;
        check(&place, &files).await?;
        let (table, store): (Arc<dyn TableProvider>, _) = match entry.format {
            _ if files.is_empty() => (empty(schema)?, None),
            FileFormat::Parquet => {
                // A session may know several outputs: each store has a name of its own there.
                let base = Url::parse(&format!("stockflow-files://{}/", uuid::Uuid::new_v4().simple()))
                    .map_err(|error| Error::internal(error.to_string()))?;
                (Arc::new(parquet(&base, &place, &files, schema)?), Some((base, place)))
            }
            format => (Arc::new(TextTable::new(place, files, format, &schema)), None),
        };
        Ok(Self { table, store, token })
    }

    /// The last epoch whose rows are here; `None` before the first.
    pub fn token(&self) -> Option<EpochToken> {
        self.token
    }
}

fn empty(schema: SchemaRef) -> Result<Arc<MemTable>> {
    Ok(Arc::new(MemTable::try_new(schema, vec![Vec::new()])?))
}

/// Fails unless all files are there as they were written: readers of many files leave out what is missing.
async fn check(place: &Location, files: &[DataFile]) -> Result<()> {
    let found: HashMap<_, u64> = place.list().await?.into_iter().map(|meta| (meta.location, meta.size)).collect();
    for file in files {
        let at = place.join(&file.file);
        let what = match found.get(at.path()) {
            Some(size) if *size == file.bytes => continue,
            Some(size) => format!("has {size} bytes instead of {}", file.bytes),
            None => "is not there".into(),
        };
        let reason = format!(
            "`{}`, which the output's log names, {what}; restore it, or remove the output and fill it with `run --rebuild`",
            at.text()
        );
        return Err(refuse(at.text(), reason));
    }
    Ok(())
}

fn parquet(base: &Url, place: &Location, files: &[DataFile], schema: SchemaRef) -> Result<ListingTable> {
    let urls = files.iter().map(|file| {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(place.join(&file.file).path().parts().map(|part| part.as_ref().to_owned()));
        }
        ListingTableUrl::try_new(url, None)
    });
    let urls = urls.collect::<DfResult<Vec<_>>>()?;
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    Ok(ListingTable::try_new(config)?)
}

#[async_trait]
impl TableProvider for ManifestTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        self.table.supports_filters_pushdown(filters)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        if let Some((base, place)) = &self.store {
            state.runtime_env().register_object_store(base, Arc::clone(place.store()));
        }
        self.table.scan(state, projection, filters, limit).await
    }
}
