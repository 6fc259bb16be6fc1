//! Finds the files that a path, a folder or a glob means.

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use glob::{MatchOptions, Pattern};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use stockflow_core::{Error, Result};

use super::format::{Compression, FileFormat, by_exact_name, by_name};
use crate::location::{Location, origin, refuse};

/// How many objects are asked for their tags at once.
const HEADS: usize = 16;

/// A file that a source would read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedFile {
    /// The partition: its path below the source's folder.
    pub file: String,
    /// Its path within the object store.
    pub path: String,
    /// The position: what changes when the file changes.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// When it was changed last.
    pub modified: DateTime<Utc>,
    /// The store's own tag of this version.
    pub e_tag: Option<String>,
    /// Its format.
    pub format: FileFormat,
    /// Its compression.
    pub compression: Compression,
}

/// A file that a source leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// Its path below the source's folder.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What a source finds at its path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Files to read, by path.
    pub files: Vec<ListedFile>,
    /// Hidden files, names that begin with `_`, and foreign suffixes.
    pub skipped: Vec<SkippedFile>,
}

/// A path as the user wrote it: a place, and below it a pattern if there is one.
#[derive(Debug, Clone)]
pub(super) struct Target {
    place: Location,
    glob: Option<Glob>,
}

#[derive(Debug, Clone)]
struct Glob {
    base: Location,
    pattern: Pattern,
}

const GLOB: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let place = Location::parse(text)?;
        Self::new(place, text)
    }

    pub(super) fn new(place: Location, text: &str) -> Result<Self> {
        Ok(Self { glob: Glob::parse(&place, text)?, place })
    }

    pub(super) fn place(&self) -> &Location {
        &self.place
    }

    /// Lists the files. An empty listing means an empty folder, or a glob that matches nothing.
    pub(super) async fn list(&self, format: Option<FileFormat>) -> Result<Listing> {
        // A file may really be called `a[1].csv`.
        if let Some(meta) = self.place.exists().await? {
            return self.one(meta, format);
        }
        if let Some(glob) = &self.glob {
            return Ok(walk(&glob.base, tagged(&glob.base).await?, format, Some(&glob.pattern)));
        }
        let is_folder = self.place.local_path().is_some_and(std::path::Path::is_dir);
        let found =
            if is_folder || self.place.local_path().is_none() { tagged(&self.place).await? } else { Vec::new() };
        if found.is_empty() && !is_folder {
            return Err(self.place.missing("file or folder").await);
        }
        Ok(walk(&self.place, found, format, None))
    }

    fn one(&self, meta: ObjectMeta, format: Option<FileFormat>) -> Result<Listing> {
        let name = meta.location.filename().unwrap_or_default().to_owned();
        let Some((format, compression)) = by_exact_name(&name, format) else {
            let text = self.place.text();
            return Err(refuse(
                text,
                format!("the name of `{text}` does not tell its format; set `format` to csv, parquet or ndjson"),
            ));
        };
        Ok(Listing { files: vec![listed(&self.place, name, meta, format, compression)], skipped: Vec::new() })
    }

    /// The error for a first run that finds no file at all; `None` if an empty folder is simply waiting.
    pub(super) fn nothing(&self, listing: &Listing) -> Option<Error> {
        let text = self.place.text();
        if let Some(skipped) = listing.skipped.first() {
            let n = listing.skipped.len();
            let example = format!("{n} others were skipped, `{}` because {}", skipped.file, skipped.reason);
            return Some(refuse(text, format!("`{text}` holds no csv, parquet or ndjson file; {example}")));
        }
        self.glob.as_ref().map(|_| refuse(text, format!("`{text}` matches no file")))
    }
}

impl Glob {
    fn parse(place: &Location, text: &str) -> Result<Option<Self>> {
        let is_pattern = |part: &str| part.contains(['*', '?', '[']);
        if !is_pattern(text) {
            return Ok(None);
        }
        // The pattern's parts are the last ones of the path, from the first that has a wildcard on.
        let raw: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        let first = raw.iter().position(|part| is_pattern(part)).unwrap_or(raw.len());
        let pattern = raw[first..].join("/");
        let mut base = place.clone();
        for _ in first..raw.len() {
            match base.parent() {
                Some(parent) => base = parent,
                None => break,
            }
        }
        let pattern =
            Pattern::new(&pattern).map_err(|error| refuse(text, format!("`{text}` is no pattern: {error}")))?;
        Ok(Some(Self { base, pattern }))
    }
}

/// Everything below a place, in an object store with its tags: some servers tell them for single objects only.
async fn tagged(base: &Location) -> Result<Vec<ObjectMeta>> {
    let found = base.list().await?;
    if base.local_path().is_some() || found.iter().all(|meta| meta.e_tag.is_some()) {
        return Ok(found);
    }
    let asked = found.into_iter().map(|meta| async move {
        if meta.e_tag.is_some() {
            return Ok(Some(meta));
        }
        match base.store().head(&meta.location).await {
            Ok(meta) => Ok(Some(meta)),
            // Deleted since it was listed.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::connector(origin(base.text()).position(&meta.location), "list", error)),
        }
    });
    let asked: Vec<Option<ObjectMeta>> = stream::iter(asked).buffered(HEADS).try_collect().await?;
    Ok(asked.into_iter().flatten().collect())
}

fn walk(base: &Location, found: Vec<ObjectMeta>, format: Option<FileFormat>, pattern: Option<&Pattern>) -> Listing {
    let mut listing = Listing::default();
    let mut skip = |file: String, reason: &str| listing.skipped.push(SkippedFile { file, reason: reason.into() });
    for meta in found {
        let Some(parts) = meta.location.prefix_match(base.path()) else { continue };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        let file = parts.join("/");
        let Some(name) = parts.last() else { continue };
        if pattern.is_some_and(|pattern| !pattern.matches_with(&file, GLOB)) {
            continue;
        }
        if parts.iter().any(|part| part.starts_with('.')) {
            skip(file, "it is hidden");
        } else if parts.iter().any(|part| part.starts_with('_')) {
            skip(file, "its path has a name that begins with `_`");
        } else {
            match by_name(name, format) {
                Some((format, compression)) => listing.files.push(listed(base, file, meta, format, compression)),
                None => skip(file, "its suffix is foreign"),
            }
        }
    }
    listing.files.sort_by(|a, b| a.file.cmp(&b.file));
    listing.skipped.sort_by(|a, b| a.file.cmp(&b.file));
    listing
}

fn listed(base: &Location, file: String, meta: ObjectMeta, format: FileFormat, compression: Compression) -> ListedFile {
    let version = version(&meta, base.local_path().is_some());
    ListedFile {
        file,
        path: meta.location.to_string(),
        version,
        size: meta.size,
        modified: meta.last_modified,
        e_tag: meta.e_tag,
        format,
        compression,
    }
}

/// What changes when a file changes: on a local disk size and time, because its tag holds the inode and would not survive
/// a restored backup; in an object store the entity tag.
pub(super) fn version(meta: &ObjectMeta, local: bool) -> String {
    match &meta.e_tag {
        Some(tag) if !local => tag.trim_start_matches("W/").trim_matches('"').to_owned(),
        _ => format!("{}-{}", meta.size, meta.last_modified.format("%Y%m%dT%H%M%S%.6fZ")),
    }
}
