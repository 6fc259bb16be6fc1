//! The file source: plans by comparing versions, scans what it pinned.

mod columns;
mod redecode;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::{DataType, Schema};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::json;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::{EpochLimit, EpochPlan, Redecoded, Replay, Scan, Source};
use stockflow_core::{Error, ErrorClass, Result};

pub(super) use self::columns::remember;
use self::columns::{Columns, remembered, version_of};
use super::format::FileFormat;
use super::inspect::{Inspected, inspect};
use super::listing::{ListedFile, Listing, Target};
use super::pin::{FilePin, Pins};
use super::scan::{FileScan, FileScanEnd, FileTable, SOURCE_FILE, SOURCE_LINE, SOURCE_SEQ};
use crate::location::{Location, origin, plain_text};
use crate::text::{CsvOptions, Kind};

/// So many files are opened at a time while planning.
const INSPECTORS: usize = 16;

/// Reads CSV, Parquet and NDJSON files: one file, a glob or a folder with all folders below it.
///
/// # Input
///
/// Format and compression are told by the name (`.csv`, `.tsv`, `.csv.gz`, `.ndjson.zst`, `.parquet`, …) unless
/// [`FileSource::with_format`] says the format.
/// In folders and globs, hidden files, paths with a name that begins with `_`, and foreign suffixes are skipped;
/// [`FileSource::list`] says which.
///
/// # Output
///
/// One relation (`input`) with the union of the files' columns by name, case aside; a column that a file lacks is NULL in
/// its rows. Three columns more say where a row comes from:
///
/// | column | type | meaning |
/// |---|---|---|
/// | `source_file` | Utf8, not null | the file's path below the folder |
/// | `source_line` | Int64, not null | the line where the row begins, or its number in a Parquet file; from 1 |
/// | `source_seq` | Int64, not null | grows with (time of the file's last change, path, line): for equal keys the higher wins |
///
/// A file with columns of these names is left out.
///
/// A column that was delivered once stays, and its type never becomes narrower: the checkpoint remembers the columns.
///
/// Text is typed by a sample of each file (about 1000 rows) unless [`FileSource::with_infer`] is off: columns whose name
/// means a price or a volume are Float64, others Int64, Float64 or Boolean if every sampled cell is one, else Utf8.
/// Names that mean a symbol or a date stay Utf8, because `007` is no number and dates have many forms; declare them with
/// [`FileSource::with_columns`] where they are uniform.
///
/// # Nulls
///
/// An empty cell is NULL. In columns that are not text, so are `N/A`, `NA`, `#N/A`, `null`, `none`, `nil`, `-`, `--`, `\N`
/// and `.` in any case; `NaN` is NaN.
///
/// # Guarantees
///
/// Replay is exact. A row that does not fit (number of fields, UTF-8, quotes, type of a cell) is a dead letter; a file
/// that is damaged as a whole gives no rows at all, is listed as left out and tried again by the next run.
///
/// # Performance
///
/// Text is read in blocks and parsed by several tasks; compressed and Parquet files are decoded twice if they are larger
/// than 32 MiB, because only their end tells that they are whole. Memory is bounded in any case.
pub struct FileSource {
    text: String,
    target: Target,
    format: Option<FileFormat>,
    relation: String,
    csv: CsvOptions,
    columns: Vec<(String, DataType)>,
    infer: bool,
    memory: Mutex<Memory>,
}

/// What one plan learns for the next one.
#[derive(Default)]
struct Memory {
    /// The columns of sound files by path and version.
    inspected: HashMap<(String, String), Vec<(String, DataType)>>,
    /// Names that cannot be handled and were warned of.
    warned: HashSet<String>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource")
            .field("url", &self.text)
            .field("format", &self.format)
            .field("relation", &self.relation)
            .finish_non_exhaustive()
    }
}

impl FileSource {
    /// A source at a path or URL (see [`crate::location`]); nothing is opened yet.
    ///
    /// # Errors
    ///
    /// Class config, if the text names no place that can be read with the features built in.
    pub fn new(url: impl Into<String>) -> Result<Self> {
        let text = url.into();
        let target = Target::new(Location::parse(&text)?);
        Ok(Self::at(text, target))
    }

    /// A source in a store that the caller has opened; `path` may be a glob.
    ///
    /// # Errors
    ///
    /// Class config, if the path is none.
    pub fn in_store(store: Arc<dyn ObjectStore>, path: &str) -> Result<Self> {
        let place = Location::in_store(
            store,
            Path::parse(path).map_err(|error| Error::parameter("file", "path", error.to_string()))?,
        );
        Ok(Self::at(path.to_owned(), Target::new(place)))
    }

    fn at(text: String, target: Target) -> Self {
        let (relation, csv) = ("input".to_owned(), CsvOptions::default());
        Self { text, target, format: None, relation, csv, columns: Vec::new(), infer: true, memory: Mutex::default() }
    }

    /// Says the format, whatever the names are; then `.txt`, `.dat` (CSV) and `.json` (NDJSON) are taken from folders, too.
    #[must_use]
    pub fn with_format(mut self, format: FileFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// Names the relation; the default is `input`.
    #[must_use]
    pub fn with_relation(mut self, relation: impl Into<String>) -> Self {
        self.relation = relation.into();
        self
    }

    /// Sets the delimiter of CSV; the default is the one of comma, semicolon, tab and bar that the header has most of.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.csv.delimiter = Some(delimiter);
        self
    }

    /// Says whether CSV has a header (the default); else the columns are `column_1`, `column_2`, ….
    #[must_use]
    pub fn with_header(mut self, header: bool) -> Self {
        self.csv.header = header;
        self
    }

    /// Declares columns with their types: Utf8, Int64, Float64, Boolean, Date32 or Timestamp(µs), the latter with UTC or
    /// without. They are there even if no file has them; further columns are still found in the files.
    #[must_use]
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = (S, DataType)>) -> Self {
        self.columns = columns.into_iter().map(|(name, data_type)| (name.into(), data_type)).collect();
        self
    }

    /// Switches the guessing of types off or on: off, every cell of CSV and NDJSON is text unless declared.
    #[must_use]
    pub fn with_infer(mut self, infer: bool) -> Self {
        self.infer = infer;
        self
    }

    /// What is there now: files to read, and files that are skipped with the reason.
    ///
    /// # Errors
    ///
    /// Class config if the path does not exist, with the nearest name; else whatever the store gives.
    pub async fn list(&self) -> Result<Listing> {
        self.target.list(self.format).await
    }

    fn check(&self) -> Result<()> {
        for (name, data_type) in &self.columns {
            if Kind::of(data_type).is_none() {
                let reason = format!(
                    "{data_type} of `{name}` is none of Utf8, Int64, Float64, Boolean, Date32, Timestamp(µs), Timestamp(µs, \"UTC\")"
                );
                return Err(Error::parameter("file", "columns", reason));
            }
        }
        match self.csv.delimiter {
            Some(delimiter @ (b'"' | b'\n' | b'\r')) => Err(Error::parameter(
                "file",
                "delimiter",
                format!("`{}` has a meaning of its own in CSV", delimiter.escape_ascii()),
            )),
            Some(delimiter) if !delimiter.is_ascii() => {
                Err(Error::parameter("file", "delimiter", "it is no ASCII character"))
            }
            _ => Ok(()),
        }
    }

    /// The columns that were delivered before. A checkpoint that does not remember them was written by an older
    /// version: the files that it knows tell them once more.
    async fn delivered(&self, files: &[ListedFile], from: &Checkpoint) -> Result<Vec<Vec<(String, DataType)>>> {
        let columns = remembered(from);
        if !columns.is_empty() {
            return Ok(vec![columns]);
        }
        let mut known: Vec<FilePin> = files.iter().filter(|file| is_read(file, from)).map(pin).collect();
        known.sort_by_key(|file| (file.modified, file.file.clone()));
        let inspected = self.inspect(&known).await?;
        Ok(inspected.into_iter().filter_map(Inspected::ok).filter(|columns| !columns.is_empty()).collect())
    }

    async fn inspect(&self, files: &[FilePin]) -> Result<Vec<Inspected>> {
        let inspections = stream::iter(files.to_vec()).map(|pin| async move { self.inspect_one(pin).await });
        inspections.buffered(INSPECTORS).try_collect().await
    }

    /// A run plans more than once: a version is opened only once, unless it is bad, because that may be mended.
    async fn inspect_one(&self, pin: FilePin) -> Result<Inspected> {
        let key = (pin.path.clone(), pin.version.clone());
        if let Some(columns) = self.memory().inspected.get(&key) {
            return Ok(Ok(columns.clone()));
        }
        let inspected = not_ours(inspect(self.target.place(), &pin, &self.csv, self.infer).await?);
        if let Ok(columns) = &inspected {
            self.memory().inspected.insert(key, columns.clone());
        }
        Ok(inspected)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Warns once of each name that cannot be handled, and forgets the columns of versions that are gone.
    fn look_over(&self, listing: &Listing) {
        let mut memory = self.memory();
        for skipped in listing.skipped.iter().filter(|skipped| skipped.unusable) {
            if memory.warned.insert(skipped.file.clone()) {
                tracing::warn!(file = %skipped.file, reason = %skipped.reason, "a name is skipped");
            }
        }
        let there: HashSet<_> = listing.files.iter().map(|file| (file.path.as_str(), file.version.as_str())).collect();
        memory.inspected.retain(|(path, version), _| there.contains(&(path.as_str(), version.as_str())));
    }

    /// The files that an epoch after `from` may read, in reading order.
    fn wanted(files: &[ListedFile], from: &Checkpoint, limit: &EpochLimit) -> Vec<FilePin> {
        let is_wanted =
            |file: &&ListedFile| limit.everything || !is_read(file, from) && !limit.skip.contains(&file.file);
        let mut files: Vec<FilePin> = files.iter().filter(is_wanted).map(pin).collect();
        files.sort_by_key(|file| (file.modified, file.file.clone()));
        files
    }

    /// The first files, as many as the limit says, with their columns. Bad ones do not count: a first epoch of nothing else
    /// would know no columns.
    async fn choose(&self, wanted: Vec<FilePin>, limit: &EpochLimit) -> Result<(Vec<FilePin>, Vec<Inspected>)> {
        let max = limit.max_partitions.filter(|_| !limit.everything).map_or(usize::MAX, |max| max.max(1));
        let mut inspected: Vec<Inspected> = Vec::new();
        loop {
            let n_sound = inspected.iter().filter(|inspected| inspected.is_ok()).count();
            let rest = wanted.get(inspected.len()..).unwrap_or_default();
            let next = rest.get(..rest.len().min(max - n_sound)).unwrap_or_default();
            if next.is_empty() {
                break;
            }
            inspected.extend(self.inspect(next).await?);
        }
        Ok((wanted.into_iter().take(inspected.len()).collect(), inspected))
    }

    /// One set of columns for all files; files that do not fit into it get the reason.
    fn unite(
        &self,
        delivered: &[Vec<(String, DataType)>],
        files: &mut [FilePin],
        inspected: Vec<Inspected>,
    ) -> Columns {
        let mut united = Columns::default();
        for (name, data_type) in &self.columns {
            united.add(name, data_type.clone());
        }
        let declared: HashSet<String> = self.columns.iter().map(|(name, _)| name.to_lowercase()).collect();
        for columns in delivered {
            let guessed = columns.iter().filter(|(name, _)| !declared.contains(&name.to_lowercase()));
            // What does not fit any more was right for its own epoch.
            let _ = united.fit(&guessed.cloned().collect::<Vec<_>>(), &declared, false);
        }
        for (file, columns) in files.iter_mut().zip(inspected) {
            let columns = match columns {
                Ok(columns) => columns,
                Err(reason) => {
                    file.left_out = Some(reason);
                    continue;
                }
            };
            let is_text = file.format != FileFormat::Parquet;
            if let Err(reason) = united.fit(&columns, &declared, is_text) {
                file.left_out = Some(reason);
            }
        }
        united
    }
}

/// Whether this version of a file was read before.
fn is_read(file: &ListedFile, from: &Checkpoint) -> bool {
    from.get(&file.file).map(version_of) == Some(file.version.as_str())
}

fn pin(file: &ListedFile) -> FilePin {
    FilePin {
        file: file.file.clone(),
        path: file.path.clone(),
        version: file.version.clone(),
        size: file.size,
        modified: file.modified,
        e_tag: file.e_tag.clone(),
        format: file.format,
        compression: file.compression,
        left_out: None,
    }
}

/// The files that were not found to be bad.
fn sound(files: &[FilePin]) -> impl Iterator<Item = &str> {
    files.iter().filter(|file| file.left_out.is_none()).map(|file| file.file.as_str())
}

/// The error for a first run that finds only bad files, so that nothing tells the columns.
fn nothing_readable(files: &[FilePin]) -> Option<Error> {
    if files.iter().any(|file| file.left_out.is_none()) {
        return None;
    }
    let first = files.first()?;
    let reason =
        format!("none of {} files can be read: {}", files.len(), first.left_out.as_deref().unwrap_or_default());
    Some(Error::refused(origin(&first.file), ErrorClass::Data, reason))
}

/// A file's own column must not be taken for one of ours.
fn not_ours(inspected: Inspected) -> Inspected {
    inspected.and_then(|columns| {
        match columns
            .iter()
            .find(|(name, _)| [SOURCE_FILE, SOURCE_LINE, SOURCE_SEQ].iter().any(|own| own.eq_ignore_ascii_case(name)))
        {
            Some((name, _)) => Err(format!(
                "it has a column `{name}`, which is the name of a column that tells where a row comes from; rename it"
            )),
            None => Ok(columns),
        }
    })
}

#[async_trait]
impl Source for FileSource {
    fn relations(&self) -> Vec<RelationSchema> {
        vec![RelationSchema::new(&self.relation, Arc::new(Schema::empty()))]
    }

    /// `limit.max_partitions` is a number of files, oldest first; bad ones do not count, and neither does the limit where
    /// everything is read. The window is left to the engine.
    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.check()?;
        let listing = self.list().await?;
        if listing.files.is_empty()
            && from.is_empty()
            && let Some(error) = self.target.nothing(&listing)
        {
            return Err(error);
        }
        self.look_over(&listing);
        let wanted = Self::wanted(&listing.files, from, limit);
        if wanted.is_empty() {
            return Ok(None);
        }
        let delivered = if limit.everything { Vec::new() } else { self.delivered(&listing.files, from).await? };
        let (mut files, inspected) = self.choose(wanted, limit).await?;
        let columns = self.unite(&delivered, &mut files, inspected);
        let has_text = files.iter().any(|file| file.left_out.is_none() && file.format != FileFormat::Parquet);
        let columns = columns.pins(has_text);
        if delivered.is_empty()
            && (columns.is_empty() || from.is_empty())
            && let Some(error) = nothing_readable(&files)
        {
            return Err(error);
        }
        let mut upto = if limit.everything { Checkpoint::new() } else { from.clone() };
        for file in &files {
            upto.set(&file.file, &file.version);
        }
        remember(&mut upto, &columns, sound(&files));
        let pins = Pins { columns, files }.to_json()?;
        Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: None, window: limit.window.clone() }))
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let scan = FileScan::new(self.target.place().clone(), Pins::from_json(&plan.pins)?, self.csv.clone())?;
        let table = Arc::new(FileTable(Arc::clone(&scan)));
        let end = FileScanEnd { scan, plan: plan.clone() };
        Ok(Scan { relations: BTreeMap::from_iter([(self.relation.clone(), table as _)]), end: Arc::new(end) })
    }

    async fn commit(&self, _upto: &Checkpoint) -> Result<()> {
        Ok(())
    }

    /// Lines of CSV and NDJSON; of CSV the file must be there, because its header names the fields.
    async fn redecode(&self, letters: &[DeadLetter], known: &Checkpoint) -> Result<Redecoded> {
        self.decode_again(letters, known).await
    }

    fn decoding(&self) -> &'static [&'static str] {
        &["format", "csv", "columns", "infer"]
    }

    fn replay(&self) -> Replay {
        Replay::Exact
    }

    fn definition(&self) -> serde_json::Value {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|(name, data_type)| json!({ "name": name, "type": data_type.to_string() }))
            .collect();
        json!({
            "type": "file",
            "url": plain_text(&self.text),
            "format": self.format,
            "relation": self.relation,
            "csv": self.csv,
            "columns": columns,
            "infer": self.infer,
        })
    }
}
