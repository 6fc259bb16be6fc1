//! What analysts and charts say: `ws/insights/v2` (one object) and `v3` (a list of them).
//!
//! The texts behind it are licensed research. Ratings, numbers, titles and dates are kept; summaries and bodies are not.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde_json::Value;

use super::error::open;
use super::json::text;
use super::table::{Column, Kind, Table, members as members_of, schema};
use super::{Asked, Reply, ReplyError, SymbolRequest};
use stockflow_core::schema::DeadLetter;

macro_rules! outlook {
    ($name:literal, $key:literal, $field:literal, $kind:expr) => {
        Column::new($name, &["instrumentInfo", "technicalEvents", $key, $field], $kind)
    };
}

macro_rules! snapshot {
    ($name:literal, $key:literal) => {
        Column::new($name, &["companySnapshot", "company", $key], Kind::Number)
    };
}

const SUMMARY: &[Column] = &[
    Column::new("company", &["upsell", "companyName"], Kind::Text),
    Column::new("sector", &["companySnapshot", "sectorInfo"], Kind::Text),
    Column::new("rating", &["recommendation", "rating"], Kind::Text),
    Column::new("target_price", &["recommendation", "targetPrice"], Kind::Number),
    Column::new("rating_provider", &["recommendation", "provider"], Kind::Text),
    outlook!("short_direction", "shortTermOutlook", "direction", Kind::Text),
    outlook!("short_score", "shortTermOutlook", "score", Kind::Count),
    outlook!("intermediate_direction", "intermediateTermOutlook", "direction", Kind::Text),
    outlook!("intermediate_score", "intermediateTermOutlook", "score", Kind::Count),
    outlook!("long_direction", "longTermOutlook", "direction", Kind::Text),
    outlook!("long_score", "longTermOutlook", "score", Kind::Count),
    Column::new("support", &["instrumentInfo", "keyTechnicals", "support"], Kind::Number),
    Column::new("resistance", &["instrumentInfo", "keyTechnicals", "resistance"], Kind::Number),
    Column::new("stop_loss", &["instrumentInfo", "keyTechnicals", "stopLoss"], Kind::Number),
    Column::new("valuation", &["instrumentInfo", "valuation", "description"], Kind::Text),
    Column::new("discount", &["instrumentInfo", "valuation", "discount"], Kind::Percent),
    Column::new("relative_value", &["instrumentInfo", "valuation", "relativeValue"], Kind::Text),
    Column::new("technical_provider", &["instrumentInfo", "technicalEvents", "provider"], Kind::Text),
    snapshot!("innovativeness", "innovativeness"),
    snapshot!("hiring", "hiring"),
    snapshot!("sustainability", "sustainability"),
    snapshot!("insider_sentiment", "insiderSentiments"),
    snapshot!("earnings_reports", "earningsReports"),
    snapshot!("dividends", "dividends"),
];

const REPORTS: &[Column] = &[
    Column::new("id", &["id"], Kind::Text).required(),
    Column::new("reported_at", &["reportDate"], Kind::Instant),
    Column::new("provider", &["provider"], Kind::Text),
    Column::new("kind", &["reportType"], Kind::Text),
    // `reportTitle` is the beginning of the text in spite of its name.
    Column::new("title", &["title"], Kind::Title),
    Column::new("rating", &["investmentRating"], Kind::Text),
    Column::new("target_price", &["targetPrice"], Kind::Number),
    Column::new("target_status", &["targetPriceStatus"], Kind::Text),
    Column::new("about", &["tickers"], Kind::Words),
];

const DEVELOPMENTS: &[Column] = &[
    Column::new("date", &["date"], Kind::Date).required(),
    Column::new("headline", &["headline"], Kind::Title).required(),
];

const FILINGS: &[Column] = &[
    Column::new("id", &["id"], Kind::Text).required(),
    Column::new("date", &["filingDate"], Kind::DateMillis),
    Column::new("form", &["formType"], Kind::Text),
    Column::new("title", &["title"], Kind::Title),
];

const EVENTS: &[Column] = &[
    Column::new("event", &["eventType"], Kind::Text).required(),
    Column::new("started_at", &["startDate"], Kind::Instant).required(),
    Column::new("ended_at", &["endDate"], Kind::Instant),
    Column::new("price_period", &["pricePeriod"], Kind::Text),
    Column::new("horizon", &["tradingHorizon"], Kind::Text),
    Column::new("trade", &["tradeType"], Kind::Text),
];

const RELATIONS: [(&str, &[Column]); 5] = [
    ("insights", SUMMARY),
    ("insight_reports", REPORTS),
    ("insight_developments", DEVELOPMENTS),
    ("insight_filings", FILINGS),
    ("insight_events", EVENTS),
];

/// Where the rows of the tables are that are lists, in their order.
const LISTS: [&str; 4] = ["reports", "sigDevs", "secReports", "events"];

/// The members of a result that are read.
pub(super) fn members() -> impl Iterator<Item = String> {
    let parents = std::iter::once("").chain(LISTS);
    let tables = RELATIONS.iter().zip(parents).flat_map(|((_, columns), parent)| members_of(parent, columns));
    std::iter::once("symbol".to_owned()).chain(tables)
}

/// The name and the schema of every table of [`Insights`], in the order of its fields.
pub fn insight_schemas() -> Vec<(&'static str, SchemaRef)> {
    RELATIONS.iter().map(|(name, columns)| (*name, schema(columns))).collect()
}

/// What analysts and charts say of symbols. Every table begins with `symbol` and ends with `as_of`, both not null.
#[derive(Debug, Clone)]
pub struct Insights {
    /// One row a symbol, every column nullable: `company, sector`; `rating` (BUY, SELL, HOLD), `target_price, rating_provider`;
    /// `short_`, `intermediate_` and `long_` with `direction` (Bullish, Neutral, Bearish) and `score` (Int64, strength 0 to 4);
    /// `support, resistance, stop_loss`; `valuation, discount` (fraction of the price, -0.04 is 4 % too dear),
    /// `relative_value, technical_provider`; the company's ranks 0..1 `innovativeness, hiring, sustainability,
    /// insider_sentiment, earnings_reports, dividends`.
    pub summary: RecordBatch,
    /// `id` (not null), `reported_at`, `provider, kind, title` (at most 200 characters; no text), `rating, target_price,
    /// target_status, about` (symbols of Yahoo's, by comma: a report may be about others).
    pub reports: RecordBatch,
    /// Significant developments: `date, headline` (not null).
    pub developments: RecordBatch,
    /// Filings with the SEC: `id` (not null), `date, form, title`.
    pub filings: RecordBatch,
    /// Events of the chart: `event, started_at` (not null), `ended_at, price_period` (D, W), `horizon` (S, I, L), `trade`.
    pub events: RecordBatch,
    /// Our names of symbols that the reply does not mention.
    pub absent: Vec<String>,
    /// Rows that could not be read.
    pub rejects: Vec<DeadLetter>,
}

/// The insights in a reply.
///
/// A symbol of which Yahoo says nothing has a row of NULLs; one that is not in the reply is `absent`.
///
/// # Errors
///
/// The reply's own failures; [`ReplyError::Malformed`] if there is neither an object nor a list.
pub fn insights(reply: &Reply, request: &SymbolRequest) -> Result<Insights, ReplyError> {
    let root = open(reply, "finance")?;
    let results = match root.get("result") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(object @ Value::Object(_)) => std::slice::from_ref(object),
        _ => return Err(ReplyError::malformed(reply, "`finance.result` is neither an object nor a list")),
    };
    let mut tables = RELATIONS.map(|(relation, columns)| Table::new(relation, columns, request.as_of));
    let [summary, reports, developments, filings, events] = &mut tables;
    let mut seen: Vec<&Asked> = Vec::new();
    for (result_idx, result) in results.iter().enumerate() {
        let Some(asked) = whose(result, request) else {
            let name = text(result.get("symbol")).unwrap_or("?");
            summary.refuse(name, result_idx, "not one of the symbols asked for".into(), &brief(result));
            continue;
        };
        if seen.contains(&asked) {
            continue;
        }
        seen.push(asked);
        summary.push(&asked.symbol, result_idx, result);
        for (table, list) in [&mut *reports, &mut *developments, &mut *filings, &mut *events].into_iter().zip(LISTS) {
            table.push_list(&asked.symbol, result.get(list));
        }
    }
    let absent =
        request.symbols.iter().filter(|asked| !seen.contains(asked)).map(|asked| asked.symbol.clone()).collect();
    let mut rejects = Vec::new();
    let mut finish = |table: Table| table.finish(&mut rejects);
    let [summary, reports, developments, filings, events] = tables;
    Ok(Insights {
        summary: finish(summary)?,
        reports: finish(reports)?,
        developments: finish(developments)?,
        filings: finish(filings)?,
        events: finish(events)?,
        absent,
        rejects,
    })
}

/// The asked symbol of a result; a result without a name answers the only question.
fn whose<'a>(result: &Value, request: &'a SymbolRequest) -> Option<&'a Asked> {
    if !result.is_object() {
        return None;
    }
    match (text(result.get("symbol")), request.symbols.as_slice()) {
        (Some(name), _) => request.find(name),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

/// A result without its texts, for a dead letter.
fn brief(result: &Value) -> Value {
    match result.as_object() {
        Some(object) => object.keys().cloned().collect(),
        None => result.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;
    use chrono::DateTime;

    fn decode(body: &str, symbols: &[&str]) -> Result<Insights, ReplyError> {
        insights(&Reply::new(200, body), &SymbolRequest::new(symbols.iter().copied(), DateTime::UNIX_EPOCH))
    }

    #[test]
    fn reads_both_forms() {
        let one = r#"{"symbol":"A","recommendation":{"targetPrice":{"raw":3},"rating":"BUY"},
            "instrumentInfo":{"valuation":{"discount":"-4%"},"technicalEvents":{"longTermOutlook":{"score":2}}},
            "reports":[{"id":"r","reportDate":"2025-02-19T20:04:05Z","title":"t","reportTitle":"body","tickers":["A","B"]},{}],
            "sigDevs":[{"headline":"h","date":"2025-02-21"}]}"#;
        let v2 = format!(r#"{{"finance":{{"result":{one},"error":null}}}}"#);
        let v3 = format!(r#"{{"finance":{{"result":[{one},{{"symbol":"X"}}],"error":null}}}}"#);
        for (body, n_rejects) in [(v2, 1), (v3, 2)] {
            let insights = decode(&body, &["A", "C"]).unwrap();
            assert_eq!((insights.summary.num_rows(), insights.rejects.len()), (1, n_rejects));
            assert_eq!(insights.absent, ["C"]);
            let table =
                pretty_format_batches(&[insights.reports.project(&[0, 1, 2, 5, 9]).unwrap()]).unwrap().to_string();
            let expected = "\
+--------+----+----------------------+-------+-------+
| symbol | id | reported_at          | title | about |
+--------+----+----------------------+-------+-------+
| A      | r  | 2025-02-19T20:04:05Z | t     | A,B   |
+--------+----+----------------------+-------+-------+";
            assert_eq!(table, expected);
            let names = ["rating", "target_price", "discount", "long_score"];
            let columns: Vec<usize> =
                names.iter().map(|name| insights.summary.schema().index_of(name).unwrap()).collect();
            let table = pretty_format_batches(&[insights.summary.project(&columns).unwrap()]).unwrap().to_string();
            assert!(table.contains("| BUY    | 3.0          | -0.04    | 2          |"), "{table}");
        }
    }

    #[test]
    fn a_result_of_no_shape_is_malformed() {
        let error = decode(r#"{"finance":{"result":null,"error":null}}"#, &["A"]).unwrap_err();
        assert!(matches!(error, ReplyError::Malformed { .. }));
    }
}
