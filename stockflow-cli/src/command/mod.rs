//! One file a command, all of one shape: `run(arguments, what every command takes) -> how it ended`.

mod actions;
mod ask;
mod chart;
mod checkpoint;
mod company;
mod completions;
mod db;
mod dlq;
mod doctor;
mod examine;
mod explain;
mod fetch;
mod indicators;
mod init;
mod lake;
mod run;
mod search;
pub(crate) mod sql;
mod status;
mod topics;
mod validate;

use crate::args::{Cli, Command};
use crate::connectors::Endpoint;
use crate::exit::Outcome;

/// Runs the command that was asked for.
pub(crate) async fn dispatch(cli: Cli) -> Outcome {
    let global = &cli.global;
    match cli.command {
        Command::Run(args) => run::run(args, global).await,
        Command::Fetch(args) => fetch::run(args, global).await,
        Command::Actions(args) => actions::run(args, global).await,
        Command::Holders(args) => company::run(Endpoint::Holders, args, global).await,
        Command::Insights(args) => company::run(Endpoint::Insights, args, global).await,
        Command::Quote(args) => company::run(Endpoint::Quote, args, global).await,
        Command::Symbols(args) => company::search(args, global).await,
        Command::Validate(args) => validate::run(args, global).await,
        Command::Explain(args) => explain::run(args, global).await,
        Command::Status(args) => status::run(args, global).await,
        Command::Checkpoint(args) => checkpoint::run(args, global).await,
        Command::Dlq(args) => dlq::run(args, global).await,
        Command::Lake(args) => lake::run(args, global).await,
        Command::Topics(args) => topics::run(args, global).await,
        Command::Db(args) => db::run(args, global).await,
        Command::Search(args) => search::run(args, global).await,
        Command::Sql(args) => sql::run(args, global).await,
        Command::Indicators(args) => indicators::run(&args, global),
        Command::Chart(args) => chart::run(args, global).await,
        Command::Init(args) => init::run(&args, global),
        Command::Doctor(args) => doctor::run(args, global).await,
        Command::Completions(args) => completions::run(&args, global),
    }
}
