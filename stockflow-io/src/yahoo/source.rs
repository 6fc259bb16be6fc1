//! Bars and corporate actions of Yahoo Finance, and what it says of their symbols, symbol by symbol, as a source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::{AS_OF, RelationSchema};
use stockflow_core::schema::{ACTION_KEY, Basis, SYMBOL_KEY, action_schema, bar_relation, bar_schema, symbol_schema};
use stockflow_core::source::{EpochLimit, EpochPlan, Replay, Scan, Source};
use stockflow_core::transform::{Interval, IntervalUnit};
use stockflow_core::{Error, Result};

use super::CONNECTOR;
use super::decode::Asked;
use super::failure::Failure;
use super::position::Position;
use super::symbols::{Found, Pins, Question, SYMBOLS_PER_EPOCH, Symbols, position, scan_to};
use super::units::told;
use crate::http::Fetch;
use crate::provider::rows::{self, dated};
use crate::provider::{self, BarRequest, Chain, Served, Yahoo};

/// Bars and corporate actions of Yahoo Finance.
///
/// # Output
///
/// `bars` in the canonical columns, on basis `raw`: Yahoo adjusts prices for every split since, and that is undone with the
/// splits up to now. `adj_close` is as Yahoo gives it at the time. Prices in pence and other sub-units come in the currency
/// itself, unless [`YahooSource::in_sub_units`] says otherwise. Bars that are still forming are left out, unless
/// [`YahooSource::with_unfinished`] asks for them (`is_final` is false then).
/// `actions`: dividends, splits and capital gains from the first asked bar up to now, as paid.
/// `symbols`: a row for each symbol of which a reply tells something, also where it holds no bars; the unit in which prices came
/// stands there, and a note of the epoch counts the bars that were converted.
///
/// # Positions
///
/// A partition is a symbol, a position says from which date on and up to which moment it has been read. The last days (seven
/// unless told otherwise) are read again each time, because Yahoo corrects bars late.
///
/// # Errors
///
/// A symbol that Yahoo does not know, or that cannot be had within its deadline, is left out of what the epoch reached, with
/// the reason. A host that asks for fewer requests all the time is a transient error of the whole source.
///
/// # Source
///
/// Yahoo's chart endpoint, which is not documented and may change; nobody has tried this against the live service yet.
#[derive(Debug, Clone)]
pub struct YahooSource {
    chain: Chain,
    symbols: Symbols,
    interval: Interval,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    actions_to: Option<NaiveDate>,
    refetch_days: u64,
    unfinished: bool,
    pre_post: bool,
    sub_units: bool,
}

impl YahooSource {
    /// Daily bars of these symbols, all there are.
    pub fn new(fetch: Arc<dyn Fetch>, symbols: impl IntoIterator<Item = Asked>) -> Self {
        Self::over(Chain::new(Arc::new(Yahoo::new(fetch))), symbols)
    }

    /// The same from a chain of providers, on its basis. `provider` says of each row which one it came from.
    ///
    /// A symbol stays with the provider that served it as long as that answers; another one gives its whole range again.
    /// On another basis than `raw` the whole range is read each time, because each split changes all of it.
    pub fn over(chain: Chain, symbols: impl IntoIterator<Item = Asked>) -> Self {
        Self {
            chain,
            symbols: Symbols::new(symbols),
            interval: Interval::DAY,
            from: None,
            to: None,
            actions_to: None,
            refetch_days: 7,
            unfinished: false,
            pre_post: false,
            sub_units: false,
        }
    }

    /// Bars of another interval.
    #[must_use]
    pub fn with_interval(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    /// Bars of these trading dates only, both included.
    #[must_use]
    pub fn between(mut self, from: Option<NaiveDate>, to: Option<NaiveDate>) -> Self {
        (self.from, self.to) = (from, to);
        self
    }

    /// Corporate actions up to this date only, instead of all up to now: prices as traded need those, the table need not.
    #[must_use]
    pub fn with_actions_to(mut self, to: Option<NaiveDate>) -> Self {
        self.actions_to = to;
        self
    }

    /// How many days before a symbol's position are read again.
    #[must_use]
    pub fn with_refetch_days(mut self, days: u64) -> Self {
        self.refetch_days = days;
        self
    }

    /// Delivers bars that are still forming, too.
    #[must_use]
    pub fn with_unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }

    /// Delivers bars of before and after the regular session, too; intraday only.
    #[must_use]
    pub fn with_pre_post(mut self) -> Self {
        self.pre_post = true;
        self
    }

    /// Leaves prices in pence and other sub-units as they come.
    #[must_use]
    pub fn in_sub_units(mut self) -> Self {
        self.sub_units = true;
        self
    }

    /// The moment up to which is read, instead of the time of the first plan: for recordings and tests.
    #[must_use]
    pub fn with_now(mut self, now: DateTime<Utc>) -> Self {
        self.symbols.read_up_to(now);
        self
    }

    /// The end of the wanted range.
    fn end(&self, to: Option<NaiveDate>) -> DateTime<Utc> {
        let target = self.symbols.target();
        to.and_then(|to| to.checked_add_days(Days::new(2))).map_or(target, |after| midnight(after).min(target))
    }

    /// From which date on a symbol is read again that was read up to a day.
    ///
    /// Two days at least: an exchange's date may be behind the one in UTC, and [`YahooSource::end`] is after the last date. A bar
    /// wider than a day counts by its first date, which is long past when it is finished.
    fn again(&self, upto: NaiveDate) -> Option<NaiveDate> {
        let day = upto.checked_sub_days(Days::new(self.refetch_days.max(2)))?;
        let n = self.interval.n();
        let (first, _) = rows::period(day, self.interval);
        match self.interval.unit() {
            IntervalUnit::Month => first.checked_sub_months(Months::new(n)),
            IntervalUnit::Week => first.checked_sub_days(Days::new(7 * u64::from(n))),
            // Five days of trade are a week.
            IntervalUnit::Day if n > 1 => first.checked_sub_days(Days::new(u64::from(n) + 2)),
            _ => Some(first),
        }
    }

    /// What is to be read of a symbol; `None` if nothing is new.
    fn pin(&self, symbol: &str, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<(Pin, Position)>> {
        let window = limit.window.as_ref();
        let first = window.and_then(|it| it.from).or(self.from);
        let last = window.and_then(|it| it.to).or(self.to);
        let end = self.end(last);
        let known: Option<Position> = position(symbol, from, limit)?;
        Ok(match known {
            Some(known) if known.covers(first) && self.chain.names().contains(&known.provider.as_str()) => {
                if known.upto >= end {
                    return Ok(None);
                }
                // Also where a later start is asked for now: what lies between would never be read.
                let again = self.again(known.upto.date_naive());
                let start = if self.chain.basis() == Basis::Raw { known.from.max(again) } else { known.from };
                let pin =
                    Pin { from: start, to: last, known: true, whole: known.from, before: Some(known.provider.clone()) };
                Some((pin, Position { upto: end, ..known }))
            }
            _ => {
                let pin = Pin { from: first, to: last, known: false, whole: first, before: None };
                Some((pin, Position { from: first, upto: end, provider: CONNECTOR.to_owned() }))
            }
        })
    }
}

/// What is pinned of one symbol.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pin {
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    /// Bars of it were read before: that there are no new ones is nothing to tell.
    known: bool,
    /// What another provider is asked from on.
    #[serde(default)]
    whole: Option<NaiveDate>,
    /// Which provider served it last.
    #[serde(default)]
    before: Option<String>,
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

fn actions_relation() -> RelationSchema {
    RelationSchema::new("actions", action_schema()).with_key(ACTION_KEY).with_version(AS_OF)
}

fn symbols_relation() -> RelationSchema {
    RelationSchema::new("symbols", symbol_schema()).with_key(SYMBOL_KEY).with_version(AS_OF)
}

/// One symbol's tables, in the order of the relations.
fn of_symbol(found: provider::Found) -> Found {
    let notes = told(&found).into_iter().collect();
    Found { notes, ..Found::new(vec![found.bars, found.actions, found.symbols], found.rejects) }
}

/// What is told of a symbol that cannot be had.
fn of_failure(mut failure: provider::Failure) -> Result<Found, Failure> {
    let Some(symbols) = failure.symbols.take() else { return Err(failure.into()) };
    let none = RecordBatch::new_empty;
    let tables = vec![none(bar_schema()), none(action_schema()), symbols];
    Ok(Found { failure: Some(failure.into()), ..Found::new(tables, Vec::new()) })
}

#[async_trait]
impl Source for YahooSource {
    fn relations(&self) -> Vec<RelationSchema> {
        vec![bar_relation("bars"), actions_relation(), symbols_relation()]
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.symbols.plan(from, limit, |symbol| {
            let pinned = self.pin(symbol, from, limit)?;
            Ok(pinned.map(|(pin, position)| (pin, position.to_string())))
        })
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let pins: Pins<Pin> = Pins::of(plan)?;
        let served: Mutex<BTreeMap<String, String>> = Mutex::default();
        // An intent that a crash left open is read with its own `now`, whatever day it is.
        let present = self.symbols.present(pins.now);
        let question = |(symbol, pin): (String, Pin)| {
            let asked = self.symbols.named(symbol.clone());
            let request = BarRequest {
                from: pin.from,
                to: pin.to,
                basis: self.chain.basis(),
                unfinished: self.unfinished,
                pre_post: self.pre_post,
                sub_units: self.sub_units,
                present,
                ..BarRequest::new(&symbol, self.interval, pins.now)
            };
            let served = &served;
            let answer = Box::pin(async move {
                let answer = self.chain.bars(&asked, &request, pin.before.as_deref(), pin.whole).await;
                let Served { provider, found } = match answer {
                    Ok(served) => served,
                    Err(failure) => return of_failure(failure),
                };
                served.lock().unwrap_or_else(PoisonError::into_inner).insert(asked.symbol, provider);
                let actions = dated(&found.actions, None, self.actions_to)
                    .map_err(|error| Failure::Symbol(format!("its actions cannot be told by date: {error}")))?;
                Ok(of_symbol(provider::Found { actions, ..found }))
            });
            Question { symbol, is_known: pin.known, answer }
        };
        let questions = pins.symbols.into_iter().map(question).collect();
        scan_to(plan, &self.relations(), questions, |symbol, position| {
            let served = served.lock().unwrap_or_else(PoisonError::into_inner);
            let position: Position = position.parse().map_err(Error::internal)?;
            let provider = served.get(symbol).cloned().unwrap_or_else(|| position.provider.clone());
            Ok(Position { provider, ..position }.to_string())
        })
        .await
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
        // Which symbols, and from which date on: that is in the positions, and may change from run to run.
        let mut definition = serde_json::json!({
            "type": CONNECTOR,
            "interval": self.interval.to_string(),
            "unfinished": self.unfinished,
            "pre_post": self.pre_post,
            "sub_units": self.sub_units,
        });
        if self.chain.basis() != Basis::Raw {
            definition["basis"] = self.chain.basis().as_str().into();
        }
        if self.chain.names() != [CONNECTOR] {
            definition["providers"] = self.chain.names().into();
        }
        definition
    }
}
