//! `stockflow completions SHELL`

use std::io::Write;

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs, Global};
use crate::exit::{Exit, Outcome};
use crate::render::stdout;

/// Prints the completion script of a shell.
pub(crate) fn run(args: &CompletionsArgs, _global: &Global) -> Outcome {
    // clap_complete ends the process if its writer fails, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stockflow", &mut script);
    let mut out = stdout();
    out.write_all(&script)?;
    out.flush()?;
    Ok(Exit::Done)
}
