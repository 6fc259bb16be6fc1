//! What an attempt leaves, and who may remove it.
//!
//! The name of everything that is written before it is published carries the runner's generation:
//! `part-00000-g<generation>-<nonce>.parquet`. A runner that has written its claim has fenced all older generations: what
//! they have not published by then they never will, so it may go. Files of its own generation or of a higher one are never
//! touched, however long this runner was paused between reading the log and removing files.

use std::io;
use std::path::Path;

use stockflow_core::token::Generation;
use uuid::Uuid;

/// A name that nobody else writes to, not even an earlier attempt of the same runner.
pub(super) fn name(stem: &str, generation: Generation, suffix: &str) -> String {
    let nonce = Uuid::new_v4().simple().to_string();
    format!("{stem}-g{generation}-{}.{suffix}", nonce.get(..8).unwrap_or_default())
}

/// Whether an older runner than `generation` gave this name to something.
pub(super) fn is_older(name: &str, generation: Generation) -> bool {
    let mut words = name.split('-');
    let is_ours = matches!(words.next(), Some("part" | "segment" | "staged"));
    let written_by = words.find_map(|word| word.strip_prefix('g')?.parse::<u64>().ok());
    is_ours && written_by.is_some_and(|written_by| written_by < generation.0)
}

/// Removes the uploads into a local folder that older runners did not finish. The store writes them as `<name>#<number>`
/// and hides such files from its own listing.
pub(super) fn remove_uploads(folder: &Path, generation: Generation) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let file = entry.file_name();
        let Some((name, number)) = file.to_str().and_then(|file| file.rsplit_once('#')) else { continue };
        let is_upload = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_upload && is_older(name, generation) {
            tracing::debug!(file = %entry.path().display(), "an unfinished upload is removed");
            match std::fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_older_generations_are_older() {
        let name = name("part-00003", Generation(17), "parquet");
        assert!(name.starts_with("part-00003-g17-") && name.ends_with(".parquet"), "{name}");
        assert!(is_older(&name, Generation(18)));
        assert!(!is_older(&name, Generation(17)) && !is_older(&name, Generation(16)));
        for foreign in ["part-00000-1a2b3c4d.parquet", "part-00000.csv", "other-g1-x.csv", "g1", "part-gx-1.csv", ""] {
            assert!(!is_older(foreign, Generation(u64::MAX)), "{foreign}");
        }
    }

    #[test]
    fn unfinished_uploads_of_older_runners_go() {
        let folder = tempfile::tempdir().unwrap();
        let stays = ["part-00000-g5-aa.csv#1", "part-00000-g4-aa.csv", "part-00000-g4-aa.csv#x", "notes#1", "a-g1-b#1"];
        let goes = ["part-00000-g4-aa.csv#1", "staged-g1-bb.csv#12"];
        for file in stays.iter().chain(&goes) {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        remove_uploads(folder.path(), Generation(5)).unwrap();
        remove_uploads(&folder.path().join("missing"), Generation(5)).unwrap();
        for file in stays {
            assert!(folder.path().join(file).exists(), "{file}");
        }
        for file in goes {
            assert!(!folder.path().join(file).exists(), "{file}");
        }
    }
}
