//! What sources share whose partitions are symbols: whose turn it is, asking side by side, and the end of a scan.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::datasource::{MemTable, TableProvider};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::pipeline::Note;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::{EpochLimit, EpochPlan, LeftOut, Scan, ScanEnd, ScanOutcome};
use stockflow_core::{Error, ErrorClass, Origin, Result};

use super::CONNECTOR;
use super::decode::Asked;
use super::failure::Failure;

/// So many symbols an epoch, unless the pipeline says otherwise: what a crash or Ctrl-C costs at most.
pub(super) const SYMBOLS_PER_EPOCH: usize = 50;

/// So many symbols are under way at once; the client's own limit is the one that counts.
const AT_ONCE: usize = 16;

/// The symbols of a source, each once, and the moment up to which this process reads.
#[derive(Debug, Clone)]
pub(super) struct Symbols {
    asked: Vec<Asked>,
    /// Fixed by the first plan: a run ends.
    target: Arc<OnceLock<DateTime<Utc>>>,
    /// The present, if it is not the clock's: recordings were asked for then.
    present: Option<DateTime<Utc>>,
}

impl Symbols {
    pub(super) fn new(symbols: impl IntoIterator<Item = Asked>) -> Self {
        let mut known = BTreeSet::new();
        let asked = symbols.into_iter().filter(|it| known.insert(it.symbol.clone())).collect();
        Self { asked, target: Arc::default(), present: None }
    }

    /// Fixes the moment, unless a plan has done so.
    pub(super) fn read_up_to(&mut self, now: DateTime<Utc>) {
        let _ = self.target.set(now);
        self.present = Some(now);
    }

    /// When an epoch is really asked for, whose intent may be of an earlier day.
    pub(super) fn present(&self, pinned: DateTime<Utc>) -> DateTime<Utc> {
        self.present.unwrap_or_else(Utc::now).max(pinned)
    }

    pub(super) fn target(&self) -> DateTime<Utc> {
        // Positions are whole seconds.
        *self.target.get_or_init(|| DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap_or_default())
    }

    /// Both names of a symbol; an open intent may name one that is asked for no longer.
    pub(super) fn named(&self, symbol: String) -> Asked {
        self.asked.iter().find(|it| it.symbol == symbol).cloned().unwrap_or_else(|| Asked::same(symbol))
    }

    /// The next symbols; `pin` says what is to be read of one and which position that reaches, or that nothing is new.
    pub(super) fn plan<P: Serialize>(
        &self,
        from: &Checkpoint,
        limit: &EpochLimit,
        pin: impl Fn(&str) -> Result<Option<(P, String)>>,
    ) -> Result<Option<EpochPlan>> {
        let wanted = limit.window.as_ref().map(|it| it.symbols.as_slice()).unwrap_or_default();
        let most = limit.max_partitions.unwrap_or(usize::MAX);
        let mut pins = Pins { now: self.target(), symbols: BTreeMap::new() };
        let mut upto = from.clone();
        // Who was read longest ago comes first, so that a run that is interrupted goes on with the others.
        let read = |symbol: &str| from.get(symbol).and_then(|it| it.rsplit("..").next());
        let mut turns: Vec<&Asked> = self.asked.iter().collect();
        turns.sort_by_key(|it| read(&it.symbol));
        for asked in turns {
            let symbol = asked.symbol.as_str();
            let is_wanted = wanted.is_empty() || wanted.iter().any(|it| it == symbol);
            if pins.symbols.len() >= most || !is_wanted || limit.skip.contains(symbol) {
                continue;
            }
            if let Some((pin, position)) = pin(symbol)? {
                upto.set(symbol, position);
                pins.symbols.insert(symbol.to_owned(), pin);
            }
        }
        if pins.symbols.is_empty() {
            return Ok(None);
        }
        let pins = serde_json::to_value(pins).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: None, window: limit.window.clone() }))
    }
}

/// How far a symbol has come; nothing where everything is to be read again.
pub(super) fn position<P: FromStr<Err = String>>(
    symbol: &str,
    from: &Checkpoint,
    limit: &EpochLimit,
) -> Result<Option<P>> {
    let known = from.get(symbol).filter(|_| !limit.everything && limit.window.is_none());
    known.map(str::parse).transpose().map_err(|reason| {
        Error::refused(Origin::new(CONNECTOR).partition(symbol).symbol(symbol), ErrorClass::Config, reason)
    })
}

/// What makes an epoch repeatable as far as that is possible.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pins<P> {
    pub(super) now: DateTime<Utc>,
    pub(super) symbols: BTreeMap<String, P>,
}

impl<P: DeserializeOwned> Pins<P> {
    pub(super) fn of(plan: &EpochPlan) -> Result<Self> {
        serde_json::from_value(plan.pins.clone()).map_err(|error| {
            let reason = format!("the intent's pins are not those of this source: {error}");
            Error::refused(Origin::new(CONNECTOR), ErrorClass::Config, reason)
        })
    }
}

/// What is asked of one symbol.
pub(super) struct Question<'a> {
    pub(super) symbol: String,
    /// It was read before: that there is nothing new is nothing to tell.
    pub(super) is_known: bool,
    pub(super) answer: BoxFuture<'a, Result<Found, Failure>>,
}

impl<'a> Question<'a> {
    fn ask(self) -> BoxFuture<'a, (String, bool, Result<Found, Failure>)> {
        Box::pin(async move { (self.symbol, self.is_known, self.answer.await) })
    }
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Found {
    /// One for each relation of the source, in their order.
    pub(super) tables: Vec<RecordBatch>,
    pub(super) rejects: Vec<DeadLetter>,
    /// What is to be told of it.
    pub(super) notes: Vec<Note>,
    /// Why the symbol cannot be had, although something is told of it.
    pub(super) failure: Option<Failure>,
}

impl Found {
    pub(super) fn new(tables: Vec<RecordBatch>, rejects: Vec<DeadLetter>) -> Self {
        Self { tables, rejects, notes: Vec::new(), failure: None }
    }
}

/// Asks side by side. A symbol that fails stays where it is and is left out; the others go on.
pub(super) async fn scan(plan: &EpochPlan, relations: &[RelationSchema], questions: Vec<Question<'_>>) -> Result<Scan> {
    scan_to(plan, relations, questions, |_, position| Ok(position.to_owned())).await
}

/// The same, with a last word on the position that a symbol has reached: known only once it has been asked for.
pub(super) async fn scan_to(
    plan: &EpochPlan,
    relations: &[RelationSchema],
    questions: Vec<Question<'_>>,
    reached: impl Fn(&str, &str) -> Result<String>,
) -> Result<Scan> {
    let asked: Vec<_> = questions.into_iter().map(Question::ask).collect();
    let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
    let mut found = BTreeMap::new();
    let mut outcome = ScanOutcome { reached: plan.from.clone(), ..ScanOutcome::default() };
    while let Some((symbol, is_known, answer)) = answers.next().await {
        let failure = match answer {
            Ok(Found { tables, rejects, notes, failure }) => {
                outcome.rejects.extend(rejects);
                outcome.notes.extend(notes);
                found.insert(symbol.clone(), tables);
                failure
            }
            Err(failure) => Some(failure),
        };
        match failure {
            None => {}
            Some(Failure::Nothing(_)) if is_known => {}
            Some(Failure::Nothing(reason) | Failure::Symbol(reason)) => {
                outcome.left_out.push(LeftOut { partition: symbol, reason });
                continue;
            }
            Some(Failure::Source(error)) => return Err(error),
        }
        if let Some(position) = plan.upto.get(&symbol) {
            let position = reached(&symbol, position)?;
            outcome.reached.set(symbol, position);
        }
    }
    outcome.rejects.sort();
    outcome.notes.sort_by(|a, b| (&a.kind, &a.symbol).cmp(&(&b.kind, &b.symbol)));
    outcome.left_out.sort_by(|a, b| a.partition.cmp(&b.partition));
    let table = |(idx, relation): (usize, &RelationSchema)| -> Result<(String, Arc<dyn TableProvider>)> {
        // In the order of the symbols.
        let batches = found.values().filter_map(|tables| tables.get(idx)).filter(|it| it.num_rows() > 0);
        let table = MemTable::try_new(Arc::clone(&relation.schema), vec![batches.cloned().collect()])?;
        Ok((relation.name.clone(), Arc::new(table)))
    };
    let relations = relations.iter().enumerate().map(table).collect::<Result<_>>()?;
    Ok(Scan { relations, end: Arc::new(End(outcome)) })
}

#[derive(Debug)]
struct End(ScanOutcome);

#[async_trait]
impl ScanEnd for End {
    async fn outcome(&self) -> Result<ScanOutcome> {
        Ok(self.0.clone())
    }
}
