//! The latest prices of many symbols: `v7/finance/quote`.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use serde_json::Value;

use super::error::open;
use super::json::text;
use super::number::Number;
use super::table::{Column, Kind, Table, members as members_of, schema};
use super::{Reply, ReplyError, SymbolRequest};
use stockflow_core::schema::DeadLetter;

const COLUMNS: &[Column] = &[
    Column::new("price", &["regularMarketPrice"], Kind::Number).required(),
    Column::new("traded_at", &["regularMarketTime"], Kind::Instant),
    Column::new("open", &["regularMarketOpen"], Kind::Number),
    Column::new("high", &["regularMarketDayHigh"], Kind::Number),
    Column::new("low", &["regularMarketDayLow"], Kind::Number),
    Column::new("previous_close", &["regularMarketPreviousClose"], Kind::Number),
    Column::new("volume", &["regularMarketVolume"], Kind::Number),
    Column::new("bid", &["bid"], Kind::Number),
    Column::new("ask", &["ask"], Kind::Number),
    Column::new("currency", &["currency"], Kind::Text),
    Column::new("market_state", &["marketState"], Kind::Text),
    Column::new("delay_minutes", &["exchangeDataDelayedBy"], Kind::Count),
    Column::new("pre_price", &["preMarketPrice"], Kind::Number),
    Column::new("post_price", &["postMarketPrice"], Kind::Number),
    Column::new("kind", &["quoteType"], Kind::Text),
    Column::new("exchange", &["exchange"], Kind::Text),
    Column::new("time_zone", &["exchangeTimezoneName"], Kind::Text),
    Column::new("short_name", &["shortName"], Kind::Text),
    Column::new("long_name", &["longName"], Kind::Text),
    Column::new("first_trade_date", &["firstTradeDateMilliseconds"], Kind::DateMillis),
    Column::new("market_cap", &["marketCap"], Kind::Number),
    Column::new("shares_outstanding", &["sharesOutstanding"], Kind::Number),
    Column::new("trailing_pe", &["trailingPE"], Kind::Number),
    Column::new("forward_pe", &["forwardPE"], Kind::Number),
    Column::new("price_to_book", &["priceToBook"], Kind::Number),
    Column::new("dividend_rate", &["dividendRate"], Kind::Number),
    Column::new("year_low", &["fiftyTwoWeekLow"], Kind::Number),
    Column::new("year_high", &["fiftyTwoWeekHigh"], Kind::Number),
    Column::new("volume_3mo", &["averageDailyVolume3Month"], Kind::Number),
    Column::new("is_tradeable", &["tradeable"], Kind::Flag),
];

/// The members of a row that are read.
pub(super) fn members() -> impl Iterator<Item = String> {
    std::iter::once("symbol".to_owned()).chain(members_of("", COLUMNS))
}

/// The schema of [`Quotes::quotes`].
pub fn quote_schema() -> SchemaRef {
    schema(COLUMNS)
}

/// A symbol that Yahoo still lists, without a price.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Priceless {
    /// Our name.
    pub symbol: String,
    /// Whether it is the husk of a delisted one: moved to exchange `YHD`, or left without currency.
    pub is_delisted: bool,
}

/// The latest prices.
#[derive(Debug, Clone)]
pub struct Quotes {
    /// One row a symbol that has a price: `symbol`, `price` (Float64, not null, in `currency`), `traded_at`, the running day's
    /// `open, high, low, volume`, `previous_close, bid, ask`, `currency` (as Yahoo writes it, `GBp` is a sub-unit),
    /// `market_state, delay_minutes, pre_price, post_price, kind, exchange, time_zone, short_name, long_name,
    /// first_trade_date, market_cap, shares_outstanding, trailing_pe, forward_pe, price_to_book, dividend_rate, year_low,
    /// year_high, volume_3mo, is_tradeable`, and `as_of`. A dividend rate is in the currency that Yahoo pleases: pounds in
    /// London, where prices are pence.
    pub quotes: RecordBatch,
    /// Our names of symbols that Yahoo does not answer: it does not know them.
    pub absent: Vec<String>,
    /// Symbols without a price.
    pub priceless: Vec<Priceless>,
    /// Rows that could not be read.
    pub rejects: Vec<DeadLetter>,
}

/// The quotes in a reply.
///
/// # Errors
///
/// The reply's own failures, mostly [`ReplyError::Unauthorized`]; [`ReplyError::Malformed`] if there is no list.
pub fn quote(reply: &Reply, request: &SymbolRequest) -> Result<Quotes, ReplyError> {
    let root = open(reply, "quoteResponse")?;
    let Some(results) = root.get("result").and_then(Value::as_array) else {
        return Err(ReplyError::malformed(reply, "`quoteResponse.result` is no list"));
    };
    let mut table = Table::new("quotes", COLUMNS, request.as_of);
    let mut seen: HashSet<&str> = HashSet::new();
    let mut priceless = Vec::new();
    for (row_idx, row) in results.iter().enumerate() {
        let name = text(row.get("symbol")).unwrap_or("?");
        let Some(asked) = request.find(name) else {
            table.refuse(name, row_idx, "not one of the symbols asked for".into(), row);
            continue;
        };
        if !seen.insert(&asked.symbol) {
            continue;
        }
        match Number::of(row.get("regularMarketPrice")) {
            Number::Empty => priceless.push(Priceless { symbol: asked.symbol.clone(), is_delisted: is_husk(row) }),
            _ => table.push(&asked.symbol, row_idx, row),
        }
    }
    let is_absent = |symbol: &&str| !seen.contains(symbol);
    let absent =
        request.symbols.iter().map(|asked| asked.symbol.as_str()).filter(is_absent).map(str::to_owned).collect();
    let mut rejects = Vec::new();
    Ok(Quotes { quotes: table.finish(&mut rejects)?, absent, priceless, rejects })
}

fn is_husk(row: &Value) -> bool {
    text(row.get("exchange")) == Some("YHD") || text(row.get("currency")).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn sorts_symbols_by_what_yahoo_has() {
        let body = r#"{"quoteResponse":{"result":[
            {"symbol":"brk-b","regularMarketPrice":400.5,"currency":"USD","firstTradeDateMilliseconds":345479400000},
            {"symbol":"BRK-B","regularMarketPrice":1},
            {"symbol":"ADH","exchange":"YHD"},
            {"symbol":"HALT","currency":"USD","regularMarketPrice":{}},
            {"symbol":"ODD","regularMarketPrice":[1]},
            {"symbol":"OTHER"}, null],"error":null}}"#;
        let mut request = SymbolRequest::new(["ADH", "HALT", "ODD", "GONE"], DateTime::UNIX_EPOCH);
        request.symbols.push(crate::yahoo::decode::Asked::new("BRK.B", "BRK-B"));
        let quotes = quote(&Reply::new(200, body), &request).unwrap();
        assert_eq!(quotes.quotes.num_rows(), 1);
        assert_eq!(quotes.absent, ["GONE"]);
        let priceless: Vec<_> = quotes.priceless.iter().map(|it| (it.symbol.as_str(), it.is_delisted)).collect();
        assert_eq!(priceless, [("ADH", true), ("HALT", false)]);
        let rejects: Vec<_> = quotes.rejects.iter().map(|it| (it.partition.as_str(), it.reason.as_str())).collect();
        let strange = "not one of the symbols asked for";
        assert_eq!(
            rejects,
            [("quotes/ODD", "no readable `regularMarketPrice`"), ("quotes/OTHER", strange), ("quotes/?", strange)]
        );
    }
}
