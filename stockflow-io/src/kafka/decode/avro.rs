//! Avro in Confluent's wire format: a zero, the number of the writer's schema in the registry, one record.

use std::collections::HashMap;

use ::arrow::array::ArrayRef;
use arrow_avro::reader::{Decoder as Reader, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::{Decoder, Refused, arrow};
use crate::kafka::error::Failure;

/// Readers by the number of their schema.
#[derive(Debug, Default)]
pub(super) struct Readers(HashMap<u32, Reader>);

impl Readers {
    /// Decodes one message. Only what the registry says for good refuses it: an outage is a failure.
    pub(super) fn decode(
        &mut self,
        decoder: &Decoder,
        value: &[u8],
        batches: &mut Vec<Vec<ArrayRef>>,
    ) -> Result<Result<usize, Refused>, Failure> {
        let Some((id, body)) = value.split_first_chunk::<5>().and_then(|(head, body)| match head {
            [0, id @ ..] => Some((u32::from_be_bytes(*id), body)),
            _ => None,
        }) else {
            return Ok(Err(Refused::new(
                "it is not in Confluent's wire format: a zero, four bytes with the schema's number, and the record",
            )));
        };
        // A reader that failed is in the middle of a row: it is not used again.
        let known = self.0.remove(&id).map_or_else(|| reader(decoder, id), |reader| Ok(Ok(reader)))?;
        let mut reader = match known {
            Ok(reader) => reader,
            Err(refused) => return Ok(Err(refused)),
        };
        let broken = |reason: String| Refused::new(format!("it is no record of schema {id}: {reason}"));
        let batch = match reader.decode(value) {
            Ok(read) if read == value.len() && !reader.batch_is_empty() => reader.flush(),
            Ok(_) if body.is_empty() && !reader.batch_is_empty() => reader.flush(),
            Ok(_) => return Ok(Err(broken("it is too short or too long".into()))),
            Err(error) => return Ok(Err(broken(error.to_string()))),
        };
        let batch = match batch {
            Ok(Some(batch)) if batch.num_rows() == 1 => batch,
            Ok(_) => return Ok(Err(broken("it is not exactly one record".into()))),
            Err(error) => return Ok(Err(broken(error.to_string()))),
        };
        self.0.insert(id, reader);
        Ok(arrow::columns(decoder, &batch).map(|columns| {
            batches.push(columns);
            1
        }))
    }
}

fn reader(decoder: &Decoder, id: u32) -> Result<Result<Reader, Refused>, Failure> {
    let Some(registry) = &decoder.registry else {
        return Err(Failure::config("Avro messages need a schema registry; name one as `registry`"));
    };
    let text = match registry.schema(id)? {
        Ok(text) => text,
        Err(reason) => return Ok(Err(Refused::new(reason))),
    };
    let build = || {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let fingerprint = Fingerprint::Id(id);
        store.set(fingerprint, AvroSchema::new(text.to_string()))?;
        ReaderBuilder::new()
            .with_writer_schema_store(store)
            .with_active_fingerprint(fingerprint)
            .with_batch_size(1)
            .build_decoder()
    };
    Ok(build().map_err(|error| Refused::new(format!("its schema {id} cannot be used: {error}"))))
}
