//! Files as a table for queries: one, a glob, or a folder whose files are of one kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::datasource::TableProvider;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use datafusion::prelude::{CsvReadOptions, DataFrame, JsonReadOptions, ParquetReadOptions, SessionContext};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use stockflow_io::location::Location;

use crate::connectors;
use crate::exit::{Failure, Outcome};

/// What may separate the fields of CSV, the usual one first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A header is not longer than this.
const LONGEST_HEADER: usize = 1024 * 1024;

/// How rows are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Format {
    Csv,
    Ndjson,
    Parquet,
}

/// What a file's name tells.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    format: Format,
    compression: FileCompressionType,
    is_tabbed: bool,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        let lower = name.to_lowercase();
        let (stem, compression) = match lower.rsplit_once('.') {
            Some((stem, "gz")) => (stem, FileCompressionType::GZIP),
            Some((stem, "zst" | "zstd")) => (stem, FileCompressionType::ZSTD),
            _ => (lower.as_str(), FileCompressionType::UNCOMPRESSED),
        };
        let format = match stem.rsplit_once('.')?.1 {
            "csv" | "tsv" | "txt" => Format::Csv,
            "ndjson" | "jsonl" | "json" => Format::Ndjson,
            "parquet" | "pq" => Format::Parquet,
            _ => return None,
        };
        Some(Self { format, compression, is_tabbed: stem.ends_with(".tsv") })
    }
}

/// The table that a file, a glob or a folder is.
pub(crate) async fn open(session: &SessionContext, path: &str) -> Outcome<Arc<dyn TableProvider>> {
    let (kind, paths, suffix) = match Kind::of(path) {
        Some(kind) => (kind, vec![path.to_owned()], suffix(path)),
        None => {
            let (kind, paths) = folder(path).await?;
            (kind, paths, String::new())
        }
    };
    let frame = match kind.format {
        Format::Csv => {
            let delimiter = if kind.is_tabbed { b'\t' } else { delimiter(path, kind.compression).await? };
            let options = CsvReadOptions::new().file_extension(&suffix).file_compression_type(kind.compression);
            let options = options.delimiter(delimiter);
            match session.read_csv(paths.clone(), options.clone()).await? {
                frame if is_unknown(&frame) => {
                    session.read_csv(paths, options.schema_infer_max_records(usize::MAX)).await?
                }
                frame => frame,
            }
        }
        Format::Ndjson => {
            let options = JsonReadOptions::default().file_extension(&suffix).file_compression_type(kind.compression);
            match session.read_json(paths.clone(), options.clone()).await? {
                frame if is_unknown(&frame) => {
                    session.read_json(paths, options.schema_infer_max_records(usize::MAX)).await?
                }
                frame => frame,
            }
        }
        Format::Parquet => session.read_parquet(paths, ParquetReadOptions::default().file_extension(&suffix)).await?,
    };
    Ok(frame.into_view())
}

/// Whether a column has no value among the rows that types are guessed from: all rows must be looked at.
fn is_unknown(frame: &DataFrame) -> bool {
    frame.schema().fields().iter().any(|field| field.data_type().is_null())
}

/// The listing keeps only names that end like the one that was given.
fn suffix(path: &str) -> String {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.find('.').map_or_else(String::new, |dot| name[dot..].trim_start_matches(['*', '?']).to_owned())
}

/// The files of a folder, which are one table if they are of one kind.
async fn folder(path: &str) -> Outcome<(Kind, Vec<String>)> {
    let listing = connectors::list(path).await?;
    let folder = path.trim_end_matches('/');
    let mut kinds: BTreeMap<String, (Kind, Vec<String>)> = BTreeMap::new();
    for file in &listing.files {
        if let Some(kind) = Kind::of(&file.file) {
            let ending = format!("{:?}{:?}{}", kind.format, kind.compression, kind.is_tabbed);
            kinds.entry(ending).or_insert((kind, Vec::new())).1.push(format!("{folder}/{}", file.file));
        }
    }
    let examples: Vec<String> = kinds.values().filter_map(|(_, files)| files.first()).cloned().collect();
    match (kinds.into_values().next(), examples.as_slice()) {
        (Some(found), [_]) => Ok(found),
        (Some(_), _) => Err(Failure::usage(format!("`{path}` holds files of several kinds, such as `{}`", examples.join("`, `")))
            .or_next(format!("name those of one kind, as in `{folder}/*.csv`"))),
        (None, _) => Err(Failure::usage(format!("`{path}` is neither a file with a known ending nor a folder of such files"))
            .or_next("name a .csv, .tsv, .ndjson, .jsonl or .parquet file (also .gz or .zst), a folder of them, or a Delta table")),
    }
}

/// The delimiter that the first file's header has most of, as a source finds it.
async fn delimiter(path: &str, compression: FileCompressionType) -> Outcome<u8> {
    let place = Location::parse(path)?;
    // What the source would not read by its name is still there under its own.
    let listed = connectors::list(path).await.ok().and_then(|listing| listing.files.into_iter().next());
    let first = listed.and_then(|file| Path::parse(file.path).ok()).unwrap_or_else(|| place.path().clone());
    let cannot = |error: &dyn std::fmt::Display| Failure::failed(format!("`{path}` cannot be read")).because(error);
    let packed = place.store().get(&first).await.map_err(|error| cannot(&error))?.into_stream();
    let mut text = compression.convert_stream(packed.map_err(DataFusionError::from).boxed())?;
    let mut header = Vec::new();
    while let Some(bytes) = text.next().await {
        header.extend_from_slice(&bytes?);
        if header.contains(&b'\n') || header.len() > LONGEST_HEADER {
            break;
        }
    }
    Ok(most_frequent(&header))
}

/// Of the delimiters the one that stands most often in the first line, outside of quotes.
fn most_frequent(text: &[u8]) -> u8 {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut quoted = false;
    let mut counts = [0_usize; DELIMITERS.len()];
    for byte in line {
        quoted ^= *byte == b'"';
        let found = DELIMITERS.iter().zip(&mut counts).find(|(delimiter, _)| *delimiter == byte && !quoted);
        if let Some((_, count)) = found {
            *count += 1;
        }
    }
    // Of equals the last one counts, so the usual one comes last.
    let best = DELIMITERS.iter().zip(counts).rev().max_by_key(|(_, count)| *count);
    best.map_or(b',', |(delimiter, _)| *delimiter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_delimiter() {
        for (header, expected) in [
            ("a,b,c\n1;2;3;4", b','),
            ("Datum;Schluss;\"a,b,c,d\"\n", b';'),
            ("a\tb", b'\t'),
            ("a|b|c,d", b'|'),
            ("a;b,c", b','),
            ("", b','),
        ] {
            assert_eq!(most_frequent(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn names_tell_the_kind() {
        let format = |name: &str| Kind::of(name).map(|kind| kind.format);
        assert_eq!(format("x/a.CSV.gz"), Some(Format::Csv));
        assert_eq!(format("a.jsonl"), Some(Format::Ndjson));
        assert_eq!(format("a.pq"), Some(Format::Parquet));
        assert_eq!(format("in"), None);
        assert_eq!(format("a.csv.bz2"), None);
    }
}
