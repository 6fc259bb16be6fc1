//! File sinks: Parquet, CSV and NDJSON, one object that is replaced or a folder that grows.

mod append;
mod attempt;
mod columns;
mod encode;
mod log;
mod order;
mod overwrite;
mod segment;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink, Staged, WriteMode, Written};
use stockflow_core::token::{EpochToken, Generation, SinkId};
use stockflow_core::{Error, Result};

pub(super) use columns::schema as schema_of;
pub(crate) use encode::{encode, hex};
pub(super) use log::{DataFile, TableLog};
pub use order::RowOrder;
pub(super) use segment::files as files_of;

use super::format::FileFormat;
use super::pin::ColumnPin;
use crate::columnar::ParquetCompression;
use crate::location::{Location, refuse};
use log::{Contents, Entry};
use order::Target;

/// What a file sink does with the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkMode {
    /// One object is replaced by each epoch: needs a source that is read in full.
    Overwrite,
    /// Each epoch adds files to a folder.
    Append,
}

impl SinkMode {
    /// The word in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite",
            Self::Append => "append",
        }
    }
}

impl fmt::Display for SinkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SinkMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "overwrite" => Ok(Self::Overwrite),
            "append" => Ok(Self::Append),
            _ => Err(Error::parameter("file sink", "mode", format!("`{text}` is none of overwrite, append"))),
        }
    }
}

/// Writes Parquet, CSV or NDJSON.
///
/// # Output
///
/// *Overwrite*: one object at the path. It is written beside its place, in `_stockflow/<name>/`, and moved there by `commit`,
/// which is one step on a local disk and one copy in an object store. A Parquet footer carries `stockflow.token` and
/// `stockflow.sink`; for CSV and NDJSON, the log beside the object knows the SHA-256 of what each epoch wrote.
///
/// *Append*: a folder with files `epoch=0000000007/part-00000-g<generation>-<nonce>.parquet`, of which those are visible that
/// the newest entry of the log `_stockflow/log/` names, itself or by lists in `_stockflow/files/`;
/// [`ManifestTable`](super::ManifestTable) reads them. Readers that know nothing of the log (a glob) may see an epoch while it
/// is being written. The columns are the union over the epochs: an epoch may bring new ones and lack others (NULL), and an
/// Int64 may become a Float64.
///
/// A file for each partition that has any rows. Parquet: by symbol and time, zstd, level 1, unless said otherwise
/// ([`FileSink::with_order`], [`FileSink::with_compression`]); no dictionary for numbers. Text stands as it comes.
/// CSV: a header, NULL is an empty cell and the empty text is `""`, times as RFC 3339. NDJSON: every key is there, NULL is
/// `null`, and numbers that JSON lacks are the texts `"NaN"`, `"inf"` and `"-inf"`.
///
/// # Guarantees
///
/// Transactional: rows and token become visible together. Fencing is atomic in mode append (the log entry that publishes
/// an epoch cannot be written once a newer generation has written its claim); in mode overwrite the claim is checked, and
/// the older runner's staged object removed before the token is read, but a runner that stalls within the very move may
/// still finish it. What is removed are leftovers of older generations only, so a runner that wakes up late harms nothing.
/// Guarantees are for crashes of the process: files are not synced to the disk one by one.
///
/// # Errors
///
/// Class config for a column that the format cannot hold (lists and structs in CSV) or that has another type than in earlier
/// epochs (mode append), an output of another sink, mode or format, a full disk, a folder that cannot be written.
pub struct FileSink {
    text: String,
    place: Location,
    format: FileFormat,
    mode: SinkMode,
    compression: ParquetCompression,
    order: RowOrder,
    opened: Mutex<Option<Opened>>,
}

/// What `open` found, and what has been written since.
#[derive(Debug, Clone)]
struct Opened {
    sink: SinkId,
    generation: Generation,
    /// Number of the newest log entry that is known to be ours; 0 if there is none.
    last: u64,
    visible: Option<Contents>,
    /// A newer generation that was met.
    newer: Option<u64>,
}

/// What `stage` leaves for `commit`.
#[derive(Debug)]
struct StagedFiles {
    columns: Vec<ColumnPin>,
    files: Vec<DataFile>,
}

impl fmt::Debug for FileSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSink")
            .field("url", &self.text)
            .field("format", &self.format)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl FileSink {
    /// A sink at a path or URL (see [`crate::location`]); nothing is opened yet.
    ///
    /// # Errors
    ///
    /// Class config, if the text names no place that can be written with the features built in.
    pub fn new(url: impl Into<String>, format: FileFormat, mode: SinkMode) -> Result<Self> {
        let text = url.into();
        let place = Location::parse(&text)?;
        Ok(Self {
            text,
            place,
            format,
            mode,
            compression: ParquetCompression::default(),
            order: RowOrder::of(format),
            opened: Mutex::new(None),
        })
    }

    /// Parquet.
    ///
    /// # Errors
    ///
    /// As [`FileSink::new`].
    pub fn parquet(url: impl Into<String>, mode: SinkMode) -> Result<Self> {
        Self::new(url, FileFormat::Parquet, mode)
    }

    /// CSV with a header.
    ///
    /// # Errors
    ///
    /// As [`FileSink::new`].
    pub fn csv(url: impl Into<String>, mode: SinkMode) -> Result<Self> {
        Self::new(url, FileFormat::Csv, mode)
    }

    /// One JSON object a line.
    ///
    /// # Errors
    ///
    /// As [`FileSink::new`].
    pub fn ndjson(url: impl Into<String>, mode: SinkMode) -> Result<Self> {
        Self::new(url, FileFormat::Ndjson, mode)
    }

    /// A sink in a store that the caller has opened.
    pub fn in_store(store: Arc<dyn ObjectStore>, path: Path, format: FileFormat, mode: SinkMode) -> Self {
        Self {
            text: path.to_string(),
            place: Location::in_store(store, path),
            format,
            mode,
            compression: ParquetCompression::default(),
            order: RowOrder::of(format),
            opened: Mutex::new(None),
        }
    }

    /// Compresses Parquet in another way than by zstd; no part of the definition, and CSV and NDJSON are never compressed.
    #[must_use]
    pub fn with_compression(mut self, compression: ParquetCompression) -> Self {
        self.compression = compression;
        self
    }

    /// Sorts the rows of each file, or leaves them as they come; no part of the definition. Parquet is sorted unless told otherwise,
    /// text is not.
    #[must_use]
    pub fn with_order(mut self, order: RowOrder) -> Self {
        self.order = order;
        self
    }

    fn log(&self) -> TableLog {
        match self.mode {
            SinkMode::Append => TableLog::of_folder(&self.place),
            SinkMode::Overwrite => TableLog::of_object(&self.place),
        }
    }

    fn opened(&self) -> Result<Opened> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        opened.ok_or_else(|| Error::internal(format!("the sink `{}` is used before it is opened", self.text)))
    }

    fn remember(&self, opened: Opened) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
    }

    fn target(&self, file: String, folder: Location, footer: Vec<KeyValue>) -> Target {
        Target { folder, file, format: self.format, order: self.order, footer, compression: self.compression }
    }

    fn new_entry(&self, opened: &Opened) -> Entry {
        Entry::new(&opened.sink, opened.generation, self.mode, self.format)
    }

    /// The newest entry, if it is of this very output.
    async fn newest(&self, sink: &SinkId) -> Result<Option<(u64, Entry)>> {
        let Some((number, entry)) = self.log().newest().await? else { return Ok(None) };
        let reason = if entry.sink() != sink.to_string() {
            format!(
                "the sink `{}` writes to `{}`; give `{sink}` another path, or remove the output with its `_stockflow` folder",
                entry.sink(),
                self.text
            )
        } else if entry.format != self.format || entry.mode != self.mode {
            format!(
                "`{}` holds {} written in mode {}, not {} in mode {}; take another path",
                self.text, entry.format, entry.mode, self.format, self.mode
            )
        } else {
            return Ok(Some((number, entry)));
        };
        Err(refuse(&self.text, reason))
    }

    /// Writes the next log entry; a newer runner's entry there is the fence.
    async fn publish(&self, opened: &Opened, entry: &Entry) -> Result<u64> {
        if let Some(newer) = opened.newer {
            return Err(fenced(opened, newer));
        }
        let number = opened.last + 1;
        if self.log().append(number, entry).await? {
            return Ok(number);
        }
        let newer = self.newest(&opened.sink).await?.map_or(0, |(_, entry)| entry.generation);
        Err(fenced(opened, newer))
    }
}

fn fenced(opened: &Opened, newer: u64) -> Error {
    Error::Fenced { pipeline: opened.sink.pipeline.clone(), own: opened.generation.0, newer }
}

#[async_trait]
impl Sink for FileSink {
    /// A runner of an older generation than the newest that opened the output is told the token, but takes nothing over:
    /// its `commit` is refused.
    async fn open(&self, sink: &SinkId, generation: Generation) -> Result<Option<EpochToken>> {
        self.check_place().await?;
        let (mut opened, entry) = self.claim(sink, generation).await?;
        // From here on no older runner can publish anything, so what it staged may go; only then is it certain what the
        // output holds.
        if opened.newer.is_none() {
            self.remove_leftovers(&opened, entry.as_ref()).await?;
            self.log().prune(opened.last).await?;
        }
        opened.visible = self.visible(entry).await?;
        let token = opened.visible.as_ref().and_then(Contents::token);
        self.remember(opened);
        Ok(token)
    }

    async fn stage(&self, epoch: &EpochToken, rows: &EpochRows) -> Result<Staged> {
        let opened = self.opened()?;
        let schema = Arc::clone(&rows.relation().schema);
        encode::check(self.format, &schema, &self.text)?;
        let staged = match self.mode {
            SinkMode::Append => {
                let known = opened.visible.as_ref().map_or(&[][..], |visible| &visible.columns);
                let columns = columns::unite(&rows.relation().name, &self.text, known, &schema)?;
                StagedFiles { columns, files: self.stage_parts(&opened, epoch, rows, &schema).await? }
            }
            SinkMode::Overwrite => {
                let file = self.stage_object(&opened, epoch, rows).await?;
                StagedFiles { columns: columns::pins(&schema), files: vec![file] }
            }
        };
        let n = staged.files.iter().map(|file| file.rows).sum();
        Ok(Staged::new(*epoch, n, staged))
    }

    async fn commit(&self, staged: Staged) -> Result<Written> {
        let token = staged.token;
        let staged: StagedFiles = staged.into_payload()?;
        match self.mode {
            SinkMode::Append => self.commit_parts(token, staged).await,
            SinkMode::Overwrite => self.commit_object(token, staged).await,
        }
    }

    async fn abort(&self, staged: Staged) -> Result<()> {
        let staged: StagedFiles = staged.into_payload()?;
        self.drop_staged(&staged.files).await
    }

    fn idempotence(&self) -> Idempotence {
        Idempotence::Transactional
    }

    fn write_mode(&self) -> WriteMode {
        match self.mode {
            SinkMode::Append => WriteMode::Append,
            SinkMode::Overwrite => WriteMode::Overwrite,
        }
    }

    fn fence(&self) -> Fence {
        match self.mode {
            SinkMode::Append => Fence::Atomic,
            SinkMode::Overwrite => Fence::Checked,
        }
    }

    fn definition(&self) -> serde_json::Value {
        json!({ "type": self.format, "url": self.text, "mode": self.mode })
    }
}

impl FileSink {
    /// Fails if the place is taken by something that this mode cannot be.
    async fn check_place(&self) -> Result<()> {
        let reason = match self.mode {
            SinkMode::Overwrite if self.place.local_path().is_some_and(std::path::Path::is_dir) => {
                format!("`{}` is a folder, and mode overwrite writes one file; name the file", self.text)
            }
            SinkMode::Append if self.place.exists().await?.is_some() => {
                format!("`{}` is a file, and mode append writes into a folder; name a folder", self.text)
            }
            _ => return Ok(()),
        };
        Err(refuse(&self.text, reason))
    }

    /// Fences older runners by an entry of our generation. Gives the newest entry of before: it holds all that older runners
    /// have ever published, because the entry after it is ours.
    async fn claim(&self, sink: &SinkId, generation: Generation) -> Result<(Opened, Option<Entry>)> {
        loop {
            let newest = self.newest(sink).await?;
            let (last, entry) = newest.map_or((0, None), |(number, entry)| (number, Some(entry)));
            let mut opened = Opened { sink: sink.clone(), generation, last, visible: None, newer: None };
            match &entry {
                Some(entry) if entry.generation > generation.0 => opened.newer = Some(entry.generation),
                Some(entry) if entry.generation == generation.0 => {}
                _ => {
                    let (visible, next) = entry.clone().map_or((None, None), |entry| (entry.visible, entry.next));
                    let claim = self.new_entry(&opened).with_visible(visible).with_next(next);
                    if !self.log().append(last + 1, &claim).await? {
                        continue;
                    }
                    opened.last = last + 1;
                }
            }
            return Ok((opened, entry));
        }
    }

    async fn visible(&self, newest: Option<Entry>) -> Result<Option<Contents>> {
        match self.mode {
            SinkMode::Append => Ok(newest.and_then(|entry| entry.visible)),
            SinkMode::Overwrite => self.visible_object(newest).await,
        }
    }

    async fn remove_leftovers(&self, opened: &Opened, entry: Option<&Entry>) -> Result<()> {
        match self.mode {
            SinkMode::Append => self.remove_parts(opened, entry.and_then(|entry| entry.visible.as_ref())).await,
            SinkMode::Overwrite => self.remove_objects(opened).await,
        }
    }

    async fn drop_staged(&self, files: &[DataFile]) -> Result<()> {
        for file in files {
            let place = match self.mode {
                SinkMode::Append => self.place.join(&file.file),
                SinkMode::Overwrite => log::beside(&self.place).join(&file.file),
            };
            self.place.delete(place.path()).await?;
        }
        Ok(())
    }
}
