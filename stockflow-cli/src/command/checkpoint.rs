//! `stockflow checkpoint show|rewind|reset`

use std::io::Write;

use stockflow_core::checkpoint::Checkpoint;

use crate::args::{CheckpointCommand, Global, PipelineArgs};
use crate::assemble::{self, Opening};
use crate::config::PipelineConfig;
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, say, stdout};

/// Epochs that are looked at for a message.
const SHOWN: usize = 20;

/// Shows how far a pipeline has come, or commits an older position as a new epoch.
pub(crate) async fn run(command: CheckpointCommand, global: &Global) -> Outcome {
    match command {
        CheckpointCommand::Show(args) => {
            let pipeline = assemble::pipeline(&assemble::config(&args, global)?, global, Opening::Everything).await?;
            show(&pipeline.checkpoint().await?, global)
        }
        CheckpointCommand::Rewind { epoch, pipeline: args } => {
            let config = assemble::config(&args, global)?;
            check_epoch(&config, epoch, global).await?;
            let pipeline = for_writing(&args, global).await?;
            let checkpoint = pipeline.rewind(epoch).await?;
            note(
                global,
                &format!("set back to where epoch {epoch} ended; what came later is read again by the next run"),
            );
            show(&checkpoint, global)
        }
        CheckpointCommand::Reset(args) => {
            let pipeline = for_writing(&args, global).await?;
            let checkpoint = pipeline.reset().await?;
            note(global, "set back to the start; everything is read again by the next run");
            show(&checkpoint, global)
        }
    }
}

/// Refuses an epoch that the store does not have, with those that it has.
async fn check_epoch(config: &PipelineConfig, epoch: u64, global: &Global) -> Outcome<()> {
    let Some(store) = assemble::store(config, global)? else { return Ok(()) };
    if store.at_epoch(epoch).await?.is_some() {
        return Ok(());
    }
    let last = store.head().await?.commit.map_or(0, |commit| commit.epoch);
    let mut there = Vec::new();
    for number in (1..=last).rev().take(SHOWN) {
        if store.at_epoch(number).await?.is_some() {
            there.push(number.to_string());
        }
    }
    let failure = Failure::usage(format!("pipeline `{}` has no epoch {epoch} in its store", config.name));
    Err(match there.as_slice() {
        [] => failure.or_next("run it first, or go back to the start with `stockflow checkpoint reset`"),
        epochs => failure.or_next(format!("the last ones are {}", epochs.join(", "))),
    })
}

async fn for_writing(args: &PipelineArgs, global: &Global) -> Outcome<stockflow_core::pipeline::Pipeline> {
    note(global, "this fences a runner of the same pipeline: it stops with exit code 4");
    assemble::pipeline(&assemble::config(args, global)?, global, Opening::Everything).await
}

fn note(global: &Global, text: &str) {
    if !global.quiet {
        say(text);
    }
}

fn show(checkpoint: &Checkpoint, global: &Global) -> Outcome {
    if global.json {
        render::json(checkpoint)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    if checkpoint.is_empty() {
        writeln!(out, "nothing has been read yet")?;
    }
    for (partition, position) in checkpoint.iter() {
        writeln!(out, "{partition}@{position}")?;
    }
    out.flush()?;
    Ok(Exit::Done)
}
