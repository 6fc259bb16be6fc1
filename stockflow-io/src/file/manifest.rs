//! Reads what a file sink wrote in mode append.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
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

use super::decode::{CsvOptions, pin_of};
use super::format::FileFormat;
use super::pin::{ColumnPin, Pins};
use super::scan::{FileScan, FileTable};
use super::sink::{Contents, TableLog};
use super::source::simple;
use crate::location::{Location, refuse};

/// The visible rows of a folder that a [`FileSink`](super::FileSink) appends to, as of the moment of opening.
///
/// # Output
///
/// The sink's columns, all nullable. CSV and NDJSON know text, Int64, Float64, Boolean, Date32 and Timestamp(µs) only:
/// other columns come back as the nearest of these.
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
    /// Class config if there is no such output; else whatever the store gives.
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
            let table = Arc::new(MemTable::try_new(Arc::new(Schema::empty()), vec![Vec::new()])?);
            return Ok(Self { table, store: None, token: None });
        };
        let token = visible.token.parse().ok();
        match entry.format {
            FileFormat::Parquet if !visible.files.is_empty() => {
                // A session may know several outputs: each store has a name of its own there.
                let base = Url::parse(&format!("stockflow-files://{}/", uuid::Uuid::new_v4().simple()))
                    .map_err(|error| Error::internal(error.to_string()))?;
                let table = Arc::new(parquet(&base, &place, &visible)?);
                Ok(Self { table, store: Some((base, place)), token })
            }
            FileFormat::Parquet => {
                let table = Arc::new(MemTable::try_new(schema(&visible.columns)?, vec![Vec::new()])?);
                Ok(Self { table, store: None, token })
            }
            format => Ok(Self { table: Arc::new(text(place, visible, format).await?), store: None, token }),
        }
    }

    /// The last epoch whose rows are here; `None` before the first.
    pub fn token(&self) -> Option<EpochToken> {
        self.token
    }
}

fn schema(columns: &[ColumnPin]) -> Result<SchemaRef> {
    let field = |column: &ColumnPin| Ok(Field::new(&column.name, column.data_type.parse::<DataType>()?, true));
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>, arrow::error::ArrowError>>()?)))
}

fn parquet(base: &Url, place: &Location, visible: &Contents) -> Result<ListingTable> {
    let urls = visible.files.iter().map(|file| {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(place.join(&file.file).path().parts().map(|part| part.as_ref().to_owned()));
        }
        ListingTableUrl::try_new(url, None)
    });
    let urls = urls.collect::<DfResult<Vec<_>>>()?;
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new_with_multi_paths(urls)
        .with_listing_options(options)
        .with_schema(schema(&visible.columns)?);
    Ok(ListingTable::try_new(config)?)
}

async fn text(place: Location, visible: Contents, format: FileFormat) -> Result<FileTable> {
    let mut files = Vec::with_capacity(visible.files.len());
    for file in &visible.files {
        let at = place.join(&file.file);
        let Some(meta) = at.exists().await? else {
            return Err(refuse(at.text(), format!("`{}` is listed in the output's log and is not there", at.text())));
        };
        let mut pin = pin_of(&place, &meta);
        pin.file.clone_from(&file.file);
        pin.format = format;
        files.push(pin);
    }
    let columns = visible.columns.into_iter().map(|column| {
        let data_type = simple(&column.data_type.parse::<DataType>()?);
        let data_type = if super::decode::Kind::of(&data_type).is_some() { data_type } else { DataType::Utf8 };
        Ok(ColumnPin { name: column.name, data_type: data_type.to_string() })
    });
    let columns = columns.collect::<Result<Vec<_>, arrow::error::ArrowError>>()?;
    let csv = CsvOptions { delimiter: Some(b','), header: true };
    Ok(FileTable(FileScan::new(place, Pins { columns, files }, csv, false)?))
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
