//! The SQL functions of a stockflow session.

use std::sync::Arc;

use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::SessionContext;

use crate::error::Result;

/// Makes every function of stockflow known to a session: all indicators with the checks on their windows, the functions
/// that the transforms use, those of the exchange calendars ([`market::sql`](crate::market::sql)), and the operator that
/// computes indicators in one pass ([`window`](crate::window)).
///
/// # Errors
///
/// If the session refuses a function.
pub fn register(session: &SessionContext) -> Result<()> {
    let mut registry = session.clone();
    crate::indicator::sql::register_all(&mut registry)?;
    for function in crate::transform::scalar_functions().into_iter().chain(crate::market::scalar_functions()) {
        session.register_udf(function.as_ref().clone());
    }
    for function in crate::transform::aggregate_functions() {
        session.register_udaf(function.as_ref().clone());
    }
    for function in crate::transform::window_functions() {
        session.register_udwf(function.as_ref().clone());
    }
    crate::window::register(session);
    Ok(())
}

/// A session over the same functions, settings and memory, but with no tables: names that are registered there are seen
/// nowhere else.
pub fn without_tables(session: &SessionContext) -> SessionContext {
    let state = SessionStateBuilder::new_from_existing(session.state())
        .with_config(session.copied_config().with_create_default_catalog_and_schema(true))
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .build();
    SessionContext::new_with_state(state)
}
