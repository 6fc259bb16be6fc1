//! Recorded replies: one JSON file each, which a person can write as well.
//!
//! ```json
//! {
//!   "request": { "method": "GET", "url": "https://query1.finance.yahoo.com/v8/finance/chart/AAPL?interval=1d" },
//!   "response": {
//!     "status": 200,
//!     "headers": { "content-type": "application/json" },
//!     "bodyJson": { "chart": { "result": [], "error": null } }
//!   }
//! }
//! ```
//!
//! | member | meaning | if missing |
//! |---|---|---|
//! | `request.url` | with `REDACTED` for secrets | an error |
//! | `request.method` | only `GET` is replayed | `GET` |
//! | `response.status` | | 200 |
//! | `response.headers` | a text or a list of texts each; only `content-type` and `retry-after` are read | none |
//! | `response.bodyJson` | the body as JSON, kept to the byte between its outer braces | |
//! | `response.body`, `response.bodyText` | the body as text | |
//! | `response.bodyHex` | the bytes of a body that is no UTF-8 | an empty body |
//!
//! Other members are ignored. The replies of Yahoo in `shared/data/yahoo` have this form.
//!
//! The name of a recorded file is made of host, path, symbol and a hash of method and URL:
//! `query1.finance.yahoo.com_v8-finance-chart_AAPL_1f0c93ab42d7.json`.
//! The same request is written over.
//! The name means nothing when replaying.

mod envelope;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::error::FetchError;
use super::request::{Fetch, Reply, Request};
use super::secret;
pub(crate) use envelope::{Envelope, Head};

/// Hands requests on, and writes every final reply to a folder, without secrets.
///
/// Put it around whatever adds sessions and keys, so that their own requests do not pass it.
/// Secrets of the request's URL are struck out of the body as well.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Fetch>,
    folder: PathBuf,
}

impl Recorder {
    /// Records what `inner` answers; makes the folder if there is none.
    ///
    /// # Errors
    ///
    /// [`FetchError::Recording`] if the folder cannot be made.
    pub fn new(inner: Arc<dyn Fetch>, folder: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        Ok(Self { inner, folder })
    }

    async fn write(&self, request: &Request, reply: &Reply) -> Result<(), FetchError> {
        let path = self.folder.join(file_name(request));
        let unwritable = |error: &dyn std::fmt::Display| unwritable(&path, error);
        let text = envelope::written(request, reply).map_err(|error| unwritable(&error))?;
        // Whoever reads at the same time sees a whole file, and two who write do not meet.
        let part = path.with_extension(format!("{:08x}.part", fastrand::u32(..)));
        tokio::fs::write(&part, text).await.map_err(|error| unwritable(&error))?;
        tokio::fs::rename(&part, &path).await.map_err(|error| unwritable(&error))
    }
}

#[async_trait]
impl Fetch for Recorder {
    async fn get(&self, request: &Request) -> Result<Reply, FetchError> {
        let reply = self.inner.get(request).await?;
        self.write(request, &reply).await?;
        Ok(reply)
    }
}

fn unwritable(path: &Path, error: &dyn std::fmt::Display) -> FetchError {
    let reason = format!("cannot be written ({error}); choose a folder that can, or do not record");
    FetchError::Recording { path: path.to_owned(), reason }
}

fn file_name(request: &Request) -> String {
    let url = secret::masked(request.url());
    let mut segments: Vec<&str> = url.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).collect();
    // The symbol is said once.
    if request.symbol().is_some() && segments.last().copied().map(decoded).as_deref() == request.symbol() {
        segments.pop();
    }
    let mut parts = vec![plain(url.host_str().unwrap_or("host")), plain(&segments.join("-"))];
    parts.extend(request.symbol().map(plain));
    let hash = Sha256::digest(format!("GET {url}"));
    parts.push(hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect());
    format!("{}.json", parts.join("_"))
}

/// What every file system takes.
fn plain(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    text.chars().take(60).map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// A part of a path without percent signs.
pub(crate) fn decoded(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, symbol: Option<&str>, expected: &str) {
        let mut request = Request::new(url::Url::parse(url).unwrap());
        if let Some(symbol) = symbol {
            request = request.with_symbol(symbol);
        }
        let name = file_name(&request);
        let (name, hash) = name.strip_suffix(".json").unwrap().rsplit_once('_').unwrap();
        assert_eq!((name, hash.len()), (expected, 12));
    }

    #[test]
    fn file_names_can_be_read() {
        check(
            "https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC?a=1",
            Some("^GSPC"),
            "query1.finance.yahoo.com_v8-finance-chart__GSPC",
        );
        check("https://stooq.com/q/d/l/?s=aapl.us&apikey=x", Some("AAPL"), "stooq.com_q-d-l_AAPL");
        check("https://a.test/v7/quote?symbols=A,B", None, "a.test_v7-quote");
    }

    #[test]
    fn file_names_do_not_depend_on_secrets() {
        let name = |url| file_name(&Request::new(url::Url::parse(url).unwrap()));
        assert_eq!(name("https://a.test/q?s=A&apikey=1"), name("https://a.test/q?s=A&apikey=2"));
        assert_ne!(name("https://a.test/q?s=A&apikey=1"), name("https://a.test/q?s=B&apikey=1"));
    }
}
