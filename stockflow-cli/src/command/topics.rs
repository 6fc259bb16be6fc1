//! `stockflow topics apply|check PIPELINE.toml`

use std::io::Write;

use serde_json::json;

use crate::args::{Global, TopicsCommand};
use crate::assemble;
use crate::exit::{Exit, Failure, Outcome};
use crate::kafka;
use crate::render::{self, stdout};

/// Compares the pipeline's topics with its file, or makes them so as far as that can be done without loss.
pub(crate) async fn run(command: TopicsCommand, global: &Global) -> Outcome {
    let (args, apply) = match command {
        TopicsCommand::Apply(args) => (args, true),
        TopicsCommand::Check(args) => (args, false),
    };
    let config = assemble::config(&args, global)?;
    let topics = config.topics();
    if topics.is_empty() {
        return Err(Failure::usage(format!("pipeline `{}` reads and writes no topic", config.name))
            .or_next("name a pipeline file with a source or a sink of type `kafka`"));
    }
    let left = kafka::walk(&topics, apply).await?;
    let exit = if left.is_empty() { Exit::Done } else { Exit::Failed };
    if global.json {
        let differences: Vec<_> =
            left.iter().map(|it| json!({"topic": it.topic, "difference": it.what, "action": it.action})).collect();
        let names: Vec<&str> = topics.iter().map(kafka::Topic::name).collect();
        render::json(&json!({"topics": names, "differences": differences}))?;
        return Ok(exit);
    }
    let mut out = stdout();
    for topic in &topics {
        let mut differences = left.iter().filter(|it| it.topic == topic.name()).peekable();
        if differences.peek().is_none() {
            writeln!(out, "{}: as the file says", topic.name())?;
        }
        for it in differences {
            writeln!(out, "{}: {}; {}", it.topic, it.what, it.action)?;
        }
    }
    out.flush()?;
    Ok(exit)
}
