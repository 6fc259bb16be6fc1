//! The lake as the memory of a pipeline: a table at a pinned version.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion::datasource::TableProvider;
use datafusion::logical_expr::{col, lit};
use datafusion::prelude::SessionContext;
use deltalake::table::state::DeltaTableState;
use stockflow_core::history::History;
use stockflow_core::{Error, ErrorClass, Result};

use super::error::{origin, refused};
use super::live::LiveFile;
use super::place::Place;
use super::provider::{load, rows};

/// A Delta table as history: usually the one that the lake's `bars` sink writes.
///
/// A version is Delta's own, as text; it can be read as long as no `vacuum` has removed its files (seven days by default).
#[derive(Debug)]
pub struct DeltaHistory {
    place: Place,
    /// The snapshot that `version` told of: an epoch reads it several times.
    newest: Mutex<Option<DeltaTableState>>,
}

impl DeltaHistory {
    /// The history that lies at a path or URL.
    ///
    /// # Errors
    ///
    /// Class config: a text that is no path and no known URL.
    pub fn new(url: impl AsRef<str>) -> Result<Self> {
        Ok(Self { place: Place::parse(url.as_ref())?, newest: Mutex::default() })
    }
}

#[async_trait]
impl History for DeltaHistory {
    async fn version(&self) -> Result<Option<String>> {
        let state = load(&self.place, None).await?;
        let version = state.as_ref().map(|state| state.version().to_string());
        *self.newest() = state;
        Ok(version)
    }

    async fn table(&self, version: &str, symbols: Option<&[String]>) -> Result<Arc<dyn TableProvider>> {
        let number: u64 = version
            .parse()
            .map_err(|_| refused(&self.place.text, format!("`{version}` is no version of a Delta table")))?;
        let known = self.newest().clone().filter(|state| state.version() == number);
        let found = match known {
            Some(state) => Ok(Some(state)),
            None => load(&self.place, Some(number)).await,
        };
        let state = match found {
            Ok(Some(state)) if state.version() == number => state,
            Ok(_) => return Err(self.lost(version, "the table has no such version")),
            Err(error) if error.class() == ErrorClass::Transient => return Err(error),
            Err(error) => return Err(self.lost(version, &error.chain().join(": "))),
        };
        let Some(symbols) = symbols else { return rows(&self.place, state, None) };
        let may_hold = |file: &LiveFile| {
            file.texts("symbol").is_none_or(|(low, high)| {
                symbols.iter().any(|symbol| low <= symbol.as_str() && symbol.as_str() <= high)
            })
        };
        let files =
            state.log_data().iter().map(|view| LiveFile::new(&view)).filter(may_hold).map(|file| file.path).collect();
        let table = rows(&self.place, state, Some(files))?;
        let wanted = col("symbol").in_list(symbols.iter().map(lit).collect(), false);
        Ok(SessionContext::new().read_table(table)?.filter(wanted)?.into_view())
    }
}

impl DeltaHistory {
    fn newest(&self) -> MutexGuard<'_, Option<DeltaTableState>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, version: &str, reason: &str) -> Error {
        Error::PinLost {
            origin: Box::new(origin(&self.place.text).position(version)),
            reason: format!("version {version} cannot be read any more: {reason}"),
        }
    }
}
