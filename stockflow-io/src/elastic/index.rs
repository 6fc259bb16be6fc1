//! The indices behind a name: made, brought up to date, and looked after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stockflow_core::relation::RelationSchema;
use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio::sync::Mutex;

use super::client::Client;
use super::error::Failure;
use super::{mapping, name};

/// So many names go into one URL: the server takes 4096 bytes.
const NAMES: usize = 12;

/// A higher priority than that of templates that come with a server.
const PRIORITY: u32 = 300;

/// What a sink was told of its index.
#[derive(Debug, Clone)]
pub(super) struct IndexSettings {
    pub(super) name: String,
    pub(super) by_month: bool,
    pub(super) create: bool,
    /// Settings of new indices, such as `number_of_replicas`.
    pub(super) settings: BTreeMap<String, String>,
}

/// Where documents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The alias or the index that stands in requests.
    pub(super) name: String,
    /// Whether it is an alias: then a request can insist on it, and a deleted index is not made anew by chance.
    pub(super) is_alias: bool,
    /// The index and its UUID, by which one that was deleted and made anew is told.
    index: String,
    uuid: String,
}

#[cfg(test)]
impl Target {
    pub(super) fn for_test(name: &str, is_alias: bool) -> Self {
        Self { name: name.into(), is_alias, index: name.into(), uuid: String::new() }
    }
}

/// The indices that this sink has written to since it was opened.
#[derive(Debug)]
pub(super) struct Indices {
    client: Client,
    settings: IndexSettings,
    origin: Origin,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The relation that the indices are known to fit.
    fits: Option<RelationSchema>,
    known: BTreeMap<String, Arc<Target>>,
}

/// An index as the server describes it.
#[derive(Debug, Deserialize)]
struct Described {
    #[serde(default)]
    aliases: BTreeMap<String, Alias>,
    #[serde(default)]
    mappings: Mapping,
    #[serde(default)]
    settings: Settings,
}

#[derive(Debug, Default, Deserialize)]
struct Alias {
    is_write_index: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct Mapping {
    #[serde(default)]
    dynamic: Value,
    #[serde(default)]
    properties: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
struct Settings {
    #[serde(default)]
    index: Identity,
}

#[derive(Debug, Default, Deserialize)]
struct Identity {
    #[serde(default)]
    uuid: String,
}

impl Indices {
    pub(super) fn new(client: Client, settings: IndexSettings, origin: Origin) -> Self {
        Self { client, settings, origin, state: Mutex::default() }
    }

    fn refused(&self, reason: impl Into<String>) -> Error {
        Error::refused(self.origin.clone(), ErrorClass::Config, reason)
    }

    /// The target for rows of a month, or of any with `None`; made if it is not there, and brought to what the relation needs.
    ///
    /// # Errors
    ///
    /// Class config: it is not there and may not be made. [`Error::Schema`]: its fields do not take the rows.
    pub(super) async fn target(&self, relation: &RelationSchema, month: Option<i32>) -> Result<Arc<Target>> {
        let name = match month {
            Some(month) => name::of_month(&self.settings.name, month),
            None => self.settings.name.clone(),
        };
        let mut state = self.state.lock().await;
        if state.fits.as_ref() != Some(relation) {
            // Columns were added: every index is looked at once more.
            if self.settings.create {
                self.put_template(relation).await?;
            }
            state.fits = Some(relation.clone());
            state.known.clear();
        }
        if let Some(known) = state.known.get(&name) {
            return Ok(Arc::clone(known));
        }
        let target = Arc::new(self.prepared(relation, &name).await?);
        state.known.insert(name, Arc::clone(&target));
        Ok(target)
    }

    /// The template for indices of this name that someone makes later, by `_reindex` or by hand.
    async fn put_template(&self, relation: &RelationSchema) -> Result<()> {
        let IndexSettings { name, by_month, .. } = &self.settings;
        let pattern = if *by_month { format!("{name}_y*") } else { format!("{name}-0*") };
        let body = json!({
            "index_patterns": [pattern],
            "priority": PRIORITY,
            "template": {
                "settings": self.index_settings(),
                "mappings": mapping::mapping(relation)?,
                "aliases": if *by_month { json!({ name: {} }) } else { json!({}) },
            },
            "_meta": {"made_by": "stockflow"},
        });
        let path = format!("_index_template/stockflow-{name}");
        self.client
            .tell(Method::PUT, &path, Some(&body))
            .await
            .map_err(|failure| failure.at("write the index template", &self.origin))
    }

    fn index_settings(&self) -> Value {
        let named = |(key, value): (&String, &String)| {
            let key = if key.starts_with("index.") { key.clone() } else { format!("index.{key}") };
            (key, Value::String(value.clone()))
        };
        Value::Object(self.settings.settings.iter().map(named).collect())
    }

    async fn described(&self, name: &str) -> Result<Option<BTreeMap<String, Described>>> {
        let path =
            format!("{name}?filter_path=*.aliases,*.mappings.dynamic,*.mappings.properties,*.settings.index.uuid");
        self.client.look(&path).await.map_err(|failure| failure.at("look up the index", &self.origin))
    }

    async fn prepared(&self, relation: &RelationSchema, name: &str) -> Result<Target> {
        let found = match self.described(name).await? {
            Some(found) => found,
            None if !self.settings.create => {
                return Err(
                    self.refused(format!("there is no index or alias `{name}`; make one, or set `create = true`"))
                );
            }
            None => {
                self.create(relation, name).await?;
                let made = self.described(name).await?;
                made.ok_or_else(|| self.refused(format!("the index `{name}` was made and is gone; was it deleted?")))?
            }
        };
        let (index, there, is_alias) = self.written(name, found)?;
        let difference = mapping::compare(relation, &there.mappings.properties)?;
        if !difference.misfits.is_empty() {
            let reason = format!(
                "the index `{index}` does not fit the rows: {}; cast the columns in an SQL step, or write to another index",
                difference.misfits.join(", ")
            );
            return Err(Error::schema(&relation.name, reason));
        }
        if !difference.missing.is_empty() {
            let names: Vec<&str> = difference.missing.keys().map(String::as_str).collect();
            if self.settings.create {
                tracing::info!(index, fields = names.join(", "), "fields are added to the index");
                let body = json!({ "properties": difference.missing });
                self.client
                    .tell(Method::PUT, &format!("{index}/_mapping"), Some(&body))
                    .await
                    .map_err(|failure| failure.at("add fields to the mapping", &self.origin))?;
            } else if there.mappings.dynamic == "strict" {
                let reason = format!(
                    "the index `{index}` takes no other fields than its own, and lacks `{}`; add them to its mapping, or set `create = true`",
                    names.join("`, `")
                );
                return Err(Error::schema(&relation.name, reason));
            }
        }
        Ok(Target { name: name.to_owned(), is_alias, uuid: there.settings.index.uuid, index })
    }

    /// Of what stands under a name the index that is written to, and whether the name is an alias of it.
    fn written(&self, name: &str, mut found: BTreeMap<String, Described>) -> Result<(String, Described, bool)> {
        if let Some(index) = found.remove(name) {
            return Ok((name.to_owned(), index, false));
        }
        let count = found.len();
        let writes = |it: &Described| it.aliases.get(name).and_then(|alias| alias.is_write_index).unwrap_or(count == 1);
        found.into_iter().find(|(_, it)| writes(it)).map(|(index, it)| (index, it, true)).ok_or_else(|| {
            self.refused(format!("none of the {count} indices behind the alias `{name}` is its write index; set `is_write_index` for one of them"))
        })
    }

    async fn create(&self, relation: &RelationSchema, name: &str) -> Result<()> {
        let mut aliases = Map::new();
        if self.settings.by_month {
            aliases.insert(self.settings.name.clone(), json!({}));
        }
        aliases.insert(name.to_owned(), json!({"is_write_index": true}));
        let body =
            json!({"settings": self.index_settings(), "mappings": mapping::mapping(relation)?, "aliases": aliases});
        match self.client.tell(Method::PUT, &format!("{name}-000001"), Some(&body)).await {
            Ok(()) => {
                tracing::info!(index = format!("{name}-000001"), "index made");
                Ok(())
            }
            // Somebody else was faster.
            Err(failure)
                if failure.is(StatusCode::BAD_REQUEST) && failure.kind == "resource_already_exists_exception" =>
            {
                Ok(())
            }
            Err(failure) => Err(failure.at("make the index", &self.origin)),
        }
    }

    /// Makes what was written visible to searches.
    pub(super) async fn refresh(&self, targets: &BTreeSet<String>) -> Result<()> {
        for names in chunks(targets) {
            let refreshed = self.client.tell(Method::POST, &format!("{names}/_refresh"), None).await;
            refreshed.map_err(|failure| failure.at("refresh", &self.origin))?;
        }
        Ok(())
    }

    /// Whether the indices are still those that were prepared.
    ///
    /// # Errors
    ///
    /// Class config, if one was deleted, or replaced by another.
    pub(super) async fn check(&self, targets: &BTreeSet<String>) -> Result<()> {
        let known: Vec<Arc<Target>> =
            self.state.lock().await.known.values().filter(|it| targets.contains(&it.name)).cloned().collect();
        for names in chunks(targets) {
            let path = format!("{names}/_settings?filter_path=*.settings.index.uuid");
            let there: BTreeMap<String, Described> = match self.client.ask(Method::GET, &path, None).await {
                Ok(there) => there,
                Err(failure) => return Err(self.lost(failure).await),
            };
            let asked: BTreeSet<&str> = names.split(',').collect();
            for target in known.iter().filter(|it| asked.contains(it.name.as_str())) {
                if there.get(&target.index).is_none_or(|it| it.settings.index.uuid != target.uuid) {
                    self.forget().await;
                    return Err(self.refused(format!(
                        "the index `{}` behind `{}` was deleted or replaced while it was written to; run again with `--rebuild` to fill it",
                        target.index, target.name
                    )));
                }
            }
        }
        Ok(())
    }

    async fn lost(&self, failure: Failure) -> Error {
        self.forget().await;
        failure.at("look up the index", &self.origin)
    }

    /// Looks at every index anew the next time.
    pub(super) async fn forget(&self) {
        *self.state.lock().await = State::default();
    }
}

/// Names in groups that fit a URL.
fn chunks(names: &BTreeSet<String>) -> Vec<String> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.chunks(NAMES).map(|names| names.join(",")).collect()
}
