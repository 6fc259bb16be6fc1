//! What a run is doing: a bar on a terminal, plain lines otherwise. Always on standard error.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use stockflow_core::pipeline::{NoProgress, Progress};

use super::stdout::say;
use crate::args::{Global, LogFormat};

/// Plain lines come at most this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Who watches a run: nobody with `--quiet`, a bar on a terminal, else plain lines or JSON log lines.
pub(crate) fn progress(global: &Global) -> Arc<dyn Progress> {
    if global.quiet {
        Arc::new(NoProgress)
    } else if global.log_format == LogFormat::Json {
        Arc::new(LogLines::default())
    } else if std::io::stderr().is_terminal() {
        Arc::new(Bar::new())
    } else {
        Arc::new(Lines::default())
    }
}

/// The same for one of several pipelines: bars would write over each other.
pub(crate) fn progress_of(pipeline: &str, global: &Global) -> Arc<dyn Progress> {
    if global.quiet {
        Arc::new(NoProgress)
    } else if global.log_format == LogFormat::Json {
        Arc::new(LogLines { pipeline: pipeline.to_owned(), ..LogLines::default() })
    } else {
        Arc::new(Lines { prefix: format!("{pipeline}: "), ..Lines::default() })
    }
}

/// A bar with rows a second and, where the source knows how many rows come, the time that is left.
#[derive(Debug)]
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(ProgressBar::no_length())
    }

    /// An epoch whose length is known gets a bar with an end.
    fn style(rows: Option<u64>) -> ProgressStyle {
        let template = match rows {
            Some(_) => "{prefix} {bar:30} {human_pos}/{human_len} rows  {per_sec}  {eta} left  {msg}",
            None => "{prefix} {spinner} {human_pos} rows  {per_sec}  {elapsed}  {msg}",
        };
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    }
}

impl Progress for Bar {
    fn epoch(&self, epoch: u64, rows: Option<u64>) {
        self.0.reset();
        self.0.set_style(Self::style(rows));
        match rows {
            Some(rows) => self.0.set_length(rows),
            None => self.0.unset_length(),
        }
        self.0.set_prefix(format!("epoch {epoch}"));
        self.0.enable_steady_tick(Duration::from_millis(100));
    }

    fn step(&self, _epoch: u64, step: &str) {
        self.0.set_message(step.to_owned());
    }

    fn rows(&self, rows: u64) {
        self.0.inc(rows);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// One line at the start of each epoch and now and then while rows come.
#[derive(Debug, Default)]
struct Lines {
    /// Which pipeline, if there are several.
    prefix: String,
    epoch: AtomicU64,
    rows: AtomicU64,
    total: Mutex<Option<u64>>,
    clock: Mutex<Option<Clock>>,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    start: Instant,
    last_line: Instant,
}

impl Progress for Lines {
    fn epoch(&self, epoch: u64, rows: Option<u64>) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
        *self.total.lock().unwrap_or_else(PoisonError::into_inner) = rows;
        let now = Instant::now();
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(Clock { start: now, last_line: now });
        let prefix = &self.prefix;
        say(match rows {
            Some(rows) => format!("{prefix}epoch {epoch}: about {} rows to read", HumanCount(rows)),
            None => format!("{prefix}epoch {epoch}: reading"),
        });
    }

    fn step(&self, _epoch: u64, _step: &str) {}

    fn rows(&self, rows: u64) {
        let read = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(clock) = clock.as_mut().filter(|clock| clock.last_line.elapsed() >= LINE_EVERY) else { return };
        clock.last_line = Instant::now();
        let total = *self.total.lock().unwrap_or_else(PoisonError::into_inner);
        say(format!(
            "{}epoch {}: {}",
            self.prefix,
            self.epoch.load(Ordering::Relaxed),
            pace(read, total, clock.start.elapsed())
        ));
    }
}

/// `12,000 of 50,000 rows, 4,000 rows/s, 10 s left`
fn pace(read: u64, total: Option<u64>, elapsed: Duration) -> String {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (per_second, left) = {
        let rate = read as f64 / elapsed.as_secs_f64().max(0.001);
        let left = total.map(|total| total.saturating_sub(read) as f64 / rate.max(0.001));
        (rate as u64, left.map(|left| left as u64))
    };
    let of = total.map_or_else(String::new, |total| format!(" of {}", HumanCount(total)));
    let left = left.map_or_else(String::new, |left| format!(", {left} s left"));
    format!("{}{of} rows, {} rows/s{left}", HumanCount(read), HumanCount(per_second))
}

/// The same as log events, for `--log-format json`.
#[derive(Debug, Default)]
struct LogLines {
    /// Which pipeline, if there are several.
    pipeline: String,
    rows: AtomicU64,
}

impl Progress for LogLines {
    fn epoch(&self, epoch: u64, rows: Option<u64>) {
        self.rows.store(0, Ordering::Relaxed);
        tracing::info!(pipeline = self.pipeline, epoch, rows, "epoch begins");
    }

    fn step(&self, epoch: u64, step: &str) {
        tracing::info!(pipeline = self.pipeline, epoch, step, rows = self.rows.load(Ordering::Relaxed), "step begins");
    }

    fn rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_tells_rate_and_time_left() {
        assert_eq!(pace(20_000, Some(50_000), Duration::from_secs(5)), "20,000 of 50,000 rows, 4,000 rows/s, 7 s left");
        assert_eq!(pace(20_000, None, Duration::from_secs(5)), "20,000 rows, 4,000 rows/s");
        assert_eq!(pace(0, Some(10), Duration::ZERO), "0 of 10 rows, 0 rows/s, 10000 s left");
    }
}
