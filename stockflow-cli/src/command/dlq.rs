//! `stockflow dlq list|show|replay|purge`

use std::io::{IsTerminal, Write};

use serde_json::json;
use stockflow_core::pipeline::{NotReplayed, ReplayLetters, RunOptions, RunReport, Shutdown};
use stockflow_core::store::{CheckpointStore, LetterFilter, StoredLetter};

use super::run::listen;
use crate::args::{DlqCommand, Global, LetterArgs, PipelineArgs};
use crate::assemble::{self, Opening};
use crate::config::PipelineConfig;
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, Reasons, say, stdout};

/// Letters that are told one by one after a replay.
const SHOWN: usize = 20;

/// Lists, shows, replays or removes the dead letters that a pipeline's checkpoint store keeps.
pub(crate) async fn run(command: DlqCommand, global: &Global) -> Outcome {
    match command {
        DlqCommand::List { pipeline, letters, all, limit } => {
            list(&pipeline, &letters.filter(all), limit.unwrap_or(usize::MAX), global).await
        }
        DlqCommand::Show { id, pipeline } => show(&pipeline, id, global).await,
        DlqCommand::Replay { pipeline, letters, mended } => replay(&pipeline, letters, mended, global).await,
        DlqCommand::Purge { pipeline, letters, all, yes } => purge(&pipeline, &letters.filter(all), yes, global).await,
    }
}

/// The store that keeps the letters; nothing else of the pipeline is opened.
async fn store(config: &PipelineConfig, global: &Global) -> Outcome<CheckpointStore> {
    let store = assemble::store(config, global)?.ok_or_else(|| {
        Failure::usage(format!("pipeline `{}` keeps its store in memory, and so no dead letters", config.name))
            .or_next("give it a `store` in its file")
    })?;
    // Another pipeline's letters would be taken for its own.
    store.head_of(&config.name).await?;
    Ok(store)
}

async fn list(args: &PipelineArgs, filter: &LetterFilter, limit: usize, global: &Global) -> Outcome {
    let config = assemble::config(args, global)?;
    let store = store(&config, global).await?;
    let (mut letters, mut reasons, mut more) = (Vec::new(), Reasons::new(), false);
    let mut reader = store.letters().await?;
    while let Some(letter) = reader.next().await? {
        if !filter.matches(&letter) {
            continue;
        }
        if letters.len() == limit {
            more = true;
            break;
        }
        *reasons.entry(render::kind_of_reason(&letter.letter.reason)).or_default() += 1;
        letters.push(letter);
    }
    if global.json {
        render::json(&json!({"pipeline": config.name, "letters": letters, "reasons": reasons, "more": more}))?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    if letters.is_empty() {
        writeln!(
            out,
            "pipeline {} has no such {}dead letters",
            config.name,
            if filter.replayed { "" } else { "open " }
        )?;
        out.flush()?;
        return Ok(Exit::Done);
    }
    render::letters(&mut out, &letters)?;
    writeln!(out)?;
    render::reasons(&mut out, &reasons)?;
    writeln!(out, "\n{} letters{}", letters.len(), if more { "; there are more, older ones" } else { "" })?;
    out.flush()?;
    Ok(Exit::Done)
}

async fn show(args: &PipelineArgs, id: String, global: &Global) -> Outcome {
    let config = assemble::config(args, global)?;
    let store = store(&config, global).await?;
    let filter = LetterFilter { ids: vec![id.to_lowercase()], replayed: true, ..LetterFilter::default() };
    let mut found: Vec<StoredLetter> = Vec::new();
    let mut reader = store.letters().await?;
    while let Some(letter) = reader.next().await? {
        if filter.matches(&letter) {
            found.push(letter);
        }
    }
    let [letter] = found.as_slice() else {
        let failure = Failure::usage(match found.len() {
            0 => format!("pipeline `{}` has no dead letter `{id}`", config.name),
            n => format!("{n} dead letters begin with `{id}`"),
        });
        return Err(failure.or_next("`stockflow dlq list --all` shows the ids"));
    };
    if global.json {
        let mut value = serde_json::to_value(letter).map_err(|error| Failure::failed(error.to_string()))?;
        // A row or a message is JSON itself.
        if let Ok(payload @ serde_json::Value::Object(_)) = serde_json::from_str(&letter.letter.payload) {
            value["payload"] = payload;
        }
        render::json(&value)?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    render::letter(&mut out, letter)?;
    out.flush()?;
    Ok(Exit::Done)
}

async fn replay(args: &PipelineArgs, letters: LetterArgs, mended: bool, global: &Global) -> Outcome {
    let config = assemble::config(args, global)?;
    let filter = letters.filter(false);
    if !any(&store(&config, global).await?, &filter).await? {
        return nothing(&config, global);
    }
    let pipeline = assemble::pipeline(&config, global, Opening::Everything).await?;
    if !global.quiet {
        say("this replay fences a runner of the same pipeline: it stops with exit code 4");
    }
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(listen(shutdown.clone()));
    let letters = Some(ReplayLetters { filter, mended });
    let options = RunOptions { letters, shutdown, progress: render::progress(global), ..RunOptions::default() };
    let report = pipeline.run(options).await;
    signals.abort();
    let report = report?;
    let exit = if report.is_complete() && report.refused_again() == 0 && report.not_replayed.is_empty() {
        Exit::Done
    } else {
        Exit::Partly
    };
    tell(&report, exit, global)?;
    Ok(exit)
}

async fn any(store: &CheckpointStore, filter: &LetterFilter) -> Outcome<bool> {
    let mut reader = store.letters().await?;
    while let Some(letter) = reader.next().await? {
        if filter.matches(&letter) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn nothing(config: &PipelineConfig, global: &Global) -> Outcome {
    if global.json {
        render::json(
            &json!({"pipeline": config.name, "epochs": [], "replayed": 0, "refused_again": 0, "not_replayed": [], "exit_code": 0}),
        )?;
    } else {
        let mut out = stdout();
        writeln!(out, "pipeline {} has no such open dead letters", config.name)?;
        out.flush()?;
    }
    Ok(Exit::Done)
}

fn tell(report: &RunReport, exit: Exit, global: &Global) -> Outcome<()> {
    let (replayed, again) = (report.replayed(), report.refused_again());
    if global.json {
        let mut value = serde_json::to_value(report).map_err(|error| Failure::failed(error.to_string()))?;
        value["replayed"] = replayed.into();
        value["refused_again"] = again.into();
        value["not_replayed"] = json!(report.not_replayed);
        value["exit_code"] = exit.code().into();
        return render::json(&value);
    }
    let mut out = stdout();
    writeln!(out, "pipeline {}", report.pipeline)?;
    if !report.epochs.is_empty() {
        render::report(&mut out, report)?;
    }
    writeln!(out, "{replayed} letters went through and are closed; {again} were refused again and stay open")?;
    for NotReplayed { letter, reason } in report.not_replayed.iter().take(SHOWN) {
        writeln!(out, "  {} {}@{} stays: {reason}", letter.id, letter.letter.partition, letter.letter.position)?;
    }
    if let Some(more) = report.not_replayed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        writeln!(out, "  and {more} more cannot be replayed")?;
    }
    out.flush()?;
    Ok(())
}

async fn purge(args: &PipelineArgs, filter: &LetterFilter, yes: bool, global: &Global) -> Outcome {
    let config = assemble::config(args, global)?;
    let store = store(&config, global).await?;
    if !yes && !confirm(&config, &store, filter).await? {
        return Ok(Exit::Done);
    }
    let purged = store.purge_letters(filter).await?;
    let copies = config.dead_letters.as_ref().map(|sink| sink.path().unwrap_or("the console").to_owned());
    if global.json {
        render::json(&json!({
            "pipeline": config.name, "removed": purged.letters, "epochs": purged.epochs, "copies_left_in": copies,
        }))?;
        return Ok(Exit::Done);
    }
    let mut out = stdout();
    writeln!(out, "removed {} letters of {} epochs from the checkpoint store", purged.letters, purged.epochs)?;
    if let Some(copies) = copies.filter(|_| purged.letters > 0) {
        writeln!(
            out,
            "their copies in the dead-letter sink ({copies}) stay: remove them there if they are to go, too"
        )?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Asks whoever sits at the terminal; nobody there is no consent.
async fn confirm(config: &PipelineConfig, store: &CheckpointStore, filter: &LetterFilter) -> Outcome<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("dead letters are removed for good, and there is no terminal to ask on")
            .or_next("look at them with `stockflow dlq list`, then say `--yes`"));
    }
    let mut reasons = Reasons::new();
    let mut reader = store.letters().await?;
    while let Some(letter) = reader.next().await? {
        if filter.matches(&letter) {
            *reasons.entry(render::kind_of_reason(&letter.letter.reason)).or_default() += 1;
        }
    }
    let n: u64 = reasons.values().sum();
    let mut err = std::io::stderr();
    if n == 0 {
        writeln!(err, "pipeline {} has no such dead letters", config.name)?;
        return Ok(false);
    }
    render::reasons(&mut err, &reasons)?;
    write!(err, "\nremove these {n} dead letters of pipeline {} for good? [y/N] ", config.name)?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
