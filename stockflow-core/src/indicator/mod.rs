//! Indicators: what there is, how it is called, and how it is computed.
//!
//! One definition in the [`catalogue()`] gives the window function in SQL, the form in a config file, the Rust builder
//! ([`expr_fn`]), the output of `stockflow indicators` and the page `docs/indicators.md`.
//! The catalogue is generated from TA-Lib's own registry, so nothing is picked by hand.
//!
//! How the pieces fit:
//!
//! * [`definition`]: what a function is; [`catalogue`](mod@catalogue): all of them by name;
//! * [`call`]: a function with checked parameters ([`IndicatorCall`]) and the text form `rsi(14)` ([`IndicatorSpec`]);
//! * [`kernel`]: evaluation over one symbol's rows with the rules for NULL;
//! * [`running`]: the form that takes rows piece by piece, and whose state can be saved; one file a function in `functions`;
//! * [`sql`]: the window functions, the checks on their windows, and expressions for the DataFrame API.
//!
//! What is not here: the operator that runs all indicators of one window together ([`window`](crate::window)), and the table
//! that keeps their state between epochs.
//!
//! **Invariant:** everything but [`sql`] knows no DataFusion.

pub mod call;
pub mod catalogue;
pub mod definition;
pub mod docs;
mod error;
mod functions;
pub mod kernel;
pub mod running;
pub mod sample;
pub mod sql;
mod talib;

#[cfg(test)]
mod tests;

pub use call::{IndicatorCall, IndicatorSpec, check_columns, parse_list};
pub use catalogue::{Catalogue, EXCLUDED, catalogue};
pub use definition::{Definition, Domain, Flag, Input, Output, OutputKind, Parameter, State, StateKind, Value};
pub use error::IndicatorError;
pub use sql::{expr_fn, register_all};
pub use talib::KERNEL_VERSION;
