//! Tables for queries: those of the lake, and files that a user names.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::path::Path;
use stockflow_core::{Error, Origin};
use stockflow_io::delta::AsOfTable;
use stockflow_io::location::Location;

use crate::exit::{Failure, Outcome};
use crate::{connectors, file_table};

/// A session with all indicators and tables listed in `information_schema`.
pub(crate) fn session() -> Outcome<SessionContext> {
    let session = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    stockflow_core::functions::register(&session)?;
    Ok(session)
}

/// Registers every Delta table right below the data folder under its folder's name; says which. A name that is taken, by a
/// file that a user named, stays. Beside tables of bars and actions stands a function `NAME_at(t)`: what was known then.
pub(crate) async fn register_lake(session: &SessionContext, data_dir: &str) -> Outcome<Vec<String>> {
    let lake = Location::parse(data_dir)?;
    let names = lake_tables(&lake).await?;
    for name in &names {
        let place = lake.join(name);
        if !session.table_exist(TableReference::bare(name.as_str()))?
            && let Some(table) = connectors::open_delta(&place).await?
        {
            if AsOfTable::has_key(&table.schema()) && !name.ends_with("_revisions") {
                let known = Arc::new(AsOfTable::open(place.text()).await?);
                session.register_udtf(&format!("{}_at", name.to_lowercase()), known);
            }
            register(session, name, table)?;
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

pub(crate) async fn subfolders(folder: &Location) -> Outcome<BTreeSet<String>> {
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
    if session.table_exist(TableReference::bare(name))? {
        return Err(Failure::usage(format!("the table `{name}` is named twice")).or_next("give each file another name"));
    }
    let table = open_file(session, path).await.map_err(wrong)?;
    register(session, name, table)
}

/// Registers a table so that its name can be written without quotes, too: SQL takes such a name in lower case.
fn register(session: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Outcome<()> {
    let lower = name.to_lowercase();
    if lower != name && !session.table_exist(TableReference::bare(lower.as_str()))? {
        session.register_table(TableReference::bare(lower), Arc::clone(&table))?;
    }
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
    file_table::open(session, path).await
}

/// The names of the session's tables, for messages.
pub(crate) fn names(session: &SessionContext) -> String {
    let names: Vec<String> = session
        .catalog("datafusion")
        .and_then(|catalog| catalog.schema("public"))
        .map(|schema| schema.table_names())
        .unwrap_or_default();
    let names: Vec<String> = names.into_iter().filter(|name| *name == name.to_lowercase()).collect();
    if names.is_empty() {
        "none; run `stockflow run` first, or name files with `-f NAME=PATH`".into()
    } else {
        format!("`{}`", names.join("`, `"))
    }
}
