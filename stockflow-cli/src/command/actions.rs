//! `stockflow actions SYMBOL…`

use super::ask::{self, Ask, Output, Print};
use crate::args::{ActionsArgs, Global};
use crate::exit::Outcome;

/// Fetches dividends, splits and capital gains, without the bars.
pub(crate) async fn run(args: ActionsArgs, global: &Global) -> Outcome {
    let mut source: toml::map::Map<_, _> = ask::symbols(&args.symbols).collect();
    source.extend(ask::dates(&args.dates)?);
    source.extend(ask::entries([("actions_to", args.dates.until.map(|it| ask::text(&it)))]));
    let print = Print::Table(&["symbol", "date", "kind", "value", "currency", "numerator", "denominator"]);
    let ask = Ask {
        command: "actions",
        name: "actions".into(),
        source,
        has_bars: false,
        outputs: vec![Output { relation: "actions".into(), print }],
    };
    ask::run(&ask, &args.client, global).await
}
