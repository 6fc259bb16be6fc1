//! Which format a file has, by its name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stockflow_core::Error;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Text with one row a line and a header: `.csv`, `.tsv`.
    Csv,
    /// Apache Parquet: `.parquet`, `.pq`.
    Parquet,
    /// One JSON object a line: `.ndjson`, `.jsonl`.
    Ndjson,
}

impl FileFormat {
    /// The word in configurations, which is the suffix of what sinks write, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            "ndjson" => Ok(Self::Ndjson),
            _ => Err(Error::parameter("file", "format", format!("`{text}` is none of csv, parquet, ndjson"))),
        }
    }
}

/// How a text file is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// Gzip, one member or several: `.gz`.
    Gzip,
    /// Zstandard, one frame or several: `.zst`.
    Zstd,
}

impl Compression {
    /// Whether a file is not compressed.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// Format and compression that a file's name tells; `None` if its suffix is foreign.
///
/// A declared format counts more than the name: then any suffix of that family is taken, and `.txt`, `.dat` and `.json`, too.
pub(super) fn by_name(name: &str, declared: Option<FileFormat>) -> Option<(FileFormat, Compression)> {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = match lower.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (lower.as_str(), Compression::None),
    };
    let suffix = stem.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let format = match (suffix, declared) {
        ("csv" | "tsv", None | Some(FileFormat::Csv)) | ("txt" | "dat", Some(FileFormat::Csv)) => FileFormat::Csv,
        ("ndjson" | "jsonl", None | Some(FileFormat::Ndjson)) | ("json" | "txt", Some(FileFormat::Ndjson)) => {
            FileFormat::Ndjson
        }
        ("parquet" | "pq", None | Some(FileFormat::Parquet)) if compression.is_none() => FileFormat::Parquet,
        _ => return None,
    };
    Some((format, compression))
}

/// The same for a file that was named one by one: a declared format takes any name.
pub(super) fn by_exact_name(name: &str, declared: Option<FileFormat>) -> Option<(FileFormat, Compression)> {
    by_name(name, declared).or_else(|| {
        let lower = name.to_ascii_lowercase();
        let compression = match lower.rsplit_once('.') {
            Some((_, "gz")) => Compression::Gzip,
            Some((_, "zst" | "zstd")) => Compression::Zstd,
            _ => Compression::None,
        };
        declared.map(|format| (format, compression))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format() {
        let cases = [
            ("AAPL.csv", None, Some((FileFormat::Csv, Compression::None))),
            ("AAPL.CSV.GZ", None, Some((FileFormat::Csv, Compression::Gzip))),
            ("a.ndjson.zst", None, Some((FileFormat::Ndjson, Compression::Zstd))),
            ("a.pq", None, Some((FileFormat::Parquet, Compression::None))),
            ("a.parquet.gz", None, None),
            ("a.xlsx", None, None),
            ("csv", None, None),
            ("a.txt", Some(FileFormat::Csv), Some((FileFormat::Csv, Compression::None))),
            ("a.parquet", Some(FileFormat::Csv), None),
        ];
        for (name, declared, expected) in cases {
            assert_eq!(by_name(name, declared), expected, "{name}");
        }
        assert_eq!(by_exact_name("prices", Some(FileFormat::Csv)), Some((FileFormat::Csv, Compression::None)));
    }
}
