//! Puts the files of small epochs together while a pipeline runs: what an epoch costs grows with the files of its table.
//!
//! Whenever a partition has [`FILES`] files of one size class, they become one of the next: a row is written again as often
//! as there are classes, however many epochs there are. Large files are left to [`maintain`](super::maintain()).

use std::sync::Arc;

use stockflow_core::Result;

use super::attempt::Settings;
use super::live::LiveFile;
use super::maintain::put_together;
use super::table::Table;

/// So many files of a size class are put together.
pub(super) const FILES: usize = 32;

/// The upper ends of the size classes, in bytes.
const CLASSES: [u64; 2] = [1 << 20, 32 << 20];

/// Puts together what there is too much of.
///
/// It comes after a commit and changes no rows: that it fails makes the next epochs slower, and is no error of this one.
pub(super) async fn tidy(settings: &Settings, table: &mut Table) {
    if let Err(error) = put_together_full_classes(settings, table).await {
        tracing::warn!(table = %table.place.text, error = %error.chain().join(": "), "small files could not be put together; the next epoch tries again");
    }
}

async fn put_together_full_classes(settings: &Settings, table: &mut Table) -> Result<()> {
    for (values, files) in table.files()? {
        for class in 0..CLASSES.len() {
            let own: Vec<Arc<LiveFile>> = files.iter().filter(|it| class_of(it.size) == Some(class)).cloned().collect();
            if own.len() >= FILES {
                put_together(table, values.clone(), &own, settings.target_file_size, settings.compression).await?;
            }
        }
    }
    Ok(())
}

fn class_of(size: u64) -> Option<usize> {
    CLASSES.iter().position(|end| size < *end)
}
