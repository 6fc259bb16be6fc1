//! From the bytes of a Yahoo Finance reply to tables: pure functions, one an endpoint.
//!
//! [`chart()`] gives bars and corporate actions, [`holders()`] who owns a company, [`insights()`] what analysts and charts say,
//! [`quote()`] the latest prices, [`search()`] symbols by a word, [`crumb()`] the token that some of them need. Each takes the
//! [`Reply`] as it came and gives tables, refused rows and typed facts, or a [`ReplyError`] that says what to do.
//!
//! Every field of Yahoo's is optional here: a cell that cannot be read costs that cell or that row, never the reply.
//! What is not here: requests, retries, cookies.

mod chart;
mod crumb;
mod currency;
mod error;
mod holders;
mod insights;
mod json;
mod number;
mod quote;
mod reads;
mod search;
mod split;
mod table;
mod time;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use chart::{Chart, ChartRequest, Facts, Missing, Period, chart, chart_facts, chart_symbols};
pub use crumb::crumb;
pub use currency::sub_unit;
pub(crate) use error::is_throttling;
pub use error::{NoData, NotFound, ReplyClass, ReplyError, masked};
pub use holders::{HOLDER_MODULES, Holders, holder_schemas, holders};
pub use insights::{Insights, insight_schemas, insights};
pub use quote::{Priceless, Quotes, quote, quote_schema};
pub(crate) use reads::Reads;
pub use search::{SearchHits, search, search_schema};
pub use split::{undo_splits, undo_splits_of_actions};
pub use time::retry_after;

/// The connector's name in dead letters and in the `provider` column.
const YAHOO: &str = "yahoo";

/// A reply as it came over the wire. Its body may be a crumb: `Debug` tells its length only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status; Yahoo also uses 999.
    pub status: u16,
    /// The `content-type` header.
    pub content_type: Option<String>,
    /// The `retry-after` header as a time to wait, see [`retry_after`].
    pub retry_after: Option<Duration>,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: None, retry_after: None, body: body.into() }
    }

    /// The same with a `content-type`.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// The same with a time to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("retry_after", &self.retry_after)
            .field("bytes", &self.body.len())
            .finish()
    }
}

/// A symbol under both of its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// Our name, `BRK.B`: what the tables say.
    pub symbol: String,
    /// Yahoo's name, `BRK-B`: what the request and the reply say.
    pub yahoo: String,
}

impl Asked {
    /// A symbol that Yahoo writes as we do.
    pub fn same(symbol: impl Into<String>) -> Self {
        let symbol = symbol.into();
        Self { yahoo: symbol.clone(), symbol }
    }

    /// A symbol that Yahoo writes in its own way.
    pub fn new(symbol: impl Into<String>, yahoo: impl Into<String>) -> Self {
        Self { symbol: symbol.into(), yahoo: yahoo.into() }
    }
}

/// What a reply about one or more symbols answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolRequest {
    /// The symbols asked for.
    pub symbols: Vec<Asked>,
    /// When the reply came: the `as_of` column.
    pub as_of: DateTime<Utc>,
}

impl SymbolRequest {
    /// A request for symbols that Yahoo writes as we do.
    pub fn new<S: Into<String>>(symbols: impl IntoIterator<Item = S>, as_of: DateTime<Utc>) -> Self {
        Self { symbols: symbols.into_iter().map(Asked::same).collect(), as_of }
    }

    /// The asked symbol that Yahoo calls so; Yahoo may answer in capitals.
    fn find(&self, yahoo: &str) -> Option<&Asked> {
        self.symbols.iter().find(|asked| asked.yahoo.eq_ignore_ascii_case(yahoo))
    }
}
