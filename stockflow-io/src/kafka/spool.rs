//! Messages of an epoch between `stage` and `commit`: in memory, then on disk.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::sync::Arc;

use datafusion::execution::SpillFile;
use datafusion::execution::runtime_env::RuntimeEnv;
use stockflow_core::{Error, Origin, Result};

/// Partition, length of the key, length of the value, rows.
const HEAD: usize = 16;
/// No key.
const NONE: u32 = u32::MAX;

/// Encoded messages, one after the other.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    rows: u64,
}

/// One encoded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoded<'m> {
    pub(super) partition: i32,
    pub(super) key: Option<&'m [u8]>,
    pub(super) value: &'m [u8],
}

impl Messages {
    pub(super) fn push(&mut self, partition: i32, key: Option<&[u8]>, value: &[u8]) {
        self.push_rows(partition, key, value, 1);
    }

    /// A message of several rows.
    pub(super) fn push_rows(&mut self, partition: i32, key: Option<&[u8]>, value: &[u8], rows: u64) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(NONE - 1);
        self.bytes.extend_from_slice(&partition.to_le_bytes());
        self.bytes.extend_from_slice(&key.map_or(NONE, len).to_le_bytes());
        self.bytes.extend_from_slice(&len(value).to_le_bytes());
        self.bytes.extend_from_slice(&u32::try_from(rows).unwrap_or(u32::MAX).to_le_bytes());
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(value);
        self.rows += rows;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Encoded<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (message, after) = split(rest)?;
            rest = after;
            Some(message)
        })
    }
}

/// The first message, and what comes behind it; `None` if there is no whole one.
fn split(bytes: &[u8]) -> Option<(Encoded<'_>, &[u8])> {
    let number = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied();
    let partition = i32::from_le_bytes(number(0)?);
    let key_len = u32::from_le_bytes(number(4)?);
    let value_len = u32::from_le_bytes(number(8)?) as usize;
    let body = bytes.get(HEAD..)?;
    let (key, body) = if key_len == NONE {
        (None, body)
    } else {
        let (key, body) = body.split_at_checked(key_len as usize)?;
        (Some(key), body)
    };
    let (value, after) = body.split_at_checked(value_len)?;
    Some((Encoded { partition, key, value }, after))
}

/// The messages of one stream of rows.
pub(super) struct Spool {
    runtime: Arc<RuntimeEnv>,
    memory: Vec<Messages>,
    in_memory: usize,
    limit: usize,
    file: Option<(Arc<dyn SpillFile>, File)>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

fn failed(operation: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::connector(Origin::new("kafka").partition("spooled messages"), operation, error)
}

impl Spool {
    /// At most so many bytes stay in memory.
    pub(super) fn new(runtime: Arc<RuntimeEnv>, limit: usize) -> Self {
        Self { runtime, memory: Vec::new(), in_memory: 0, limit, file: None, rows: 0, bytes: 0 }
    }

    pub(super) fn add(&mut self, messages: Messages) -> Result<()> {
        self.rows += messages.rows;
        self.bytes += messages.bytes.len() as u64;
        if self.file.is_none() && self.in_memory + messages.bytes.len() <= self.limit {
            self.in_memory += messages.bytes.len();
            self.memory.push(messages);
            return Ok(());
        }
        if self.file.is_none() {
            let spill = self.runtime.disk_manager.create_tmp_file("messages for Kafka")?;
            let path = spill.path().ok_or_else(|| Error::internal("a spill file without a path"))?;
            let file = File::create(path).map_err(failed("create"))?;
            self.file = Some((spill, file));
        }
        if let Some((_, file)) = &mut self.file {
            file.write_all(&messages.bytes).map_err(failed("write"))?;
        }
        Ok(())
    }

    /// All messages in their order.
    pub(super) fn for_each<E: From<Error>>(&self, mut each: impl FnMut(Encoded<'_>) -> Result<(), E>) -> Result<(), E> {
        for messages in &self.memory {
            messages.iter().try_for_each(&mut each)?;
        }
        let Some((spill, _)) = &self.file else { return Ok(()) };
        let path = spill.path().ok_or_else(|| Error::internal("a spill file without a path"))?;
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed("open"))?);
        let mut bytes = vec![0; HEAD];
        loop {
            bytes.resize(HEAD, 0);
            match file.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(failed("read")(error).into()),
            }
            let length =
                |at: usize| bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|it| u32::from_le_bytes(*it));
            let key = length(4).filter(|key| *key != NONE).unwrap_or(0) as usize;
            let value = length(8).unwrap_or(0) as usize;
            bytes.resize(HEAD + key + value, 0);
            if let Some(body) = bytes.get_mut(HEAD..) {
                file.read_exact(body).map_err(failed("read"))?;
            }
            match split(&bytes) {
                Some((message, _)) => each(message)?,
                None => return Err(Error::internal("spooled messages cannot be read").into()),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_in_order_from_memory_and_disk() {
        for limit in [0, 100, 1 << 20] {
            let mut spool = Spool::new(Arc::new(RuntimeEnv::default()), limit);
            for n in 0..20_u8 {
                let mut messages = Messages::default();
                messages.push(i32::from(n), Some(&[n; 3]), &[n; 40]);
                messages.push_rows(-1, None, b"", 7);
                spool.add(messages).unwrap();
            }
            assert_eq!(spool.rows, 160);
            for _ in 0..2 {
                let mut seen = 0;
                spool
                    .for_each(|message| {
                        if seen % 2 == 0 {
                            let n = seen / 2;
                            let (key, value) = ([n; 3], [n; 40]);
                            let expected = Encoded { partition: i32::from(n), key: Some(&key), value: &value };
                            assert_eq!(message, expected);
                        } else {
                            assert_eq!(message, Encoded { partition: -1, key: None, value: b"" });
                        }
                        seen += 1;
                        Ok::<(), Error>(())
                    })
                    .unwrap();
                assert_eq!(seen, 40);
            }
        }
    }
}
