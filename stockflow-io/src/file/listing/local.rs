//! Walks a folder of the local disk. One name that cannot be used does not hide the others.

use std::fs::{self, Metadata};
use std::io;
use std::path::PathBuf;

use object_store::ObjectMeta;
use stockflow_core::{Error, Result};

use super::pattern::Glob;
use super::{Found, Table, aside};
use crate::location::{Location, origin, refuse};

/// Everything below a folder that the pattern may mean. Links are followed, but not back to a folder above them.
pub(super) fn walk(base: &Location, glob: Option<&Glob>) -> Result<Found> {
    let mut walk = Walk { base, glob, found: Found::default(), todo: Vec::new() };
    if let Some(path) = base.local_path().filter(|path| path.is_dir()) {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        walk.todo.push(Folder { path: path.to_owned(), names: Vec::new(), chain: vec![real] });
    }
    while let Some(folder) = walk.todo.pop() {
        walk.folder(&folder)?;
    }
    Ok(walk.found)
}

struct Walk<'w> {
    base: &'w Location,
    glob: Option<&'w Glob>,
    found: Found,
    todo: Vec<Folder>,
}

struct Folder {
    path: PathBuf,
    /// They lead from the base to here.
    names: Vec<String>,
    /// The real paths of the base, the folders on the way, and this one.
    chain: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Folder) -> Result<()> {
        let failed = |error: io::Error| Error::connector(origin(&folder.path.to_string_lossy()), "list", error);
        let entries = match fs::read_dir(&folder.path) {
            Ok(entries) => entries,
            // Deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let mut names = folder.names.clone();
            names.push(entry.file_name().to_string_lossy().into_owned());
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                Err(error) if entry.file_type().is_ok_and(|kind| kind.is_symlink()) => {
                    if self.is_meant(&names, false) {
                        self.skip(&names, format!("it is a link that leads nowhere: {error}"), false);
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            if !self.is_meant(&names, metadata.is_dir()) {
                continue;
            }
            if entry.file_name().to_str().is_none() {
                self.skip(&names, "its name is not UTF-8 text; rename it".into(), true);
            } else if metadata.is_dir() {
                self.enter(entry.path(), names, &folder.chain)?;
            } else if metadata.is_file() {
                self.file(names, &metadata).map_err(failed)?;
            } else {
                self.skip(&names, "it is no regular file".into(), false);
            }
        }
        Ok(())
    }

    fn is_meant(&self, names: &[String], is_folder: bool) -> bool {
        let is_log = |name: &String| Table::of_folder(name).is_some();
        match self.glob {
            None => true,
            Some(glob) if is_folder => glob.enters(names) || names.last().is_some_and(is_log),
            Some(glob) => glob.matches(&names.join("/")),
        }
    }

    fn enter(&mut self, path: PathBuf, names: Vec<String>, chain: &[PathBuf]) -> Result<()> {
        let Some((name, parents)) = names.split_last() else { return Ok(()) };
        if let Some(table) = Table::of_folder(name).filter(|table| path.join(table.log()).is_dir()) {
            return Err(table.refuse(self.base, parents));
        }
        if self.glob.is_some_and(|glob| !glob.enters(&names)) {
            return Ok(());
        }
        if let Some(reason) = aside(name) {
            self.skip(&names, reason.into(), false);
            return Ok(());
        }
        let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if chain.contains(&real) {
            self.skip(&names, "it is a link back to a folder above it".into(), true);
        } else if let Err(reason) = self.object(&names) {
            self.skip(&names, reason, true);
        } else {
            self.todo.push(Folder { path, names, chain: [chain, &[real]].concat() });
        }
        Ok(())
    }

    fn file(&mut self, names: Vec<String>, metadata: &Metadata) -> io::Result<()> {
        match self.object(&names) {
            Ok(location) => {
                let last_modified = metadata.modified()?.into();
                let meta = ObjectMeta { location, last_modified, size: metadata.len(), e_tag: None, version: None };
                self.found.files.push((names, meta));
            }
            Err(reason) => self.skip(&names, reason, true),
        }
        Ok(())
    }

    /// The path in the object store, which knows no line ends and the like.
    fn object(&self, names: &[String]) -> Result<object_store::path::Path, String> {
        object_store::path::Path::parse(format!("{}/{}", self.base.path(), names.join("/")))
            .map_err(|_| "its name has a line end or another control character; rename it".into())
    }

    fn skip(&mut self, names: &[String], reason: String, unusable: bool) {
        let file = names.join("/").replace(char::is_control, "\u{fffd}");
        self.found.skip(file, reason, unusable);
    }
}

/// The error for a path that is neither file nor folder.
pub(super) fn no_file(place: &Location) -> Option<Error> {
    let local = place.local_path()?;
    (local.exists() && !local.is_file() && !local.is_dir())
        .then(|| refuse(place.text(), format!("`{}` is neither a file nor a folder", place.text())))
}
