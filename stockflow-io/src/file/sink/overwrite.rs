//! Mode overwrite: one object, written beside its place and moved there.

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::file::metadata::KeyValue;
use sha2::{Digest, Sha256};
use stockflow_core::sink::{EpochRows, Written};
use stockflow_core::token::EpochToken;
use stockflow_core::{Error, Result};

use super::log::{DataFile, Entry, beside};
use super::order::sorting_task;
use super::{Contents, FileSink, Opened, StagedFiles, attempt, encode, fenced};
use crate::file::decode::{ParquetReader, pin_of};
use crate::file::format::FileFormat;
use crate::location::{Location, origin};

const TOKEN: &str = "stockflow.token";
const SINK: &str = "stockflow.sink";

impl FileSink {
    pub(super) async fn stage_object(&self, opened: &Opened, epoch: &EpochToken, rows: &EpochRows) -> Result<DataFile> {
        let file = attempt::name("staged", opened.generation, self.format.as_str());
        let footer =
            vec![KeyValue::new(TOKEN.into(), epoch.to_string()), KeyValue::new(SINK.into(), opened.sink.to_string())];
        let task = sorting_task(rows.frame().task_ctx(), 1)?;
        self.target(file, beside(&self.place), footer).write(rows.stream().await?, task).await
    }

    pub(super) async fn commit_object(&self, token: EpochToken, staged: StagedFiles) -> Result<Written> {
        let opened = self.opened()?;
        let Some(file) = staged.files.first().cloned() else { return Err(Error::internal("nothing was staged")) };
        let next =
            Contents { token: token.to_string(), columns: staged.columns, segments: Vec::new(), files: staged.files };
        let entry = self.new_entry(&opened).with_visible(opened.visible.clone()).with_next(Some(next.clone()));
        let last = self.publish(&opened, &entry).await?;
        let from = beside(&self.place).join(&file.file);
        if let Err(error) = self.place.store().rename(from.path(), self.place.path()).await {
            // A newer runner removes what older ones staged.
            if let Some((_, entry)) = self.newest(&opened.sink).await?
                && entry.generation > opened.generation.0
            {
                return Err(fenced(&opened, entry.generation));
            }
            self.remember(Opened { last, ..opened });
            return Err(Error::connector(origin(&self.text), "move", error));
        }
        self.remember(Opened { last, visible: Some(next), ..opened });
        Ok(Written { rows: file.rows, bytes: Some(file.bytes), location: self.text.clone(), refused: Vec::new() })
    }

    /// What the object at the place really is: the epoch that the log says, the one that was about to be moved there, or
    /// something that this sink did not write.
    pub(super) async fn visible_object(&self, newest: Option<Entry>) -> Result<Option<Contents>> {
        let Some(meta) = self.place.exists().await? else { return Ok(None) };
        let Some(entry) = newest else { return Ok(None) };
        let candidates: Vec<Contents> = entry.next.into_iter().chain(entry.visible).collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let is_at_place: Box<dyn Fn(&Contents) -> bool + Send> = match self.format {
            FileFormat::Parquet => {
                let token = token_in_footer(&self.place, &meta).await;
                Box::new(move |contents| Some(&contents.token) == token.as_ref())
            }
            FileFormat::Csv | FileFormat::Ndjson => {
                let hash = hash(&self.place).await?;
                Box::new(move |contents| contents.files.first().is_some_and(|file| file.sha256 == hash))
            }
        };
        Ok(candidates.into_iter().find(|contents| is_at_place(contents)))
    }

    /// Removes what older runners staged: they cannot move it to its place any more.
    pub(super) async fn remove_objects(&self, opened: &Opened) -> Result<()> {
        let folder = beside(&self.place);
        for meta in folder.list().await? {
            if meta.location.filename().is_some_and(|name| attempt::is_older(name, opened.generation)) {
                folder.delete(&meta.location).await?;
            }
        }
        let Some(folder) = folder.local_path() else { return Ok(()) };
        attempt::remove_uploads(folder, opened.generation)
            .map_err(|error| Error::connector(origin(&self.text), "delete", error))
    }
}

/// The token in a Parquet file's footer; `None` if it is no Parquet file of ours.
async fn token_in_footer(place: &Location, meta: &object_store::ObjectMeta) -> Option<String> {
    let reader = ParquetReader::new(place, pin_of(place, meta));
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.ok()?;
    let footer = builder.metadata().file_metadata().key_value_metadata()?;
    footer.iter().find(|pair| pair.key == TOKEN)?.value.clone()
}

async fn hash(place: &Location) -> Result<String> {
    let failed = |error| Error::connector(origin(place.text()), "read", error);
    let mut blocks = place.store().get(place.path()).await.map_err(failed)?.into_stream();
    let mut hash = Sha256::new();
    while let Some(block) = blocks.try_next().await.map_err(failed)? {
        hash.update(&block);
    }
    Ok(encode::hex(hash))
}
