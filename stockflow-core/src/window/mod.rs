//! The symbol window operator: all indicators of a query in one streaming pass over each symbol's bars.
//!
//! DataFusion runs a window function by sorting its input, holding all of it and calling the function once for each
//! partition. Bars are nearly always in an order that will do: symbol by symbol, or day by day.
//! [`SymbolWindowExec`] checks that order instead of making it, keeps what each function needs of each symbol, and gives
//! rows on as they come.
//!
//! How the pieces fit:
//!
//! * [`SymbolWindowRule`] finds windows over a symbol's bars in a physical plan, before DataFusion enforces distribution and
//!   order, and puts one [`SymbolWindowExec`] in their place; windows that mix in other functions are split.
//! * `function.rs` says which functions those are; `run.rs` carries one of them through one series, piece by piece.
//! * `series.rs` numbers the series and checks their order; `block.rs` brings rows of one series together and computes them.
//! * `lane.rs` is one partition's way through it: streaming, or kept first (on disk where memory is short) and sorted where
//!   the rows are in no order.
//! * [`state`] is what a session hands in and takes out, so that the next epoch goes on where this one ended.
//! * [`codec`] sends the operator to another process.
//!
//! Options of a session ([`WindowOptions`]): `SET stockflow.symbol_window = false` leaves everything to DataFusion's own
//! operators; the results are the same.
//!
//! **Invariant:** with the operator and without it, every query gives the same rows and values (1e-9 relative).

mod aggregate;
mod block;
#[cfg(feature = "codec")]
pub mod codec;
mod exec;
mod function;
mod keep;
mod lane;
mod options;
mod rule;
mod run;
mod series;
pub mod state;

#[cfg(test)]
mod tests;

pub use exec::SymbolWindowExec;
pub(crate) use keep::Spilled;
pub use lane::OutOfOrder;
pub use options::WindowOptions;
pub use rule::SymbolWindowRule;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionContext;

/// Makes the operator part of a session; doing it again changes nothing.
pub fn register(session: &SessionContext) {
    let state = session.state_ref();
    let mut state = state.write();
    let rules = state.physical_optimizers();
    if rules.iter().any(|it| it.name() == SymbolWindowRule::NAME) {
        return;
    }
    // Before anything is distributed or sorted for DataFusion's own window operators; at the end where a session has no
    // such rule.
    let at = rules.iter().position(|it| it.name() == "EnsureRequirements").unwrap_or(rules.len());
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = rules.to_vec();
    rules.insert(at, Arc::new(SymbolWindowRule));
    let options = state.config_mut().options_mut();
    if options.extensions.get::<WindowOptions>().is_none() {
        options.extensions.insert(WindowOptions::default());
    }
    let built = SessionStateBuilder::new_from_existing(state.clone()).with_physical_optimizer_rules(rules).build();
    *state = built;
}

/// Whether queries of this session trust rows to come in order ([`WindowOptions`]); what DataFusion does to spread rows over
/// partitions would take the order away, and is switched off with it.
pub(crate) fn trust_order(session: &SessionContext, trust: bool) {
    let state = session.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    options.optimizer.enable_round_robin_repartition = !trust;
    options.optimizer.repartition_file_scans = !trust;
    if let Some(own) = options.extensions.get_mut::<WindowOptions>() {
        own.trust_order = trust;
    }
}
