//! Bars and corporate actions of Yahoo Finance, symbol by symbol, as a source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use datafusion::datasource::{MemTable, TableProvider};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::{ACTION_KEY, action_schema, bar_relation};
use stockflow_core::source::{EpochLimit, EpochPlan, LeftOut, Replay, Scan, ScanEnd, ScanOutcome, Source};
use stockflow_core::transform::Interval;
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::bars::{Asking, Failure, Found, ask};
use super::decode::Asked;
use super::position::Position;
use super::window::Window;
use crate::http::Fetch;

/// What the source is called in errors, dead letters and definitions.
pub(super) const CONNECTOR: &str = "yahoo";

/// So many symbols an epoch, unless the pipeline says otherwise: what a crash or Ctrl-C costs at most.
const SYMBOLS_PER_EPOCH: usize = 50;

/// So many symbols are under way at once; the client's own limit is the one that counts.
const AT_ONCE: usize = 16;

/// Bars and corporate actions of Yahoo Finance.
///
/// # Output
///
/// `bars` in the canonical columns, on basis `raw`: Yahoo adjusts prices for every split since, and that is undone with the
/// splits up to now. `adj_close` is as Yahoo gives it at the time. Prices in pence and other sub-units come in the currency
/// itself, unless [`YahooSource::in_sub_units`] says otherwise. Bars that are still forming are left out, unless
/// [`YahooSource::with_unfinished`] asks for them (`is_final` is false then).
/// `actions`: dividends, splits and capital gains from the first asked bar up to now, as paid.
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
    fetch: Arc<dyn Fetch>,
    symbols: Vec<Asked>,
    interval: Interval,
    from: Option<NaiveDate>,
    to: Option<NaiveDate>,
    refetch_days: u64,
    unfinished: bool,
    pre_post: bool,
    sub_units: bool,
    /// The moment up to which this process reads: a run ends.
    target: Arc<OnceLock<DateTime<Utc>>>,
}

impl YahooSource {
    /// Daily bars of these symbols, all there are.
    pub fn new(fetch: Arc<dyn Fetch>, symbols: impl IntoIterator<Item = Asked>) -> Self {
        let mut known = BTreeSet::new();
        Self {
            fetch,
            symbols: symbols.into_iter().filter(|it| known.insert(it.symbol.clone())).collect(),
            interval: Interval::DAY,
            from: None,
            to: None,
            refetch_days: 7,
            unfinished: false,
            pre_post: false,
            sub_units: false,
            target: Arc::default(),
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
    pub fn with_now(self, now: DateTime<Utc>) -> Self {
        let _ = self.target.set(now);
        self
    }

    fn target(&self) -> DateTime<Utc> {
        // Positions are whole seconds.
        *self.target.get_or_init(|| DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap_or_default())
    }

    /// The end of the wanted range.
    fn end(&self, to: Option<NaiveDate>) -> DateTime<Utc> {
        let target = self.target();
        to.and_then(|to| to.checked_add_days(Days::new(2))).map_or(target, |after| midnight(after).min(target))
    }

    /// What is to be read of a symbol; `None` if nothing is new.
    fn pin(&self, symbol: &str, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<(Pin, Position)>> {
        let window = limit.window.as_ref();
        let first = window.and_then(|it| it.from).or(self.from);
        let last = window.and_then(|it| it.to).or(self.to);
        let end = self.end(last);
        let known = match from.get(symbol).filter(|_| !limit.everything && window.is_none()) {
            Some(text) => Some(text.parse::<Position>().map_err(|reason| {
                Error::refused(Origin::new(CONNECTOR).partition(symbol).symbol(symbol), ErrorClass::Config, reason)
            })?),
            None => None,
        };
        Ok(match known {
            Some(known) if known.covers(first) => {
                if known.upto >= end {
                    return Ok(None);
                }
                let again = known.upto.date_naive().checked_sub_days(Days::new(self.refetch_days));
                let start = first.max(again);
                Some((Pin { from: start, to: last, known: true }, Position { from: known.from, upto: end }))
            }
            _ => Some((Pin { from: first, to: last, known: false }, Position { from: first, upto: end })),
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
}

/// What makes an epoch repeatable as far as that is possible.
#[derive(Debug, Serialize, Deserialize)]
struct Pins {
    now: DateTime<Utc>,
    symbols: BTreeMap<String, Pin>,
}

fn midnight(date: NaiveDate) -> DateTime<Utc> {
    date.and_time(NaiveTime::MIN).and_utc()
}

fn actions_relation() -> RelationSchema {
    RelationSchema::new("actions", action_schema()).with_key(ACTION_KEY).with_version("as_of")
}

#[async_trait]
impl Source for YahooSource {
    fn relations(&self) -> Vec<RelationSchema> {
        vec![bar_relation("bars"), actions_relation()]
    }

    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        let wanted = limit.window.as_ref().map(|it| it.symbols.as_slice()).unwrap_or_default();
        let most = limit.max_partitions.unwrap_or(SYMBOLS_PER_EPOCH);
        let mut pins = Pins { now: self.target(), symbols: BTreeMap::new() };
        let mut upto = from.clone();
        for asked in &self.symbols {
            let symbol = asked.symbol.as_str();
            let is_wanted = wanted.is_empty() || wanted.iter().any(|it| it == symbol);
            if pins.symbols.len() >= most || !is_wanted || limit.skip.contains(symbol) {
                continue;
            }
            if let Some((pin, position)) = self.pin(symbol, from, limit)? {
                upto.set(symbol, position.to_string());
                pins.symbols.insert(symbol.to_owned(), pin);
            }
        }
        if pins.symbols.is_empty() {
            return Ok(None);
        }
        let pins = serde_json::to_value(pins).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: None, window: limit.window.clone() }))
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let pins: Pins = serde_json::from_value(plan.pins.clone()).map_err(|error| {
            Error::refused(
                Origin::new(CONNECTOR),
                ErrorClass::Config,
                format!("the intent's pins are not those of this source: {error}"),
            )
        })?;
        let mut work = Vec::new();
        for (symbol, pin) in pins.symbols {
            let known = self.symbols.iter().find(|it| it.symbol == symbol);
            let asked = known.cloned().unwrap_or_else(|| Asked::same(symbol));
            let start = pin.from.map_or(DateTime::<Utc>::MIN_UTC, |from| {
                // A trading date begins up to fourteen hours before its midnight in UTC.
                midnight(from.checked_sub_days(Days::new(1)).unwrap_or(from))
            });
            let asking = Asking {
                asked,
                interval: self.interval,
                range: Window { start, end: self.end(pin.to).min(pins.now) },
                dates: (pin.from, pin.to),
                now: pins.now,
                unfinished: self.unfinished,
                pre_post: self.pre_post,
                sub_units: self.sub_units,
            };
            work.push((asking, pin.known));
        }
        let answers = futures::stream::iter(work).map(|(asking, known)| async move {
            let answer = ask(self.fetch.as_ref(), &asking).await;
            (asking.asked.symbol, known, answer)
        });
        let mut answers = answers.buffer_unordered(AT_ONCE);
        let (mut bars, mut actions) = (BTreeMap::new(), BTreeMap::new());
        let mut outcome = ScanOutcome { reached: plan.from.clone(), ..ScanOutcome::default() };
        while let Some((symbol, known, answer)) = answers.next().await {
            match answer {
                Ok(Found { bars: own, actions: theirs, rejects }) => {
                    outcome.rejects.extend(rejects);
                    bars.insert(symbol.clone(), own);
                    actions.insert(symbol.clone(), theirs);
                }
                Err(Failure::Nothing(_)) if known => {}
                Err(Failure::Nothing(reason) | Failure::Symbol(reason)) => {
                    outcome.left_out.push(LeftOut { partition: symbol, reason });
                    continue;
                }
                Err(Failure::Source(error)) => return Err(error),
            }
            if let Some(position) = plan.upto.get(&symbol) {
                outcome.reached.set(symbol, position);
            }
        }
        outcome.rejects.sort();
        outcome.left_out.sort_by(|a, b| a.partition.cmp(&b.partition));
        let relations = BTreeMap::from([
            ("bars".to_owned(), table(&bar_relation("bars"), bars)?),
            ("actions".to_owned(), table(&actions_relation(), actions)?),
        ]);
        Ok(Scan { relations, end: Arc::new(End(outcome)) })
    }

    async fn commit(&self, _upto: &Checkpoint) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Replay {
        Replay::BestEffort
    }

    fn definition(&self) -> serde_json::Value {
        // Which symbols, and from which date on: that is in the positions, and may change from run to run.
        serde_json::json!({
            "type": CONNECTOR,
            "interval": self.interval.to_string(),
            "unfinished": self.unfinished,
            "pre_post": self.pre_post,
            "sub_units": self.sub_units,
        })
    }
}

/// Batches in the order of their symbols.
fn table(relation: &RelationSchema, batches: BTreeMap<String, RecordBatch>) -> Result<Arc<dyn TableProvider>> {
    let batches = batches.into_values().filter(|it| it.num_rows() > 0).collect();
    Ok(Arc::new(MemTable::try_new(Arc::clone(&relation.schema), vec![batches])?))
}

#[derive(Debug)]
struct End(ScanOutcome);

#[async_trait]
impl ScanEnd for End {
    async fn outcome(&self) -> Result<ScanOutcome> {
        Ok(self.0.clone())
    }
}
