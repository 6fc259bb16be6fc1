//! Providers in a pipeline file, and their examination, against a server on this machine that answers as they do.

use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;

use crate::place::{Place, Said};
use crate::server::Server;
use crate::server::script::{Script, Trouble, When};

/// A server that answers while commands run.
struct Served {
    server: Server,
    _runtime: Runtime,
}

fn serve(script: Script) -> Served {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Served { server: runtime.block_on(Server::start(script)), _runtime: runtime }
}

fn run(place: &Place, args: &[&str]) -> Said {
    let mut command = place.command(args);
    Said::from(command.env("PROVIDER_KEY", "very-secret").output().unwrap())
}

fn doctor(provider: &str, script: Script, expected: i32) -> Vec<Value> {
    let (place, served) = (Place::empty(), serve(script));
    let base = served.server.base();
    let said = run(&place, &["doctor", provider, "--json", "--server", base.as_str(), "--api-key-env", "PROVIDER_KEY"]);
    let said = said.code(expected);
    assert!(!said.stdout.contains("very-secret") && !said.stderr.contains("very-secret"));
    said.json().as_array().unwrap().clone()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[test]
fn providers_that_answer_pass_the_examination() {
    let endpoints = [
        ("yahoo", vec!["chart", "quote", "holders", "insights", "search"]),
        ("stooq", vec!["daily"]),
        ("alpha_vantage", vec!["daily", "daily_adjusted", "intraday"]),
    ];
    for (provider, expected) in endpoints {
        let found = doctor(provider, Script::default(), 0);
        let names: Vec<&str> = found.iter().filter_map(|it| it["endpoint"].as_str()).collect();
        assert_eq!(names, expected);
        for it in &found {
            assert!(it["ok"] == true && it["rows"].as_u64() > Some(0), "{it}");
            assert_eq!(texts(&it["new"]), [""; 0], "{it}");
            assert!(provider == "yahoo" || texts(&it["missing"]).is_empty(), "{it}");
        }
    }
}

#[test]
fn fields_that_came_and_went_are_told() {
    // The server's Yahoo tells little, so most of what is read is missing.
    let found = doctor("yahoo", Script::default(), 0);
    let missing = |endpoint: &str| {
        let found = found.iter().find(|it| it["endpoint"] == endpoint).unwrap();
        texts(&found["missing"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (endpoint, field) in [
        ("chart", "meta.currentTradingPeriod"),
        ("quote", "regularMarketVolume"),
        ("holders", "netSharePurchaseActivity.totalInsiderShares"),
        ("insights", "instrumentInfo.technicalEvents"),
        ("search", "longname"),
    ] {
        assert!(missing(endpoint).iter().any(|it| it == field), "{endpoint}: {:?}", missing(endpoint));
    }
    assert!(!missing("chart").iter().any(|it| it.starts_with("indicators") || it == "timestamp"));
    let body = r#"{"quoteResponse":{"result":[{"symbol":"AAPL","currency":"USD","regularMarketPrice":1.5,"mood":"calm"}],"error":null}}"#;
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let odd = Trouble::Answer { status: 200, headers, body: body.to_owned() };
    let found = doctor("yahoo", Script::default().with("/v7", When::Always, odd), 0);
    let quote = found.iter().find(|it| it["endpoint"] == "quote").unwrap();
    assert_eq!(texts(&quote["new"]), ["mood"]);
}

#[test]
fn a_provider_that_does_not_answer_fails_the_examination() {
    let found = doctor("stooq", Script::default().with("/q", When::Always, Trouble::hits_limit()), 1);
    assert!(found[0]["reason"].as_str().is_some_and(|it| it.contains("daily hits limit")), "{found:?}");
    let found =
        doctor("alpha_vantage", Script::default().with("/query", When::Always, Trouble::information("very-secret")), 1);
    assert!(found.iter().all(|it| it["ok"] == false), "{found:?}");
}

fn pipeline(place: &Place, server: &str) {
    let text = format!(
        "name = 'chain'\n\
        [source]\ntype = 'yahoo'\nsymbols = ['AAPL', 'MSFT', 'NONE']\nfrom = '2024-01-02'\nto = '2024-01-05'\n\
        server = '{server}'\nbasis = 'split'\nfallback_on = ['throttled', 'unavailable', 'unknown']\n\
        [[source.provider]]\ntype = 'stooq'\napi_key = 'env:PROVIDER_KEY'\nbasis = 'split'\n\
        [[sink]]\nname = 'bars'\nrelation = 'bars'\ntype = 'delta'\npath = './stockflow-data/bars'\n"
    );
    place.write("p.toml", &text);
}

#[test]
fn the_next_provider_of_a_pipeline_file_serves_where_yahoo_does_not() {
    let forever = Trouble::too_many().with_header("Retry-After", "3600");
    for (trouble, provider) in [(None, "yahoo"), (Some(Trouble::html()), "stooq"), (Some(forever), "stooq")] {
        let script = trouble.map_or_else(Script::default, |it| Script::default().with("/v8", When::Always, it));
        let (place, served) = (Place::empty(), serve(script));
        pipeline(&place, served.server.base().as_str());
        // Nobody knows the third symbol: done, but not everything.
        let said = run(&place, &["run", "p.toml"]).code(3);
        assert!(said.stdout.contains("NONE"), "{}", said.stdout);
        let rows = place.query("SELECT symbol, provider, basis, count(*) AS n FROM bars GROUP BY ALL ORDER BY symbol");
        let row =
            |symbol: &str| serde_json::json!({ "symbol": symbol, "provider": provider, "basis": "split", "n": 4 });
        assert_eq!(rows, [row("AAPL"), row("MSFT")]);
    }
}

#[test]
fn the_password_of_a_server_is_kept_to_oneself() {
    let (place, served) = (Place::empty(), serve(Script::default()));
    let server = format!("http://me:hunter2@127.0.0.1:{}", served.server.base().port().unwrap());
    pipeline(&place, &server);
    let mut told = String::new();
    let mut note = |mut command: std::process::Command| {
        let said = Said::from(command.env("PROVIDER_KEY", "very-secret").env("RUST_LOG", "debug").output().unwrap());
        told += &format!("{}{}", said.stdout, said.stderr);
        said
    };
    for args in
        [vec!["validate", "p.toml"], vec!["explain", "p.toml"], vec!["doctor", "p.toml"], vec!["status", "p.toml"]]
    {
        note(place.command(args));
    }
    note(place.command(["run", "p.toml"])).code(3);
    note(place.command(["fetch", "AAPL", "--since", "2024-01-02", "--until", "2024-01-05", "--server", &server])).ok();
    note(place.command(["doctor", "yahoo", "--server", &server])).ok();
    // It is no URL: even then it is not repeated.
    note(place.command(["doctor", "yahoo", "--server", "http://me:hunter2@[1"])).code(2);
    note(place.command(["fetch", "AAPL", "--server", "http://me:hunter2@[1"])).code(2);
    let mut help = place.command(["fetch", "--help"]);
    help.env("STOCKFLOW_YAHOO_SERVER", &server);
    note(help).ok();
    assert!(!told.contains("hunter2") && !told.contains("very-secret"), "{told}");
    assert_eq!(holding(&place.path("stockflow-data"), "hunter2"), Vec::<String>::new());
}

/// The files below a folder that hold a text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text) {
            found.push(path.display().to_string());
        }
    }
    found
}
