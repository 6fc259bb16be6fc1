//! One CSV record a message.

use super::{Decoder, Refused};
use crate::text::{Column, Layout, Rows, parse_records};

/// How records are laid out: the declared columns in their order.
#[derive(Debug)]
pub(super) struct Records(Layout);

impl Records {
    pub(super) fn new(columns: &[Column], delimiter: u8) -> Self {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        Self(Layout { delimiter, names, skip: 0, lines: 0 })
    }

    pub(super) fn decode(&self, decoder: &Decoder, value: &[u8], rows: &mut Rows<'_>) -> Result<usize, Refused> {
        let before = rows.len();
        parse_records(value, 1, true, &self.0, &decoder.shape, rows);
        let refused = rows.rejects.drain(..).next();
        let reason = match (refused, rows.len() - before) {
            (Some(reject), _) => {
                let reason = reject.reason.replace("where the header has", "where there are");
                let reason = if reason == reject.reason { reason } else { format!("{reason} columns") };
                Refused { reason, symbol: reject.symbol }
            }
            (None, 1) => match decoder.missing(|idx| rows.is_null(idx, before)) {
                None => return Ok(1),
                Some(reason) => Refused::new(reason),
            },
            (None, 0) => Refused::new("it holds no record"),
            (None, n) => Refused::new(format!("it holds {n} records; write one a message")),
        };
        rows.truncate(before);
        Err(reason)
    }
}
