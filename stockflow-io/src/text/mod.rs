//! Text and rows: JSON objects and CSV records read into typed columns, and rows written as either.
//!
//! Shared by the connectors that read and write text; none of it knows where bytes come from.

mod cell;
mod csv;
mod fast;
mod json;
mod object;
mod rows;
mod write_csv;
mod write_json;

pub(crate) use cell::{Cell, Kind, grouped, is_null_word, shorten};
pub(crate) use csv::{CsvOptions, Layout, PAYLOAD, Step, next_record, parse_records, payload, symbol};
pub(crate) use json::{ObjectReader, cells_of, parse_lines};
#[cfg(feature = "kafka")]
pub(crate) use object::Objects;
pub(crate) use rows::{Column, Finished, Reject, Rows, Shape};
#[cfg(feature = "kafka")]
pub(crate) use write_csv::write_rows as write_csv_rows;
pub(crate) use write_csv::{is_text, write as write_csv};
pub(crate) use write_json::write as write_json;

/// A record may be so long; a longer one is broken.
pub(crate) const MAX_RECORD: usize = 1 << 20;
