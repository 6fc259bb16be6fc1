//! Where the brokers are, and how to log in.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use stockflow_core::{Error, Result};

use super::error::Failure;
use crate::secret::{Secret, SecretRef};

/// How long an answer of the brokers is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How a user proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// `SCRAM-SHA-256`
    ScramSha256,
    /// `SCRAM-SHA-512`
    ScramSha512,
    /// `PLAIN`: the password itself goes over the wire, so it is refused without TLS.
    Plain,
}

impl SaslMechanism {
    /// The word in configurations, and the mechanism.
    pub const ALL: [(&'static str, Self); 3] =
        [("scram-sha-256", Self::ScramSha256), ("scram-sha-512", Self::ScramSha512), ("plain", Self::Plain)];

    fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::Plain => "PLAIN",
        }
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SaslMechanism {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, it)| *it).ok_or_else(|| {
            Error::parameter("kafka", "sasl", format!("`{text}` is none of scram-sha-256, scram-sha-512, plain"))
        })
    }
}

#[derive(Debug, Clone)]
struct Login {
    mechanism: SaslMechanism,
    user: String,
    password: Kept,
}

#[derive(Debug, Clone, Default)]
struct Tls {
    ca: Option<String>,
    certificate: Option<(String, String)>,
    key_password: Option<Kept>,
}

/// A secret, or where it is kept: it is fetched when it is needed first.
#[derive(Debug, Clone)]
struct Kept {
    place: Option<SecretRef>,
    secret: Arc<OnceLock<Secret>>,
}

impl Kept {
    fn given(secret: Secret) -> Self {
        Self { place: None, secret: Arc::new(OnceLock::from(secret)) }
    }

    fn at(place: SecretRef) -> Self {
        Self { place: Some(place), secret: Arc::default() }
    }

    fn get(&self) -> Result<&Secret, Failure> {
        if let Some(known) = self.secret.get() {
            return Ok(known);
        }
        let found = self.place.as_ref().map(SecretRef::resolve).transpose().map_err(Failure::config)?;
        Ok(self.secret.get_or_init(|| found.unwrap_or_else(|| Secret::new(""))))
    }
}

/// The brokers and the way to them.
///
/// | option | default | meaning |
/// |---|---|---|
/// | brokers | | `host:port`, several with commas: those that are asked first |
/// | TLS | off | with the system's certificates, or those of a file |
/// | client certificate | none | files in PEM form |
/// | login | none | mechanism, user and password |
/// | timeout | 30 s | for an answer: afterwards the error says what the brokers said last |
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    brokers: String,
    tls: Option<Tls>,
    login: Option<Login>,
    timeout: Duration,
}

impl KafkaOptions {
    /// Brokers as `host:port`, several with commas.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), tls: None, login: None, timeout: TIMEOUT }
    }

    /// Encrypts the connection, and checks the brokers' certificates and names.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Believes the certificates of this file (PEM) instead of the system's; with TLS.
    #[must_use]
    pub fn with_ca(mut self, file: impl Into<String>) -> Self {
        self.tls.get_or_insert_default().ca = Some(file.into());
        self
    }

    /// Shows this certificate with its key (files, PEM) to the brokers; with TLS.
    #[must_use]
    pub fn with_client_certificate(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.tls.get_or_insert_default().certificate = Some((certificate.into(), key.into()));
        self
    }

    /// Where the password of the client certificate's key is kept.
    #[must_use]
    pub fn with_key_password_from(mut self, place: SecretRef) -> Self {
        self.tls.get_or_insert_default().key_password = Some(Kept::at(place));
        self
    }

    /// Logs in.
    #[must_use]
    pub fn with_login(mut self, mechanism: SaslMechanism, user: impl Into<String>, password: Secret) -> Self {
        self.login = Some(Login { mechanism, user: user.into(), password: Kept::given(password) });
        self
    }

    /// Logs in with a password that is kept somewhere.
    #[must_use]
    pub fn with_login_from(mut self, mechanism: SaslMechanism, user: impl Into<String>, place: SecretRef) -> Self {
        self.login = Some(Login { mechanism, user: user.into(), password: Kept::at(place) });
        self
    }

    /// How long an answer is waited for.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The brokers as they were given.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Fails for what can never work, before anything is opened.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |parameter: &str, reason: String| Err(Error::parameter("kafka", parameter, reason));
        if self.brokers.trim().is_empty() {
            return wrong("brokers", "none is given; write them as `host:9092`".into());
        }
        for broker in self.brokers.split(',').map(str::trim) {
            let port = broker.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
                return wrong("brokers", format!("`{broker}` is not of the form `host:9092`"));
            }
        }
        if self.tls.is_none() && self.login.as_ref().is_some_and(|login| login.mechanism == SaslMechanism::Plain) {
            return wrong("sasl", "`plain` sends the password as it is: switch `tls` on, or use SCRAM".into());
        }
        let files = self.tls.iter().flat_map(|tls| {
            let certificate = tls
                .certificate
                .iter()
                .flat_map(|(certificate, key)| [("client_certificate", certificate), ("client_key", key)]);
            tls.ca.iter().map(|file| ("ca", file)).chain(certificate)
        });
        for (parameter, file) in files {
            if let Err(error) = std::fs::File::open(file) {
                return wrong(parameter, format!("`{file}` cannot be read: {error}"));
            }
        }
        Ok(())
    }

    /// What both sides have in common, for librdkafka.
    pub(super) fn client(&self) -> Result<ClientConfig, Failure> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Notice);
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "stockflow");
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.max.ms", "2000");
        // A topic that is deleted and made again is not to be remembered as gone for long.
        config.set("topic.metadata.propagation.max.ms", "2000");
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(login) = &self.login {
            config.set("sasl.mechanism", login.mechanism.name());
            config.set("sasl.username", &login.user);
            config.set("sasl.password", login.password.get()?.reveal());
        }
        if let Some(tls) = &self.tls {
            if let Some(ca) = &tls.ca {
                config.set("ssl.ca.location", ca);
            }
            if let Some((certificate, key)) = &tls.certificate {
                config.set("ssl.certificate.location", certificate);
                config.set("ssl.key.location", key);
            }
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", password.get()?.reveal());
            }
        }
        Ok(config)
    }

    /// Takes secrets out of a foreign text.
    pub(super) fn hide(&self, text: &str) -> String {
        let secrets = self.login.iter().map(|login| &login.password);
        let keys = self.tls.iter().filter_map(|tls| tls.key_password.as_ref());
        let known = secrets.chain(keys).filter_map(|kept| kept.secret.get());
        known.fold(text.to_owned(), |text, secret| secret.hide(&text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let options = KafkaOptions::new("localhost:9092").with_tls().with_login(
            SaslMechanism::ScramSha512,
            "user",
            Secret::new("hunter2"),
        );
        assert!(!format!("{options:?} {:?}", options.check()).contains("hunter2"));
        assert_eq!(options.hide("a hunter2 b"), "a *** b");
    }

    #[test]
    fn what_can_never_work_is_refused() {
        let reason = |options: KafkaOptions| options.check().unwrap_err().to_string();
        assert!(reason(KafkaOptions::new(" ")).contains("none is given"));
        assert!(reason(KafkaOptions::new("a:9092,b")).contains("`b` is not of the form"));
        assert!(reason(KafkaOptions::new("a:99999")).contains("`a:99999`"));
        assert!(reason(KafkaOptions::new("a:1").with_ca("/none.pem")).contains("`/none.pem` cannot be read"));
        let plain = KafkaOptions::new("a:1").with_login(SaslMechanism::Plain, "u", Secret::new("p"));
        assert!(reason(plain.clone()).contains("switch `tls` on"));
        assert!(plain.with_tls().check().is_ok());
    }
}
