//! Where a table lies: its path or URL, and the log store that deltalake reads and writes it through.
//!
//! `s3://` goes through object_store's own client, never through deltalake's S3 feature, which would bring the AWS SDK.
//! Commits are safe there because object_store creates an object only if it is absent (`PutMode::Create`).

use std::path::PathBuf;
use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::prefix::PrefixStore;
use object_store::{DynObjectStore, ObjectStore};
use stockflow_core::Result;
use url::Url;

use super::error::{At, refused};
use crate::location::Location;

/// A table's place; nothing is opened yet.
#[derive(Clone)]
pub(super) struct Place {
    /// The path or URL as it was given: for people.
    pub(super) text: String,
    local: Option<PathBuf>,
    log: LogStoreRef,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.text).finish()
    }
}

impl Place {
    /// The place that a path or URL names.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let location = Location::parse(text.trim_end_matches('/'))?;
        let url = match location.local_path() {
            Some(folder) => Url::from_directory_path(folder)
                .map_err(|()| refused(text, format!("`{text}` is no path that can be used")))?,
            None => {
                let bucket = text.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
                let mut url = Url::parse(&format!("s3://{bucket}/"))
                    .map_err(|error| refused(text, format!("`{text}` is no URL: {error}")))?;
                url.set_path(location.path().as_ref());
                url
            }
        };
        if location.path().is_root() {
            return Err(refused(
                text,
                format!("`{text}` names no folder for a table; write it as `s3://bucket/folder` or `/folder/table`"),
            ));
        }
        let below: Arc<DynObjectStore> =
            Arc::new(PrefixStore::new(Arc::clone(location.store()), location.path().clone()));
        let log = default_logstore(below, Arc::clone(location.store()), &url, &StorageConfig::default());
        Ok(Self { text: text.into(), local: location.local_path().map(PathBuf::from), log })
    }

    /// The table beside this one whose name has a suffix: `bars` and `_revisions` give `bars_revisions`.
    pub(super) fn beside(&self, suffix: &str) -> Result<Self> {
        Self::parse(&format!("{}{suffix}", self.text.trim_end_matches('/')))
    }

    /// deltalake's way in.
    pub(super) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    /// The table's folder as a store of its own.
    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        self.log.object_store(None)
    }

    /// Makes the folder, where there are folders.
    pub(super) fn make(&self) -> Result<()> {
        match &self.local {
            Some(folder) => std::fs::create_dir_all(folder).at("create", &self.text),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_one() {
        let plain = Place::parse("/tmp/mit blank/bars/").unwrap();
        let url = Place::parse("file:///tmp/mit%20blank/bars").unwrap();
        assert_eq!(plain.log.root_url(), url.log.root_url());
        let beside = plain.beside("_revisions").unwrap();
        assert!(beside.log.root_url().path().ends_with("/bars_revisions/"), "{}", beside.log.root_url());
    }

    #[test]
    fn an_unknown_scheme_is_named() {
        let error = Place::parse("gs://bucket/bars").unwrap_err();
        assert!(error.to_string().contains("`gs` in `gs://bucket/bars` is no known scheme"), "{error}");
        assert!(Place::parse("").is_err());
    }
}
