//! `type = "elasticsearch"`: what its tables say, and what is made of it.

use std::time::Duration;

use stockflow_io::elastic::{ElasticOptions, ElasticSink, Refresh};
pub(crate) use stockflow_io::elastic::{IndexSearch, SearchQuery, SortBy};

use crate::config::{SecretRef, Section};
use crate::exit::{Failure, Outcome};

/// `type = "elasticsearch"`, as a sink
#[derive(Debug)]
pub(crate) struct ElasticConfig {
    /// `None` if it was told already that it is wrong.
    options: Option<ElasticOptions>,
    password: Option<SecretRef>,
    api_key: Option<SecretRef>,
    /// Server and index, as a URL.
    place: String,
    index: String,
    by_month: bool,
    refresh: Refresh,
    create: bool,
    settings: Vec<(String, String)>,
    meta_index: Option<String>,
    request_mb: Option<u64>,
    requests: Option<u64>,
}

impl ElasticConfig {
    /// Reads the rest of a `[[sink]]` or `[dead_letters]` table.
    pub(crate) fn read(section: &Section<'_>) -> Self {
        let (password, api_key) = (section.secret("password"), section.secret("api_key"));
        let options = options(section, password.as_ref(), api_key.as_ref());
        let index = section.required("index");
        let config = Self {
            place: options.as_ref().map(|options| format!("{options}/{index}")).unwrap_or_default(),
            by_month: section.choice("partition", &[("month", true), ("none", false)]).unwrap_or(false),
            refresh: section
                .choice("refresh", &[("never", Refresh::Never), ("wait_for", Refresh::WaitFor), ("now", Refresh::Now)])
                .unwrap_or_default(),
            create: section.flag("create").unwrap_or(true),
            settings: section.pairs("index_settings").unwrap_or_default(),
            meta_index: section.text("meta_index"),
            request_mb: section.count_within("request_mb", 1..=100),
            requests: section.count_within("requests", 1..=64),
            options,
            password,
            api_key,
            index,
        };
        if let (Some(options), false) = (&config.options, config.index.is_empty()) {
            if let Err(error) = ElasticSink::new(options.clone(), &config.index) {
                section.problem("index", format!("is wrong: {}", error.chain().join(": ")));
            } else if let Err(failure) = config.build() {
                section.problem("meta_index", format!("is wrong: {}", failure.causes.join(": ")));
            }
        }
        config
    }

    pub(crate) fn path(&self) -> &str {
        &self.place
    }

    pub(crate) fn secrets(&self) -> Vec<(&'static str, &SecretRef)> {
        let password = self.password.iter().map(|place| ("password", place));
        password.chain(self.api_key.iter().map(|place| ("api_key", place))).collect()
    }

    fn options(&self) -> Outcome<ElasticOptions> {
        self.options.clone().ok_or_else(|| Failure::usage("the URL of Elasticsearch is wrong"))
    }

    pub(crate) fn build(&self) -> Outcome<ElasticSink> {
        let mut sink = ElasticSink::new(self.options()?, &self.index)?
            .with_create(self.create)
            .with_refresh(self.refresh)
            .with_index_settings(self.settings.clone());
        if let Some(index) = &self.meta_index {
            sink = sink.with_meta_index(index)?;
        }
        if let Some(megabytes) = self.request_mb {
            sink = sink.with_request_size(usize::try_from(megabytes.saturating_mul(1024 * 1024)).unwrap_or(usize::MAX));
        }
        if let Some(requests) = self.requests {
            sink = sink.with_concurrency(usize::try_from(requests).unwrap_or(1));
        }
        Ok(if self.by_month { sink.with_monthly_indices() } else { sink })
    }

    /// Whether the server answers and lets us in.
    pub(crate) async fn probe(&self) -> Outcome<String> {
        Ok(self.options()?.check().await?)
    }

    /// What `stockflow search` looks through.
    pub(crate) fn search(&self) -> Outcome<IndexSearch> {
        Ok(IndexSearch::new(self.options()?, &self.index)?)
    }
}

fn options(section: &Section<'_>, password: Option<&SecretRef>, api_key: Option<&SecretRef>) -> Option<ElasticOptions> {
    let url = section.required("url");
    let mut options = match ElasticOptions::parse(&url) {
        Ok(options) => Some(options),
        Err(_) if url.is_empty() => None,
        Err(error) => {
            section.problem("url", format!("is wrong: {}", error.chain().join(": ")));
            None
        }
    };
    let user = section.text("user");
    if section.has("password") != user.is_some() {
        section.problem("user", "and `password` belong together");
    }
    if section.has("api_key") && user.is_some() {
        section.problem("api_key", "stands beside `user`; write one of them");
    }
    let ca = section.text("ca");
    let (certificate, key) = (section.text("client_cert"), section.text("client_key"));
    if certificate.is_some() != key.is_some() {
        section.problem("client_key", "and `client_cert` belong together");
    }
    let seconds = |count: Option<u64>| count.map(Duration::from_secs);
    let connect_timeout = seconds(section.count_within("connect_timeout_s", 1..=3600));
    let timeout = seconds(section.count_within("timeout_s", 1..=3600));
    options = options.map(|mut options| {
        if let (Some(user), Some(place)) = (user, password) {
            options = options.with_login_from(user, place.clone());
        }
        if let Some(place) = api_key {
            options = options.with_api_key_from(place.clone());
        }
        if let Some(ca) = ca {
            options = options.with_ca(ca);
        }
        if let (Some(certificate), Some(key)) = (certificate, key) {
            options = options.with_client_certificate(certificate, key);
        }
        if let Some(timeout) = connect_timeout {
            options = options.with_connect_timeout(timeout);
        }
        if let Some(timeout) = timeout {
            options = options.with_timeout(timeout);
        }
        options
    });
    options
}
