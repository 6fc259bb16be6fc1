//! Standard output and standard error, where a closed pipe is no error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether the reader of standard output went away, as `| head` does: whoever sees it ends quietly, whatever error a
/// library made of it.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Standard output that remembers that its reader went away.
pub(crate) struct Stdout(io::BufWriter<io::Stdout>);

/// Standard output, buffered; flush it at the end.
pub(crate) fn stdout() -> Stdout {
    Stdout(io::BufWriter::with_capacity(64 * 1024, io::stdout()))
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(remember)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(remember)
    }
}

fn remember(error: &io::Error) {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CLOSED.store(true, Ordering::Relaxed);
    }
}

/// From now on [`say`] writes log lines in JSON: who collects them reads nothing else.
pub(crate) fn say_as_json() {
    AS_JSON.store(true, Ordering::Relaxed);
}

/// A line for people on standard error; nobody to read it is no reason to fail.
pub(crate) fn say(text: impl AsRef<str>) {
    let text = text.as_ref();
    let line = if AS_JSON.load(Ordering::Relaxed) { log_line(text) } else { text.to_owned() };
    let _ = writeln!(io::stderr(), "{line}");
}

/// The line as the log writes its own. It does not go through the log, whose filter could swallow an error.
fn log_line(text: &str) -> String {
    let (level, message) = match text.trim_start().split_once(": ") {
        Some(("error", message)) => ("ERROR", message),
        Some(("warning", message)) => ("WARN", message),
        Some(("because" | "next", _)) => ("ERROR", text.trim_start()),
        _ => ("INFO", text.trim_start()),
    };
    let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    serde_json::json!({"timestamp": now, "level": level, "message": message, "target": "stockflow"}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_json_has_the_level_that_its_words_mean() {
        let check = |text: &str, level: &str, message: &str| {
            let line: serde_json::Value = serde_json::from_str(&log_line(text)).unwrap_or_default();
            assert_eq!((&line["level"], &line["message"]), (&level.into(), &message.into()), "{line}");
        };
        check("error: `a` is \"b\"", "ERROR", "`a` is \"b\"");
        check("  because: no room", "ERROR", "because: no room");
        check("warning: no chart was drawn", "WARN", "no chart was drawn");
        check("stopping: the epoch is finished", "INFO", "stopping: the epoch is finished");
    }
}
