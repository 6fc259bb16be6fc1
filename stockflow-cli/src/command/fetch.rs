//! `stockflow fetch SYMBOL…`

use super::ask::{self, Ask, Output, Print};
use crate::args::{FetchArgs, Global};
use crate::exit::Outcome;

/// Fetches bars and corporate actions, and what is known of their symbols.
pub(crate) async fn run(args: FetchArgs, global: &Global) -> Outcome {
    let mut source: toml::map::Map<_, _> = ask::symbols(&args.symbols).collect();
    source.extend(ask::dates(&args.dates)?);
    source.insert("interval".into(), ask::text(&args.interval));
    let ask = Ask {
        command: "fetch",
        name: format!("fetch-{}", args.interval),
        source,
        has_bars: true,
        outputs: vec![
            Output { relation: "bars".into(), print: Print::Csv },
            Output { relation: "actions".into(), print: Print::Nothing },
            Output { relation: ask::SYMBOLS.into(), print: Print::Nothing },
        ],
    };
    ask::run(&ask, &args.client, global).await
}
