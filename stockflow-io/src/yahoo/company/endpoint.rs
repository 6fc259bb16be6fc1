//! The endpoints and their relations.

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::SchemaRef;
use stockflow_core::Error;
use stockflow_core::relation::{AS_OF, RelationSchema};

use crate::yahoo::decode::{holder_schemas, insight_schemas, quote_schema, search_schema};

/// What Yahoo is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Who owns a company, and what its insiders do.
    Holders,
    /// What analysts and charts say.
    Insights,
    /// The latest prices.
    Quote,
    /// Symbols by a word; what stands for a symbol is the text that is looked for.
    Search,
}

/// The columns that name a row, relation by relation in the order of the decoders' tables.
const HOLDER_KEYS: [&[&str]; 7] = [
    &["symbol"],
    &["symbol", "organization"],
    &["symbol", "organization"],
    &["symbol", "name"],
    &["symbol", "name", "date", "ordinal"],
    &["symbol", "name"],
    &["symbol"],
];
const INSIGHT_KEYS: [&[&str]; 5] = [
    &["symbol"],
    &["symbol", "id"],
    &["symbol", "date", "headline"],
    &["symbol", "id"],
    &["symbol", "event", "started_at"],
];

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 4] = [Self::Holders, Self::Insights, Self::Quote, Self::Search];

    /// What it is called in pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holders => "holders",
            Self::Insights => "insights",
            Self::Quote => "quote",
            Self::Search => "search",
        }
    }

    /// The relations, the main one first. All begin with `symbol` and have the version `as_of`.
    ///
    /// | endpoint | relation | key, besides the symbol | columns |
    /// |---|---|---|---|
    /// | holders | `holders_breakdown` | | [`Holders::breakdown`] |
    /// | | `holders_institutions` | organization | [`Holders::institutions`] |
    /// | | `holders_funds` | organization | [`Holders::funds`] |
    /// | | `holders_insiders` | name | [`Holders::insiders`] |
    /// | | `insider_transactions` | name, date, ordinal | [`Holders::insider_transactions`] |
    /// | | `holders_direct` | name | [`Holders::direct_holders`] |
    /// | | `insider_purchases` | | [`Holders::purchases`] |
    /// | insights | `insights` | | [`Insights::summary`] |
    /// | | `insight_reports` | id | [`Insights::reports`] |
    /// | | `insight_developments` | date, headline | [`Insights::developments`] |
    /// | | `insight_filings` | id | [`Insights::filings`] |
    /// | | `insight_events` | event, started_at | [`Insights::events`] |
    /// | quote | `quotes` | | [`Quotes::quotes`] |
    /// | search | `search` | | [`SearchHits::hits`] |
    ///
    /// [`Holders::breakdown`]: crate::yahoo::decode::Holders::breakdown
    /// [`Holders::institutions`]: crate::yahoo::decode::Holders::institutions
    /// [`Holders::funds`]: crate::yahoo::decode::Holders::funds
    /// [`Holders::insiders`]: crate::yahoo::decode::Holders::insiders
    /// [`Holders::insider_transactions`]: crate::yahoo::decode::Holders::insider_transactions
    /// [`Holders::direct_holders`]: crate::yahoo::decode::Holders::direct_holders
    /// [`Holders::purchases`]: crate::yahoo::decode::Holders::purchases
    /// [`Insights::summary`]: crate::yahoo::decode::Insights::summary
    /// [`Insights::reports`]: crate::yahoo::decode::Insights::reports
    /// [`Insights::developments`]: crate::yahoo::decode::Insights::developments
    /// [`Insights::filings`]: crate::yahoo::decode::Insights::filings
    /// [`Insights::events`]: crate::yahoo::decode::Insights::events
    /// [`Quotes::quotes`]: crate::yahoo::decode::Quotes::quotes
    /// [`SearchHits::hits`]: crate::yahoo::decode::SearchHits::hits
    pub fn relations(self) -> Vec<RelationSchema> {
        match self {
            Self::Holders => keyed(holder_schemas(), &HOLDER_KEYS),
            Self::Insights => keyed(insight_schemas(), &INSIGHT_KEYS),
            Self::Quote => keyed(vec![("quotes", quote_schema())], &[&["symbol"]]),
            Self::Search => keyed(vec![("search", search_schema())], &[&["symbol"]]),
        }
    }
}

fn keyed(schemas: Vec<(&'static str, SchemaRef)>, keys: &[&[&str]]) -> Vec<RelationSchema> {
    let relation = |((name, schema), key): ((&str, SchemaRef), &&[&str])| {
        RelationSchema::new(name, schema).with_key(key.iter().copied()).with_version(AS_OF)
    };
    schemas.into_iter().zip(keys).map(relation).collect()
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|it| it.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::parameter("yahoo", "endpoint", format!("`{text}` is none of {known}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_key_of_columns_without_nulls() {
        let counts = Endpoint::ALL.map(|it| it.relations().len());
        assert_eq!(counts, [holder_schemas().len(), insight_schemas().len(), 1, 1]);
        for relation in Endpoint::ALL.into_iter().flat_map(Endpoint::relations) {
            for column in relation.key.iter().chain(&relation.version) {
                let field = relation.schema.field_with_name(column).ok();
                assert!(field.is_some_and(|it| !it.is_nullable()), "{}.{column}", relation.name);
            }
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for endpoint in Endpoint::ALL {
            assert_eq!(endpoint.to_string().parse::<Endpoint>().ok(), Some(endpoint));
        }
        assert!("chart".parse::<Endpoint>().is_err());
    }
}
