//! Standard output and standard error, where a closed pipe is no error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

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

/// A line for people on standard error; nobody to read it is no reason to fail.
pub(crate) fn say(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}
