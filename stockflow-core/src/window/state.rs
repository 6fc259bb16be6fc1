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

    /// What a function was left with for a series; `None` for a series that its operator has never seen.
    ///
    /// # Errors
    ///
    /// A sentence if the operator's other functions have numbers for the series and this one has none: beginning anew
    /// would give wrong values in silence.
    pub(super) fn get(&self, function: &str, series: &str) -> Result<Option<StateNumbers>, String> {
        let Some(known) = self.shared.before.get(self.relation.as_ref()).and_then(|it| it.get(series)) else {
            return Ok(None);
        };
        let operator = |it: &str| it.split_once('.').map(|(ordinal, _)| ordinal.to_owned());
        match known.get(function) {
            Some(numbers) => Ok(Some(Arc::clone(numbers))),
            None if known.keys().any(|it| operator(it) == operator(function)) => {
                Err("it is not there, and that of other functions is".to_owned())
            }
            None => Ok(None),
        }
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

    /// What the operators of a relation were left with, and what they began with for series of which there were no rows;
    /// `None` if none of them ran, one was not read to its end, or holds a function that keeps none.
    pub fn take(&self, relation: &str) -> Option<States> {
        let mut all = self.shared.after.lock().unwrap_or_else(PoisonError::into_inner);
        let after = all.get_mut(relation)?;
        if after.begun != after.ended || after.missing.is_some() {
            return None;
        }
        let mut states = std::mem::take(&mut after.states);
        // A day that is over gets no more rows.
        let before = self.shared.before.get(relation).into_iter().flatten().filter(|(series, _)| !is_of_a_day(series));
        for (series, functions) in before {
            let own = states.entry(series.clone()).or_default();
            for (function, numbers) in functions {
                own.entry(function.clone()).or_insert_with(|| Arc::clone(numbers));
            }
        }
        Some(states)
    }

    fn with(&self, change: impl FnOnce(&mut After)) {
        let mut all = self.shared.after.lock().unwrap_or_else(PoisonError::into_inner);
        change(all.entry(Arc::clone(&self.relation)).or_default());
    }
}

/// What stands between the parts of a series' label.
const BETWEEN: char = '|';

/// Stands before a part that is a date: such a series ends with its day.
pub(super) const DAY: &str = "date=";

/// The label of a series from the values of its key: `AAPL|1d`, `AAPL|5m|date=2024-01-02`. What stands between them is
/// doubled within one.
pub(crate) fn label(parts: &[String]) -> String {
    let escaped: Vec<String> = parts.iter().map(|it| it.replace(BETWEEN, "||")).collect();
    escaped.join("|")
}

/// The values of a label.
fn parts_of(label: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = label.chars().peekable();
    while let Some(next) = rest.next() {
        if next == BETWEEN && rest.next_if_eq(&BETWEEN).is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(next);
        }
    }
    parts
}

/// The first value of a label: the symbol.
pub(crate) fn first_of(label: &str) -> String {
    parts_of(label).swap_remove(0)
}

/// Whether a series is one of a single day.
fn is_of_a_day(label: &str) -> bool {
    parts_of(label).iter().skip(1).any(|it| it.starts_with(DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_tells_whether_it_is_of_a_day() {
        let of = |parts: &[&str]| label(&parts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert!(is_of_a_day(&of(&["AAPL", "5m", "date=2024-01-02"])));
        assert!(!is_of_a_day(&of(&["date=x|date=y", "5m"])));
    }

    #[test]
    fn a_function_without_state_beside_others_that_have_one_is_refused() {
        let functions = BTreeMap::from([
            ("0.sma-1".to_owned(), StateNumbers::from([1.0])),
            ("1.ema-2".to_owned(), StateNumbers::from([2.0])),
        ]);
        let states = WindowStates::new([("r".to_owned(), States::from([("A".to_owned(), functions)]))]);
        let own = WindowStates { relation: Arc::from("r"), ..states };
        assert!(own.get("0.sma-1", "A").is_ok_and(|it| it.is_some()));
        assert!(own.get("0.rsi-3", "A").is_err());
        assert!(
            own.get("2.rsi-3", "A").is_ok_and(|it| it.is_none())
                && own.get("0.rsi-3", "B").is_ok_and(|it| it.is_none())
        );
    }

    #[test]
    fn a_label_gives_its_symbol_back() {
        for symbol in ["AAPL", "A|B", "|", "", "A||", "BRK.B"] {
            for rest in [vec![], vec!["1d".to_owned()], vec!["1d".to_owned(), "x|y".to_owned()]] {
                let parts: Vec<String> = std::iter::once(symbol.to_owned()).chain(rest).collect();
                assert_eq!(first_of(&label(&parts)), symbol, "{parts:?}");
                assert_eq!(parts_of(&label(&parts)), parts);
            }
        }
    }
}
