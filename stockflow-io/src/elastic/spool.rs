//! Documents of an epoch between `stage` and `commit`, cut into requests: in memory, then on disk.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::execution::SpillFile;
use datafusion::execution::runtime_env::RuntimeEnv;
use stockflow_core::{Error, Origin, Result};

/// Lines of one `_bulk` request: each item is a line that says what to do, and a line with the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    body: Bytes,
    /// Where in the body each item lies, and where in it the document begins.
    items: Vec<(Range<usize>, usize)>,
}

impl Request {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// The document of an item.
    pub(super) fn document(&self, item: usize) -> &[u8] {
        let document = self.items.get(item).and_then(|(range, start)| self.body.get(*start..range.end));
        document.unwrap_or_default().trim_ascii_end()
    }

    /// A request of some of the items.
    pub(super) fn pick(&self, items: impl IntoIterator<Item = usize>) -> Self {
        let mut picked = Draft::default();
        for (range, start) in items.into_iter().filter_map(|item| self.items.get(item)) {
            picked.push(
                self.body.get(range.start..*start).unwrap_or_default(),
                self.body.get(*start..range.end).unwrap_or_default(),
            );
        }
        picked.finish()
    }

    /// Two requests of half of the items each.
    pub(super) fn halves(&self) -> [Self; 2] {
        let middle = self.len() / 2;
        [self.pick(0..middle), self.pick(middle..self.len())]
    }
}

/// A request that is being filled.
#[derive(Debug, Default)]
struct Draft {
    bytes: Vec<u8>,
    items: Vec<(Range<usize>, usize)>,
}

impl Draft {
    fn push(&mut self, action: &[u8], document: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(action);
        let document_start = self.bytes.len();
        self.bytes.extend_from_slice(document);
        self.items.push((start..self.bytes.len(), document_start));
    }

    fn finish(self) -> Request {
        Request { body: self.bytes.into(), items: self.items }
    }
}

/// The requests of one stream of rows.
pub(super) struct Spool {
    runtime: Arc<RuntimeEnv>,
    /// Bytes that a request may have.
    request: usize,
    /// Bytes that may stay in memory.
    limit: usize,
    draft: Draft,
    memory: Vec<Request>,
    in_memory: usize,
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
    move |error| Error::connector(Origin::new("elasticsearch").partition("spooled documents"), operation, error)
}

impl Spool {
    pub(super) fn new(runtime: Arc<RuntimeEnv>, request: usize, limit: usize) -> Self {
        let (draft, memory, file) = (Draft::default(), Vec::new(), None);
        Self { runtime, request, limit, draft, memory, in_memory: 0, file, rows: 0, bytes: 0 }
    }

    /// Adds a document: both lines with their ends.
    pub(super) fn push(&mut self, action: &[u8], document: &[u8]) -> Result<()> {
        let size = action.len() + document.len();
        if !self.draft.items.is_empty() && self.draft.bytes.len() + size > self.request {
            self.cut()?;
        }
        self.draft.push(action, document);
        self.rows += 1;
        self.bytes += size as u64;
        Ok(())
    }

    /// Ends the request that is being filled.
    pub(super) fn cut(&mut self) -> Result<()> {
        if self.draft.items.is_empty() {
            return Ok(());
        }
        let request = std::mem::take(&mut self.draft).finish();
        if self.file.is_none() && self.in_memory + request.body.len() <= self.limit {
            self.in_memory += request.body.len();
            self.memory.push(request);
            return Ok(());
        }
        if self.file.is_none() {
            let spill = self.runtime.disk_manager.create_tmp_file("documents for Elasticsearch")?;
            let path = spill.path().ok_or_else(|| Error::internal("a spill file without a path"))?;
            let file = File::create(path).map_err(failed("create"))?;
            self.file = Some((spill, file));
        }
        if let Some((_, file)) = &mut self.file {
            // Number of items, their ends and the starts of their documents, and the body.
            let mut head = Vec::with_capacity(8 + request.items.len() * 16);
            head.extend_from_slice(&(request.items.len() as u64).to_le_bytes());
            for (range, start) in &request.items {
                head.extend_from_slice(&(range.end as u64).to_le_bytes());
                head.extend_from_slice(&(*start as u64).to_le_bytes());
            }
            file.write_all(&head).map_err(failed("write"))?;
            file.write_all(&request.body).map_err(failed("write"))?;
        }
        Ok(())
    }

    /// Hands all requests over, until one is not wanted. Blocks.
    pub(super) fn for_each(&self, mut each: impl FnMut(Request) -> bool) -> Result<()> {
        for request in &self.memory {
            if !each(request.clone()) {
                return Ok(());
            }
        }
        let Some((spill, _)) = &self.file else { return Ok(()) };
        let path = spill.path().ok_or_else(|| Error::internal("a spill file without a path"))?;
        let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed("open"))?);
        while let Some(request) = read(&mut file).map_err(failed("read"))? {
            if !each(request) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn number(file: &mut impl Read) -> std::io::Result<usize> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
}

/// The next request; `None` at the end.
fn read(file: &mut impl Read) -> std::io::Result<Option<Request>> {
    let count = match number(file) {
        Ok(count) => count,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut items, mut begin) = (Vec::with_capacity(count), 0);
    for _ in 0..count {
        let (end, start) = (number(file)?, number(file)?);
        items.push((begin..end, start));
        begin = end;
    }
    let mut body = vec![0; begin];
    file.read_exact(&mut body)?;
    Ok(Some(Request { body: body.into(), items }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spool(limit: usize) -> Spool {
        let mut spool = Spool::new(Arc::new(RuntimeEnv::default()), 100, limit);
        for n in 0..20 {
            spool.push(format!("a{n}\n").as_bytes(), format!("{}\n", "d".repeat(n * 5)).as_bytes()).unwrap();
        }
        spool.cut().unwrap();
        spool
    }

    #[test]
    fn requests_are_cut_by_bytes_and_come_back_from_memory_and_disk() {
        let expected: String = (0..20).map(|n| format!("a{n}\n{}\n", "d".repeat(n * 5))).collect();
        for limit in [0, 300, 1 << 20] {
            let spool = spool(limit);
            assert_eq!((spool.rows, spool.bytes), (20, expected.len() as u64));
            for _ in 0..2 {
                let (mut all, mut n) = (String::new(), 0);
                spool
                    .for_each(|request| {
                        assert!(request.body().len() <= 100 || request.len() == 1);
                        for item in 0..request.len() {
                            assert_eq!(request.document(item).len(), n * 5);
                            n += 1;
                        }
                        all.push_str(std::str::from_utf8(&request.body()).unwrap());
                        true
                    })
                    .unwrap();
                assert_eq!(all, expected);
            }
        }
    }

    #[test]
    fn a_request_is_split_and_picked_from() {
        let mut first = None;
        spool(1 << 20)
            .for_each(|request| {
                first = Some(request);
                false
            })
            .unwrap();
        let request = first.unwrap();
        let [left, right] = request.halves();
        assert_eq!([left.body(), right.body()].concat(), request.body());
        assert_eq!(left.len() + right.len(), request.len());
        let picked = request.pick([0, request.len() - 1]);
        assert_eq!(picked.document(1), request.document(request.len() - 1));
        assert_eq!(request.document(99), b"");
    }
}
