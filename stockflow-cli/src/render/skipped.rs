//! Files that a source leaves alone, for people who wonder where their bars are.

use std::io::{self, Write};

use crate::connectors::{Listing, SkippedFile};

/// Files that are named; the rest is counted.
const SHOWN: usize = 5;

/// All but hidden files: nobody expects those to be read.
pub(crate) fn worth_telling(listing: &Listing) -> Vec<&SkippedFile> {
    let is_hidden = |skipped: &SkippedFile| skipped.file.split('/').any(|name| name.starts_with('.'));
    listing.skipped.iter().filter(|skipped| !is_hidden(skipped)).collect()
}

/// One line, if there is something to tell.
pub(crate) fn skipped(mut out: impl Write, listing: &Listing) -> io::Result<()> {
    let skipped = worth_telling(listing);
    if skipped.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> =
        skipped.iter().take(SHOWN).map(|skipped| format!("`{}` ({})", skipped.file, skipped.reason)).collect();
    let more = skipped.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    writeln!(out, "skipped: {}{more}", shown.join(", "))
}
