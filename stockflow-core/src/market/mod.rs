//! What is known of markets besides their prices: when exchanges trade.

pub mod calendar;
pub mod sql;

pub use calendar::Calendar;
pub use sql::scalar_functions;
