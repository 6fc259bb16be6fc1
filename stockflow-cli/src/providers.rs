//! `[[source.provider]]`: who is asked where Yahoo fails, in the order of the file.

use std::sync::Arc;

use stockflow_core::schema::Basis;
use stockflow_core::transform::Interval;
use stockflow_io::http::Fetch;
use stockflow_io::provider::{AlphaVantage, ApiKey, Chain, Files, On, Provider, Spellings, Stooq, Yahoo};

use crate::config::{SecretRef, Section};
use crate::exit::{Failure, Outcome};

/// Yahoo and who comes after it.
#[derive(Debug, Default)]
pub(crate) struct ChainConfig {
    basis: Option<Basis>,
    spellings: Spellings,
    on: Vec<On>,
    providers: Vec<ProviderConfig>,
}

#[derive(Debug)]
struct ProviderConfig {
    kind: Kind,
    on: Vec<On>,
}

#[derive(Debug)]
enum Kind {
    Stooq { key: Option<SecretRef>, basis: Option<Basis> },
    AlphaVantage { key: Option<SecretRef>, actions: bool },
    Files { path: String, basis: Option<Basis> },
}

const CONDITIONS: [(&str, On); 4] =
    [("unknown", On::Unknown), ("throttled", On::Throttled), ("unavailable", On::Unavailable), ("any", On::Any)];

/// The words of `fallback_on`; any reason if there are none.
fn conditions(section: &Section<'_>) -> Vec<On> {
    let Some(words) = section.texts("fallback_on") else { return vec![On::Any] };
    let mut found = Vec::new();
    for word in words {
        match CONDITIONS.iter().find(|(name, _)| *name == word) {
            Some((_, on)) => found.push(*on),
            None => section.problem(
                "fallback_on",
                format!("has `{word}`; there are `unknown`, `throttled`, `unavailable`, `any`"),
            ),
        }
    }
    found
}

impl ChainConfig {
    pub(crate) fn read(section: &Section<'_>) -> Self {
        let spellings = section.text("spellings_file").map(|path| {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("`{path}` cannot be read: {error}"));
            text.and_then(|text| Spellings::from_csv(&text).map_err(|error| format!("`{path}`: {error}")))
        });
        let spellings = match spellings {
            Some(Ok(spellings)) => spellings,
            Some(Err(reason)) => {
                section.problem("spellings_file", reason);
                Spellings::default()
            }
            None => Spellings::default(),
        };
        Self {
            basis: section.parsed("basis"),
            spellings,
            on: conditions(section),
            providers: section.sections("provider").into_iter().filter_map(provider).collect(),
        }
    }

    /// The chain, its secrets fetched.
    pub(crate) fn build(&self, fetch: &Arc<dyn Fetch>, interval: Interval) -> Outcome<Chain> {
        let mut chain = Chain::new(Arc::new(Yahoo::new(Arc::clone(fetch)))).on(self.on.clone());
        for it in &self.providers {
            chain = chain.then(it.build(fetch, interval)?).on(it.on.clone());
        }
        Ok(chain.with_basis(self.basis.unwrap_or(Basis::Raw)).with_spellings(self.spellings.clone()))
    }
}

fn provider(section: Section<'_>) -> Option<ProviderConfig> {
    let kind = section.kind(&[("stooq", 0), ("alpha_vantage", 1), ("files", 2)])?;
    let kind = match kind {
        0 => Kind::Stooq { key: section.secret("api_key"), basis: section.parsed("basis") },
        1 => Kind::AlphaVantage { key: section.secret("api_key"), actions: section.flag("actions").unwrap_or(true) },
        _ => Kind::Files { path: section.required("path"), basis: section.parsed("basis") },
    };
    let on = conditions(&section);
    section.finish();
    Some(ProviderConfig { kind, on })
}

impl ProviderConfig {
    fn build(&self, fetch: &Arc<dyn Fetch>, interval: Interval) -> Outcome<Arc<dyn Provider>> {
        let fetch = Arc::clone(fetch);
        Ok(match &self.kind {
            Kind::Stooq { key: secret, basis } => {
                let stooq = Stooq::new(fetch, key(secret.as_ref())?);
                Arc::new(if let Some(basis) = basis { stooq.on(*basis) } else { stooq })
            }
            Kind::AlphaVantage { key: secret, actions } => {
                let provider = AlphaVantage::new(fetch, key(secret.as_ref())?);
                Arc::new(if *actions { provider } else { provider.without_actions() })
            }
            Kind::Files { path, basis } => {
                let files = Files::new(path).of(interval);
                Arc::new(if let Some(basis) = basis { files.on(*basis) } else { files })
            }
        })
    }
}

fn key(secret: Option<&SecretRef>) -> Outcome<ApiKey> {
    let secret = secret.map(SecretRef::resolve).transpose().map_err(Failure::usage)?;
    Ok(ApiKey::new(secret.as_ref().map(|it| it.reveal()).unwrap_or_default()))
}
