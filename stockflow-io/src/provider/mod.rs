//! Providers of prices behind one trait, and the [chain](Chain) that asks the next one where one fails.
//!
//! | provider | intervals | price basis | actions |
//! |---|---|---|---|
//! | [`Yahoo`] | all | `raw`, `split` | yes |
//! | [`Stooq`] | `1d 1wk 1mo` | `split` unless told otherwise | no |
//! | [`AlphaVantage`] | `1d`, `1m 5m 15m 30m 60m` | `raw` | daily, from the adjusted endpoint |
//! | [`Files`] | what the files hold | as declared | no |
//!
//! None of them has been tried live yet; `stockflow doctor PROVIDER` does that.

mod alpha_vantage;
mod chain;
mod doctor;
mod failure;
mod files;
mod key;
mod renamed;
pub(crate) mod rows;
mod spelling;
mod stooq;
mod yahoo;

use std::fmt::Debug;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use stockflow_core::schema::{Basis, DeadLetter};
use stockflow_core::transform::Interval;

pub use alpha_vantage::{AlphaVantage, alpha_vantage, judge_alpha_vantage};
pub use chain::{Chain, On, Served};
pub use doctor::{EXAMINABLE, Examined, examine};
pub use failure::{Failure, FailureKind};
pub use files::Files;
pub use key::ApiKey;
pub use spelling::{Piece, Spelling, Spellings};
pub use stooq::{Stooq, judge_stooq, stooq};
pub use yahoo::Yahoo;

/// Whoever gives the bars of a symbol.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// What it is called in the `provider` column, in positions, configurations and tables of spellings.
    fn name(&self) -> &str;

    /// On which price bases it can give bars.
    fn bases(&self) -> &[Basis];

    /// Whether it has bars of this interval.
    fn has(&self, interval: Interval) -> bool;

    /// How it writes a symbol that no table of spellings names.
    fn spell(&self, symbol: &str) -> String {
        symbol.to_owned()
    }

    /// The bars and actions asked for, all of them or none.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says whether another provider may help.
    async fn bars(&self, request: &BarRequest) -> Result<Found, Failure>;
}

/// What is wanted of a symbol.
#[derive(Debug, Clone, PartialEq)]
pub struct BarRequest {
    /// Our name of it: what the tables say.
    pub symbol: String,
    /// The provider's name of it.
    pub spelling: String,
    /// Of which width the bars are.
    pub interval: Interval,
    /// The first trading date; `None`: from the first bar on.
    pub from: Option<NaiveDate>,
    /// The last trading date, included; `None`: up to `now`.
    pub to: Option<NaiveDate>,
    /// What is finished by then counts as final; it is the `as_of` of all rows.
    pub now: DateTime<Utc>,
    /// When it is really asked for, `now` or later: prices come adjusted for every split up to then.
    pub present: DateTime<Utc>,
    /// How long to wait for a provider that asks for fewer requests; `None`: as long as the client's limit says.
    pub patience: Option<Duration>,
    /// On which basis prices are wanted.
    pub basis: Basis,
    /// Whether bars that are still forming are wanted.
    pub unfinished: bool,
    /// Whether bars outside of the regular session are wanted.
    pub pre_post: bool,
    /// Whether prices in pence and the like stay as they are.
    pub sub_units: bool,
}

impl BarRequest {
    /// All finished bars of a symbol as traded, under the same name.
    pub fn new(symbol: impl Into<String>, interval: Interval, now: DateTime<Utc>) -> Self {
        let symbol = symbol.into();
        Self {
            spelling: symbol.clone(),
            symbol,
            interval,
            from: None,
            to: None,
            now,
            present: now,
            patience: None,
            basis: Basis::Raw,
            unfinished: false,
            pre_post: false,
            sub_units: false,
        }
    }

    /// Whether a bar of this date is wanted.
    pub(crate) fn wants(&self, date: NaiveDate, is_final: bool) -> bool {
        self.from.is_none_or(|from| from <= date)
            && self.to.is_none_or(|to| date <= to)
            && (is_final || self.unfinished)
    }
}

/// What a provider gave.
#[derive(Debug, Clone)]
pub struct Found {
    /// In the columns of [`bar_schema`](stockflow_core::schema::bar_schema).
    pub bars: RecordBatch,
    /// In the columns of [`action_schema`](stockflow_core::schema::action_schema).
    pub actions: RecordBatch,
    /// In the columns of [`symbol_schema`](stockflow_core::schema::symbol_schema): the symbol's row, or none where the provider
    /// tells nothing of it.
    pub symbols: RecordBatch,
    /// Rows that could not be read.
    pub rejects: Vec<DeadLetter>,
}
