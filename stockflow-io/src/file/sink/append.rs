//! Mode append: epoch-named files that the log makes visible.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use futures::StreamExt;
use stockflow_core::sink::{EpochRows, Written};
use stockflow_core::token::EpochToken;
use stockflow_core::{Error, Result};
use uuid::Uuid;

use super::log::DataFile;
use super::{Contents, FileSink, Opened, StagedFiles, encode};

impl FileSink {
    /// Writes each partition that has rows as a file of its own. The nonce keeps an attempt that is still running
    /// somewhere from writing into a file that this one publishes.
    pub(super) async fn stage_parts(
        &self,
        epoch: &EpochToken,
        rows: &EpochRows,
        schema: &SchemaRef,
    ) -> Result<Vec<DataFile>> {
        let nonce = Uuid::new_v4().simple().to_string();
        let nonce = nonce.get(..8).unwrap_or_default();
        let mut tasks = Vec::new();
        for (part, stream) in rows.partitions().await?.into_iter().enumerate() {
            let file = format!("epoch={:010}/part-{part:05}-{nonce}.{}", epoch.epoch, self.format);
            let (place, format, schema) = (self.place.join(&file), self.format, Arc::clone(schema));
            tasks.push(SpawnedTask::spawn(async move {
                // An empty partition leaves no file: look before opening one.
                let mut stream = stream.peekable();
                match std::pin::Pin::new(&mut stream).peek().await {
                    None => Ok(None),
                    Some(_) => {
                        let stream = Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(
                            Arc::clone(&schema),
                            stream,
                        ));
                        encode::write(&place, file, format, &schema, stream, Vec::new()).await.map(Some)
                    }
                }
            }));
        }
        let mut files: Vec<DataFile> = Vec::new();
        let mut failed = None;
        for task in tasks {
            match task.join().await {
                Ok(Ok(file)) => files.extend(file),
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(error) => {
                    failed = failed.or(Some(Error::internal(format!("a writer of `{}` stopped: {error}", self.text))))
                }
            }
        }
        match failed {
            None => Ok(files),
            Some(error) => {
                if let Err(error) = self.drop_staged(&files).await {
                    tracing::debug!(%error, "staged files stay until the sink is opened again");
                }
                Err(error)
            }
        }
    }

    pub(super) async fn commit_parts(&self, token: EpochToken, staged: StagedFiles) -> Result<Written> {
        let opened = self.opened()?;
        let rows = staged.files.iter().map(|file| file.rows).sum();
        let bytes = staged.files.iter().map(|file| file.bytes).sum();
        let location = self.text.clone();
        if opened.newer.is_none() && opened.visible.as_ref().and_then(Contents::token) == Some(token) {
            // Held already: a second time would double the rows.
            self.drop_staged(&staged.files).await?;
            return Ok(Written { rows, bytes: Some(bytes), location, refused: Vec::new() });
        }
        let mut files = opened.visible.as_ref().map(|visible| visible.files.clone()).unwrap_or_default();
        files.extend(staged.files.into_iter().filter(|file| file.rows > 0));
        let visible = Contents { token: token.to_string(), columns: staged.columns, files };
        let entry = self.new_entry(&opened).with_visible(Some(visible.clone()));
        let last = self.publish(&opened, &entry).await?;
        self.remember(Opened { last, visible: Some(visible), ..opened });
        Ok(Written { rows, bytes: Some(bytes), location, refused: Vec::new() })
    }

    /// Removes files of ours that no entry lists: what other attempts left.
    pub(super) async fn remove_parts(&self, visible: Option<&Contents>) -> Result<()> {
        let listed: HashSet<String> = visible
            .iter()
            .flat_map(|visible| &visible.files)
            .map(|file| self.place.join(&file.file).path().to_string())
            .collect();
        for meta in self.place.list().await? {
            let Some(parts) = meta.location.prefix_match(self.place.path()) else { continue };
            let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            let is_ours =
                matches!(parts.as_slice(), [folder, file] if folder.starts_with("epoch=") && file.starts_with("part-"));
            if is_ours && !listed.contains(meta.location.as_ref()) {
                tracing::debug!(file = %meta.location, "a file of an unfinished attempt is removed");
                self.place.delete(&meta.location).await?;
            }
        }
        Ok(())
    }
}
