//! What functions need of each series to go on: handed in by a session, taken out of it.
//!
//! An operator holds no state of its own. A session that carries a [`WindowStates`] hands every function the numbers that
//! it was left with for a series, and collects those that it is left with at the end. Where they lie in between is the
//! engine's affair.
//!
//! **Invariant:** state counts only if every lane was read to its end ([`WindowStates::take`]); a LIMIT truncates it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::prelude::SessionContext;

/// The numbers of one function for one series.
pub type StateNumbers = Arc<[f64]>;

/// States by series, then by function.
pub type States = BTreeMap<String, BTreeMap<String, StateNumbers>>;

/// The states that the operators of one relation begin with and end with.
#[derive(Debug, Clone)]
pub struct WindowStates {
    relation: Arc<str>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// By relation, series and function.
    before: HashMap<String, HashMap<String, BTreeMap<String, StateNumbers>>>,
    after: Mutex<HashMap<Arc<str>, After>>,
}

#[derive(Debug, Default)]
struct After {
    states: States,
    /// Operator and partition of each lane that was opened, and of those that were read to their end.
    begun: HashSet<(usize, usize)>,
    ended: HashSet<(usize, usize)>,
    /// A function that keeps none.
    missing: Option<String>,
}

impl WindowStates {
    /// Begins with these, by relation.
    pub fn new(before: impl IntoIterator<Item = (String, States)>) -> Self {
        let of = |(relation, states): (String, States)| (relation, states.into_iter().collect());
        let shared = Shared { before: before.into_iter().map(of).collect(), after: Mutex::default() };
        Self { relation: Arc::from(""), shared: Arc::new(shared) }
    }

    /// A session of its own, in which the operators of this relation begin with its states and leave theirs here.
    pub fn attach(&self, relation: &str, session: &SessionContext) -> SessionContext {
        let mut state = session.state();
        let own = Self { relation: Arc::from(relation), shared: Arc::clone(&self.shared) };
        state.config_mut().set_extension(Arc::new(own));
        SessionContext::new_with_state(state)
    }

    pub(super) fn get(&self, function: &str, series: &str) -> Option<StateNumbers> {
        self.shared.before.get(self.relation.as_ref())?.get(series)?.get(function).cloned()
    }

    pub(super) fn begin(&self, lane: (usize, usize)) {
        self.with(|after| {
            after.begun.insert(lane);
        });
    }

    /// Doing it again changes nothing: the same rows leave the same states.
    pub(super) fn end(&self, lane: (usize, usize), states: Vec<(String, String, Option<Vec<f64>>)>) {
        self.with(|after| {
            for (function, series, numbers) in states {
                match numbers {
                    Some(numbers) => {
                        after.states.entry(series).or_default().insert(function, numbers.into());
                    }
                    None => after.missing = Some(function),
                }
            }
            after.ended.insert(lane);
        });
    }

    /// What the operators of a relation were left with; `None` if none of them ran, one was not read to its end, or holds
    /// a function that keeps none.
    pub fn take(&self, relation: &str) -> Option<States> {
        let mut all = self.shared.after.lock().unwrap_or_else(PoisonError::into_inner);
        let after = all.get_mut(relation)?;
        let is_whole = after.begun == after.ended && after.missing.is_none();
        is_whole.then(|| std::mem::take(&mut after.states))
    }

    fn with(&self, change: impl FnOnce(&mut After)) {
        let mut all = self.shared.after.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(Arc::clone(&self.relation)).or_default());
    }
}

/// What stands between the parts of a series' label.
const BETWEEN: char = '|';

/// The label of a series from the values of its key: `AAPL|1d`. What stands between them is doubled within one.
pub(crate) fn label(parts: &[String]) -> String {
    let escaped: Vec<String> = parts.iter().map(|it| it.replace(BETWEEN, "||")).collect();
    escaped.join("|")
}

/// The first value of a label: the symbol.
pub(crate) fn first_of(label: &str) -> String {
    let mut first = String::new();
    let mut rest = label.chars().peekable();
    while let Some(next) = rest.next() {
        if next == BETWEEN && rest.next_if_eq(&BETWEEN).is_none() {
            break;
        }
        first.push(next);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_gives_its_symbol_back() {
        for symbol in ["AAPL", "A|B", "|", "", "A||", "BRK.B"] {
            for rest in [vec![], vec!["1d".to_owned()], vec!["1d".to_owned(), "x|y".to_owned()]] {
                let parts: Vec<String> = std::iter::once(symbol.to_owned()).chain(rest).collect();
                assert_eq!(first_of(&label(&parts)), symbol, "{parts:?}");
            }
        }
    }
}
