//! One symbol's request and what its reply says.

use chrono::{DateTime, Utc};
use url::Url;

use super::Endpoint;
use crate::http::{Fetch, FetchError};
use crate::yahoo::decode::{
    Asked, HOLDER_MODULES, Holders, Insights, Quotes, ReplyError, SymbolRequest, holders, insights, quote, search,
};
use crate::yahoo::failure::Failure;
use crate::yahoo::request::{reply, url};
use crate::yahoo::symbols::Found;

/// So many hits of a search: about what Yahoo gives at most.
const HITS: &str = "25";

/// Asks an endpoint for a symbol.
pub(super) async fn ask(
    fetch: &dyn Fetch,
    endpoint: Endpoint,
    asked: Asked,
    now: DateTime<Utc>,
) -> Result<Found, Failure> {
    let request = SymbolRequest { symbols: vec![asked.clone()], as_of: now };
    let refused = |error: ReplyError| Failure::of_reply(&asked.symbol, &error);
    match endpoint {
        Endpoint::Holders => {
            let modules = HOLDER_MODULES.join(",");
            let parameters = [("modules", modules.as_str()), ("formatted", "false")];
            let url = url(&["v10", "finance", "quoteSummary", &asked.yahoo], &parameters)?;
            Ok(holders(&reply(fetch, &asked, url, None).await?, &request).map_err(refused)?.into())
        }
        Endpoint::Insights => newest_insights(fetch, &asked, &request).await,
        Endpoint::Quote => {
            let url = url(&["v7", "finance", "quote"], &[("symbols", &asked.yahoo)])?;
            of_quotes(quote(&reply(fetch, &asked, url, None).await?, &request).map_err(refused)?)
        }
        Endpoint::Search => {
            let parameters = [("q", asked.yahoo.as_str()), ("quotesCount", HITS), ("newsCount", "0")];
            let url = url(&["v1", "finance", "search"], &parameters)?;
            let found = search(&reply(fetch, &asked, url, None).await?, now).map_err(refused)?;
            Ok(Found::new(vec![found.hits], found.rejects))
        }
    }
}

/// The third version's insights; the second version's where there is no third.
async fn newest_insights(fetch: &dyn Fetch, asked: &Asked, request: &SymbolRequest) -> Result<Found, Failure> {
    let newest = match reply(fetch, asked, insights_url("v3", "symbols", asked)?, None).await {
        Ok(reply) => insights(&reply, request),
        Err(FetchError::NoRecording { .. }) => Err(ReplyError::UnknownEndpoint { status: 404, reason: String::new() }),
        Err(error) => return Err(error.into()),
    };
    let found = match newest {
        Err(ReplyError::UnknownEndpoint { .. }) => {
            insights(&reply(fetch, asked, insights_url("v2", "symbol", asked)?, None).await?, request)
        }
        newest => newest,
    };
    of_insights(found.map_err(|error| Failure::of_reply(&asked.symbol, &error))?)
}

fn insights_url(version: &str, parameter: &str, asked: &Asked) -> Result<Url, Failure> {
    // The parameters with which replies have been seen.
    let parameters = [("getAllResearchReports", "true"), ("reportsCount", "2"), (parameter, asked.yahoo.as_str())];
    url(&["ws", "insights", version, "finance", "insights"], &parameters)
}

impl From<Holders> for Found {
    fn from(it: Holders) -> Self {
        let tables = vec![
            it.breakdown,
            it.institutions,
            it.funds,
            it.insiders,
            it.insider_transactions,
            it.direct_holders,
            it.purchases,
        ];
        Self::new(tables, it.rejects)
    }
}

fn of_insights(it: Insights) -> Result<Found, Failure> {
    if !it.absent.is_empty() {
        return Err(Failure::Symbol("unknown symbol: Yahoo's reply does not mention it".into()));
    }
    Ok(Found::new(vec![it.summary, it.reports, it.developments, it.filings, it.events], it.rejects))
}

fn of_quotes(it: Quotes) -> Result<Found, Failure> {
    match it.priceless.first() {
        Some(husk) if husk.is_delisted => Err(Failure::Symbol("delisted: Yahoo has no price of it any more".into())),
        Some(_) => Err(Failure::Symbol("Yahoo lists it without a price".into())),
        None if !it.absent.is_empty() => {
            Err(Failure::Symbol("unknown symbol: Yahoo's reply does not mention it".into()))
        }
        None => Ok(Found::new(vec![it.quotes], it.rejects)),
    }
}
