//! Reference tables (corporate actions, groups): whether one has changed since the last commit.
//!
//! They are read whole in each epoch. What is derived from a table that has changed is delivered again from the first bar on,
//! because nobody can tell which of its rows the change reaches.

use std::collections::BTreeMap;

use arrow::row::{RowConverter, SortField};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use super::builder::Pipeline;
use crate::error::Result;

/// Table to the fingerprint of its rows.
pub(crate) type Tables = BTreeMap<String, String>;

/// The fingerprints of a pipeline's reference tables as they are now; the order of rows does not count.
///
/// # Errors
///
/// Whatever reading a table gives.
pub(crate) async fn fingerprints(pipeline: &Pipeline) -> Result<Tables> {
    let mut found = Tables::new();
    if pipeline.tables.is_empty() {
        return Ok(found);
    }
    let session = pipeline.session(chrono::Utc::now())?;
    for (name, table) in &pipeline.tables {
        let frame = session.read_table(std::sync::Arc::clone(table))?;
        let fields: Vec<SortField> =
            frame.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let (mut sum, mut count) = (0_u128, 0_u64);
        let mut rows = frame.execute_stream().await?;
        while let Some(batch) = rows.try_next().await? {
            for row in &converter.convert_columns(batch.columns())? {
                let digest = Sha256::digest(row.as_ref());
                let half = digest.iter().take(16).fold(0_u128, |half, byte| half << 8 | u128::from(*byte));
                sum = sum.wrapping_add(half);
                count += 1;
            }
        }
        found.insert(name.clone(), format!("{count}-{sum:032x}"));
    }
    Ok(found)
}

/// The tables that are not as they were; one that the last commit does not know is no change.
pub(crate) fn changed<'a>(now: &'a Tables, before: &'a Tables) -> impl Iterator<Item = &'a String> {
    now.iter().filter(|(name, print)| before.get(*name).is_some_and(|before| before != *print)).map(|(name, _)| name)
}
