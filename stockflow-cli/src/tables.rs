//! Tables for queries: those of the lake, and files that a user names.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::prelude::{CsvReadOptions, JsonReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use object_store::path::Path;
use stockflow_core::{Error, Origin};
use stockflow_io::location::Location;

use crate::connectors;
use crate::exit::{Failure, Outcome};

/// A session with all indicators and tables listed in `information_schema`.
pub(crate) fn session() -> Outcome<SessionContext> {
    let session = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    stockflow_core::functions::register(&session)?;
    Ok(session)
}

/// Registers every Delta table right below the data folder under its folder's name; says which.
pub(crate) async fn register_lake(session: &SessionContext, data_dir: &str) -> Outcome<Vec<String>> {
    let lake = Location::parse(data_dir)?;
    let names = lake_tables(&lake).await?;
    for name in &names {
        if let Some(table) = connectors::open_delta(&lake.join(name)).await? {
            session.register_table(TableReference::bare(name.as_str()), table)?;
        }
    }
    Ok(names)
}

/// The names of the tables right below a folder that hold something.
pub(crate) async fn lake_tables(lake: &Location) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for name in subfolders(lake).await? {
        if connectors::open_delta(&lake.join(&name)).await?.is_some() {
            names.push(name);
        }
    }
    Ok(names)
}

async fn subfolders(folder: &Location) -> Outcome<BTreeSet<String>> {
    let listed = match folder.store().list_with_delimiter(Some(folder.path())).await {
        Ok(listed) => listed,
        // No lake yet: a query without tables is still a query.
        Err(object_store::Error::NotFound { .. }) => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::connector(Origin::new("lake").partition(folder.text()), "list", error).into()),
    };
    Ok(listed.common_prefixes.iter().filter_map(Path::filename).map(str::to_owned).collect())
}

/// Registers a file, a folder, a glob or a Delta table, local or behind an object store URL.
pub(crate) async fn register_file(session: &SessionContext, name: &str, path: &str) -> Outcome<()> {
    let wrong = |failure: Failure| failure.context(format!("`{path}` cannot be used as the table `{name}`"));
    let table = open_file(session, path).await.map_err(wrong)?;
    session.register_table(TableReference::bare(name), table)?;
    Ok(())
}

/// A file, a folder, a glob or a Delta table as a table.
pub(crate) async fn open_file(session: &SessionContext, path: &str) -> Outcome<Arc<dyn TableProvider>> {
    if !path.contains(['*', '?', '[']) {
        let location = Location::parse(path)?;
        if let Some(table) = connectors::open_table(&location).await? {
            return Ok(table);
        }
        if location.local_path().is_some_and(|local| !local.exists()) {
            return Err(Failure::usage(format!("`{path}` does not exist")));
        }
    }
    if path.starts_with("s3") && path.contains("://") {
        let url =
            url::Url::parse(path).map_err(|error| Failure::usage(format!("`{path}` is no URL")).because(error))?;
        let bucket = Location::parse(&format!("{}://{}/x", url.scheme(), url.host_str().unwrap_or_default()))?;
        session.register_object_store(&url, Arc::clone(bucket.store()));
    }
    listing(session, path).await
}

async fn listing(session: &SessionContext, path: &str) -> Outcome<Arc<dyn TableProvider>> {
    let lower = path.to_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, FileCompressionType::GZIP),
        Some((stem, "zst" | "zstd")) => (stem, FileCompressionType::ZSTD),
        _ => (lower.as_str(), FileCompressionType::UNCOMPRESSED),
    };
    // The listing keeps only names that end like the one that was given.
    let suffix = path.rsplit_once('/').map_or(path, |(_, name)| name);
    let suffix =
        suffix.find('.').map_or_else(String::new, |dot| suffix[dot..].trim_start_matches(['*', '?']).to_owned());
    let frame = match stem.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv" | "tsv" | "txt") => {
            let delimiter = if stem.ends_with(".tsv") { b'\t' } else { b',' };
            let options = CsvReadOptions::new().file_extension(&suffix).file_compression_type(compression).delimiter(delimiter);
            session.read_csv(path, options).await?
        }
        Some("ndjson" | "jsonl" | "json") => session.read_json(path, JsonReadOptions::default().file_extension(&suffix).file_compression_type(compression)).await?,
        Some("parquet" | "pq") => session.read_parquet(path, ParquetReadOptions::default().file_extension(&suffix)).await?,
        _ if path.ends_with('/') || std::path::Path::new(path).is_dir() => session.read_parquet(path, ParquetReadOptions::default()).await?,
        _ => return Err(Failure::usage(format!("`{path}` has no known ending")).or_next("name a .csv, .tsv, .ndjson, .jsonl or .parquet file (also .gz or .zst), a folder of Parquet files, or a Delta table")),
    };
    Ok(frame.into_view())
}

/// The names of the session's tables, for messages.
pub(crate) fn names(session: &SessionContext) -> String {
    let names: Vec<String> = session
        .catalog("datafusion")
        .and_then(|catalog| catalog.schema("public"))
        .map(|schema| schema.table_names())
        .unwrap_or_default();
    if names.is_empty() {
        "none; run `stockflow run` first, or name files with `-f NAME=PATH`".into()
    } else {
        format!("`{}`", names.join("`, `"))
    }
}
