//! A store that stops a runner at one operation, as a SIGSTOP or a paused machine would.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;

/// Stops once, before the given path is written or listed.
#[derive(Debug, Clone)]
pub(super) struct Pausing {
    inner: Arc<InMemory>,
    before: Arc<Mutex<Option<Path>>>,
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Pausing {
    pub(super) fn new(inner: Arc<InMemory>, before: &str) -> Self {
        let before = Arc::new(Mutex::new(Some(before.into())));
        Self { inner, before, reached: Arc::default(), go_on: Arc::default() }
    }

    /// Waits until the runner has stopped.
    pub(super) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(super) fn go_on(&self) {
        self.go_on.notify_one();
    }

    async fn pass(self, at: Option<Path>) {
        let is_here = self.before.lock().unwrap().take_if(|before| Some(&*before) == at.as_ref()).is_some();
        if is_here {
            self.reached.notify_one();
            self.go_on.notified().await;
        }
    }
}

impl fmt::Display for Pausing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pausing")
    }
}

#[async_trait]
impl ObjectStore for Pausing {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.clone().pass(Some(location.clone())).await;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        let passed = self.clone().pass(prefix.clone());
        stream::once(passed.map(move |()| inner.list(prefix.as_ref()))).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
