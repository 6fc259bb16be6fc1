//! Where a table lies: its path or URL, and the log store that deltalake reads and writes it through.
//!
//! `s3://` goes through object_store's own client, never through deltalake's S3 feature, which would bring the AWS SDK.
//! Commits are safe there because object_store creates an object only if it is absent (`PutMode::Create`).

use std::path::{Component, PathBuf};
use std::sync::Arc;

use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{DynObjectStore, ObjectStore};
use stockflow_core::Result;
use url::Url;

use super::error::{At, refused};

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
        let trimmed = text.trim_end_matches('/');
        match trimmed.split_once("://") {
            Some(("file", _)) => {
                let url = Url::parse(trimmed).map_err(|error| refused(text, format!("`{text}` is no URL: {error}")))?;
                let path = url.to_file_path().map_err(|()| refused(text, format!("`{text}` names no local folder; write it as `file:///folder`")))?;
                Self::local(text, path)
            }
            Some(("s3" | "s3a", rest)) => Self::s3(text, rest),
            Some((scheme, _)) => Err(refused(text, format!("`{scheme}` in `{text}` is no known scheme; known are a plain path, `file` and `s3`"))),
            None if trimmed.is_empty() => Err(refused(text, "the table's path is empty")),
            None => Self::local(text, PathBuf::from(trimmed)),
        }
    }

    fn local(text: &str, path: PathBuf) -> Result<Self> {
        let mut plain = PathBuf::new();
        for part in std::path::absolute(&path).at("open", text)?.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    plain.pop();
                }
                other => plain.push(other),
            }
        }
        let url = Url::from_directory_path(&plain).map_err(|()| refused(text, format!("`{text}` is no path that can be used")))?;
        let mut place = Self::in_store(text, Arc::new(LocalFileSystem::new()), &url)?;
        place.local = Some(plain);
        Ok(place)
    }

    #[cfg(feature = "s3")]
    fn s3(text: &str, rest: &str) -> Result<Self> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || key.is_empty() {
            return Err(refused(text, format!("`{text}` names no table; write it as `s3://bucket/folder`")));
        }
        let store = object_store::aws::AmazonS3Builder::from_env().with_bucket_name(bucket).build().at("open", text)?;
        let mut url = Url::parse(&format!("s3://{bucket}/")).map_err(|error| refused(text, format!("`{text}` is no URL: {error}")))?;
        url.set_path(key);
        Self::in_store(text, Arc::new(store), &url)
    }

    #[cfg(not(feature = "s3"))]
    fn s3(text: &str, _rest: &str) -> Result<Self> {
        Err(refused(text, format!("`{text}` needs S3, which is not built in; build stockflow with the cargo feature `s3`")))
    }

    /// A table at `url` in a store whose root is the URL's root.
    fn in_store(text: &str, root: Arc<DynObjectStore>, url: &Url) -> Result<Self> {
        let prefix = Path::from_url_path(url.path()).map_err(|error| refused(text, format!("`{text}` is no path that can be used: {error}")))?;
        let below: Arc<DynObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&root), prefix));
        let log = default_logstore(below, root, url, &StorageConfig::default());
        Ok(Self { text: text.into(), local: None, log })
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
