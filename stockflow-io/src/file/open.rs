//! Reads the bytes of pinned files, and notices when they are not what was pinned.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt};
use stockflow_core::{Error, Result};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::format::Compression;
use super::listing::version;
use super::pin::FilePin;
use crate::location::{Location, origin};

/// One request asks a local disk for so many bytes.
const LOCAL_BLOCK: u64 = 1 << 20;
/// And a remote store, where each request costs a round trip.
const REMOTE_BLOCK: u64 = 8 << 20;

/// Bytes that are decompressed at a time.
const UNPACKED_BLOCK: usize = 1 << 18;

/// The bytes of a file; decompression errors are [`Damage`]s.
pub(super) type Blocks = BoxStream<'static, Result<Bytes, ReadError>>;

/// Why the bytes of a file ended early.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The file itself is bad: the same each time.
    Damage(String),
    /// The store failed, or the file is not what was pinned.
    Failed(Error),
    /// Nobody reads the rows any more.
    Gone,
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The file's bytes, decompressed.
pub(super) fn blocks(place: &Location, pin: &FilePin) -> Blocks {
    let raw = raw_blocks(place, pin);
    match pin.compression {
        Compression::None => raw.map_err(|error| from_io(&error)).boxed(),
        Compression::Gzip => members(raw),
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::new(StreamReader::new(raw));
            decoder.multiple_members(true);
            ReaderStream::with_capacity(decoder, UNPACKED_BLOCK).map_err(|error| from_io(&error)).boxed()
        }
    }
}

/// The members of a gzip file one after the other. Zeros at its end, with which tapes and some programs fill up a block,
/// are no member.
fn members(raw: BoxStream<'static, io::Result<Bytes>>) -> Blocks {
    let first = GzipDecoder::new(StreamReader::new(raw));
    stream::try_unfold(first, |mut decoder| async move {
        loop {
            let mut block = BytesMut::with_capacity(UNPACKED_BLOCK);
            let n = decoder.read_buf(&mut block).await.map_err(|error| from_io(&error))?;
            if n > 0 {
                return Ok(Some((block.freeze(), decoder)));
            }
            let mut rest = decoder.into_inner();
            if !skip_zeros(&mut rest).await.map_err(|error| from_io(&error))? {
                return Ok(None);
            }
            decoder = GzipDecoder::new(rest);
        }
    })
    .boxed()
}

/// Skips zeros; false at the end of the file.
async fn skip_zeros(rest: &mut (impl AsyncBufRead + Unpin)) -> io::Result<bool> {
    loop {
        let buf = rest.fill_buf().await?;
        if buf.is_empty() {
            return Ok(false);
        }
        let zeros = buf.iter().take_while(|&&byte| byte == 0).count();
        let is_over = zeros < buf.len();
        rest.consume(zeros);
        if is_over {
            return Ok(true);
        }
    }
}

/// An error of ours inside an `io::Error` comes out again; anything else is the decompressor's word.
fn from_io(error: &io::Error) -> ReadError {
    let carried = error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>());
    match carried.and_then(|carried| carried.0.lock().ok()?.take()) {
        Some(own) => ReadError::Failed(own),
        None => ReadError::Damage(match error.kind() {
            io::ErrorKind::UnexpectedEof => "the compressed data end in the middle: the file is truncated".into(),
            _ => format!("it cannot be decompressed: {error}"),
        }),
    }
}

/// Takes an error of ours through the decompressor.
#[derive(Debug)]
struct Carried(std::sync::Mutex<Option<Error>>);

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("read failed")
    }
}

impl std::error::Error for Carried {}

fn raw_blocks(place: &Location, pin: &FilePin) -> BoxStream<'static, io::Result<Bytes>> {
    let block = if place.local_path().is_some() { LOCAL_BLOCK } else { REMOTE_BLOCK };
    let starts: Vec<u64> = (0..pin.size).step_by(block as usize).collect();
    let (place, pin) = (place.clone(), pin.clone());
    stream::iter(starts)
        .map(move |start| {
            let (place, pin) = (place.clone(), pin.clone());
            async move {
                range(&place, &pin, start..pin.size.min(start + block))
                    .await
                    .map_err(|error| io::Error::other(Carried(Some(error).into())))
            }
        })
        // The next block is on its way while this one is decoded.
        .buffered(2)
        .boxed()
}

/// The pinned object's path as the store wrote it.
pub(super) fn object_path(pin: &FilePin) -> Path {
    Path::parse(&pin.path).unwrap_or_else(|_| Path::from(pin.path.as_str()))
}

/// Some bytes of the pinned version.
pub(super) async fn range(place: &Location, pin: &FilePin, range: std::ops::Range<u64>) -> Result<Bytes> {
    let local = place.local_path().is_some();
    let options = GetOptions {
        // A local disk's tag holds the inode: a file that was put back as it was would not be it any more.
        if_match: pin.e_tag.clone().filter(|_| !local),
        range: Some(GetRange::Bounded(range.clone())),
        ..GetOptions::default()
    };
    let path = object_path(pin);
    let found = match place.store().get_opts(&path, options).await {
        Ok(found) => found,
        Err(error) => {
            if local && !matches!(error, object_store::Error::NotFound { .. }) {
                // A range behind the end of a file that has become shorter is no outage.
                check_unchanged(place, pin).await?;
            }
            return Err(read_error(pin, error));
        }
    };
    if local {
        check_version(pin, &version(&found.meta, local))?;
    }
    let bytes = found.bytes().await.map_err(|error| read_error(pin, error))?;
    if bytes.len() as u64 != range.end - range.start {
        return Err(pin_lost(pin, format!("it has become shorter than the {} bytes that were planned", pin.size)));
    }
    Ok(bytes)
}

/// Fails if the file is not the pinned version any more.
pub(super) async fn check_unchanged(place: &Location, pin: &FilePin) -> Result<()> {
    let meta = place.store().head(&object_path(pin)).await.map_err(|error| read_error(pin, error))?;
    check_version(pin, &version(&meta, place.local_path().is_some()))
}

fn check_version(pin: &FilePin, now: &str) -> Result<()> {
    if now == pin.version {
        return Ok(());
    }
    Err(pin_lost(
        pin,
        format!("it was changed after the epoch was planned: version `{now}` instead of `{}`", pin.version),
    ))
}

/// What an object store's error means for a file that was planned to be read.
pub(super) fn read_error(pin: &FilePin, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => pin_lost(pin, "it was deleted after the epoch was planned".into()),
        object_store::Error::Precondition { .. } | object_store::Error::NotModified { .. } => {
            pin_lost(pin, format!("it was changed after the epoch was planned: version `{}` is gone", pin.version))
        }
        error => Error::connector(origin(&pin.file).position(&pin.version), "read", error),
    }
}

fn pin_lost(pin: &FilePin, reason: String) -> Error {
    Error::PinLost { origin: Box::new(origin(&pin.file).position(&pin.version)), reason }
}
