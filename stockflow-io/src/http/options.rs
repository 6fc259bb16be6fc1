//! How the client behaves.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use url::Url;

use super::backoff::Backoff;
use super::limit::Limit;
use super::secret;

/// Looks like a browser's, because providers answer 429 to what does not.
const USER_AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// The settings of an [`HttpClient`](super::HttpClient).
///
/// Where a setting is for a domain, it holds for the domain and all below it, and the longest one that fits wins.
#[derive(Clone)]
pub struct HttpOptions {
    /// What the client calls itself.
    pub user_agent: String,
    /// Which languages it asks for.
    pub accept_language: String,
    /// For a connection, 10 s.
    pub connect_timeout: Duration,
    /// For one attempt with its redirects and body, 30 s.
    pub attempt_timeout: Duration,
    /// For a request's attempts and back-off together, 2 minutes.
    pub deadline: Duration,
    /// The waits after 5xx, 999, and faults of the connection: 500 ms doubling to 30 s.
    pub backoff: Backoff,
    /// How often a reply of the wrong kind is taken before giving up: 3.
    pub malformed_attempts: u32,
    /// The longest body after decompression, 64 MiB.
    pub max_body: usize,
    /// How many redirects are followed: 10.
    pub max_redirects: usize,
    /// The limit of every host without one of its own.
    pub limit: Limit,
    /// Limits by domain. The hosts of one domain share it: Yahoo's `query1` and `query2` are one service.
    pub limits: BTreeMap<String, Limit>,
    /// Other servers in place of a domain's hosts, such as `http://127.0.0.1:8080`. They are asked without a proxy, and
    /// are told the host in `X-Forwarded-Host`.
    pub bases: BTreeMap<String, Url>,
}

impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and passwords may stand in the bases.
        let bases: BTreeMap<&str, Url> =
            self.bases.iter().map(|(domain, base)| (domain.as_str(), secret::masked(base))).collect();
        let bases: BTreeMap<&str, &str> = bases.iter().map(|(domain, base)| (*domain, base.as_str())).collect();
        f.debug_struct("HttpOptions")
            .field("user_agent", &self.user_agent)
            .field("accept_language", &self.accept_language)
            .field("connect_timeout", &self.connect_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .field("deadline", &self.deadline)
            .field("backoff", &self.backoff)
            .field("malformed_attempts", &self.malformed_attempts)
            .field("max_body", &self.max_body)
            .field("max_redirects", &self.max_redirects)
            .field("limit", &self.limit)
            .field("limits", &self.limits)
            .field("bases", &bases)
            .finish()
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            user_agent: USER_AGENT.into(),
            accept_language: "en-US,en;q=0.9".into(),
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(120),
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            malformed_attempts: 3,
            max_body: 64 << 20,
            max_redirects: 10,
            limit: Limit::default(),
            limits: BTreeMap::from([("yahoo.com".to_owned(), Limit::default())]),
            bases: BTreeMap::new(),
        }
    }
}

impl HttpOptions {
    /// Sets the limit of a domain.
    #[must_use]
    pub fn with_limit(mut self, domain: impl Into<String>, limit: Limit) -> Self {
        self.limits.insert(domain.into(), limit);
        self
    }

    /// Puts another server in the place of a domain's hosts.
    #[must_use]
    pub fn with_base(mut self, domain: impl Into<String>, base: Url) -> Self {
        self.bases.insert(domain.into(), base);
        self
    }

    /// The name under which a host is limited, and the limit.
    pub(crate) fn limit_of<'a>(&'a self, host: &'a str) -> (&'a str, &'a Limit) {
        by_domain(&self.limits, host).unwrap_or((host, &self.limit))
    }

    /// The URL that is really asked.
    pub(crate) fn wire(&self, url: &Url) -> Option<Url> {
        let (_, base) = by_domain(&self.bases, url.host_str()?)?;
        let mut wire = base.clone();
        wire.set_path(&format!("{}{}", base.path().trim_end_matches('/'), url.path()));
        wire.set_query(url.query());
        Some(wire)
    }
}

fn by_domain<'a, T>(map: &'a BTreeMap<String, T>, host: &str) -> Option<(&'a str, &'a T)> {
    map.iter()
        .filter(|(domain, _)| {
            host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
        .max_by_key(|(domain, _)| domain.len())
        .map(|(domain, value)| (domain.as_str(), value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        let options = HttpOptions::default()
            .with_base("yahoo.com", Url::parse("http://127.0.0.1:1/y/").unwrap())
            .with_base("fc.yahoo.com", Url::parse("http://127.0.0.1:2").unwrap());
        let wire = options.wire(&Url::parse(url).unwrap());
        assert_eq!(wire.as_ref().map(Url::as_str), expected);
    }

    #[test]
    fn the_longest_domain_that_fits_wins() {
        check("https://query1.finance.yahoo.com/v8/x?a=1", Some("http://127.0.0.1:1/y/v8/x?a=1"));
        check("https://fc.yahoo.com/", Some("http://127.0.0.1:2/"));
        check("https://notyahoo.com/", None);
    }

    #[test]
    fn the_password_of_a_base_is_not_printed() {
        let base = Url::parse("http://me:hunter2@127.0.0.1:1/?token=hunter2").unwrap();
        let told = format!("{:?}", HttpOptions::default().with_base("yahoo.com", base));
        assert!(told.contains("127.0.0.1:1") && !told.contains("hunter2") && !told.contains("me:"), "{told}");
    }

    #[test]
    fn yahoos_hosts_share_a_limit() {
        let options = HttpOptions::default();
        assert_eq!(options.limit_of("query1.finance.yahoo.com").0, "yahoo.com");
        assert_eq!(options.limit_of("stooq.com").0, "stooq.com");
    }
}
