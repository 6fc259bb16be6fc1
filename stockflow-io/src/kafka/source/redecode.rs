//! Refused messages, decoded again as the source is now. Their bytes are in the letters: the topic is not asked.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use stockflow_core::Result;
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::Redecoded;

use super::{KafkaSource, blocking};
use crate::kafka::scan::Place;

impl KafkaSource {
    pub(super) async fn decode_again(&self, letters: &[DeadLetter]) -> Result<Redecoded> {
        self.check()?;
        let (layout, topic, letters) = (Arc::clone(&self.layout), self.topic.clone(), letters.to_vec());
        // A schema registry is asked in a way that blocks.
        let (mut again, columns, places) = blocking(&self.topic, "decode", move || {
            let (mut again, mut places) = (Redecoded::default(), Vec::new());
            let mut decoded = layout.decoder.rows(letters.len());
            for letter in letters {
                let (place, value) = match message(&topic, &letter) {
                    Ok(message) => message,
                    Err(reason) => {
                        again.unable.push((letter, reason));
                        continue;
                    }
                };
                match decoded.add_message(value.as_deref())? {
                    Ok(n) => places.extend(std::iter::repeat_n(place, n)),
                    Err(refused) => again.rejects.push(DeadLetter {
                        symbol: refused.symbol.or_else(|| letter.symbol.clone()),
                        reason: refused.reason,
                        ..letter
                    }),
                }
            }
            Ok((again, decoded.finish(), places))
        })
        .await?;
        let columns = self.layout.columns(&self.topic, columns?, &places);
        let schema = self.layout.schema();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        again.rows.insert(self.relation.name.clone(), (schema, vec![batch]));
        Ok(again)
    }
}

/// Where a letter's message stood, and its value.
fn message(topic: &str, letter: &DeadLetter) -> std::result::Result<(Place, Option<Vec<u8>>), String> {
    let unknown = || format!("it does not come from the topic `{topic}`, which this source reads");
    let (of, partition) = letter.partition.rsplit_once('/').ok_or_else(unknown)?;
    let (Ok(partition), Ok(offset), true) = (partition.parse(), letter.position.parse(), of == topic) else {
        return Err(unknown());
    };
    let payload: Map<String, Value> =
        serde_json::from_str(&letter.payload).map_err(|error| format!("its payload is no message: {error}"))?;
    if payload.contains_key("cut_from_bytes") {
        return Err("only the first MiB of its value was kept: write it to the topic again".into());
    }
    let value = match (payload.get("value"), payload.get("value_base64").and_then(Value::as_str)) {
        (Some(Value::String(text)), _) => Some(text.clone().into_bytes()),
        (_, Some(text)) => Some(STANDARD.decode(text).map_err(|error| format!("its payload is damaged: {error}"))?),
        _ => None,
    };
    let time = payload.get("timestamp").and_then(Value::as_i64).and_then(|millis| millis.checked_mul(1000));
    Ok((Place { partition, offset, time }, value))
}
