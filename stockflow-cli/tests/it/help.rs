//! Help texts, completions, usage errors, the catalogue: what needs no data.

use std::process::Stdio;

use crate::place::{Place, Said};

const COMMANDS: [&str; 21] = [
    "run",
    "fetch",
    "actions",
    "holders",
    "insights",
    "quote",
    "symbols",
    "validate",
    "explain",
    "status",
    "checkpoint",
    "dlq",
    "lake",
    "db",
    "topics",
    "sql",
    "indicators",
    "chart",
    "init",
    "doctor",
    "completions",
];

#[test]
fn help_names_every_command_the_exit_codes_and_examples() {
    let said = Place::empty().run(["--help"]).ok();
    for command in COMMANDS {
        assert!(said.stdout.lines().any(|line| line.trim_start().starts_with(command)), "{command} in {}", said.stdout);
    }
    said.prints("Exit codes:").prints("4 fenced").prints("stockflow run pipeline.toml");
}

#[test]
fn every_command_has_help() {
    let place = Place::empty();
    for command in COMMANDS {
        place.run([command, "--help"]).ok().prints("Usage: stockflow");
    }
    place.run(["run", "--help"]).ok().prints("--rebuild").prints("--symbols").prints("Ctrl-C");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let place = Place::empty();
    place.run(["statsu"]).code(2).says("status");
    place.run(["run", "--from", "yesterday"]).code(2).says("YYYY-MM-DD");
    place.run(["run", "--sink", "bars"]).code(2).says("--rebuild");
    place.run(["run", "--rebuild", "--from", "2020-01-01"]).code(2).says("cannot be used with");
    place.run(["sql", "SELECT 1", "-f", "prices.csv"]).code(2).says("NAME=PATH");
    place.run(["completions", "tcl"]).code(2);
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 0, "wrong usage leaves nothing behind");
}

#[test]
fn completions_come_for_every_shell() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        place.run(["completions", shell]).ok().prints("stockflow").prints("checkpoint");
    }
}

#[test]
fn the_catalogue_is_listed_described_and_given_as_json() {
    let place = Place::empty();
    place.run(["indicators"]).ok().prints("rsi").prints("macd").prints("lookback");
    place.run(["indicators", "rsi"]).ok().prints("lookback   14 rows").prints("OVER (PARTITION BY symbol ORDER BY ts)");
    let all = place.run(["indicators", "--json"]).ok().json();
    assert!(all.as_array().unwrap().len() > 150, "{}", all.as_array().unwrap().len());
    for field in ["name", "group", "inputs", "parameters", "outputs", "flags", "state", "lookback", "columns", "sql"] {
        assert!(all.as_array().unwrap().iter().all(|entry| !entry[field].is_null()), "{field}");
    }
    place.run(["indicators", "rsj"]).code(2).says("did you mean `rsi`?");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let place = Place::empty();
    for args in [
        vec!["indicators", "--json"],
        vec!["completions", "bash"],
        vec!["sql", "SELECT * FROM generate_series(1, 1000000)", "--format", "csv"],
    ] {
        let mut child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let said = Said::from(child.wait_with_output().unwrap()).ok();
        assert_eq!(said.stderr, "", "{args:?}");
    }
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() {
    let place = Place::empty();
    let said = place.run(["run", "--json", "--from", "yesterday"]).code(2);
    let error = said.json();
    assert_eq!(error["exit_code"], 2, "{error:#}");
    assert!(error["error"].as_str().unwrap().contains("yesterday"), "{error:#}");
    let said = place.run(["run", "none.toml", "--log-format", "json"]).code(2);
    let levels: Vec<String> = said
        .stderr
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["level"].as_str().unwrap().to_owned())
        .collect();
    assert!(levels.iter().any(|level| level == "ERROR"), "{}", said.stderr);
    let said = place.run(["statsu", "--log-format", "json"]).code(2);
    assert!(said.stderr.lines().all(|line| line.starts_with('{')), "{}", said.stderr);
}
