//! The form of a recording.

mod member;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::ser::Error;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::http::request::{Reply, ReplyHeaders, Request};
use crate::http::secret::{self, Secrets};

/// A whole file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) request: Recorded,
    pub(crate) response: Response,
}

/// A file without the body.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    pub(crate) request: Option<Recorded>,
    pub(crate) response: Option<IgnoredAny>,
}

/// What was asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recorded {
    #[serde(default = "get")]
    pub(crate) method: String,
    #[serde(with = "text_of_url")]
    pub(crate) url: Url,
}

/// As serde does it with a feature of `url` that nothing else here needs.
mod text_of_url {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use url::Url;

    pub(super) fn serialize<S: Serializer>(url: &Url, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(url.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
        let text = String::deserialize(from)?;
        Url::parse(&text).map_err(|error| D::Error::custom(format!("`{text}` is no URL: {error}")))
    }
}

fn get() -> String {
    "GET".into()
}

/// What was answered.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, HeaderText>,
    /// Only whether there is one: it is read and written as it stands in the file.
    #[serde(default, skip_serializing)]
    body_json: Option<IgnoredAny>,
    #[serde(default, alias = "bodyText", skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
}

fn ok() -> u16 {
    200
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum HeaderText {
    One(String),
    Many(Vec<String>),
}

impl HeaderText {
    fn first(&self) -> Option<String> {
        match self {
            Self::One(text) => Some(text.clone()),
            Self::Many(texts) => texts.first().cloned(),
        }
    }
}

/// The text of a file.
pub(super) fn written(request: &Request, reply: &Reply) -> serde_json::Result<String> {
    let mut response = Response { status: reply.status, ..Response::default() };
    let headers = [("content-type", &reply.headers.content_type), ("retry-after", &reply.headers.retry_after)];
    for (name, value) in headers {
        response.headers.extend(value.clone().map(|value| (name.to_owned(), HeaderText::One(value))));
    }
    let json = response.set_body(&Secrets::of(request.url()), &reply.body);
    let request = Recorded { method: get(), url: secret::masked(request.url()) };
    let mut text = serde_json::to_string_pretty(&Envelope { request, response })?;
    if let Some(json) = json {
        // Behind the last member of `response`, which is never empty.
        let open = text.strip_suffix("\n  }\n}").ok_or_else(|| Error::custom("no place for `bodyJson`"))?;
        text = format!("{open},\n    \"bodyJson\": {json}\n  }}\n}}");
    }
    text.push('\n');
    Ok(text)
}

impl Response {
    /// Gives the body back if it is JSON.
    fn set_body(&mut self, secrets: &Secrets, body: &[u8]) -> Option<String> {
        let lossy = String::from_utf8_lossy(body);
        let text = secrets.hide(&lossy);
        if std::str::from_utf8(body).is_err() && text == lossy {
            self.body_hex = Some(body.iter().map(|byte| format!("{byte:02x}")).collect());
            return None;
        }
        // White space around it would be lost.
        let is_bare = text.trim().len() == text.len();
        if is_bare && serde_json::from_str::<IgnoredAny>(&text).is_ok() {
            return Some(text);
        }
        self.body = Some(text);
        None
    }

    /// The reply that was recorded in `file`, or what is wrong with it.
    pub(crate) fn reply(&self, url: Url, file: &[u8]) -> Result<Reply, String> {
        let headers =
            ReplyHeaders { content_type: self.header("content-type"), retry_after: self.header("retry-after") };
        let body = match (&self.body_json, &self.body, &self.body_hex) {
            (Some(_), None, None) => {
                let json = member::find(file, &["response", "bodyJson"]).ok_or("`bodyJson` cannot be found")?;
                Bytes::copy_from_slice(json)
            }
            (None, Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
            (None, None, Some(hex)) => bytes_of(hex).ok_or("`bodyHex` is not made of pairs of hexadecimal digits")?,
            (None, None, None) => Bytes::new(),
            _ => return Err("has more than one of `bodyJson`, `body` and `bodyHex`; keep one".into()),
        };
        Ok(Reply::new(self.status, headers, body, url))
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).and_then(|(_, text)| text.first())
    }
}

fn bytes_of(hex: &str) -> Option<Bytes> {
    let digits: Vec<u8> =
        hex.chars().map(|c| c.to_digit(16).and_then(|c| u8::try_from(c).ok())).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}
