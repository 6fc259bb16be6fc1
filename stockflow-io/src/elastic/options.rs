//! Where the server is, and as whom we come. Prints without secrets.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Identity, redirect};
use stockflow_core::{Error, ErrorClass, Origin, Result};
use url::Url;

use super::client::Client;
use super::error::Failure;
use crate::secret::{Secret, SecretRef};

/// The server's address, and how to log in.
///
/// | option | default | meaning |
/// |---|---|---|
/// | URL | | `https://host:9200`; a path before the API's own is kept |
/// | login | none | user and password, or an API key in the form that the server gives it (`encoded`) |
/// | CA | the system's | the only authority whose certificates count, as a PEM file |
/// | client certificate | none | files in PEM form |
/// | time to connect | 10 s | |
/// | time for an answer | 60 s | of one request |
///
/// # Example
///
/// ```
/// use stockflow_io::elastic::ElasticOptions;
///
/// let options = ElasticOptions::parse("https://search.example:9200")?;
/// assert_eq!(options.to_string(), "https://search.example:9200");
/// assert!(ElasticOptions::parse("https://me:secret@search.example").is_err());
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ElasticOptions {
    url: Url,
    login: Option<Login>,
    ca: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    connect_timeout: Duration,
    timeout: Duration,
    /// Whether the server has let this login in.
    let_in: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Login {
    Password { user: String, password: Kept },
    ApiKey(Kept),
}

/// A secret, or where it is to be had each time the sink is opened.
#[derive(Debug, Clone)]
enum Kept {
    Given(Secret),
    At(SecretRef),
}

impl Kept {
    async fn fetch(&self) -> Result<Secret> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::At(place) => {
                let place = place.clone();
                let fetched = tokio::task::spawn_blocking(move || place.resolve()).await;
                let fetched =
                    fetched.map_err(|error| Error::internal(format!("a secret could not be fetched: {error}")))?;
                fetched.map_err(|reason| refused(format!("a secret cannot be had: {reason}")))
            }
        }
    }
}

impl fmt::Display for ElasticOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

fn refused(reason: impl Into<String>) -> Error {
    Error::refused(Origin::new("elasticsearch"), ErrorClass::Config, reason)
}

fn read(what: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| unusable(what, path, &error))
}

fn unusable(what: &str, path: &Path, reason: &dyn fmt::Display) -> Error {
    refused(format!("{what} `{}` cannot be used: {reason}", path.display()))
}

impl ElasticOptions {
    /// Reads `https://HOST:PORT` or `http://HOST:PORT`.
    ///
    /// # Errors
    ///
    /// Class config, with what is wrong: among others a user or a password, which do not belong into a URL. They are not repeated.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |reason: &str| refused(format!("{reason}; write it as https://HOST:9200"));
        let mut url = Url::parse(url).map_err(|error| wrong(&format!("the URL cannot be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("the URL is none of HTTP"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(
                "the URL holds a login; leave it out and give `user` and `password`, the latter as `env:NAME`, `file:PATH` or `command:LINE`",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("the URL has parameters"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self {
            url,
            login: None,
            ca: None,
            client: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
            let_in: Arc::default(),
        })
    }

    /// Logs in.
    #[must_use]
    pub fn with_login(mut self, user: impl Into<String>, password: Secret) -> Self {
        self.login = Some(Login::Password { user: user.into(), password: Kept::Given(password) });
        self.let_in = Arc::default();
        self
    }

    /// Logs in with a password that is kept somewhere.
    #[must_use]
    pub fn with_login_from(mut self, user: impl Into<String>, place: SecretRef) -> Self {
        self.login = Some(Login::Password { user: user.into(), password: Kept::At(place) });
        self.let_in = Arc::default();
        self
    }

    /// Logs in by an API key, in the form that the server gives as `encoded`.
    #[must_use]
    pub fn with_api_key(mut self, key: Secret) -> Self {
        self.login = Some(Login::ApiKey(Kept::Given(key)));
        self.let_in = Arc::default();
        self
    }

    /// Logs in by an API key that is kept somewhere.
    #[must_use]
    pub fn with_api_key_from(mut self, place: SecretRef) -> Self {
        self.login = Some(Login::ApiKey(Kept::At(place)));
        self.let_in = Arc::default();
        self
    }

    /// The only authority whose certificates count, as a PEM file; by default those of the system do.
    #[must_use]
    pub fn with_ca(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    /// Our own certificate and its key, as PEM files.
    #[must_use]
    pub fn with_client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((certificate.into(), key.into()));
        self
    }

    /// How long a connection may take to come about; by default 10 s.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one request may take; by default a minute.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Asks the server, and says what is there.
    ///
    /// # Errors
    ///
    /// Why it does not answer, or does not let us in.
    pub async fn check(&self) -> Result<String> {
        let client = self.connect().await?;
        let origin = self.origin("server");
        let info = client.info().await.map_err(|failure| failure.at("ask", &origin))?;
        let health = client.health("").await.map_err(|failure| failure.at("ask for its health", &origin))?;
        Ok(match health {
            Some(health) => format!("{info} answers, its health is {health}"),
            None => format!("{info} answers"),
        })
    }

    /// The place for errors: the server, and what there.
    pub(super) fn origin(&self, what: &str) -> Origin {
        Origin::new("elasticsearch").partition(format!("{self} {what}"))
    }

    /// A client; certificates and secrets are read here, and nothing is sent.
    pub(super) async fn connect(&self) -> Result<Client> {
        let origin = self.origin("server");
        let mut builder = reqwest::Client::builder()
            .connect_timeout(self.connect_timeout)
            .timeout(self.timeout)
            .redirect(redirect::Policy::none())
            .tcp_keepalive(Duration::from_secs(30))
            .user_agent("stockflow");
        if let Some(path) = &self.ca {
            let what = "the CA's certificate";
            let found = Certificate::from_pem_bundle(&read(what, path)?)
                .map_err(|error| unusable(what, path, &error.without_url()))?;
            if found.is_empty() {
                return Err(unusable(what, path, &"there is no certificate in it"));
            }
            builder = builder.tls_certs_only(found);
        }
        if let Some((certificate, key)) = &self.client {
            let mut pem = read("the client's certificate", certificate)?;
            pem.push(b'\n');
            pem.extend(read("the client's private key", key)?);
            let identity = Identity::from_pem(&pem)
                .map_err(|error| unusable("the client's certificate", certificate, &error.without_url()))?;
            builder = builder.identity(identity);
        }
        let mut headers = HeaderMap::new();
        let mut secrets = Vec::new();
        match &self.login {
            Some(Login::Password { user, password }) => {
                let secret = password.fetch().await?;
                let pair = base64(format!("{user}:{}", secret.reveal()).as_bytes());
                headers.insert(AUTHORIZATION, sensitive(&format!("Basic {pair}"))?);
                secrets.extend([secret, Secret::new(pair)]);
            }
            Some(Login::ApiKey(key)) => {
                let secret = key.fetch().await?;
                headers.insert(AUTHORIZATION, sensitive(&format!("ApiKey {}", secret.reveal()))?);
                secrets.push(secret);
            }
            None => {}
        }
        let http = builder
            .default_headers(headers)
            .build()
            .map_err(|error| Failure::unanswered(error, 0).at("set up the client", &origin))?;
        Ok(Client::new(http, self.url.clone(), secrets, self.timeout, Arc::clone(&self.let_in)))
    }
}

fn sensitive(text: &str) -> Result<HeaderValue> {
    // The error of the header repeats nothing, but neither do we.
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| refused("the password or the API key holds a character that HTTP cannot carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        for (url, wanted) in [
            ("https://u:hunter2@h:9200", "holds a login"),
            ("https://h:9200/?password=hunter2", "has parameters"),
            ("elastic://h", "none of HTTP"),
            ("h:9200", "none of HTTP"),
            ("", "cannot be read"),
        ] {
            let error = ElasticOptions::parse(url).unwrap_err();
            assert_eq!(error.class(), ErrorClass::Config);
            assert!(error.to_string().contains(wanted), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn secrets_are_never_printed() {
        let options = ElasticOptions::parse("https://h/proxy").unwrap();
        assert_eq!(options.to_string(), "https://h/proxy");
        for options in
            [options.clone().with_login("me", Secret::new("hunter2")), options.with_api_key(Secret::new("hunter2"))]
        {
            let client = options.connect().await.unwrap();
            let pair = base64(b"me:hunter2");
            let printed = format!("{options:?} {options} {client:?}");
            assert!(!printed.contains("hunter2") && !printed.contains(&pair), "{printed}");
        }
    }

    #[tokio::test]
    async fn files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let options = ElasticOptions::parse("https://h").unwrap();
        for (options, wanted) in [
            (options.clone().with_ca("/none.pem"), "`/none.pem` cannot be used"),
            (options.clone().with_ca(&empty), "no certificate in it"),
            (options.clone().with_client_certificate(&empty, &empty), "the client's certificate"),
            (options.with_login_from("me", SecretRef::Env("STOCKFLOW_NO_SUCH".into())), "cannot be had"),
        ] {
            let error = options.connect().await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Config);
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }
}
