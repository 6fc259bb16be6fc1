//! `stockflow doctor PROVIDER`

use std::sync::Arc;

use chrono::Utc;
use stockflow_io::http::{Fetch, HttpClient, HttpOptions};
use stockflow_io::provider::{ApiKey, Examined, examine};
use stockflow_io::yahoo::YahooSession;

use crate::args::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::render::{self, Align, Table, stdout};
use crate::server::Server;

/// Asks each endpoint of a provider once, and says what is missing and what is new.
pub(crate) async fn run(
    provider: &str,
    server: Option<&Server>,
    key_variable: Option<&str>,
    global: &Global,
) -> Outcome {
    let mut options = HttpOptions::default();
    if let Some(server) = server {
        let server = server.url().map_err(|reason| Failure::usage(format!("`--server` {reason}")))?;
        for domain in ["yahoo.com", "stooq.com", "alphavantage.co"] {
            options = options.with_base(domain, server.clone());
        }
    }
    let key = match key_variable {
        Some(name) => Some(ApiKey::new(
            std::env::var(name).map_err(|_| Failure::usage(format!("environment variable `{name}` is not set")))?,
        )),
        None => None,
    };
    let client = HttpClient::new(options).map_err(|error| Failure::usage(error.to_string()))?;
    let fetch: Arc<dyn Fetch> = Arc::new(YahooSession::new(client));
    let found = examine(provider, &fetch, key.as_ref(), Utc::now()).await;
    print(&found, global)?;
    Ok(if found.iter().all(|it| it.ok) { Exit::Done } else { Exit::Failed })
}

fn print(found: &[Examined], global: &Global) -> Outcome<()> {
    if global.json {
        return render::json(&found);
    }
    let left = Align::Left;
    let columns =
        [("endpoint", left), ("health", left), ("rows", Align::Right), ("missing", left), ("new", left), ("", left)];
    let mut table = Table::new(stdout(), &columns);
    for it in found {
        table.row(vec![
            it.endpoint.to_owned(),
            if it.ok { "ok" } else { "FAILED" }.to_owned(),
            it.rows.to_string(),
            it.missing.join(", "),
            it.new.join(", "),
            it.reason.clone().unwrap_or_default(),
        ])?;
    }
    table.finish().map(drop).map_err(Failure::from)
}
