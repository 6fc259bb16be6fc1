//! What people and machines see: tables, reports, progress.

mod letter;
mod plan;
mod progress;
mod report;
mod rows;
mod skipped;
mod stdout;
mod table;

use std::io::Write;

pub(crate) use letter::{Reasons, kind as kind_of_reason, letter, letters, reasons};
pub(crate) use plan::plan;
pub(crate) use progress::{progress, progress_of};
pub(crate) use report::report;
pub(crate) use rows::RowWriter;
pub(crate) use skipped::{skipped, worth_telling};
pub(crate) use stdout::{is_closed, say, say_as_json, stdout};
pub(crate) use table::{Align, Table};

use crate::exit::{Failure, Outcome};

/// Prints a value as one JSON document.
pub(crate) fn json(value: &impl serde::Serialize) -> Outcome<()> {
    let mut out = stdout();
    serde_json::to_writer_pretty(&mut out, value).map_err(|error| Failure::failed(error.to_string()))?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}
