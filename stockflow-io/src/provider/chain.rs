//! Providers in their order: where one fails, the next is asked for the symbol's whole request.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use chrono::NaiveDate;
use stockflow_core::schema::{Basis, action_schema, bar_schema, symbol_schema};
use stockflow_core::transform::Interval;

use super::renamed::Renamed;
use super::{BarRequest, Failure, FailureKind, Found, Provider, Spellings};
use crate::yahoo::decode::Asked;

/// When a provider is passed over for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// It does not know the symbol.
    Unknown,
    /// It asks for fewer requests, or its quota is used up.
    Throttled,
    /// It cannot be reached or understood.
    Unavailable,
    /// It gives nothing, whatever the reason.
    Any,
}

impl On {
    fn covers(self, kind: FailureKind) -> bool {
        match self {
            Self::Unknown => kind == FailureKind::Unknown,
            Self::Throttled => kind == FailureKind::Throttled,
            Self::Unavailable => kind == FailureKind::Unavailable,
            Self::Any => true,
        }
    }
}

#[derive(Debug, Clone)]
struct Link {
    provider: Arc<dyn Provider>,
    on: Vec<On>,
}

/// Providers in the order in which they are asked.
///
/// A symbol's request is answered by one provider as a whole, on one price basis: rows of two are never mixed in a reply.
/// A provider that does not have the chain's basis or the interval is passed over, and the reason is listed.
/// The provider that served a symbol last is asked first the next time, so that a symbol's bars stay those of one provider as
/// long as it answers; another one is asked for all that was ever asked for.
///
/// A provider that asks for fewer requests is waited for half a minute and not for the limit's whole patience, if another one
/// may be asked then; while it goes on throttling, the other symbols do not wait for it at all.
/// A symbol that a table of spellings names otherwise from a date on is asked for in pieces, and each piece gives the bars and
/// actions of its own dates.
#[derive(Debug, Clone)]
pub struct Chain {
    links: Vec<Link>,
    basis: Basis,
    spellings: Spellings,
    patience: Duration,
}

/// How long a provider is waited for that asks for fewer requests, if there is another one.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the chain found.
#[derive(Debug)]
pub struct Served {
    /// Which provider it is from.
    pub provider: String,
    /// Bars and actions.
    pub found: Found,
}

impl Chain {
    /// One provider, prices as traded.
    pub fn new(first: Arc<dyn Provider>) -> Self {
        Self {
            links: vec![Link { provider: first, on: vec![On::Any] }],
            basis: Basis::Raw,
            spellings: Spellings::default(),
            patience: PATIENCE,
        }
    }

    /// Adds the next provider.
    #[must_use]
    pub fn then(mut self, provider: Arc<dyn Provider>) -> Self {
        self.links.push(Link { provider, on: vec![On::Any] });
        self
    }

    /// Says when the provider added last is passed over; it is for any reason unless told.
    #[must_use]
    pub fn on(mut self, on: impl IntoIterator<Item = On>) -> Self {
        if let Some(link) = self.links.last_mut() {
            link.on = on.into_iter().collect();
        }
        self
    }

    /// Says on which basis prices are wanted.
    #[must_use]
    pub fn with_basis(mut self, basis: Basis) -> Self {
        self.basis = basis;
        self
    }

    /// Says how long a provider is waited for that asks for fewer requests, if another one may be asked then; 30 s.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the table of spellings.
    #[must_use]
    pub fn with_spellings(mut self, spellings: Spellings) -> Self {
        self.spellings = spellings;
        self
    }

    /// The basis of all bars.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// The providers' names, in their order.
    pub fn names(&self) -> Vec<&str> {
        self.links.iter().map(|link| link.provider.name()).collect()
    }

    /// The bars of a symbol. `before` names the provider that served it last; any other is asked from `whole` on.
    ///
    /// # Errors
    ///
    /// The provider's own [`Failure`] if only one was asked; else one that lists the reasons of all.
    pub async fn bars(
        &self,
        asked: &Asked,
        request: &BarRequest,
        before: Option<&str>,
        whole: Option<NaiveDate>,
    ) -> Result<Served, Failure> {
        let mut links: Vec<&Link> = self.links.iter().collect();
        // Stable: the others keep their order.
        links.sort_by_key(|link| Some(link.provider.name()) != before);
        let mut failures: Vec<(&str, Failure)> = Vec::new();
        for (link_idx, link) in links.iter().enumerate() {
            let name = link.provider.name();
            let rest = links.get(link_idx + 1..).unwrap_or_default();
            let may_go_on = link.on.iter().any(|on| on.covers(FailureKind::Throttled))
                && rest.iter().any(|it| self.why_not(it.provider.as_ref(), request.interval).is_none());
            let is_same = before == Some(name);
            let from = if is_same || before.is_none() { request.from } else { whole };
            let patience = may_go_on.then_some(self.patience);
            let asking = BarRequest { from, basis: self.basis, patience, ..request.clone() };
            let failure = match self.ask(link.provider.as_ref(), asked, &asking).await {
                Ok(found) => return Ok(Served { provider: name.to_owned(), found }),
                Err(failure) => failure,
            };
            // That there is no new bar since last time is no reason to go elsewhere.
            let stays = is_same && failure.kind == FailureKind::Nothing;
            let goes_on = failure.kind == FailureKind::Unsupported || link.on.iter().any(|on| on.covers(failure.kind));
            failures.push((name, failure));
            if stays || !goes_on {
                break;
            }
        }
        Err(summed_up(failures))
    }

    /// Why a provider is not asked at all.
    fn why_not(&self, provider: &dyn Provider, interval: Interval) -> Option<String> {
        if !provider.bases().contains(&self.basis) {
            let has: Vec<&str> = provider.bases().iter().map(|it| it.as_str()).collect();
            return Some(format!("prices are wanted on basis `{}`, it has `{}`", self.basis, has.join("`, `")));
        }
        (!provider.has(interval)).then(|| format!("it has no bars of {interval}"))
    }

    async fn ask(&self, provider: &dyn Provider, asked: &Asked, request: &BarRequest) -> Result<Found, Failure> {
        if let Some(reason) = self.why_not(provider, request.interval) {
            return Err(Failure::new(FailureKind::Unsupported, reason));
        }
        let usual = if provider.name() == "yahoo" { asked.yahoo.clone() } else { provider.spell(&asked.symbol) };
        let renamed = Renamed::of(&self.spellings, &asked.symbol, provider.name(), &usual, request.now.date_naive());
        let pieces = self.spellings.pieces(&asked.symbol, provider.name(), request.from, request.to);
        let n_pieces = pieces.len();
        let (mut found, mut nothing): (Vec<Found>, Option<Failure>) = (Vec::new(), None);
        for piece in pieces {
            let spelling = piece.spelling.clone().unwrap_or_else(|| usual.clone());
            let part = BarRequest { spelling, from: piece.from, to: piece.to, ..request.clone() };
            match provider.bars(&part).await {
                // Actions come up to now, and the old name may be another company's by then.
                Ok(part) if n_pieces > 1 || piece.until.is_some() => found.push(piece.only(part).map_err(wrong)?),
                Ok(part) => found.push(part),
                Err(failure) if failure.kind == FailureKind::Nothing => nothing = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        let answer = match (found.len(), nothing) {
            (0, Some(nothing)) => Err(nothing),
            (1, _) => found.pop().ok_or_else(|| Failure::new(FailureKind::Nothing, "no bars")),
            _ => made_one(found),
        };
        let marked = |symbols: RecordBatch| match &renamed {
            Some(renamed) => renamed.mark(&symbols).map_err(wrong),
            None => Ok(symbols),
        };
        match answer {
            Ok(found) => Ok(Found { symbols: marked(found.symbols)?, ..found }),
            Err(failure) => Err(Failure { symbols: failure.symbols.map(marked).transpose()?, ..failure }),
        }
    }
}

/// Pieces under several spellings as one.
fn made_one(found: Vec<Found>) -> Result<Found, Failure> {
    let bars = concat_batches(&bar_schema(), found.iter().map(|it| &it.bars)).map_err(wrong)?;
    let actions = concat_batches(&action_schema(), found.iter().map(|it| &it.actions)).map_err(wrong)?;
    // What is said of the newest spelling.
    let symbols = found.iter().rev().map(|it| &it.symbols).find(|it| it.num_rows() > 0).cloned();
    let symbols = symbols.unwrap_or_else(|| RecordBatch::new_empty(symbol_schema()));
    Ok(Found { bars, actions, symbols, rejects: found.into_iter().flat_map(|it| it.rejects).collect() })
}

fn wrong(error: ArrowError) -> Failure {
    Failure::new(FailureKind::Unavailable, error.to_string())
}

fn summed_up(mut failures: Vec<(&str, Failure)>) -> Failure {
    if failures.len() == 1
        && let Some((_, only)) = failures.pop()
    {
        return only;
    }
    let reasons: Vec<String> = failures.iter().map(|(name, it)| format!("{name}: {}", it.reason)).collect();
    let all = |kind| failures.iter().all(|(_, it)| it.kind == kind);
    let kind = if all(FailureKind::Nothing) {
        FailureKind::Nothing
    } else if all(FailureKind::Unknown) {
        FailureKind::Unknown
    } else {
        FailureKind::Unavailable
    };
    // Only if no provider answers anybody is it about more than this symbol.
    let is_about_all = failures.iter().all(|(_, it)| it.error.is_some() || it.kind == FailureKind::Unsupported);
    let symbols = failures.iter_mut().find_map(|(_, it)| it.symbols.take());
    let error = if is_about_all { failures.into_iter().find_map(|(_, it)| it.error) } else { None };
    Failure { error, symbols, ..Failure::new(kind, reasons.join("; ")) }
}
