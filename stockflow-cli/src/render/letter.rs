//! Dead letters for people.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use stockflow_core::store::{RefusedBy, StoredLetter};

use super::table::{Align, Table};

/// Characters of a reason in a list.
const REASON: usize = 90;

/// Bytes in a line of a dump.
const WIDTH: usize = 16;

/// Letters by the kind of their reason.
pub(crate) type Reasons = BTreeMap<String, u64>;

/// One line a letter.
pub(crate) fn letters(mut out: impl Write, letters: &[StoredLetter]) -> io::Result<()> {
    let mut table = Table::new(
        &mut out,
        &[
            ("id", Align::Left),
            ("epoch", Align::Right),
            ("at", Align::Left),
            ("refused by", Align::Left),
            ("place", Align::Left),
            ("symbol", Align::Left),
            ("reason", Align::Left),
        ],
    );
    for it in letters {
        let replayed = it.replayed.map_or_else(String::new, |epoch| format!(" (replayed in epoch {epoch})"));
        table.row(vec![
            it.id.clone(),
            it.epoch.to_string(),
            it.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            format!("{} {}", word(it.refused_by), it.letter.connector),
            format!("{}@{}", it.letter.partition, it.letter.position),
            it.letter.symbol.clone().unwrap_or_default(),
            format!("{}{replayed}", cut(&it.letter.reason)),
        ])?;
    }
    table.finish()?;
    Ok(())
}

/// How many letters there are of each kind of reason, most first.
pub(crate) fn reasons(mut out: impl Write, reasons: &Reasons) -> io::Result<()> {
    let mut sorted: Vec<_> = reasons.iter().collect();
    sorted.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let mut table = Table::new(&mut out, &[("letters", Align::Right), ("reason", Align::Left)]);
    for (reason, n) in sorted {
        table.row(vec![n.to_string(), cut(reason)])?;
    }
    table.finish()?;
    Ok(())
}

/// A reason without what differs from row to row: its line, numbers, and what stands in back-ticks after the first of them.
pub(crate) fn kind(reason: &str) -> String {
    let rest = reason.strip_prefix("line ").or_else(|| reason.strip_prefix("row "));
    let text = rest
        .and_then(|rest| rest.split_once(": "))
        .filter(|(line, _)| line.bytes().all(|byte| byte.is_ascii_digit()))
        .map_or(reason, |(_, text)| text);
    let mut out = String::new();
    for (idx, part) in text.split('`').enumerate() {
        if idx > 0 {
            out.push('`');
        }
        match idx {
            // The first name is that of the column.
            1 => out.push_str(part),
            _ if idx % 2 == 1 => out.push('…'),
            _ => out.push_str(&without_numbers(part)),
        }
    }
    out
}

fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut in_number = false;
    for (before, c) in std::iter::once(' ').chain(text.chars()).zip(text.chars()) {
        let begins = !in_number && c.is_ascii_digit() && !before.is_alphanumeric();
        in_number = begins || in_number && (c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-'));
        if begins {
            out.push('#');
        } else if !in_number {
            out.push(c);
        }
    }
    out
}

fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= REASON { line } else { line.chars().take(REASON - 1).chain(['…']).collect() }
}

fn word(refused_by: Option<RefusedBy>) -> &'static str {
    match refused_by {
        Some(RefusedBy::Source) => "source",
        Some(RefusedBy::Step) => "step",
        Some(RefusedBy::Late) => "history",
        Some(RefusedBy::Sink) => "sink",
        None => "?",
    }
}

/// One letter whole.
pub(crate) fn letter(mut out: impl Write, it: &StoredLetter) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<12}{value}");
    line("id", &it.id)?;
    match it.replayed {
        Some(epoch) => line("state", &format!("replayed in epoch {epoch}"))?,
        None => line("state", "open")?,
    }
    line("epoch", &it.epoch.to_string())?;
    line("at", &it.at.to_rfc3339_opts(SecondsFormat::Micros, true))?;
    line("refused by", &format!("{} {}", word(it.refused_by), it.letter.connector))?;
    line("symbol", it.letter.symbol.as_deref().unwrap_or("unknown"))?;
    line("reason", &it.letter.reason)?;
    let payload: Option<Value> = serde_json::from_str(&it.letter.payload).ok();
    if let Some(Value::Object(message)) = payload.as_ref().filter(|_| is_message(it)) {
        let (topic, partition) = it.letter.partition.rsplit_once('/').unwrap_or((&it.letter.partition, "?"));
        line("topic", topic)?;
        line("partition", partition)?;
        line("offset", &it.letter.position)?;
        let time = message.get("timestamp").and_then(Value::as_i64).and_then(DateTime::<Utc>::from_timestamp_millis);
        line("written", &time.map_or_else(|| "unknown".into(), |it| it.to_rfc3339_opts(SecondsFormat::Millis, true)))?;
        return self::message(out, message);
    }
    line("partition", &it.letter.partition)?;
    line("position", &it.letter.position)?;
    match payload.filter(Value::is_object) {
        Some(row) => writeln!(out, "\nrow\n{}", serde_json::to_string_pretty(&row).unwrap_or_default()),
        None => {
            writeln!(out, "\ntext\n{}\n\nbytes", it.letter.payload)?;
            dump(&mut out, it.letter.payload.as_bytes())
        }
    }
}

/// Whether the payload is a message of Kafka.
fn is_message(it: &StoredLetter) -> bool {
    it.letter.connector == "kafka" && it.refused_by.is_none_or(|by| by == RefusedBy::Source)
}

fn message(mut out: impl Write, message: &serde_json::Map<String, Value>) -> io::Result<()> {
    writeln!(out, "\nkey")?;
    part(&mut out, message, "key")?;
    for header in message.get("headers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
        writeln!(out, "\nheader {}", header.get("name").and_then(Value::as_str).unwrap_or("?"))?;
        part(&mut out, header, "value")?;
    }
    let whole = message.get("cut_from_bytes").map_or_else(String::new, |n| format!(", the beginning of {n} bytes"));
    writeln!(out, "\nvalue{whole}")?;
    part(&mut out, message, "value")
}

/// A member that is text, or bytes in base64: as text if it is some, and as bytes.
fn part(mut out: impl Write, of: &serde_json::Map<String, Value>, name: &str) -> io::Result<()> {
    let Some(bytes) = bytes(of, name) else { return writeln!(out, "none") };
    if let Ok(text) = std::str::from_utf8(&bytes) {
        writeln!(out, "{text}")?;
    }
    dump(&mut out, &bytes)
}

/// The bytes of a member.
fn bytes(of: &serde_json::Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    match of.get(name).and_then(Value::as_str) {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => STANDARD.decode(of.get(&format!("{name}_base64"))?.as_str()?).ok(),
    }
}

/// `00000010  7b 22 61 22 …  {"a"…`
fn dump(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    for (idx, chunk) in bytes.chunks(WIDTH).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String =
            chunk.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
        writeln!(out, "{:08x}  {:<47}  {text}", idx * WIDTH, hex.join(" "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stockflow_core::schema::DeadLetter;

    use super::*;

    #[test]
    fn reasons_of_one_kind_are_counted_together() {
        for (reason, expected) in [
            ("line 7: column `Close`: `abc` is not a number", "column `Close`: `…` is not a number"),
            ("column `Close`: `1..2` is no number", "column `Close`: `…` is no number"),
            ("line 12: 5 fields where the header has 7", "# fields where the header has #"),
            ("high: high 3.5 is below low 4", "high: high # is below low #"),
            ("line up: x", "line up: x"),
            ("late", "late"),
            ("", ""),
        ] {
            assert_eq!(kind(reason), expected, "{reason}");
        }
    }

    #[test]
    fn a_message_is_shown_with_its_bytes() {
        let letter = StoredLetter {
            id: "0123".into(),
            epoch: 2,
            at: DateTime::UNIX_EPOCH,
            refused_by: Some(RefusedBy::Source),
            letter: DeadLetter {
                connector: "kafka".into(),
                partition: "raw-stock-data/3".into(),
                position: "42".into(),
                reason: "it is not UTF-8 text".into(),
                payload:
                    r#"{"key":"AAPL","headers":[{"name":"kind","value":"bars"}],"timestamp":0,"value_base64":"//4A"}"#
                        .into(),
                ..DeadLetter::default()
            },
            replayed: None,
        };
        let mut shown = Vec::new();
        super::letter(&mut shown, &letter).unwrap();
        let shown = String::from_utf8(shown).unwrap();
        for line in [
            "topic       raw-stock-data",
            "partition   3",
            "offset      42",
            "written     1970-01-01T00:00:00.000Z",
            "header kind",
            "00000000  41 41 50 4c                                      AAPL",
            "00000000  ff fe 00                                         ...",
        ] {
            assert!(shown.contains(line), "{line}\n{shown}");
        }
    }
}
