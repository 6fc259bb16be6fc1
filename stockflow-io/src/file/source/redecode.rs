//! Refused lines of text files, decoded again as the source is now.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::SchemaRef;
use bytes::BytesMut;
use datafusion::datasource::TableProvider;
use futures::TryStreamExt;
use stockflow_core::Result;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::schema::DeadLetter;
use stockflow_core::source::Redecoded;

use super::{FileSource, pin};
use crate::file::decode::{Line, decode_again, letter, without_bom};
use crate::file::format::{FileFormat, by_exact_name};
use crate::file::listing::ListedFile;
use crate::file::open::{ReadError, blocks};
use crate::file::pin::Pins;
use crate::file::scan::{FileScan, FileTable};
use crate::text::{Layout, MAX_RECORD, PAYLOAD, Shape};

/// What is left of bytes that were no UTF-8 when they became a payload.
const REPLACED: char = char::REPLACEMENT_CHARACTER;

impl FileSource {
    /// The payload of a letter is its line; what its fields mean is told by the header of its file as it is now.
    pub(super) async fn decode_again(&self, letters: &[DeadLetter], known: &Checkpoint) -> Result<Redecoded> {
        self.check()?;
        // Of files that are gone the checkpoint still tells the columns.
        let files = self.list().await.map(|listing| listing.files).unwrap_or_default();
        let delivered = self.delivered(&files, known).await?;
        let columns = self.unite(&delivered, &mut [], Vec::new()).pins(!letters.is_empty());
        let scan = FileScan::new(self.target.place().clone(), Pins { columns, files: Vec::new() }, self.csv.clone())?;
        let columns = scan.columns();
        let schema = FileTable(scan).schema();
        let mut again = Redecoded::default();
        let mut batches = Vec::new();
        let shape = Shape::new(columns, (0..schema.fields().len()).collect(), SchemaRef::clone(&schema));
        let mut by_file: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
        for letter in letters {
            by_file.entry(&letter.partition).or_default().push(letter);
        }
        for (idx, (file, letters)) in by_file.into_iter().enumerate() {
            let (lines, lost) = lines(&letters);
            again.unable.extend(lost);
            let listed = files.iter().find(|it| it.file == file);
            match self.layout(file, listed, &lines).await? {
                Ok(layout) => {
                    let (rows, rejects) = decode_again(&lines, file, idx, layout.as_ref(), &shape)?;
                    batches.extend(rows);
                    again.rejects.extend(rejects.into_iter().map(|reject| self::letter(reject, file, "line")));
                }
                Err(reason) => {
                    let lost: HashSet<_> = again.unable.iter().map(|(letter, _)| letter.clone()).collect();
                    let rest = letters.into_iter().filter(|letter| !lost.contains(*letter));
                    again.unable.extend(rest.map(|letter| (letter.clone(), reason.clone())));
                }
            }
        }
        again.rows.insert(self.relation.clone(), (schema, batches));
        Ok(again)
    }

    /// How the lines of a file are laid out (`None`: as JSON), or why that is not known.
    async fn layout(
        &self,
        file: &str,
        listed: Option<&ListedFile>,
        lines: &[Line<'_>],
    ) -> Result<std::result::Result<Option<Layout>, String>> {
        let format =
            listed.map(|file| file.format).or_else(|| by_exact_name(file, self.format).map(|(format, _)| format));
        match format {
            None => return Ok(Err("the file's name does not tell its format any more".into())),
            Some(FileFormat::Parquet) => {
                return Ok(Err("it is a row of a Parquet file: write the file anew, and the next run reads it".into()));
            }
            Some(FileFormat::Ndjson) => return Ok(Ok(None)),
            Some(FileFormat::Csv) => {}
        }
        if !self.csv.header {
            let first = lines.first().map(|line| line.text).unwrap_or_default();
            return Ok(Layout::read(first.as_bytes(), true, &self.csv));
        }
        let Some(listed) = listed else {
            return Ok(Err("its file is gone, and with it the header that names the fields: put it back, and the next run reads it".into()));
        };
        let mut blocks = blocks(self.target.place(), &pin(listed));
        let mut buf = BytesMut::new();
        loop {
            let eof = match blocks.try_next().await {
                Ok(Some(block)) => {
                    buf.extend_from_slice(&block);
                    false
                }
                Ok(None) => true,
                Err(ReadError::Failed(error)) => return Err(error),
                Err(ReadError::Damage(reason)) => return Ok(Err(reason)),
                Err(ReadError::Gone) => return Ok(Err("its file is gone".into())),
            };
            let text = buf.get(without_bom(&buf)..).unwrap_or_default();
            match Layout::read(text, eof, &self.csv) {
                Ok(Some(layout)) => return Ok(Ok(Some(layout))),
                Ok(None) if eof || buf.len() > MAX_RECORD => return Ok(Err("its file has no header any more".into())),
                Ok(None) => {}
                Err(reason) => return Ok(Err(reason)),
            }
        }
    }
}

/// The lines in letters, and letters that do not hold theirs.
fn lines<'l>(letters: &[&'l DeadLetter]) -> (Vec<Line<'l>>, Vec<(DeadLetter, String)>) {
    let (mut lines, mut lost) = (Vec::new(), Vec::new());
    for letter in letters {
        let text = letter.payload.as_str();
        let reason = match letter.position.parse() {
            Ok(number) if text.len() <= PAYLOAD && !text.contains(REPLACED) => {
                lines.push(Line { number, text });
                continue;
            }
            Ok(_) if text.len() > PAYLOAD => "only the beginning of its line was kept",
            Ok(_) => "its line is not UTF-8 text, and its bytes were not kept",
            Err(_) => "its position is no line",
        };
        lost.push(((*letter).clone(), format!("{reason}: correct the file, and the next run reads it")));
    }
    (lines, lost)
}
