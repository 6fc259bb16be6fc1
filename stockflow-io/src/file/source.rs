//! The file source: plans by comparing versions, scans what it pinned.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use serde_json::json;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::relation::RelationSchema;
use stockflow_core::source::{EpochLimit, EpochPlan, Replay, Scan, Source};
use stockflow_core::{Error, ErrorClass, Result};

use super::decode::{CsvOptions, Kind};
use super::format::FileFormat;
use super::infer::unite;
use super::inspect::{Inspected, inspect};
use super::listing::{ListedFile, Listing, Target};
use super::pin::{ColumnPin, FilePin, Pins};
use super::scan::{FileScan, FileScanEnd, FileTable, SOURCE_FILE, SOURCE_LINE, SOURCE_SEQ};
use crate::location::{Location, origin};

/// So many files that were read before are asked for their columns again.
const KNOWN: usize = 4;
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
        let target = Target::parse(&text)?;
        Ok(Self::at(text, target))
    }

    /// A source in a store that the caller has opened; `path` may be a glob.
    ///
    /// # Errors
    ///
    /// Class config, if the path is no pattern.
    pub fn in_store(store: Arc<dyn ObjectStore>, path: &str) -> Result<Self> {
        let place = Location::in_store(
            store,
            Path::parse(path).map_err(|error| Error::parameter("file", "path", error.to_string()))?,
        );
        let target = Target::new(place, path)?;
        Ok(Self::at(path.to_owned(), target))
    }

    fn at(text: String, target: Target) -> Self {
        let (relation, csv) = ("input".to_owned(), CsvOptions::default());
        Self { text, target, format: None, relation, csv, columns: Vec::new(), infer: true }
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

    /// Some files that were read before: they tell which columns there are, although the new files may lack some, be
    /// empty or be bad. A query over the relation so goes on working.
    fn known(files: &[ListedFile], from: &Checkpoint, limit: &EpochLimit) -> Vec<FilePin> {
        if limit.everything {
            return Vec::new();
        }
        let mut known: Vec<&ListedFile> =
            files.iter().filter(|file| from.get(&file.file) == Some(file.version.as_str())).collect();
        known.sort_by_key(|file| std::cmp::Reverse((file.modified, file.file.clone())));
        known.truncate(KNOWN);
        known.into_iter().rev().cloned().map(pin).collect()
    }

    async fn inspect(&self, files: Vec<FilePin>) -> Result<Vec<Inspected>> {
        let place = self.target.place();
        let inspections = stream::iter(files)
            .map(|pin| async move { inspect(place, &pin, &self.csv, self.infer).await.map(not_ours) });
        inspections.buffered(INSPECTORS).try_collect().await
    }

    /// The files that an epoch after `from` reads, in reading order.
    fn choose(files: Vec<ListedFile>, from: &Checkpoint, limit: &EpochLimit) -> Vec<FilePin> {
        let is_wanted = |file: &ListedFile| {
            limit.everything
                || (from.get(&file.file) != Some(file.version.as_str()) && !limit.skip.contains(&file.file))
        };
        let mut files: Vec<ListedFile> = files.into_iter().filter(is_wanted).collect();
        files.sort_by_key(|file| (file.modified, file.file.clone()));
        if let (Some(max), false) = (limit.max_partitions, limit.everything) {
            files.truncate(max.max(1));
        }
        files.into_iter().map(pin).collect()
    }

    /// One set of columns for all files; files that do not fit into it get the reason.
    fn unite(
        &self,
        known: Vec<Vec<(String, DataType)>>,
        files: &mut [FilePin],
        inspected: Vec<Inspected>,
    ) -> Vec<ColumnPin> {
        let mut united = Columns::default();
        for (name, data_type) in &self.columns {
            united.add(name, data_type.clone());
        }
        let declared: HashSet<String> = self.columns.iter().map(|(name, _)| name.to_lowercase()).collect();
        let mut has_text = false;
        for columns in known {
            // What does not fit any more was right for its own epoch.
            let _ = united.fit(&columns, &declared, false);
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
            match united.fit(&columns, &declared, is_text) {
                Ok(()) => has_text |= is_text,
                Err(reason) => file.left_out = Some(reason),
            }
        }
        united.pins(has_text)
    }
}

fn pin(file: ListedFile) -> FilePin {
    FilePin {
        file: file.file,
        path: file.path,
        version: file.version,
        size: file.size,
        modified: file.modified,
        e_tag: file.e_tag,
        format: file.format,
        compression: file.compression,
        left_out: None,
    }
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

/// Columns in the order in which they were met.
#[derive(Default)]
struct Columns {
    order: Vec<(String, DataType)>,
    by_name: BTreeMap<String, usize>,
}

impl Columns {
    fn add(&mut self, name: &str, data_type: DataType) {
        self.by_name.entry(name.to_lowercase()).or_insert_with(|| {
            self.order.push((name.to_owned(), data_type));
            self.order.len() - 1
        });
    }

    /// Takes a file's columns in, all or none.
    fn fit(&mut self, columns: &[(String, DataType)], declared: &HashSet<String>, is_text: bool) -> Result<(), String> {
        let mut changes = Vec::new();
        for (name, data_type) in columns {
            let key = name.to_lowercase();
            let Some(&idx) = self.by_name.get(&key) else { continue };
            let known = &self.order[idx].1;
            if declared.contains(&key) {
                if !is_text && !arrow::compute::can_cast_types(data_type, known) {
                    return Err(format!("column `{name}` has the type {data_type}, which is not {known} as declared"));
                }
                continue;
            }
            match unite(name, known, data_type) {
                Some(united) if !is_text || Kind::of(&simple(&united)).is_some() => changes.push((idx, united)),
                _ => {
                    return Err(format!(
                        "column `{name}` has the type {data_type} here and {known} in the other files"
                    ));
                }
            }
        }
        for (idx, united) in changes {
            self.order[idx].1 = united;
        }
        for (name, data_type) in columns {
            self.add(name, data_type.clone());
        }
        Ok(())
    }

    fn pins(self, has_text: bool) -> Vec<ColumnPin> {
        let pin = |(name, data_type): (String, DataType)| {
            let data_type = match data_type {
                DataType::Null => DataType::Utf8,
                other if has_text => simple(&other),
                other => other,
            };
            ColumnPin { name, data_type: data_type.to_string() }
        };
        self.order.into_iter().map(pin).collect()
    }
}

/// The type that text, too, can be read into.
pub(super) fn simple(data_type: &DataType) -> DataType {
    use arrow::datatypes::TimeUnit;
    match data_type {
        DataType::Null => DataType::Utf8,
        integer if integer.is_integer() => DataType::Int64,
        number if number.is_numeric() => DataType::Float64,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into())),
        other => other.clone(),
    }
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

    /// `limit.max_partitions` is a number of files, oldest first, and does not count where everything is read; `max_rows` and the
    /// window are left to the engine.
    async fn plan(&self, from: &Checkpoint, limit: &EpochLimit) -> Result<Option<EpochPlan>> {
        self.check()?;
        let listing = self.list().await?;
        if listing.files.is_empty()
            && from.is_empty()
            && let Some(error) = self.target.nothing(&listing)
        {
            return Err(error);
        }
        let known = Self::known(&listing.files, from, limit);
        let mut files = Self::choose(listing.files, from, limit);
        if files.is_empty() {
            return Ok(None);
        }
        let known = self.inspect(known).await?.into_iter().filter_map(Inspected::ok).collect();
        let inspected = self.inspect(files.clone()).await?;
        let columns = self.unite(known, &mut files, inspected);
        if columns.is_empty()
            && let Some(error) = nothing_readable(&files)
        {
            return Err(error);
        }
        let mut upto = if limit.everything { Checkpoint::new() } else { from.clone() };
        for file in &files {
            upto.set(&file.file, &file.version);
        }
        let pins = Pins { columns, files }.to_json()?;
        Ok(Some(EpochPlan { from: from.clone(), upto, pins, rows: None, window: limit.window.clone() }))
    }

    async fn scan(&self, plan: &EpochPlan) -> Result<Scan> {
        let scan = FileScan::new(self.target.place().clone(), Pins::from_json(&plan.pins)?, self.csv.clone(), true)?;
        let table = Arc::new(FileTable(Arc::clone(&scan)));
        let end = FileScanEnd { scan, plan: plan.clone() };
        Ok(Scan { relations: BTreeMap::from_iter([(self.relation.clone(), table as _)]), end: Arc::new(end) })
    }

    async fn commit(&self, _upto: &Checkpoint) -> Result<()> {
        Ok(())
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
            "url": self.text,
            "format": self.format,
            "relation": self.relation,
            "csv": self.csv,
            "columns": columns,
            "infer": self.infer,
        })
    }
}
