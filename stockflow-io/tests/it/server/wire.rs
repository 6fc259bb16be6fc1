//! As much of HTTP/1.1 as is needed to break it.

use std::collections::HashMap;
use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::{Url, form_urlencoded};

use super::script::Trouble;

/// A request.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// A reply.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Call {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let url = Url::parse("http://server").unwrap().join(&self.target).unwrap();
        url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
    }

    pub(crate) fn field(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(&self.body).find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.headers.get("cookie")?.split("; ");
        cookies.filter_map(|cookie| cookie.split_once('=')).find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The path's last part, without percent signs.
    pub(crate) fn symbol(&self) -> String {
        let last = self.path().rsplit('/').next().unwrap_or_default();
        percent_encoding::percent_decode_str(last).decode_utf8_lossy().into_owned()
    }
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![("Content-Type".into(), content_type.into())], body: body.into() }
    }

    pub(crate) fn json(status: u16, body: serde_json::Value) -> Self {
        Self::new(status, "application/json;charset=utf-8", body.to_string())
    }

    pub(crate) fn redirect(status: u16, location: String) -> Self {
        Self { status, headers: vec![("Location".into(), location)], body: Vec::new() }
    }

    pub(crate) fn with_header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }
}

/// The next request of a connection; nothing at its end.
pub(crate) async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    let end = loop {
        match buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end,
            None if more(stream, buffer).await => {}
            None => return None,
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if !more(stream, buffer).await {
            return None;
        }
    }
    let body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    let host = headers.get("x-forwarded-host").or(headers.get("host")).cloned().unwrap_or_default();
    Some(Call { method, host, target, headers, body })
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    stream.read_buf(buffer).await.is_ok_and(|count| count > 0)
}

/// Whether the connection goes on.
pub(crate) async fn write(
    stream: &mut TcpStream,
    call: &Call,
    trouble: Option<&Trouble>,
    mut answer: Answer,
    gzip: bool,
) -> bool {
    if matches!(trouble, Some(Trouble::Close)) {
        return false;
    }
    if matches!(trouble, Some(Trouble::Truncated)) {
        answer.body.truncate(answer.body.len() / 2);
    }
    if gzip && call.headers.get("accept-encoding").is_some_and(|accepted| accepted.contains("gzip")) {
        answer = compressed(answer);
    }
    let mut head = format!("HTTP/1.1 {} Status\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let drops = matches!(trouble, Some(Trouble::Drop));
    let shown = if drops { answer.body.len() / 2 } else { answer.body.len() };
    let mut reply = head.into_bytes();
    reply.extend_from_slice(&answer.body[..shown]);
    stream.write_all(&reply).await.is_ok() && stream.flush().await.is_ok() && !drops
}

fn compressed(answer: Answer) -> Answer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&answer.body).unwrap();
    Answer { body: encoder.finish().unwrap(), ..answer }.with_header("Content-Encoding", "gzip".into())
}
