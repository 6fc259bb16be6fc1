//! `stockflow holders SYMBOL…`, `stockflow insights SYMBOL…`, `stockflow quote SYMBOL…` and `stockflow symbols TEXT`

use toml::Value;
use toml::map::Map;

use super::ask::{self, Ask, Output, Print};
use crate::args::{CompanyArgs, Global, SymbolsArgs};
use crate::connectors::Endpoint;
use crate::exit::Outcome;

/// Asks what there is of some symbols.
pub(crate) async fn run(endpoint: Endpoint, args: CompanyArgs, global: &Global) -> Outcome {
    let ask = asking(endpoint, endpoint.name(), ask::symbols(&args.symbols).collect());
    ask::run(&ask, &args.client, global).await
}

/// Looks for symbols.
pub(crate) async fn search(args: SymbolsArgs, global: &Global) -> Outcome {
    let texts = Value::Array(vec![Value::String(args.text.join(" "))]);
    let ask = asking(Endpoint::Search, "symbols", ask::entries([("texts", Some(texts))]).collect());
    ask::run(&ask, &args.client, global).await
}

fn asking(endpoint: Endpoint, command: &'static str, mut source: Map<String, Value>) -> Ask {
    source.insert("endpoint".into(), ask::text(&endpoint));
    let output = |relation: String| Output { print: Print::Table(columns(&relation)), relation };
    let outputs = endpoint.relations().into_iter().map(|it| output(it.name)).collect();
    Ask { command, name: command.into(), source, has_bars: false, outputs }
}

/// The columns that fit on a screen; files have all of them.
fn columns(relation: &str) -> &'static [&'static str] {
    match relation {
        "insider_purchases" => &[
            "symbol",
            "period",
            "buy_count",
            "buy_shares",
            "sell_count",
            "sell_shares",
            "net_shares",
            "insider_shares",
        ],
        "holders_breakdown" => {
            &["symbol", "insiders_share", "institutions_share", "institutions_float_share", "institutions_count"]
        }
        "holders_institutions" | "holders_funds" => {
            &["symbol", "organization", "report_date", "share", "position", "value", "change"]
        }
        "holders_insiders" | "holders_direct" => {
            &["symbol", "name", "relation", "transaction", "transaction_date", "direct_position", "indirect_position"]
        }
        "insider_transactions" => &["symbol", "date", "name", "relation", "transaction", "shares", "value"],
        "insights" => &[
            "symbol",
            "company",
            "rating",
            "target_price",
            "short_direction",
            "intermediate_direction",
            "long_direction",
            "support",
            "resistance",
            "valuation",
        ],
        "insight_reports" => &["symbol", "reported_at", "provider", "kind", "title", "rating", "target_price"],
        "insight_developments" => &["symbol", "date", "headline"],
        "insight_filings" => &["symbol", "date", "form", "title"],
        "insight_events" => &["symbol", "event", "started_at", "ended_at", "horizon", "trade"],
        "quotes" => {
            &["symbol", "price", "currency", "traded_at", "previous_close", "low", "high", "volume", "short_name"]
        }
        "search" => &["symbol", "short_name", "exchange", "kind", "sector"],
        _ => &[],
    }
}
