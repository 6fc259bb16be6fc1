//! What functions need of each series to go on: handed in by a session, taken out of it.
//!
//! An operator holds no state of its own. A session that carries a [`WindowStates`] hands every function the numbers that
//! it was left with for a series, and collects those that it is left with at the end. Where they lie in between is the
//! engine's affair.
//!
//! **Invariant:** state counts only if every lane was read to its end ([`WindowStates::take`]); a LIMIT truncates it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::prelude::{SessionConfig, SessionContext};

/// The numbers of one function for one series.
pub type StateNumbers = Arc<[f64]>;

/// States by function, then by series.
pub type States = BTreeMap<String, BTreeMap<String, StateNumbers>>;

/// The states that the operators of a session begin with and end with.
#[derive(Debug, Default)]
pub struct WindowStates {
    before: HashMap<String, HashMap<String, StateNumbers>>,
    after: Mutex<After>,
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
    /// Begins with these.
    pub fn new(before: States) -> Self {
        let before = before.into_iter().map(|(function, series)| (function, series.into_iter().collect())).collect();
        Self { before, after: Mutex::default() }
    }

    /// A session of its own whose operators begin with these states and leave theirs here.
    pub fn attach(self: &Arc<Self>, session: &SessionContext) -> SessionContext {
        let mut state = session.state();
        let config: &mut SessionConfig = state.config_mut();
        config.set_extension(Arc::clone(self));
        SessionContext::new_with_state(state)
    }

    pub(super) fn get(&self, function: &str, series: &str) -> Option<StateNumbers> {
        self.before.get(function)?.get(series).cloned()
    }

    pub(super) fn begin(&self, lane: (usize, usize)) {
        self.lock().begun.insert(lane);
    }

    /// Doing it again changes nothing: the same rows leave the same states.
    pub(super) fn end(&self, lane: (usize, usize), states: Vec<(String, String, Option<Vec<f64>>)>) {
        let mut after = self.lock();
        for (function, series, numbers) in states {
            match numbers {
                Some(numbers) => {
                    after.states.entry(function).or_default().insert(series, numbers.into());
                }
                None => after.missing = Some(function),
            }
        }
        after.ended.insert(lane);
    }

    /// What the operators were left with; `None` if one was not read to its end, or holds a function that keeps none.
    pub fn take(&self) -> Option<States> {
        let mut after = self.lock();
        (after.begun == after.ended && after.missing.is_none()).then(|| std::mem::take(&mut after.states))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, After> {
        self.after.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
