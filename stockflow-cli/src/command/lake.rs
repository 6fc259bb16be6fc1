//! `stockflow lake maintain`

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};
use stockflow_core::store::CheckpointStore;
use stockflow_io::location::Location;

use crate::args::{Global, LakeCommand};
use crate::config::nearest;
use crate::connectors::{self, Maintained};
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, stdout};
use crate::tables;

/// Puts small files of the lake's tables together and removes old ones; says what it would do unless told to do it.
pub(crate) async fn run(command: LakeCommand, global: &Global) -> Outcome {
    let LakeCommand::Maintain { tables, apply, retain_hours } = command;
    let retention = Duration::from_secs(retain_hours.saturating_mul(3600));
    let lake = Location::parse(&global.data_dir)?;
    if apply {
        check_open_epochs(&lake, retention).await?;
    }
    let mut done = Vec::new();
    for name in chosen(&lake, tables).await? {
        done.push(connectors::maintain(&lake.join(&name), retention, apply).await?);
    }
    if global.json {
        render::json(&done)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    for table in &done {
        print(&mut out, table, apply)?;
    }
    if !apply {
        writeln!(out, "nothing was changed; do it with `--apply`")?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Refuses to remove files that an unfinished epoch may still want to read: it compares with the version that it was planned on.
async fn check_open_epochs(lake: &Location, retention: Duration) -> Outcome<()> {
    let stores = lake.join("checkpoints");
    for name in tables::subfolders(&stores).await? {
        let store = stores.join(&name);
        let head = CheckpointStore::new(Arc::clone(store.store()), store.path().clone()).head().await?;
        let Some(open) = head.open else { continue };
        let age = chrono::Utc::now().signed_duration_since(open.now).to_std().unwrap_or_default();
        if age >= retention {
            return Err(Failure::failed(format!(
                "epoch {} of pipeline `{name}` is not finished, and needs the files that were there when it began",
                open.epoch
            ))
            .or_next("finish it with `stockflow run`, then maintain the lake"));
        }
    }
    Ok(())
}

/// The named tables, or all.
async fn chosen(lake: &Location, named: Vec<String>) -> Outcome<Vec<String>> {
    let there = tables::lake_tables(lake).await?;
    if there.is_empty() {
        return Err(Failure::usage(format!("there is no table in `{}`", lake.text()))
            .or_next("fill it with `stockflow run`, or name the folder with `--data-dir`"));
    }
    if let Some(unknown) = named.iter().find(|name| !there.contains(name)) {
        let failure = Failure::usage(format!("there is no table `{unknown}` in `{}`", lake.text()));
        return Err(match nearest(unknown, there.iter().map(String::as_str)) {
            Some(near) => failure.or_next(format!("did you mean `{near}`?")),
            None => failure.or_next(format!("there are `{}`", there.join("`, `"))),
        });
    }
    Ok(if named.is_empty() { there } else { named })
}

fn print(out: &mut impl Write, table: &Maintained, apply: bool) -> std::io::Result<()> {
    let before: u64 = table.compacted.iter().map(|part| part.files_before).sum();
    let after: u64 = table.compacted.iter().map(|part| part.files_after).sum();
    let removed = format!("{} files with {}", HumanCount(table.removed_files), HumanBytes(table.removed_bytes));
    if apply {
        writeln!(out, "{}: put {before} small files together to {after}; removed {removed}", table.table)?;
    } else {
        writeln!(
            out,
            "{}: would put {before} small files of {} partitions together; would remove {removed}",
            table.table,
            table.compacted.len()
        )?;
    }
    for partition in &table.given_way {
        writeln!(out, "  {partition}: a writer was faster, left for the next time")?;
    }
    Ok(())
}
