//! Recorded replies in their three forms: envelope, bare body (`.body.json`), transcribed (the status in the name).

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::Value;
use stockflow_io::yahoo::decode::Reply;

/// A reply with what is known of its request.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) url: String,
    pub(crate) reply: Reply,
    /// By the `date` header; for bare bodies long after all of them.
    pub(crate) as_of: DateTime<Utc>,
}

impl Recording {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let status = name.strip_prefix("http-").map_or(200, |rest| rest[..3].parse().unwrap());
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(envelope) if envelope.get("response").is_some() => Self::of_envelope(&envelope),
            _ => Self {
                url: String::new(),
                reply: Reply::new(status, bytes),
                as_of: "2026-11-01T00:00:00Z".parse().unwrap(),
            },
        }
    }

    fn of_envelope(envelope: &Value) -> Self {
        let response = &envelope["response"];
        let header = |name: &str| match &response["headers"][name] {
            Value::Array(values) => values[0].as_str().map(str::to_owned),
            value => value.as_str().map(str::to_owned),
        };
        let body = match &response["bodyJson"] {
            Value::Null => {
                ["body", "bodyText"].iter().find_map(|key| response[key].as_str()).unwrap_or_default().to_owned()
            }
            json => json.to_string(),
        };
        let status = response["status"].as_u64().unwrap().try_into().unwrap();
        let mut reply = Reply::new(status, body);
        reply.content_type = header("content-type");
        let date = header("date").and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        let as_of = date.map_or_else(|| "2025-02-21T00:00:00Z".parse().unwrap(), |date| date.to_utc());
        Self { url: envelope["request"]["url"].as_str().unwrap_or_default().to_owned(), reply, as_of }
    }

    /// A parameter of the request.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.url.split_once('?')?.1;
        query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|(_, value)| value)
    }

    /// A parameter that is a point in time.
    pub(crate) fn moment(&self, name: &str) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.parameter(name)?.parse().unwrap(), 0)
    }
}
