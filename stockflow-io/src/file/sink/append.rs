//! Mode append: epoch-named files that the log makes visible.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use stockflow_core::sink::{EpochRows, Written};
use stockflow_core::token::EpochToken;
use stockflow_core::{Error, Result};

use super::log::DataFile;
use super::order::sorting_task;
use super::{Contents, FileSink, Opened, StagedFiles, attempt, segment};
use crate::location::origin;

/// After so many commits the log is pruned, so that a long run need not be opened again.
const PRUNE: u64 = 32;

impl FileSink {
    /// Writes each partition that has rows as a file of its own.
    pub(super) async fn stage_parts(
        &self,
        opened: &Opened,
        epoch: &EpochToken,
        rows: &EpochRows,
        schema: &SchemaRef,
    ) -> Result<Vec<DataFile>> {
        let partitions = rows.partitions().await?;
        let task = sorting_task(rows.frame().task_ctx(), partitions.len())?;
        let mut tasks = Vec::new();
        for (part, stream) in partitions.into_iter().enumerate() {
            let name = attempt::name(&format!("part-{part:05}"), opened.generation, self.format.as_str());
            let target = self.target(format!("epoch={:010}/{name}", epoch.epoch), self.place.clone(), Vec::new());
            let (schema, task) = (Arc::clone(schema), Arc::clone(&task));
            tasks.push(SpawnedTask::spawn(async move {
                // An empty partition leaves no file: look before opening one.
                let mut stream = stream.peekable();
                match std::pin::Pin::new(&mut stream).peek().await {
                    None => Ok(None),
                    Some(_) => {
                        target.write(Box::pin(RecordBatchStreamAdapter::new(schema, stream)), task).await.map(Some)
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
        let (segments, mut files) = match &opened.visible {
            Some(visible) => (visible.segments.clone(), visible.files.clone()),
            None => Default::default(),
        };
        files.extend(staged.files.into_iter().filter(|file| file.rows > 0));
        let visible = Contents { token: token.to_string(), columns: staged.columns, segments, files };
        let visible = segment::cut(&self.place, opened.generation, visible).await?;
        let entry = self.new_entry(&opened).with_visible(Some(visible.clone()));
        let last = self.publish(&opened, &entry).await?;
        self.remember(Opened { last, visible: Some(visible), ..opened });
        if last % PRUNE == 0
            && let Err(error) = self.log().prune(last).await
        {
            tracing::debug!(%error, "old log entries stay until the sink is opened again");
        }
        Ok(Written { rows, bytes: Some(bytes), location, refused: Vec::new() })
    }

    /// Removes what older runners left: their files and segments that the log, read after our claim, does not name.
    pub(super) async fn remove_parts(&self, opened: &Opened, visible: Option<&Contents>) -> Result<()> {
        let mut named = HashSet::new();
        if let Some(visible) = visible {
            named.extend(segment::files(&self.place, visible).await?.into_iter().map(|file| file.file));
            named.extend(visible.segments.iter().map(|name| format!("{}/{name}", segment::FOLDER)));
        }
        for meta in self.place.list().await? {
            let Some(parts) = meta.location.prefix_match(self.place.path()) else { continue };
            let below = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            let Some((folder, name)) = below.rsplit_once('/') else { continue };
            if is_ours(folder) && attempt::is_older(name, opened.generation) && !named.contains(&below) {
                tracing::debug!(file = below, "a file of an unfinished attempt is removed");
                self.place.delete(&meta.location).await?;
            }
        }
        self.remove_uploads(opened).map_err(|error| Error::connector(origin(&self.text), "delete", error))
    }

    fn remove_uploads(&self, opened: &Opened) -> std::io::Result<()> {
        let Some(output) = self.place.local_path().filter(|output| output.is_dir()) else { return Ok(()) };
        attempt::remove_uploads(&output.join(segment::FOLDER), opened.generation)?;
        for entry in std::fs::read_dir(output)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_ours) {
                attempt::remove_uploads(&entry.path(), opened.generation)?;
            }
        }
        Ok(())
    }
}

/// Whether files of ours are in a folder, named by its path below the output.
fn is_ours(folder: &str) -> bool {
    folder == segment::FOLDER || (folder.starts_with("epoch=") && !folder.contains('/'))
}
