//! The SQL functions of a stockflow session.

use datafusion::prelude::SessionContext;

use crate::error::Result;

/// Makes every indicator known to a session.
///
/// # Errors
///
/// If the session refuses a function.
pub fn register(_session: &SessionContext) -> Result<()> {
    Ok(())
}
