//! Drives the decoding of a text file: bytes are cut at record ends and parsed by several tasks, in order.

use std::sync::Arc;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::{Bytes, BytesMut};
use datafusion::common::runtime::SpawnedTask;
use futures::stream::FuturesOrdered;
use futures::{StreamExt, TryStreamExt};
use memchr::{memchr, memchr_iter, memrchr};
use stockflow_core::{Error, ErrorClass};

use super::place::{Names, Place};
use super::{MAX_REJECTS, Out};
use crate::file::format::FileFormat;
use crate::file::open::{Blocks, ReadError};
use crate::location::origin;
use crate::text::{CsvOptions, Layout, MAX_RECORD, Reject, Rows, Shape, parse_lines, parse_records, payload};

/// Bytes that one task parses: bars of it make one batch, because slices of a larger one would each count all of its memory.
const CHUNK: usize = 384 << 10;

/// What all tasks that parse one text file share.
#[derive(Debug)]
pub(crate) struct TextJob {
    pub(crate) file: String,
    /// The file's place in the reading order.
    pub(crate) idx: usize,
    pub(crate) format: FileFormat,
    pub(crate) csv: CsvOptions,
    pub(crate) shape: Arc<Shape>,
    /// Tasks at a time.
    pub(crate) tasks: usize,
}

struct Parsed {
    batches: Vec<RecordBatch>,
    rejects: Vec<Reject>,
    bytes: usize,
    lines: u64,
}

/// Why a text file cannot be what it is said to be, by its first bytes.
pub(crate) fn bad_start(start: &[u8]) -> Option<&'static str> {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("it is UTF-16 text; save it as UTF-8"),
        // Text without the mark: its first letter is half zero.
        [0, _, ..] | [_, 0, ..] => Some("it is UTF-16 text or binary data; save it as UTF-8"),
        [0x1f, 0x8b, ..] => Some("it is gzip data; let its name end with `.gz`"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is zstd data; let its name end with `.zst`"),
        [b'P', b'A', b'R', b'1', ..] => Some("it is a Parquet file; let its name end with `.parquet`"),
        [b'P', b'K', 3, 4, ..] => Some("it is a zip archive or a spreadsheet; save it as CSV"),
        _ => None,
    }
}

/// A buffer without the byte-order mark of UTF-8.
pub(crate) fn without_bom(start: &[u8]) -> usize {
    if start.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 }
}

/// Decodes a text file into batches; gives what it refused.
pub(crate) async fn decode(mut blocks: Blocks, job: Arc<TextJob>, out: &Out) -> Result<Vec<Reject>, ReadError> {
    let mut buf = BytesMut::new();
    let mut eof = fill(&mut blocks, &mut buf, CHUNK).await?;
    if let Some(reason) = bad_start(&buf) {
        return Err(ReadError::Damage(reason.into()));
    }
    let _ = buf.split_to(without_bom(&buf));
    let mut line = 1;
    let layout = match job.format {
        FileFormat::Csv => {
            let layout = loop {
                match Layout::read(&buf, eof, &job.csv).map_err(ReadError::Damage)? {
                    Some(layout) => break layout,
                    None if eof => return Ok(Vec::new()),
                    None if buf.len() >= MAX_RECORD => {
                        return Err(ReadError::Damage("its first line is longer than 1 MiB".into()));
                    }
                    None => {
                        let more = buf.len() + CHUNK;
                        eof = fill(&mut blocks, &mut buf, more).await?;
                    }
                }
            };
            let _ = buf.split_to(layout.skip);
            line += layout.lines;
            Some(Arc::new(layout))
        }
        _ => None,
    };

    let mut driver =
        Driver { job, layout, names: Arc::default(), out, running: FuturesOrdered::new(), rejects: Vec::new() };
    let mut target = CHUNK;
    // Within a line that is too long: bytes are dropped up to its end.
    let mut skipping = false;
    loop {
        if buf.len() < target && !eof {
            eof = fill(&mut blocks, &mut buf, target).await?;
        }
        if buf.is_empty() {
            break;
        }
        target = CHUNK;
        if skipping {
            match memchr(b'\n', &buf) {
                Some(end) => {
                    let _ = buf.split_to(end + 1);
                    line += 1;
                    skipping = false;
                }
                None => buf.clear(),
            }
            continue;
        }
        let last_end = if eof { Some(buf.len()) } else { memrchr(b'\n', &buf).map(|end| end + 1) };
        let has_quotes = driver.layout.is_some() && memchr(b'"', &buf).is_some();
        match last_end {
            None if buf.len() < MAX_RECORD => target = buf.len() + CHUNK,
            None => {
                driver.flush(0).await?;
                driver.refuse(vec![Reject {
                    line,
                    symbol: None,
                    reason: "the line is longer than 1 MiB".into(),
                    payload: payload(&buf[..256]),
                }])?;
                skipping = true;
            }
            // Without a quote every line end is a record's end: parse it beside the next ones.
            Some(end) if !has_quotes => {
                let chunk = buf.split_to(end).freeze();
                let lines = memchr_iter(b'\n', &chunk).count() as u64;
                driver.spawn(chunk, lines, line).await?;
                line += lines;
            }
            // With quotes only the parser knows where records end.
            Some(_) => {
                driver.flush(0).await?;
                let chunk = buf.split().freeze();
                let (bytes, lines) = driver.parse_now(chunk.clone(), line, eof).await?;
                line += lines;
                if bytes == 0 {
                    target = chunk.len() + CHUNK;
                }
                buf = BytesMut::from(&chunk[bytes..]);
            }
        }
    }
    driver.flush(0).await?;
    Ok(driver.rejects)
}

/// Reads until the buffer has so many bytes; true at the end of the file.
async fn fill(blocks: &mut Blocks, buf: &mut BytesMut, target: usize) -> Result<bool, ReadError> {
    while buf.len() < target {
        match blocks.try_next().await? {
            Some(block) => buf.extend_from_slice(&block),
            None => return Ok(true),
        }
    }
    Ok(false)
}

struct Driver<'o> {
    job: Arc<TextJob>,
    layout: Option<Arc<Layout>>,
    names: Arc<Names>,
    out: &'o Out,
    running: FuturesOrdered<SpawnedTask<Result<Parsed, ArrowError>>>,
    rejects: Vec<Reject>,
}

impl Driver<'_> {
    /// Parses a chunk of about so many rows.
    fn task(&self, chunk: Bytes, n: u64, line: u64, eof: bool) -> SpawnedTask<Result<Parsed, ArrowError>> {
        let (job, layout, names) = (Arc::clone(&self.job), self.layout.clone(), Arc::clone(&self.names));
        SpawnedTask::spawn(async move {
            let mut rows = Rows::new(&job.shape, n as usize);
            let (bytes, lines) = match &layout {
                Some(layout) => parse_records(&chunk, line, eof, layout, &job.shape, &mut rows),
                None => parse_lines(&chunk, line, eof, &job.shape, &mut rows),
            };
            let mut rows = rows.finish()?;
            let rejects = std::mem::take(&mut rows.rejects);
            let batches = Place { file: &job.file, names: &names, idx: job.idx }.batches(&job.shape, rows)?;
            Ok(Parsed { batches, rejects, bytes, lines })
        })
    }

    /// A chunk that ends with a record goes to a task of its own.
    async fn spawn(&mut self, chunk: Bytes, lines: u64, line: u64) -> Result<(), ReadError> {
        self.flush(self.job.tasks.saturating_sub(1)).await?;
        let task = self.task(chunk, lines + 1, line, true);
        self.running.push_back(task);
        Ok(())
    }

    async fn parse_now(&mut self, chunk: Bytes, line: u64, eof: bool) -> Result<(usize, u64), ReadError> {
        let lines = memchr_iter(b'\n', &chunk).count() as u64;
        let parsed = self.task(chunk, lines + 1, line, eof).join_unwind().await;
        let parsed = self.take(parsed)?;
        let end = (parsed.bytes, parsed.lines);
        self.deliver(parsed).await?;
        Ok(end)
    }

    /// Waits until at most so many tasks are running.
    async fn flush(&mut self, running: usize) -> Result<(), ReadError> {
        while self.running.len() > running {
            let Some(parsed) = self.running.next().await else { break };
            let parsed = self.take(parsed)?;
            self.deliver(parsed).await?;
        }
        Ok(())
    }

    fn take<E: std::fmt::Display>(&self, parsed: Result<Result<Parsed, ArrowError>, E>) -> Result<Parsed, ReadError> {
        match parsed {
            Ok(Ok(parsed)) => Ok(parsed),
            Ok(Err(error)) => Err(ReadError::Failed(error.into())),
            Err(error) => {
                Err(ReadError::Failed(Error::internal(format!("a decoder of `{}` stopped: {error}", self.job.file))))
            }
        }
    }

    async fn deliver(&mut self, parsed: Parsed) -> Result<(), ReadError> {
        self.refuse(parsed.rejects)?;
        for batch in parsed.batches {
            self.out.send(batch).await?;
        }
        Ok(())
    }

    fn refuse(&mut self, rejects: Vec<Reject>) -> Result<(), ReadError> {
        self.rejects.extend(rejects);
        if self.rejects.len() <= MAX_REJECTS {
            return Ok(());
        }
        let first =
            self.rejects.first().map(|first| format!("line {}: {}", first.line, first.reason)).unwrap_or_default();
        let reason = format!(
            "more than {MAX_REJECTS} rows are refused, the first: {first}; is it a {} file as configured?",
            self.job.format
        );
        Err(ReadError::Failed(Error::refused(origin(&self.job.file), ErrorClass::Data, reason)))
    }
}
