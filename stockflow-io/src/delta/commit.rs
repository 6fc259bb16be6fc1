//! Making a staged epoch visible.
//!
//! Each try reads the table anew: a token that is held already means done, another owner means fenced, rows that were changed by
//! others mean that the epoch is staged again; else everything goes into the version right after the one that was read.

use std::collections::BTreeSet;

use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use stockflow_core::Result;
use stockflow_core::sink::{WriteMode, Written};
use stockflow_core::telemetry::WRITTEN;
use stockflow_core::token::EpochToken;

use super::attempt::{Attempt, Revisions, Settings};
use super::error::{busy, refused};
use super::open::{FileName, Opened, TRIES};
use super::table::{Moved, Table};
use super::tidy::tidy;

/// How often an epoch is staged again because others changed the table.
const RESTAGED: usize = 3;

pub(super) async fn commit(
    settings: &Settings,
    opened: &mut Opened,
    token: &EpochToken,
    mut attempt: Attempt,
) -> Result<Written> {
    let mut moved = Moved::default();
    let mut restaged = 0;
    for _ in 0..TRIES {
        moved = moved.and(refresh(&mut opened.table).await?);
        if opened.table.held().token() == Some(*token) {
            if opened.table.held().attempt != Some(attempt.id) {
                attempt.discard().await?;
            }
            return Ok(written(opened, &attempt));
        }
        opened.check_fence(opened.table.held())?;
        if is_outdated(settings, &opened.table, &attempt, moved)? {
            if restaged == RESTAGED {
                break;
            }
            restaged += 1;
            attempt.discard().await?;
            attempt = Attempt::write(settings, opened, token, &attempt.source.clone()).await?;
            moved = Moved::default();
            continue;
        }
        withdraw_abandoned(opened, token).await?;
        if let Some(revisions) = attempt.revisions.take() {
            commit_revisions(opened, token, attempt.id, &revisions).await?;
        }
        let actions = actions(settings, opened, token, &attempt)?;
        tracing::debug!(name: WRITTEN, table = %settings.place.text, epoch = token.epoch, "the version is written next");
        match opened.table.commit(actions, operation(settings, &attempt)).await {
            Ok(true) => {
                // Durable; that it cannot be read back now is the next step's concern.
                let read = opened.table.refresh().await;
                let written = written(opened, &attempt);
                if read.is_ok() && settings.mode != WriteMode::Overwrite {
                    tidy(settings, &mut opened.table).await;
                    tidy(settings, &mut opened.revisions).await;
                }
                return Ok(written);
            }
            Ok(false) => {}
            // A commit whose answer was lost is a commit: read before deciding.
            Err(error) => match opened.table.refresh().await {
                Ok(_) if opened.table.held().token() == Some(*token) => return Ok(written(opened, &attempt)),
                _ => return Err(error),
            },
        }
    }
    Err(busy(&settings.place.text, "others change the table all the time, so the epoch could not be committed"))
}

impl Moved {
    fn and(self, other: Self) -> Self {
        Self { data: self.data || other.data, metadata: self.metadata || other.metadata }
    }
}

async fn refresh(table: &mut Table) -> Result<Moved> {
    let text = table.place.text.clone();
    table
        .refresh()
        .await?
        .ok_or_else(|| refused(&text, "the table was removed while it was being written to; run again to make it anew"))
}

/// Whether what was staged is wrong for the table as it is now.
fn is_outdated(settings: &Settings, table: &Table, attempt: &Attempt, moved: Moved) -> Result<bool> {
    if moved.metadata || (attempt.compared && moved.data) {
        return Ok(true);
    }
    if attempt.removes.is_empty() || settings.mode == WriteMode::Overwrite {
        return Ok(false);
    }
    // Compaction changes no rows, but it may have taken away a file that was to be rewritten.
    let files = table.files()?;
    let there: BTreeSet<&str> = files.values().flatten().map(|file| file.path.as_str()).collect();
    Ok(attempt.removes.iter().any(|remove| !there.contains(remove.path.as_str())))
}

fn actions(settings: &Settings, opened: &Opened, token: &EpochToken, attempt: &Attempt) -> Result<Vec<Action>> {
    let mut actions: Vec<Action> = attempt.metadata.iter().cloned().map(Action::Metadata).collect();
    if settings.mode == WriteMode::Overwrite {
        actions.extend(opened.table.files()?.values().flatten().map(|file| Action::Remove(file.remove(true))));
    }
    actions.extend(attempt.removes.iter().cloned().map(Action::Remove));
    actions.extend(attempt.adds.iter().cloned().map(Action::Add));
    actions.extend(opened.table.ids().epoch(token, attempt.id));
    Ok(actions)
}

fn operation(settings: &Settings, attempt: &Attempt) -> DeltaOperation {
    let partition_by = (!attempt.partition.is_empty()).then(|| attempt.partition.clone());
    if !attempt.removes.is_empty() {
        return DeltaOperation::Merge {
            predicate: None,
            merge_predicate: None,
            matched_predicates: Vec::new(),
            not_matched_predicates: Vec::new(),
            not_matched_by_source_predicates: Vec::new(),
        };
    }
    let mode = if settings.mode == WriteMode::Overwrite { SaveMode::Overwrite } else { SaveMode::Append };
    DeltaOperation::Write { mode, partition_by, predicate: None }
}

/// Takes the rows of an abandoned epoch out of the revisions: its runner died between the two commits, and what it had read has
/// changed since, so that another epoch comes in its place.
async fn withdraw_abandoned(opened: &mut Opened, token: &EpochToken) -> Result<()> {
    for _ in 0..TRIES {
        let (held, table) = (opened.revisions.held(), opened.table.held().token());
        let is_ahead = |held: &EpochToken| {
            held != token
                && table.is_none_or(|table| held.epoch > table.epoch || held.epoch == table.epoch && *held != table)
        };
        let (Some(abandoned), Some(attempt)) = (held.token().filter(is_ahead), held.attempt) else { return Ok(()) };
        refresh(&mut opened.revisions).await?;
        opened.keep_revisions().await?;
        let files = opened.revisions.files()?;
        let of_attempt = |path: &str| FileName::parse(path).is_some_and(|name| name.attempt == attempt);
        let mut actions: Vec<Action> = files
            .values()
            .flatten()
            .filter(|file| of_attempt(&file.path))
            .map(|file| Action::Remove(file.remove(true)))
            .collect();
        let nothing = EpochToken { epoch: 0, hash: 0 };
        let before = opened.table.held().attempt.unwrap_or_default();
        actions.extend(opened.revisions.ids().epoch(&table.unwrap_or(nothing), before));
        if opened.revisions.held().token() == Some(abandoned) {
            opened.revisions.commit(actions, super::open::note()).await?;
        }
        refresh(&mut opened.revisions).await?;
    }
    Err(busy(
        &opened.revisions.place.text,
        "others change the table all the time, so an abandoned epoch could not be withdrawn",
    ))
}

/// Makes what will be replaced visible in the revisions table.
///
/// Should the table's own commit never follow, the rows stand in both tables until the epoch is repeated, which finds the token here.
pub(super) async fn commit_revisions(
    opened: &mut Opened,
    token: &EpochToken,
    attempt: i64,
    revisions: &Revisions,
) -> Result<()> {
    for _ in 0..TRIES {
        let moved = refresh(&mut opened.revisions).await?;
        let held = opened.revisions.held();
        if held.token() == Some(*token) {
            if held.attempt != Some(attempt) {
                revisions.files.discard().await?;
            }
            return Ok(());
        }
        opened.keep_revisions().await?;
        if moved.metadata {
            return Err(busy(&opened.revisions.place.text, "the table's columns were changed by others"));
        }
        let mut actions: Vec<Action> = revisions.metadata.iter().cloned().map(Action::Metadata).collect();
        actions.extend(revisions.adds.iter().cloned().map(Action::Add));
        actions.extend(opened.revisions.ids().epoch(token, attempt));
        match opened.revisions.commit(actions, super::open::note()).await {
            Ok(_) => {}
            Err(error) => match opened.revisions.refresh().await {
                Ok(_) if opened.revisions.held().token() == Some(*token) => return Ok(()),
                _ => return Err(error),
            },
        }
    }
    Err(busy(&opened.revisions.place.text, "others change the table all the time, so the epoch could not be committed"))
}

fn written(opened: &Opened, attempt: &Attempt) -> Written {
    let version = opened.table.version().map(|version| format!("@{version}")).unwrap_or_default();
    Written {
        rows: attempt.rows,
        bytes: Some(attempt.bytes()),
        location: format!("{}{version}", opened.table.place.text),
        refused: Vec::new(),
    }
}
