//! One JSON object a message.

use super::{Decoder, Refused};
use crate::text::{ObjectReader, Rows};

pub(super) fn decode(decoder: &Decoder, value: &[u8], rows: &mut Rows<'_>) -> Result<usize, Refused> {
    let mut reader = ObjectReader::new(&decoder.shape);
    match reader.read(value) {
        Ok(cells) => {
            if let Some(reason) = decoder.missing(|idx| cells.get(idx).is_none_or(crate::text::Cell::is_null)) {
                return Err(Refused { reason, symbol: crate::text::symbol(&decoder.shape, cells) });
            }
            rows.push(0, cells);
            Ok(1)
        }
        Err((reason, symbol)) => Err(Refused { reason, symbol }),
    }
}
