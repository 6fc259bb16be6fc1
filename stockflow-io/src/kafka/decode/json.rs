//! One JSON object a message.

use super::{Decoder, Refused};
use crate::text::{Cell, ObjectReader, Objects, Rows, symbol};

pub(super) fn decode(
    decoder: &Decoder,
    value: &[u8],
    objects: &mut Objects<'_>,
    rows: &mut Rows<'_>,
) -> Result<usize, Refused> {
    if objects.read(value, rows) {
        let row = rows.len();
        if decoder.missing(|idx| rows.is_null(idx, row)).is_none() {
            rows.added(0);
            return Ok(1);
        }
        rows.take_back();
    }
    let mut reader = ObjectReader::new(&decoder.shape);
    match reader.read(value) {
        Ok(cells) => {
            if let Some(reason) = decoder.missing(|idx| cells.get(idx).is_none_or(Cell::is_null)) {
                return Err(Refused { reason, symbol: symbol(&decoder.shape, cells) });
            }
            rows.push(0, cells);
            objects.learn(value);
            Ok(1)
        }
        Err((reason, symbol)) => Err(Refused { reason, symbol }),
    }
}
