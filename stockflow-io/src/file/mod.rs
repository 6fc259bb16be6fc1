//! Files: CSV, Parquet and NDJSON, on the local disk or in any object store.
//!
//! # Source
//!
//! [`FileSource`] reads one file, a glob or a folder.
//! A *partition* is a file, named by its path below the folder; its *position* is the file's version (size and time of the
//! last change on a local disk, the entity tag in an object store).
//! One of the positions names the columns delivered so far, so that none vanishes and no type narrows from epoch to epoch.
//! A second run reads only what is new or changed; a changed file is read again as a whole.
//! Replay is exact: versions are pinned, and a file that is not what was pinned any more is [`Error::PinLost`].
//!
//! Undecodable rows are dead letters with line and text, and reading goes on.
//! A file that cannot be read as a whole (a truncated gzip, a corrupt Parquet file) is left out as a whole, listed with the
//! reason, and tried again by the next run.
//!
//! # Sinks
//!
//! [`FileSink`] writes Parquet, CSV or NDJSON in one of two modes.
//! *Overwrite* replaces one object, and needs a source that is read in full.
//! *Append* adds epoch-named files, which become visible through a numbered log in `_stockflow`; [`ManifestTable`] reads
//! what it says.
//! Both are transactional.
//!
//! [`Error::PinLost`]: stockflow_core::Error::PinLost

mod decode;
mod format;
mod infer;
mod inspect;
mod listing;
mod manifest;
mod open;
mod pin;
mod scan;
mod sink;
mod source;

pub use format::{Compression, FileFormat};
pub use listing::{ListedFile, Listing, SkippedFile};
pub use manifest::ManifestTable;
pub use scan::{SOURCE_FILE, SOURCE_LINE, SOURCE_SEQ};
pub(crate) use sink::encode;
pub use sink::{FileSink, RowOrder, SinkMode};
pub use source::FileSource;
