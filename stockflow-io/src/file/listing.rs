//! Finds the files that a path, a folder or a glob means.

mod local;
mod pattern;

use chrono::{DateTime, Utc};
use datafusion::common::runtime::SpawnedTask;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;
use stockflow_core::{Error, Result};

use self::pattern::{Glob, is_pattern};
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
    /// What changes when the file changes.
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
    /// Whether it may have been meant, and only cannot be handled.
    #[serde(skip)]
    pub(super) unusable: bool,
}

/// What a source finds at its path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Files to read, by path.
    pub files: Vec<ListedFile>,
    /// Hidden files, names that begin with `_`, foreign suffixes, and names that cannot be handled.
    pub skipped: Vec<SkippedFile>,
}

/// A path as the user wrote it: a file, a folder, or a pattern.
#[derive(Debug, Clone)]
pub(super) struct Target(Location);

impl Target {
    pub(super) fn new(place: Location) -> Self {
        Self(place)
    }

    pub(super) fn place(&self) -> &Location {
        &self.0
    }

    /// Lists the files. An empty listing means an empty folder, or a pattern that matches nothing.
    pub(super) async fn list(&self, format: Option<FileFormat>) -> Result<Listing> {
        let place = &self.0;
        if let Some(error) = local::no_file(place) {
            return Err(error);
        }
        // A file may really be called `a[1].csv`.
        if let Some(meta) = place.exists().await? {
            return self.one(meta, format);
        }
        if let Some(glob) = Glob::of(place).await? {
            let found = find(&glob.base, Some(&glob)).await?;
            return Ok(sort_out(&glob.base, found, format));
        }
        let found = find(place, None).await?;
        let is_folder = place.local_path().is_some_and(std::path::Path::is_dir);
        if !is_folder && found.files.is_empty() && found.skipped.is_empty() {
            return Err(place.missing("file or folder").await);
        }
        Ok(sort_out(place, found, format))
    }

    fn one(&self, meta: ObjectMeta, format: Option<FileFormat>) -> Result<Listing> {
        let name = meta.location.filename().unwrap_or_default().to_owned();
        let Some((format, compression)) = by_exact_name(&name, format) else {
            let text = self.0.text();
            return Err(refuse(
                text,
                format!("the name of `{text}` does not tell its format; set `format` to csv, parquet or ndjson"),
            ));
        };
        Ok(Listing { files: vec![listed(&self.0, name, meta, format, compression)], skipped: Vec::new() })
    }

    /// The error for a first run that finds no file at all; `None` if an empty folder is simply waiting.
    pub(super) fn nothing(&self, listing: &Listing) -> Option<Error> {
        let text = self.0.text();
        if let Some(skipped) = listing.skipped.first() {
            let n = listing.skipped.len();
            let example = format!("{n} others were skipped, `{}` because {}", skipped.file, skipped.reason);
            return Some(refuse(text, format!("`{text}` holds no csv, parquet or ndjson file; {example}")));
        }
        let is_folder = self.0.local_path().is_some_and(std::path::Path::is_dir);
        (is_pattern(self.0.path().as_ref()) && !is_folder).then(|| refuse(text, format!("`{text}` matches no file")))
    }
}

/// What stands below a folder: files with the names that lead to them, and what is left alone.
#[derive(Debug, Default)]
struct Found {
    files: Vec<(Vec<String>, ObjectMeta)>,
    skipped: Vec<SkippedFile>,
}

impl Found {
    fn skip(&mut self, file: String, reason: impl Into<String>, unusable: bool) {
        self.skipped.push(SkippedFile { file, reason: reason.into(), unusable });
    }
}

/// Everything below a place that the pattern means.
async fn find(base: &Location, glob: Option<&Glob>) -> Result<Found> {
    if base.local_path().is_none() {
        return objects(base, glob).await;
    }
    let (base, glob) = (base.clone(), glob.cloned());
    let walk = SpawnedTask::spawn_blocking(move || local::walk(&base, glob.as_ref()));
    walk.join().await.map_err(|error| Error::internal(format!("listing a folder stopped: {error}")))?
}

async fn objects(base: &Location, glob: Option<&Glob>) -> Result<Found> {
    let is_flat = glob.is_some_and(Glob::is_flat);
    let metas = if is_flat { base.list_flat().await? } else { base.list().await? };
    if is_flat {
        // What was listed does not show them.
        for table in [Table::Delta, Table::FileSink] {
            if base.join(table.folder()).join(table.log()).is_there().await? {
                return Err(table.refuse(base, &[]));
            }
        }
    }
    let mut found = Found::default();
    let mut wanted = Vec::new();
    for meta in metas {
        let Some(parts) = meta.location.prefix_match(base.path()) else { continue };
        let names: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        let Some((_, folders)) = names.split_last() else { continue };
        if let Some(idx) = folders.iter().position(|folder| aside(folder).is_some()) {
            let (parents, own) = folders.split_at(idx);
            let table = own.first().and_then(|folder| Table::of_folder(folder));
            let is_log = |table: &Table| table.log().is_empty() || own.get(1).is_some_and(|name| name == table.log());
            if let Some(table) = table.filter(is_log)
                && glob.is_none_or(|glob| glob.enters(parents))
            {
                return Err(table.refuse(base, parents));
            }
        }
        let file = names.join("/");
        if glob.is_some_and(|glob| !glob.matches(&file)) {
            continue;
        }
        match names.iter().find_map(|name| aside(name)) {
            Some(reason) => found.skip(file, reason, false),
            None => wanted.push((names, meta)),
        }
    }
    found.files = tagged(base, wanted).await?;
    Ok(found)
}

/// The objects with their tags: some servers tell them for single objects only.
async fn tagged(base: &Location, found: Vec<(Vec<String>, ObjectMeta)>) -> Result<Vec<(Vec<String>, ObjectMeta)>> {
    let asked = found.into_iter().map(|(names, meta)| async move {
        if meta.e_tag.is_some() {
            return Ok(Some((names, meta)));
        }
        match base.store().head(&meta.location).await {
            Ok(meta) => Ok(Some((names, meta))),
            // Deleted since it was listed.
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::connector(origin(base.text()).position(&meta.location), "list", error)),
        }
    });
    let asked: Vec<Option<_>> = stream::iter(asked).buffered(HEADS).try_collect().await?;
    Ok(asked.into_iter().flatten().collect())
}

/// Why a file or folder of this name is left alone.
fn aside(name: &str) -> Option<&'static str> {
    match name.chars().next() {
        Some('.') => Some("it is hidden"),
        Some('_') => Some("its path has a name that begins with `_`"),
        _ => None,
    }
}

/// A folder whose log says which of its files count: read one by one, removed and unfinished ones would count, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Delta,
    FileSink,
}

impl Table {
    /// The kind of table that a folder of this name makes its parent.
    fn of_folder(name: &str) -> Option<Self> {
        [Self::Delta, Self::FileSink].into_iter().find(|table| table.folder() == name)
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Delta => "_delta_log",
            Self::FileSink => "_stockflow",
        }
    }

    /// The folder's own folder that makes it one: a sink that overwrites single objects has `_stockflow`, too.
    fn log(self) -> &'static str {
        match self {
            Self::Delta => "",
            Self::FileSink => "log",
        }
    }

    fn refuse(self, base: &Location, names: &[String]) -> Error {
        let what = match self {
            Self::Delta => "a Delta table",
            Self::FileSink => "the output of a file sink in mode append",
        };
        let below = names.join("/");
        let (verb, hint) = match below.is_empty() {
            true => ("is".to_owned(), String::new()),
            false => (format!("has in `{below}`"), ", or give a path that leaves it out".to_owned()),
        };
        let text = base.text();
        refuse(
            text,
            format!(
                "`{text}` {verb} {what}: its log `{}` says which files count, and a source of type `file` does not \
                 read it; name the folder under `[tables]` and read it in a step of type `sql`{hint}",
                self.folder()
            ),
        )
    }
}

fn sort_out(base: &Location, found: Found, format: Option<FileFormat>) -> Listing {
    let Found { files, skipped } = found;
    let mut listing = Listing { files: Vec::with_capacity(files.len()), skipped };
    for (names, meta) in files {
        let file = names.join("/");
        let name = names.last().map(String::as_str).unwrap_or_default();
        let reason = match (aside(name), by_name(name, format)) {
            (None, Some((format, compression))) => {
                listing.files.push(listed(base, file, meta, format, compression));
                continue;
            }
            (Some(reason), _) => reason,
            (None, None) => "its suffix is foreign",
        };
        listing.skipped.push(SkippedFile { file, reason: reason.into(), unusable: false });
    }
    listing.files.sort_by(|a, b| a.file.cmp(&b.file));
    listing.skipped.sort_by(|a, b| a.file.cmp(&b.file));
    listing
}

fn listed(base: &Location, file: String, meta: ObjectMeta, format: FileFormat, compression: Compression) -> ListedFile {
    let local = base.local_path().is_some();
    let version = version(&meta, local);
    ListedFile {
        file,
        path: meta.location.to_string(),
        version,
        size: meta.size,
        modified: meta.last_modified,
        // A local disk's tag holds the inode, see `version`.
        e_tag: meta.e_tag.filter(|_| !local),
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
