//! `stockflow`: parse, assemble, run, print.
//!
//! `args` is the command line, `config` the pipeline file, `connectors` and `steps` turn its tables into sources, sinks and
//! transforms, `assemble` puts a pipeline together, `command` has one file a command, `render` is what people see,
//! `exit` how it ends.

mod args;
mod assemble;
mod backfill;
mod chart;
mod command;
mod config;
mod connectors;
mod draw;
mod elastic;
mod ending;
mod environment;
mod exit;
mod file_table;
mod kafka;
mod log;
mod places;
mod providers;
mod render;
mod server;
mod steps;
mod tables;
mod time;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::Failure;

/// Plans with many columns recurse deeply, more so in an unoptimised build.
const STACK: usize = 16 * 1024 * 1024;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::end(&error),
    };
    log::start(&cli.global);
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed("the threads cannot be started").because(error).end(json).into(),
    };
    // On a thread of the runtime, which has the larger stack.
    let ended = runtime.block_on(async { runtime.spawn(command::dispatch(cli)).await });
    let exit = match ended {
        Ok(Ok(exit)) => exit,
        Ok(Err(failure)) => failure.end(json),
        Err(error) => Failure::failed("stockflow itself failed; please report it").because(error).end(json),
    };
    // What still runs in the background (a second runner's upload, a blocked read) must not hold the exit up.
    runtime.shutdown_background();
    exit.into()
}
