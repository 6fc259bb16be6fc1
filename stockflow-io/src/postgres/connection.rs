//! Connecting: settings without secrets in them, and sessions whose every call has a deadline.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use stockflow_core::{Error, ErrorClass, Origin, Result};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement, ToStatement};
use url::Url;

use super::error::Fault;
use super::tls::{self, SslMode};
use crate::secret::{Secret, SecretRef};

/// The parameters that a URL may have.
const PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// How to reach a server, and as whom. Prints without the password.
///
/// # Example
///
/// ```
/// use stockflow_io::postgres::{PostgresOptions, SslMode};
///
/// let options = PostgresOptions::parse("postgres://stockflow@db.example:5433/market?sslmode=require")?;
/// assert_eq!(options.sslmode(), SslMode::Require);
/// assert_eq!(options.to_string(), "postgres://db.example:5433/market");
/// # Ok::<(), stockflow_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    host: String,
    port: u16,
    user: String,
    database: String,
    password: Option<Password>,
    sslmode: SslMode,
    ca: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    connect_timeout: Duration,
    timeout: Duration,
}

/// A password, or where it is to be had each time.
#[derive(Debug, Clone)]
enum Password {
    Given(Secret),
    From(SecretRef),
}

impl Password {
    async fn fetch(&self) -> Result<Secret> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::From(place) => {
                let place = place.clone();
                let fetched = tokio::task::spawn_blocking(move || place.resolve()).await;
                let fetched =
                    fetched.map_err(|error| Error::internal(format!("a password could not be fetched: {error}")))?;
                fetched.map_err(|reason| refused(format!("the password cannot be had: {reason}")))
            }
        }
    }
}

impl fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}:{}/{}", self.host, self.port, self.database)
    }
}

fn refused(reason: impl Into<String>) -> Error {
    Error::refused(Origin::new("postgres"), ErrorClass::Config, reason)
}

fn decoded(text: &str, what: &str) -> Result<String> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| refused(format!("the {what} in the URL is no UTF-8")))
}

impl PostgresOptions {
    /// Reads `postgres://USER@HOST:PORT/DATABASE`; the port is 5432 unless told otherwise, the database the user's name.
    ///
    /// Parameters may be `sslmode` (see [`SslMode`]), `sslrootcert`, `sslcert` and `sslkey` (paths).
    ///
    /// # Errors
    ///
    /// Class config, with what is wrong: among others a password, which does not belong into a URL. It is not repeated.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = |reason: &str| refused(format!("{reason}; write it as postgres://USER@HOST:PORT/DATABASE"));
        let parsed = Url::parse(url).map_err(|error| wrong(&format!("the URL cannot be read: {error}")))?;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(wrong(&format!("`{}://` is no URL of PostgreSQL", parsed.scheme())));
        }
        if parsed.password().is_some() {
            return Err(refused(
                "the URL holds a password; leave it out and give `password` as `env:NAME`, `file:PATH` or `command:LINE`",
            ));
        }
        let user = decoded(parsed.username(), "user")?;
        if user.is_empty() {
            return Err(wrong("the URL names no user"));
        }
        let host = match parsed.host_str() {
            Some(host) if !host.is_empty() => host.trim_matches(['[', ']']).to_owned(),
            _ => return Err(wrong("the URL names no host")),
        };
        let database = decoded(parsed.path().trim_start_matches('/'), "database")?;
        let mut options = Self {
            host,
            port: parsed.port().unwrap_or(5432),
            database: if database.is_empty() { user.clone() } else { database },
            user,
            password: None,
            sslmode: SslMode::default(),
            ca: None,
            client: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(600),
        };
        let (mut certificate, mut key) = (None, None);
        for (name, value) in parsed.query_pairs() {
            match name.as_ref() {
                "sslmode" => {
                    options.sslmode = SslMode::from_str(&value).map_err(|error| wrong(&format!("sslmode: {error}")))?
                }
                "sslrootcert" => options.ca = Some(value.as_ref().into()),
                "sslcert" => certificate = Some(PathBuf::from(value.as_ref())),
                "sslkey" => key = Some(PathBuf::from(value.as_ref())),
                // The value may be a secret.
                other => {
                    return Err(refused(format!(
                        "the URL has a parameter `{other}`; there are `{}`",
                        PARAMETERS.join("`, `")
                    )));
                }
            }
        }
        options.client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(refused("the URL needs both `sslcert` and `sslkey`, or neither")),
        };
        Ok(options)
    }

    /// The user's password.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.password = Some(Password::Given(password));
        self
    }

    /// Where the user's password is kept; it is fetched for each connection.
    #[must_use]
    pub fn with_password_from(mut self, place: SecretRef) -> Self {
        self.password = Some(Password::From(place));
        self
    }

    /// How much encryption there must be.
    #[must_use]
    pub fn with_sslmode(mut self, sslmode: SslMode) -> Self {
        self.sslmode = sslmode;
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

    /// How long one statement may take; by default ten minutes. The server cancels it then.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much encryption there must be.
    pub fn sslmode(&self) -> SslMode {
        self.sslmode
    }

    /// Connects, and says what is there.
    ///
    /// # Errors
    ///
    /// Why it does not answer, or does not let us in.
    pub async fn check(&self) -> Result<String> {
        let origin = self.origin("server");
        let session = self.connect().await.map_err(|fault| fault.at(&origin))?;
        let row = session.query_opt("SELECT current_setting('server_version')", &[]).await;
        let version: Option<String> = row.map_err(|fault| fault.at("ask", &origin))?.map(|row| row.get(0));
        Ok(format!("PostgreSQL {} answers", version.unwrap_or_default()))
    }

    /// The place for errors: the server, and what there.
    pub(super) fn origin(&self, what: &str) -> Origin {
        Origin::new("postgres").partition(format!("{}:{}/{} {what}", self.host, self.port, self.database))
    }

    /// A new connection, which has its user's rights and our settings.
    pub(super) async fn connect(&self) -> std::result::Result<Session, ConnectFault> {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(&self.database)
            .application_name("stockflow")
            .connect_timeout(self.connect_timeout)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .ssl_mode(match self.sslmode {
                SslMode::Disable => tokio_postgres::config::SslMode::Disable,
                SslMode::Require | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
            });
        if let Some(password) = &self.password {
            config.password(password.fetch().await.map_err(ConnectFault::Own)?.reveal());
        }
        let client = match self.sslmode {
            SslMode::Disable => {
                let (client, connection) = within(self.connect_timeout, config.connect(NoTls)).await?;
                tokio::spawn(connection);
                client
            }
            SslMode::Require | SslMode::VerifyFull => {
                let client = self.client.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
                let tls = tls::connector(self.sslmode, self.ca.as_deref(), client).map_err(ConnectFault::Own)?;
                let (client, connection) = within(self.connect_timeout, config.connect(tls)).await?;
                tokio::spawn(connection);
                client
            }
        };
        // The client waits a little longer than the server, whose word says more.
        let session = Session { client, timeout: self.timeout + Duration::from_secs(5) };
        let ms = self.timeout.as_millis();
        session
            .batch(&format!(
                "SET statement_timeout = {ms}; SET lock_timeout = {ms}; SET idle_in_transaction_session_timeout = {ms}; \
                 SET client_min_messages = warning; SET TimeZone = 'UTC'; SET temp_buffers = '64MB'; SET synchronous_commit = on"
            ))
            .await?;
        Ok(session)
    }
}

/// Why a connection did not come about.
#[derive(Debug)]
pub(super) enum ConnectFault {
    /// Between us and the server.
    Fault(Fault),
    /// Our own certificates.
    Own(Error),
}

impl From<Fault> for ConnectFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl ConnectFault {
    pub(super) fn at(self, origin: &Origin) -> Error {
        match self {
            Self::Fault(fault) => fault.at("connect", origin),
            Self::Own(error) => error,
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
) -> std::result::Result<T, Fault> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(Fault::Server),
        Err(_) => Err(Fault::Late(limit)),
    }
}

type Answer<T> = std::result::Result<T, Fault>;

/// A connection. What it has open (a transaction, a temporary table) ends with it.
pub(super) struct Session {
    client: Client,
    timeout: Duration,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Whether the server has gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Statements without parameters, separated by `;`.
    pub(super) async fn batch(&self, sql: &str) -> Answer<()> {
        within(self.timeout, self.client.batch_execute(sql)).await
    }

    pub(super) async fn execute<T: ?Sized + ToStatement + Sync>(
        &self,
        sql: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Answer<u64> {
        within(self.timeout, self.client.execute(sql, parameters)).await
    }

    pub(super) async fn query<T: ?Sized + ToStatement + Sync>(
        &self,
        sql: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Answer<Vec<Row>> {
        within(self.timeout, self.client.query(sql, parameters)).await
    }

    pub(super) async fn query_opt<T: ?Sized + ToStatement + Sync>(
        &self,
        sql: &T,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Answer<Option<Row>> {
        within(self.timeout, self.client.query_opt(sql, parameters)).await
    }

    pub(super) async fn prepare(&self, sql: &str) -> Answer<Statement> {
        within(self.timeout, self.client.prepare(sql)).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(url: &str, wanted: &str) {
        let error = PostgresOptions::parse(url).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Config);
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn urls_are_read() {
        let options = PostgresOptions::parse("postgresql://a%40b@[::1]/?sslmode=disable").unwrap();
        assert_eq!((options.user.as_str(), options.host.as_str(), options.port), ("a@b", "::1", 5432));
        assert_eq!(options.database, "a@b");
        assert_eq!(options.sslmode, SslMode::Disable);
        let options = PostgresOptions::parse("postgres://u@h/d?sslcert=c.pem&sslkey=k.pem&sslrootcert=ca.pem").unwrap();
        assert_eq!(options.sslmode, SslMode::VerifyFull);
        assert!(options.client.is_some() && options.ca.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_without_secrets() {
        check_refused("postgres://u:hunter2@h/d", "holds a password");
        check_refused("postgres://u@h/d?password=hunter2", "`password`; there are `sslmode`");
        check_refused("mysql://u@h/d", "no URL of PostgreSQL");
        check_refused("postgres://h/d", "names no user");
        check_refused("postgres://u@h/d?sslmode=prefer", "none of disable, require, verify-full");
        check_refused("postgres://u@h/d?sslkey=x", "both");
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = PostgresOptions::parse("postgres://u@h/d").unwrap().with_password(Secret::new("hunter2"));
        assert!(!format!("{options:?} {options}").contains("hunter2"));
    }
}
