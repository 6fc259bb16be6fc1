//! The console: a sink that prints rows for a person or a pipe.
//!
//! It keeps no token, so a repeated epoch is printed twice (idempotence none).

use std::fmt;
use std::io::{ErrorKind, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use async_trait::async_trait;
use futures::TryStreamExt;
use serde_json::json;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, Origin, Result};

use crate::file::{FileFormat, encode};

/// What printed rows look like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConsoleFormat {
    /// A table with a frame.
    #[default]
    Table,
    /// CSV with a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON list of objects.
    Json,
}

impl FromStr for ConsoleFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "table" => Ok(Self::Table),
            "csv" => Ok(Self::Csv),
            "ndjson" => Ok(Self::Ndjson),
            "json" => Ok(Self::Json),
            _ => Err(Error::parameter("console", "format", format!("`{text}` is none of table, csv, ndjson, json"))),
        }
    }
}

/// Where the text goes.
type Output = Arc<Mutex<dyn Write + Send>>;

/// Prints each epoch's rows when it is committed, up to a limit.
///
/// # Guarantees
///
/// Idempotence none: an epoch that is run again is printed again.
/// A closed pipe ends the printing quietly.
#[derive(Clone)]
pub struct ConsoleSink {
    limit: Option<usize>,
    title: Option<String>,
    columns: Option<Vec<String>>,
    format: ConsoleFormat,
    output: Output,
}

impl fmt::Debug for ConsoleSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleSink").field("limit", &self.limit).field("format", &self.format).finish_non_exhaustive()
    }
}

impl Default for ConsoleSink {
    fn default() -> Self {
        Self::new()
    }
}

struct Printable {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: u64,
}

impl ConsoleSink {
    /// A table of at most 40 rows on the standard output.
    pub fn new() -> Self {
        Self {
            limit: Some(40),
            title: None,
            columns: None,
            format: ConsoleFormat::Table,
            output: Arc::new(Mutex::new(std::io::stdout())),
        }
    }

    /// At most so many rows an epoch; `None` prints all, and holds them in memory until then.
    #[must_use]
    pub fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    /// A line above each table; a table without rows is this line alone. Other forms have no titles.
    #[must_use]
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Only these columns, in this order.
    #[must_use]
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Chooses the form.
    #[must_use]
    pub fn with_format(mut self, format: ConsoleFormat) -> Self {
        self.format = format;
        self
    }

    /// Prints to something else than the standard output.
    #[must_use]
    pub fn with_output(mut self, output: Arc<Mutex<dyn Write + Send>>) -> Self {
        self.output = output;
        self
    }

    /// Where the columns to print are; all of them if nothing else was said.
    fn places(&self, schema: &Schema) -> Result<Vec<usize>> {
        let Some(columns) = &self.columns else { return Ok((0..schema.fields().len()).collect()) };
        let place = |column: &String| {
            schema.index_of(column).map_err(|_| {
                let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let reason = format!("there is no column `{column}`; there are `{}`", known.join("`, `"));
                Error::parameter("console", "columns", reason)
            })
        };
        columns.iter().map(place).collect()
    }

    fn text(&self, printable: &Printable) -> Result<Vec<u8>> {
        let Printable { schema, batches, rows } = printable;
        let shown: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let mut text = Vec::new();
        match (self.format, &self.title) {
            (ConsoleFormat::Table, Some(title)) if *rows == 0 => text.extend(format!("{title}: none\n").into_bytes()),
            (ConsoleFormat::Table, title) => {
                if let Some(title) = title {
                    text.extend(format!("{title}\n").into_bytes());
                }
                let empty = [RecordBatch::new_empty(Arc::clone(schema))];
                let batches = if batches.is_empty() { &empty[..] } else { batches };
                let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
                let table = pretty_format_batches_with_options(batches, &options)?;
                text.extend(format!("{table}\n").into_bytes());
                if shown < *rows {
                    text.extend(format!("… and {} more rows\n", rows - shown).into_bytes());
                }
            }
            (ConsoleFormat::Csv, _) => {
                text.extend(encode(FileFormat::Csv, &RecordBatch::new_empty(Arc::clone(schema)), true)?);
                for batch in batches {
                    text.extend(encode(FileFormat::Csv, batch, false)?);
                }
            }
            (ConsoleFormat::Ndjson, _) => {
                for batch in batches {
                    text.extend(encode(FileFormat::Ndjson, batch, false)?);
                }
            }
            (ConsoleFormat::Json, _) => {
                let mut writer = arrow::json::writer::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, arrow::json::writer::JsonArray>(&mut text);
                for batch in batches {
                    writer.write(batch)?;
                }
                writer.finish()?;
                text.push(b'\n');
            }
        }
        Ok(text)
    }
}

#[async_trait]
impl Sink for ConsoleSink {
    async fn open(&self, _: &SinkId, _: Generation) -> Result<Option<EpochToken>> {
        Ok(None)
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let places = self.places(&rows.relation().schema)?;
        let schema = Arc::new(rows.relation().schema.project(&places)?);
        let mut stream = rows.stream().await?;
        let mut room = self.limit.unwrap_or(usize::MAX);
        let mut batches = Vec::new();
        let mut n = 0;
        while let Some(batch) = stream.try_next().await? {
            n += batch.num_rows() as u64;
            let shown = batch.num_rows().min(room);
            room -= shown;
            if shown > 0 {
                batches.push(batch.slice(0, shown).project(&places)?);
            }
        }
        Ok(Staged::new(*epoch, n, Printable { schema, batches, rows: n }))
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let printable: Printable = staged.into_payload()?;
        let text = self.text(&printable)?;
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        match output.write_all(&text).and_then(|()| output.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Error::connector(Origin::new("console"), "write", error))
            }
            _ => Ok(Written {
                rows: printable.rows,
                bytes: Some(text.len() as u64),
                location: "standard output".into(),
                refused: Vec::new(),
            }),
        }
    }

    async fn abort(&self, _: Staged) -> Result<()> {
        Ok(())
    }

    fn idempotence(&self) -> Idempotence {
        Idempotence::None
    }

    fn write_mode(&self) -> WriteMode {
        WriteMode::Append
    }

    fn fence(&self) -> Fence {
        Fence::None
    }

    fn definition(&self) -> serde_json::Value {
        json!({ "type": "console" })
    }
}
