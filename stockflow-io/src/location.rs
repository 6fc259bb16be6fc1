//! Paths and URLs, and the object stores that they mean.
//!
//! | written as | means | feature |
//! |---|---|---|
//! | `data/bars.csv`, `/srv/data` | the local disk | |
//! | `file:///srv/data` | the local disk | |
//! | `s3://bucket/prefix`, `s3a://…` | S3 or a server that speaks it | `s3` |
//!
//! Credentials, region and endpoint of S3 come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, …), never from the URL.

use std::path::{Component, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use stockflow_core::{Error, ErrorClass, Origin, Result};

/// A place in an object store: a file, a folder or a prefix.
#[derive(Debug, Clone)]
pub struct Location {
    text: String,
    store: Arc<dyn ObjectStore>,
    path: Path,
    local: Option<PathBuf>,
}

impl Location {
    /// The place that a path or URL names. Nothing is opened.
    ///
    /// # Errors
    ///
    /// Class config: an unknown scheme, a scheme whose cargo feature is not built in, or a text that is no path.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once("://") {
            Some(("file", _)) => {
                // A local file has no query and no fragment: these characters belong to its name, or to a pattern.
                let url = url::Url::parse(&text.replace('?', "%3F").replace('#', "%23"))
                    .map_err(|error| refuse(text, format!("`{text}` is no URL: {error}")))?;
                let path = url.to_file_path().map_err(|()| {
                    refuse(text, format!("`{text}` names no local path; write it as `file:///folder/file`"))
                })?;
                Self::local(text, path)
            }
            Some(("s3" | "s3a", rest)) => Self::s3(text, rest),
            Some((scheme, _)) => Err(refuse(
                text,
                format!(
                    "`{scheme}` in `{text}` is no known scheme; known are a plain path, `file` and `s3` (cargo feature `s3`)"
                ),
            )),
            None if text.trim().is_empty() => Err(refuse(text, "the path is empty")),
            None => Self::local(text, PathBuf::from(text)),
        }
    }

    /// A place in a store that the caller has opened.
    pub fn in_store(store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { text: path.to_string(), store, path, local: None }
    }

    fn local(text: &str, path: PathBuf) -> Result<Self> {
        let absolute = std::path::absolute(&path).map_err(|error| Error::connector(origin(text), "open", error))?;
        let mut plain = PathBuf::new();
        for part in absolute.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    plain.pop();
                }
                other => plain.push(other),
            }
        }
        let path = Path::from_absolute_path(&plain)
            .map_err(|error| refuse(text, format!("`{text}` is no path that can be used: {error}")))?;
        Ok(Self { text: text.into(), store: Arc::new(LocalFileSystem::new()), path, local: Some(plain) })
    }

    #[cfg(feature = "s3")]
    fn s3(text: &str, rest: &str) -> Result<Self> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(refuse(text, format!("`{text}` names no bucket; write it as `s3://bucket/prefix`")));
        }
        let store = object_store::aws::AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .build()
            .map_err(|error| Error::connector(origin(text), "open", error))?;
        let path =
            Path::parse(key).map_err(|error| refuse(text, format!("`{text}` is no key that can be used: {error}")))?;
        Ok(Self { text: text.into(), store: Arc::new(store), path, local: None })
    }

    #[cfg(not(feature = "s3"))]
    fn s3(text: &str, _rest: &str) -> Result<Self> {
        Err(refuse(
            text,
            format!("`{text}` needs S3, which is not built in; build stockflow with the cargo feature `s3`"),
        ))
    }

    /// The path or URL as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The place within the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path on the local disk, if it is there.
    pub fn local_path(&self) -> Option<&std::path::Path> {
        self.local.as_deref()
    }

    /// The place of an object below this one, by its path relative to it (parts separated by `/`).
    #[must_use]
    pub fn join(&self, relative: &str) -> Self {
        let mut path = self.path.clone();
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            path = path.join(part);
        }
        let text = format!("{}/{relative}", self.text.trim_end_matches('/'));
        Self {
            text,
            store: Arc::clone(&self.store),
            path,
            local: self.local.as_ref().map(|local| local.join(relative)),
        }
    }

    /// The place that holds this one; `None` at the root.
    pub fn parent(&self) -> Option<Self> {
        let parent = self.path.parent()?;
        let name = self.path.filename().unwrap_or_default();
        let local = self.local.as_ref().and_then(|local| local.parent()).map(PathBuf::from);
        let text = match (self.text.trim_end_matches('/').strip_suffix(name), &local) {
            (Some(text), _) if !text.is_empty() => text.trim_end_matches('/').to_owned(),
            // The text is relative, or a URL with escapes.
            (_, Some(local)) => local.to_string_lossy().into_owned(),
            (text, None) => text.unwrap_or_default().to_owned(),
        };
        Some(Self { text, store: Arc::clone(&self.store), path: parent, local })
    }

    /// An error for a place that does not exist, with the nearest name that does.
    pub(crate) async fn missing(&self, what: &str) -> Error {
        let hint = match self.nearest().await {
            Some(name) => format!("; did you mean `{name}`?"),
            None => String::new(),
        };
        refuse(&self.text, format!("{what} `{}` does not exist{hint}", self.text))
    }

    /// The name beside this one that is most like it.
    async fn nearest(&self) -> Option<String> {
        let name = self.path.filename()?;
        let parent = self.path.parent();
        let found = self.store.list_with_delimiter(parent.as_ref()).await.ok()?;
        let names = found.objects.iter().map(|object| &object.location).chain(&found.common_prefixes);
        let likeness =
            |other: &str| strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase());
        names
            .filter_map(|path| path.filename())
            .map(|other| (likeness(other), other))
            .filter(|(likeness, _)| *likeness > 0.4)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, other)| other.to_owned())
    }

    /// Whether there is an object of exactly this path; a folder is none.
    pub(crate) async fn exists(&self) -> Result<Option<object_store::ObjectMeta>> {
        if self.path.is_root() {
            return Ok(None);
        }
        // Some servers keep objects in a file system and have no good answer to a question for a folder.
        if self.local.is_none() && self.store.list(Some(&self.path)).try_next().await.is_ok_and(|found| found.is_some())
        {
            return Ok(None);
        }
        match self.store.head(&self.path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            // A folder of the local disk is not opened as a file.
            Err(_) if self.local.as_ref().is_some_and(|local| local.is_dir()) => Ok(None),
            Err(error) => Err(Error::connector(origin(&self.text), "open", error)),
        }
    }

    /// Whether there is a file, a folder, or anything below this place.
    pub(crate) async fn is_there(&self) -> Result<bool> {
        if let Some(local) = &self.local {
            return Ok(local.symlink_metadata().is_ok());
        }
        let mut below = self.store.list(Some(&self.path));
        let first = below.try_next().await.map_err(|error| Error::connector(origin(&self.text), "list", error))?;
        Ok(first.is_some() || self.exists().await?.is_some())
    }

    /// The objects directly below this place.
    pub(crate) async fn list_flat(&self) -> Result<Vec<object_store::ObjectMeta>> {
        let found = self.store.list_with_delimiter(Some(&self.path)).await;
        Ok(found.map_err(|error| Error::connector(origin(&self.text), "list", error))?.objects)
    }

    /// Everything below this place.
    pub(crate) async fn list(&self) -> Result<Vec<object_store::ObjectMeta>> {
        self.store
            .list(Some(&self.path))
            .try_collect()
            .await
            .map_err(|error| Error::connector(origin(&self.text), "list", error))
    }

    /// Removes one object; that it is gone already is fine.
    pub(crate) async fn delete(&self, path: &Path) -> Result<()> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::connector(origin(&self.text).position(path), "delete", error)),
        }
    }
}

/// One spelling of a path or URL: `in/`, `./in` and `in` are one.
pub(crate) fn plain_text(text: &str) -> String {
    if let Some((scheme, rest)) = text.split_once("://") {
        return format!("{scheme}://{}", rest.trim_end_matches('/'));
    }
    let root = if text.starts_with('/') { "/" } else { "" };
    let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    match (root, names.is_empty()) {
        ("", true) => ".".to_owned(),
        _ => format!("{root}{}", names.join("/")),
    }
}

/// Where an error of a file connector happened.
pub(crate) fn origin(partition: &str) -> Origin {
    Origin::new("file").partition(partition)
}

/// A refusal that someone has to change something about.
pub(crate) fn refuse(partition: &str, reason: impl Into<String>) -> Error {
    Error::refused(origin(partition), ErrorClass::Config, reason)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_and_file_urls_are_one() {
        let plain = Location::parse("/tmp/mit blank/münze.csv").unwrap();
        let url = Location::parse("file:///tmp/mit%20blank/m%C3%BCnze.csv").unwrap();
        assert_eq!(plain.path(), url.path());
        assert_eq!(plain.local_path().unwrap().to_str(), Some("/tmp/mit blank/münze.csv"));
        let relative = Location::parse("./a/../b.csv").unwrap();
        assert!(relative.path().as_ref().ends_with("/b.csv"), "{relative:?}");
        assert!(!relative.path().as_ref().contains(".."), "{relative:?}");
    }

    #[test]
    fn one_place_has_one_text() {
        for text in ["in", "in/", "./in", "in/.", ".//in//"] {
            assert_eq!(plain_text(text), "in", "{text}");
        }
        assert_eq!(plain_text("."), ".");
        assert_eq!(plain_text("/"), "/");
        assert_eq!(plain_text("/srv//in/*.csv"), "/srv/in/*.csv");
        assert_eq!(plain_text("../in/"), "../in");
        assert_eq!(plain_text("s3://bucket/in/"), "s3://bucket/in");
    }

    #[test]
    fn file_urls_may_hold_wildcards() {
        let url = Location::parse("file:///tmp/my%20dir/a%20?*.csv").unwrap();
        assert_eq!(url.path().as_ref(), "tmp/my dir/a ?*.csv");
        assert_eq!(url.parent().unwrap().text(), "/tmp/my dir");
    }

    #[test]
    fn an_unknown_scheme_is_named() {
        let error = Location::parse("gs://bucket/x").unwrap_err();
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(error.to_string().contains("`gs` in `gs://bucket/x` is no known scheme"), "{error}");
        assert!(Location::parse(" ").is_err());
    }

    #[cfg(feature = "s3")]
    #[test]
    fn a_bucket_is_needed() {
        assert!(Location::parse("s3:///x").unwrap_err().to_string().contains("names no bucket"));
        let location = Location::parse("s3://bucket/a b/c").unwrap();
        assert_eq!(location.path().as_ref(), "a b/c");
        assert_eq!(location.join("d.csv").text(), "s3://bucket/a b/c/d.csv");
        assert_eq!(location.parent().unwrap().text(), "s3://bucket/a b");
    }

    #[tokio::test]
    async fn the_nearest_name_is_given() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("AAPL.csv"), "x").unwrap();
        let missing = Location::parse(folder.path().join("APPL.csv").to_str().unwrap()).unwrap();
        let error = missing.missing("file").await;
        assert!(error.to_string().contains("did you mean `AAPL.csv`?"), "{error}");
    }
}
