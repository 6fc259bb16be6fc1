//! The data model: what a bar, a corporate action, a symbol and a dead letter are. `docs/data-model.md` tells the same in prose.

mod action;
mod alias;
mod bar;
mod dead_letter;
mod symbol;

pub use action::{ACTION_KEY, action_schema};
pub use alias::{bar_column, squeeze};
pub use bar::{BAR_KEY, Basis, PRICE_COLUMNS, bar_relation, bar_schema};
pub use dead_letter::{DeadLetter, dead_letter_batch, dead_letter_relation, dead_letter_schema};
pub use symbol::{SYMBOL_KEY, symbol_schema};
