//! `stockflow search PIPELINE.toml [QUERY]`

use chrono::{Days, NaiveDate, NaiveTime};

use crate::args::{Global, PipelineArgs, SearchArgs};
use crate::assemble;
use crate::command::sql;
use crate::config::PipelineConfig;
use crate::elastic::{IndexSearch, SearchQuery, SortBy};
use crate::exit::{Exit, Failure, Outcome};

/// What the sink for dead letters is called.
const DEAD_LETTERS: &str = "dead_letters";

/// Finds rows in an index that a pipeline writes to, and writes them while they come.
pub(crate) async fn run(args: SearchArgs, global: &Global) -> Outcome {
    let config = assemble::config(&PipelineArgs { pipeline: Some(args.pipeline.clone()), input: None }, global)?;
    let index = index(&config, args.sink.as_deref())?;
    let sort = args.sort.iter().map(|text| text.parse::<SortBy>()).collect::<Result<_, _>>();
    let start = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    if let (Some(from), Some(to)) = (args.from, args.to)
        && to < from
    {
        return Err(Failure::usage(format!("--to {to} is earlier than --from {from}; exchange the two dates")));
    }
    let query = SearchQuery {
        text: args.query.clone(),
        symbols: args.symbols.clone(),
        intervals: args.intervals.clone(),
        from: args.from.map(start),
        before: args.to.and_then(|to| to.checked_add_days(Days::new(1))).map(start),
        sort: sort.map_err(|reason| Failure::usage(format!("`--sort` {reason}")))?,
        limit: args.limit,
    };
    let rows = index.search(&query).await?;
    sql::print(rows, args.format, args.output.as_deref(), global).await?;
    Ok(Exit::Done)
}

/// The index of the sink with that name, or of the only one.
fn index(config: &PipelineConfig, name: Option<&str>) -> Outcome<IndexSearch> {
    let sinks = config.sinks.iter().map(|sink| (sink.name.as_str(), &sink.sink));
    let letters = config.dead_letters.iter().map(|sink| (DEAD_LETTERS, sink));
    let mut found: Vec<_> = sinks.chain(letters).filter_map(|(name, sink)| Some((name, sink.search()?))).collect();
    let names = found.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if found.is_empty() {
        return Err(Failure::usage(format!("pipeline `{}` writes to no index", config.name))
            .or_next("name a pipeline file with a sink of type `elasticsearch`"));
    }
    match name {
        Some(name) => found.retain(|(known, _)| *known == name),
        // Dead letters are looked for by name.
        None if found.len() > 1 => found.retain(|(known, _)| *known != DEAD_LETTERS),
        None => {}
    }
    match (found.pop(), found.is_empty()) {
        (Some((_, index)), true) => index,
        (None, _) => Err(Failure::usage(format!("pipeline `{}` has no such sink for a search", config.name))
            .or_next(format!("sinks that can be searched: {names}"))),
        (Some(_), false) => Err(Failure::usage(format!("pipeline `{}` writes to several indices", config.name))
            .or_next(format!("choose one with `--sink`: {names}"))),
    }
}
