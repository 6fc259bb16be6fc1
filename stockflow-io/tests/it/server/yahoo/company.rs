//! Quotes, holders, insights and the search.

use serde_json::{Map, Value, json};

use super::super::daily::seed;
use super::super::wire::{Answer, Call};

fn is_known(symbol: &str) -> bool {
    !symbol.is_empty() && !symbol.starts_with("NONE")
}

fn symbols(call: &Call) -> Vec<String> {
    let symbols = call.parameter("symbols").or(call.parameter("symbol")).unwrap_or_default();
    symbols.split(',').filter(|symbol| is_known(symbol)).map(str::to_owned).collect()
}

/// `/v7/finance/quote?symbols=A,B`: who is not known is missing.
pub(super) fn quote(call: &Call) -> Answer {
    let quote = |symbol: &String| {
        json!({
            "symbol": symbol,
            "quoteType": "EQUITY",
            "currency": "USD",
            "exchange": "NMS",
            "shortName": format!("{symbol} Incorporated"),
            "regularMarketPrice": (seed(symbol, 0, 5) % 30_000) as f64 / 100.0,
            "marketCap": 1_000_000 * (1 + seed(symbol, 0, 6) % 1_000_000),
        })
    };
    let result: Vec<Value> = symbols(call).iter().map(quote).collect();
    Answer::json(200, json!({ "quoteResponse": { "result": result, "error": null } }))
}

/// `/v10/finance/quoteSummary/{symbol}?modules=a,b`: one object with a member for each module that there is.
pub(super) fn summary(call: &Call) -> Answer {
    let symbol = call.symbol();
    let not_found = |description: String| {
        let error = json!({ "code": "Not Found", "description": description });
        Answer::json(404, json!({ "quoteSummary": { "result": null, "error": error } }))
    };
    if !is_known(&symbol) {
        return not_found(format!("Quote not found for ticker symbol: {symbol}"));
    }
    let asked = call.parameter("modules").unwrap_or_default();
    let modules: Map<String, Value> =
        asked.split(',').filter_map(|name| Some((name.to_owned(), module(&symbol, name)?))).collect();
    if modules.is_empty() {
        return not_found(format!("No fundamentals data found for any of the summaryTypes={asked}"));
    }
    Answer::json(200, json!({ "quoteSummary": { "result": [modules], "error": null } }))
}

fn module(symbol: &str, name: &str) -> Option<Value> {
    let share = |salt| (seed(symbol, 0, salt) % 1000) as f64 / 1000.0;
    let raw = |value: f64| json!({ "raw": value, "fmt": format!("{value:.2}") });
    let owner = |i: u64| {
        let organization = format!("Fund {} of {symbol}", i + 1);
        json!({
            "maxAge": 1,
            "reportDate": { "raw": 1_719_705_600, "fmt": "2024-06-30" },
            "organization": organization,
            "pctHeld": raw(share(10 + i) / 10.0),
            "position": raw((seed(symbol, 0, 20 + i) % 1_000_000) as f64),
            "value": raw((seed(symbol, 0, 30 + i) % 1_000_000_000) as f64),
            "pctChange": raw(share(40 + i) - 0.5),
        })
    };
    match name {
        "majorHoldersBreakdown" => Some(json!({
            "maxAge": 1,
            "insidersPercentHeld": share(7) / 10.0,
            "institutionsPercentHeld": share(8),
            "institutionsFloatPercentHeld": share(9),
            "institutionsCount": 100 + seed(symbol, 0, 10) % 1000,
        })),
        "institutionOwnership" | "fundOwnership" => {
            Some(json!({ "maxAge": 1, "ownershipList": (0..10).map(owner).collect::<Vec<Value>>() }))
        }
        "insiderTransactions" => {
            let transaction = json!({
                "maxAge": 1,
                "filerName": "DOE JANE",
                "filerRelation": "Officer",
                "transactionText": "Sale at price 10.00 per share.",
                "startDate": 1_719_705_600,
                "shares": 100,
                "value": 1000,
                "ownership": "D",
            });
            Some(json!({ "maxAge": 1, "transactions": [transaction] }))
        }
        "insiderHolders" | "majorDirectHolders" => Some(json!({ "maxAge": 1, "holders": [] })),
        "netSharePurchaseActivity" => Some(json!({ "maxAge": 1, "period": "6m", "buyInfoCount": 3 })),
        _ => None,
    }
}

/// `/ws/insights/v2/..` with one object, `/ws/insights/v3/..` with a list.
pub(super) fn insights(call: &Call) -> Answer {
    let insight = |symbol: &String| {
        let price = (seed(symbol, 0, 5) % 30_000) as f64 / 100.0;
        json!({
            "symbol": symbol,
            "instrumentInfo": { "keyTechnicals": { "support": price * 0.9, "resistance": price * 1.1 } },
            "recommendation": { "targetPrice": price * 1.2, "provider": "Made Up Research", "rating": "BUY" },
            "sigDevs": [],
        })
    };
    let mut insights: Vec<Value> = symbols(call).iter().map(insight).collect();
    let result =
        if call.path().contains("/v3/") { Value::Array(insights) } else { insights.pop().unwrap_or(json!({})) };
    Answer::json(200, json!({ "finance": { "result": result, "error": null } }))
}

/// `/v1/finance/search?q=..`.
pub(super) fn search(call: &Call) -> Answer {
    let asked = call.parameter("q").unwrap_or_default().to_ascii_uppercase();
    let quote = |symbol: &str| json!({ "symbol": symbol, "shortname": format!("{symbol} Incorporated"), "quoteType": "EQUITY", "exchange": "NMS" });
    let quotes: Vec<Value> = if is_known(&asked) { vec![quote(&asked)] } else { Vec::new() };
    Answer::json(200, json!({ "count": quotes.len(), "quotes": quotes, "news": [] }))
}
