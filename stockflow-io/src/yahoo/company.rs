//! What Yahoo Finance knows of companies: holders, insights, quotes, and symbols by a word.

mod ask;
mod endpoint;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use stockflow_core::Result;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::source::{EpochLimit, EpochPlan, Replay, Scan, Source};

use super::CONNECTOR;
use super::decode::Asked;
use super::symbols::{Pins, Question, SYMBOLS_PER_EPOCH, Symbols, position, scan};
use crate::http::Fetch;
use ask::ask;
pub use endpoint::Endpoint;

/// Holders, insights, quotes or found symbols of Yahoo Finance, as they are when asked for.
///
/// # Output
///
/// The [relations of the endpoint](Endpoint::relations). `as_of`, the version of each row, is the moment up to which the run
/// reads. Yahoo gives no history: a table that merges keeps a row that Yahoo no longer lists, with its old `as_of`.
///
/// # Positions
///
/// A partition is a symbol (of [`Endpoint::Search`] a text), a position the moment when it was last read, such as
/// `2024-06-28T20:00:00Z`. Each run reads each symbol once more.
///
/// # Errors
///
/// A symbol that Yahoo does not know, that is delisted, or that cannot be had within its deadline, is left out of what the
/// epoch reached, with the reason. A host that asks for fewer requests all the time, or gives no crumb where it wants one, is
/// a transient error of the whole source. Rows that cannot be read are rejects.
///
/// # Source
///
/// Yahoo's endpoints, which are not documented and may change; nobody has tried this against the live service yet.
#[derive(Debug, Clone)]
pub struct YahooCompany {
    fetch: Arc<dyn Fetch>,
    endpoint: Endpoint,
    symbols: Symbols,
}

impl YahooCompany {
    /// What an endpoint says of these symbols. Quotes and holders need a [session](super::YahooSession).
    pub fn new(fetch: Arc<dyn Fetch>, endpoint: Endpoint, symbols: impl IntoIterator<Item = Asked>) -> Self {
        Self { fetch, endpoint, symbols: Symbols::new(symbols) }
    }

    /// The moment of reading, instead of the time of the first plan: for recordings and tests.
    #[must_use]
    pub fn with_now(mut self, now: DateTime<Utc>) -> Self {
        self.symbols.read_up_to(now);
        self
    }
}

#[async_trait]
impl Source for YahooCompany {
    fn relations(&self) -> Vec<RelationSchema> {
        self.endpoint.relations()
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        let now = self.symbols.target();
        self.symbols.plan(from, limit, |symbol| {
            let known: Option<ReadAt> = position(symbol, from, limit)?;
            let is_new = known.is_none_or(|it| it.0 < now);
            Ok(is_new.then(|| ((), now.to_rfc3339_opts(SecondsFormat::Secs, true))))
        })
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let pins: Pins<()> = Pins::of(plan)?;
        let question = |symbol: String| {
            let (asked, now) = (self.symbols.named(symbol.clone()), pins.now);
            let answer = Box::pin(async move { ask(self.fetch.as_ref(), self.endpoint, asked, now).await });
            Question { symbol, is_known: false, answer }
        };
        scan(plan, &self.relations(), pins.symbols.into_keys().map(question).collect()).await
    }

    async fn commit(&self, _upto: &Checkpoint) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Replay {
        Replay::BestEffort
    }

    fn partitions_per_epoch(&self) -> Option<usize> {
        Some(SYMBOLS_PER_EPOCH)
    }

    fn definition(&self) -> serde_json::Value {
        serde_json::json!({ "type": CONNECTOR, "endpoint": self.endpoint.name() })
    }
}

/// A symbol's position: when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadAt(DateTime<Utc>);

impl std::str::FromStr for ReadAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is no position of a symbol; it looks like `2024-06-28T20:00:00Z`");
        text.parse().map(Self).map_err(wrong)
    }
}
