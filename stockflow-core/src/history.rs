//! The table that remembers what a relation held before this epoch.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::datasource::TableProvider;

use crate::error::Result;

/// A versioned table of all rows of one relation: usually the table that the lake's `bars` sink writes.
///
/// The version is pinned in the intent, so that a repeated epoch compares with, and recomputes from, the same rows
/// although a sink may already hold the epoch.
#[async_trait]
pub trait History: Debug + Send + Sync {
    /// The newest version; `None` while the table does not exist.
    async fn version(&self) -> Result<Option<String>>;

    /// The rows at a version, one a key, of the given symbols or of all. Filters are pushed down where possible.
    async fn table(&self, version: &str, symbols: Option<&[String]>) -> Result<Arc<dyn TableProvider>>;
}
