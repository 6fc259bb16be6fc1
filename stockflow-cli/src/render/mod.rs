//! What people and machines see: tables, reports, progress.

mod stdout;
mod table;

pub(crate) use stdout::{is_closed, say, stdout};
pub(crate) use table::{Align, Table};
