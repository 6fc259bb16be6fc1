//! `stockflow status [PIPELINE.toml]`

use std::io::Write;

use chrono::Utc;
use indicatif::{HumanCount, HumanDuration};
use stockflow_core::pipeline::Status;

use crate::args::{Global, PipelineArgs};
use crate::assemble::{self, Opening};
use crate::exit::{Exit, Outcome};
use crate::render::{self, stdout};

/// Partitions that are listed.
const SHOWN: usize = 20;

/// Prints the last epoch, how long ago it was, and what the next run would read. Claims nothing, disturbs no runner.
pub(crate) async fn run(args: PipelineArgs, global: &Global) -> Outcome {
    let config = assemble::config(&args, global)?;
    let status = assemble::pipeline(&config, global, Opening::Everything).await?.status().await?;
    let listing = config.source.list().await?;
    if global.json {
        let mut value = serde_json::to_value(&status).unwrap_or_default();
        value["lag_seconds"] = status.committed.map(|at| (Utc::now() - at).num_seconds()).into();
        value["skipped"] = serde_json::to_value(render::worth_telling(&listing)).unwrap_or_default();
        render::json(&value)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    print(&mut out, &status)?;
    render::skipped(&mut out, &listing)?;
    out.flush()?;
    Ok(Exit::Done)
}

fn print(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    writeln!(out, "pipeline     {}", status.pipeline)?;
    match (status.epoch, status.committed) {
        (Some(epoch), Some(at)) => {
            let ago = (Utc::now() - at).to_std().unwrap_or_default();
            writeln!(
                out,
                "last epoch   {epoch}, {} ({} ago), generation {}",
                at.format("%Y-%m-%d %H:%M:%S UTC"),
                HumanDuration(ago),
                status.generation
            )?;
        }
        _ => writeln!(out, "last epoch   none yet")?,
    }
    if let Some(epoch) = status.open_epoch {
        writeln!(out, "open epoch   {epoch} was begun and not finished; the next run finishes it first")?;
    }
    for (sink, rows) in &status.rows {
        writeln!(out, "sink         {sink}: {} rows in the last epoch", HumanCount(*rows))?;
    }
    if status.dead_letters > 0 {
        writeln!(out, "refused      {} rows in the last epoch", HumanCount(status.dead_letters))?;
    }
    for part in &status.left_out {
        writeln!(out, "left out     {}: {}", part.partition, part.reason)?;
    }
    let rows = status.next_rows.map_or_else(String::new, |rows| format!(", about {} rows", HumanCount(rows)));
    match status.next.len() {
        0 => writeln!(out, "next         nothing new")?,
        n => writeln!(out, "next         {n} partitions{rows}")?,
    }
    for (partition, position) in status.next.iter().take(SHOWN) {
        writeln!(out, "  {partition}@{position}")?;
    }
    if status.next.len() > SHOWN {
        writeln!(out, "  and {} more", status.next.len() - SHOWN)?;
    }
    Ok(())
}
