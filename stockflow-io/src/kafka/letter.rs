//! A message that is refused, as a dead letter from which it can be written again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use serde_json::{Map, Value, json};
use stockflow_core::schema::DeadLetter;

use super::decode::Refused;

/// A longer value is cut: its place says where all of it is.
const VALUE: usize = 1 << 20;

/// The dead letter of a message: its payload is JSON with `key`, `headers`, `timestamp` and `value`; bytes that are no
/// UTF-8 text are in base64 under `key_base64` and so on.
pub(super) fn letter(topic: &str, message: &BorrowedMessage<'_>, refused: Refused) -> DeadLetter {
    let key = message.key();
    let mut payload = Map::new();
    bytes(&mut payload, "key", key);
    let headers: Vec<Value> = message
        .headers()
        .map(|headers| {
            let one = |header: rdkafka::message::Header<'_, &[u8]>| {
                let mut entry = Map::from_iter([("name".to_owned(), json!(header.key))]);
                bytes(&mut entry, "value", header.value);
                Value::Object(entry)
            };
            headers.iter().map(one).collect()
        })
        .unwrap_or_default();
    payload.insert("headers".into(), Value::Array(headers));
    payload.insert("timestamp".into(), json!(message.timestamp().to_millis()));
    let value = message.payload();
    if let Some(long) = value.filter(|value| value.len() > VALUE) {
        payload.insert("cut_from_bytes".into(), json!(long.len()));
    }
    bytes(&mut payload, "value", value.map(|value| value.get(..VALUE).unwrap_or(value)));
    DeadLetter {
        connector: "kafka".into(),
        partition: format!("{topic}/{}", message.partition()),
        position: message.offset().to_string(),
        symbol: refused.symbol.or_else(|| symbol_of(key)),
        reason: refused.reason,
        payload: Value::Object(payload).to_string(),
    }
}

fn bytes(into: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => into.insert(name.into(), Value::Null),
        Some((_, Ok(text))) => into.insert(name.into(), json!(text)),
        Some((bytes, Err(_))) => into.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes))),
    };
}

/// The symbol that a key begins with, if it is one of ours: `symbol|interval|ts`.
fn symbol_of(key: Option<&[u8]>) -> Option<String> {
    let (symbol, _) = std::str::from_utf8(key?).ok()?.split_once('|')?;
    (!symbol.is_empty()).then(|| symbol.to_owned())
}
