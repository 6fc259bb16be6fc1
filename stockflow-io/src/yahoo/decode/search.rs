//! Symbols by a word: `v1/finance/search?q=`.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::error::open_bare;
use super::json::text;
use super::table::{Column, Kind, Table, members as members_of, schema};
use super::{Reply, ReplyError};
use stockflow_core::schema::DeadLetter;

const COLUMNS: &[Column] = &[
    Column::new("short_name", &["shortname"], Kind::Text),
    Column::new("long_name", &["longname"], Kind::Text),
    Column::new("exchange", &["exchange"], Kind::Text),
    Column::new("exchange_name", &["exchDisp"], Kind::Text),
    Column::new("kind", &["quoteType"], Kind::Text),
    Column::new("sector", &["sector"], Kind::Text),
    Column::new("industry", &["industry"], Kind::Text),
    Column::new("score", &["score"], Kind::Number),
];

/// The members of a row that are read.
pub(super) fn members() -> impl Iterator<Item = String> {
    std::iter::once("symbol".to_owned()).chain(members_of("", COLUMNS))
}

/// The schema of [`SearchHits::hits`].
pub fn search_schema() -> SchemaRef {
    schema(COLUMNS)
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct SearchHits {
    /// One row a symbol, best first: `symbol` (Yahoo's name), `short_name, long_name, exchange, exchange_name, kind` (EQUITY,
    /// ETF, …), `sector, industry, score`, `as_of`; all but the first and the last nullable.
    pub hits: RecordBatch,
    /// How many hits have no symbol: private companies, topics.
    pub n_without_symbol: usize,
    /// Rows that could not be read.
    pub rejects: Vec<DeadLetter>,
}

/// The symbols in a reply; no `quotes` at all is a search without hits.
///
/// # Errors
///
/// The reply's own failures.
pub fn search(reply: &Reply, as_of: DateTime<Utc>) -> Result<SearchHits, ReplyError> {
    let body = open_bare(reply)?;
    let rows = match body.get("quotes") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(rows)) => rows.as_slice(),
        Some(_) => return Err(ReplyError::malformed(reply, "`quotes` is no list")),
    };
    let mut table = Table::new("search", COLUMNS, as_of);
    let mut n_without_symbol = 0;
    for (row_idx, row) in rows.iter().enumerate() {
        match text(row.get("symbol")) {
            Some(symbol) => table.push(symbol, row_idx, row),
            None if row.is_object() => n_without_symbol += 1,
            None => table.refuse("?", row_idx, "the row is no object".into(), row),
        }
    }
    let mut rejects = Vec::new();
    Ok(SearchHits { hits: table.finish(&mut rejects)?, n_without_symbol, rejects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::pretty::pretty_format_batches;

    #[test]
    fn finds_symbols() {
        let body = r#"{"explains":[],"count":3,"quotes":[
            {"symbol":"AAPL","shortname":"Apple Inc.","exchange":"NMS","quoteType":"EQUITY","score":33.5},
            {"name":"Private Co","isYahooFinance":false}, {"symbol":"APLE"}, 7],"news":[]}"#;
        let found = search(&Reply::new(200, body), DateTime::UNIX_EPOCH).unwrap();
        let table = pretty_format_batches(&[found.hits.project(&[0, 1, 3, 5, 8]).unwrap()]).unwrap().to_string();
        let expected = "\
+--------+------------+----------+--------+-------+
| symbol | short_name | exchange | kind   | score |
+--------+------------+----------+--------+-------+
| AAPL   | Apple Inc. | NMS      | EQUITY | 33.5  |
| APLE   |            |          |        |       |
+--------+------------+----------+--------+-------+";
        assert_eq!(table, expected);
        assert_eq!((found.n_without_symbol, found.rejects.len()), (1, 1));
        assert_eq!(search(&Reply::new(200, "{}"), DateTime::UNIX_EPOCH).unwrap().hits.num_rows(), 0);
    }
}
