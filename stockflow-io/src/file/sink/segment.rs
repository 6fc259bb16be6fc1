//! Lists of visible files beside the log, so that an entry stays small however many files there are.
//!
//! ```text
//! <output>/_stockflow/files/segment-g<generation>-<nonce>.json    a list of files; written once, never changed
//! ```
//!
//! An entry of the log holds the names of the segments and, itself, the files since the newest one. Segments that an entry
//! names are never removed: a reader of any entry, however old, finds all that it names.

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use stockflow_core::token::Generation;
use stockflow_core::{Error, Result};

use super::attempt;
use super::log::{Contents, DataFile};
use crate::location::{Location, origin, refuse};

/// Below the output.
pub(super) const FOLDER: &str = "_stockflow/files";
/// From so many files on an entry's own list goes to a segment.
const FILES: usize = 128;
/// So many segments are read at a time.
const READERS: usize = 16;

/// The contents with one more segment, if there are enough files for one.
pub(super) async fn cut(output: &Location, generation: Generation, mut contents: Contents) -> Result<Contents> {
    if contents.files.len() < FILES {
        return Ok(contents);
    }
    let name = attempt::name("segment", generation, "json");
    let place = output.join(FOLDER).join(&name);
    let bytes = serde_json::to_vec(&contents.files)
        .map_err(|error| Error::internal(format!("a list of files cannot be written: {error}")))?;
    place
        .store()
        .put(place.path(), bytes.into())
        .await
        .map_err(|error| Error::connector(origin(place.text()), "write", error))?;
    contents.files.clear();
    contents.segments.push(name);
    Ok(contents)
}

/// All files that are visible, in the order of their epochs.
pub(crate) async fn files(output: &Location, contents: &Contents) -> Result<Vec<DataFile>> {
    let folder = output.join(FOLDER);
    let segments: Vec<_> = contents.segments.iter().map(|name| read(folder.join(name))).collect();
    let mut files = stream::iter(segments).buffered(READERS).try_concat().await?;
    files.extend(contents.files.iter().cloned());
    Ok(files)
}

async fn read(place: Location) -> Result<Vec<DataFile>> {
    let bytes = match place.store().get(place.path()).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    let broken = |reason: String| {
        refuse(place.text(), format!("`{}`, which the output's log names, {reason}; restore it", place.text()))
    };
    match bytes {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| broken(format!("is no list of files: {error}"))),
        Err(object_store::Error::NotFound { .. }) => Err(broken("is not there".into())),
        Err(error) => Err(Error::connector(origin(place.text()), "read", error)),
    }
}
