//! What an epoch's intent keeps of the files that it reads.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use stockflow_core::{Error, Result};

use super::format::{Compression, FileFormat};

/// The files of an epoch, in reading order, and the columns that they are read into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pins {
    /// The union of the files' columns by name.
    pub columns: Vec<ColumnPin>,
    /// By time of the last change, then by path: the later one wins.
    pub files: Vec<FilePin>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ColumnPin {
    pub name: String,
    /// Arrow's own notation of the type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// One version of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FilePin {
    /// The partition: the path below the source's folder.
    pub file: String,
    /// The object's path within its store.
    pub path: String,
    /// What changes when the file changes.
    pub version: String,
    pub size: u64,
    pub modified: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
    pub format: FileFormat,
    #[serde(default, skip_serializing_if = "Compression::is_none")]
    pub compression: Compression,
    /// Why the file cannot be read, where that was found out while planning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl Pins {
    pub(super) fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::internal(format!("pins of files cannot be written: {error}")))
    }

    pub(super) fn from_json(pins: &serde_json::Value) -> Result<Self> {
        serde_json::from_value(pins.clone())
            .map_err(|error| Error::internal(format!("an intent holds pins that are no files: {error}")))
    }
}
