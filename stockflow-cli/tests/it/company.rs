//! `stockflow holders`, `insights`, `quote`, `symbols` and `actions`, from recordings.

use std::path::PathBuf;

use crate::place::{Place, Said};

fn recordings() -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/recordings").display().to_string()
}

fn run(place: &Place, args: &[&str]) -> Said {
    place.run(args.iter().copied().map(str::to_owned).chain(["--replay".to_owned(), recordings()]))
}

#[test]
fn holders_are_printed_and_unknown_symbols_told() {
    let place = Place::empty();
    let said = run(&place, &["holders", "DEMO", "GONE"]).code(3);
    let titles = ["holders_breakdown", "holders_institutions", "holders_funds", "holders_insiders"];
    for title in titles {
        assert!(said.stdout.lines().any(|line| line == title), "{title} in {}", said.stdout);
    }
    said.prints("| DEMO   | Made Up Asset Management | 2023-12-31  | 0.08  | 800000.0 | 48000000.0 | 0.025  |")
        .prints("| DEMO   | 0.125          |")
        .prints("holders_direct: none")
        .says("GONE")
        .says("Quote not found for ticker symbol: GONE");
}

#[test]
fn holders_come_into_the_lake_once_however_often_they_are_read() {
    let place = Place::empty();
    for _ in 0..2 {
        run(&place, &["holders", "DEMO", "--to", "lake"]).ok();
    }
    let sql = "SELECT name, ordinal, shares, value FROM insider_transactions ORDER BY name, ordinal";
    let said = place.run(["sql", sql, "--format", "csv"]).ok();
    let lines: Vec<&str> = said.stdout.lines().skip(1).collect();
    assert_eq!(lines, ["DOE JANE,0,1000.0,60000.0", "DOE JANE,1,1000.0,60000.0", "ROE RICHARD,0,5000.0,"]);
    let sql = "SELECT organization, share FROM holders_institutions ORDER BY share DESC LIMIT 1";
    place.run(["sql", sql, "--format", "csv"]).ok().prints("Made Up Asset Management,0.08");
}

#[test]
fn insights_are_printed_in_short_and_written_in_full() {
    let place = Place::empty();
    run(&place, &["insights", "DEMO"])
        .ok()
        .prints("| DEMO   | Demo Incorporated | BUY    | 72.0         | Bullish")
        .prints("Target price raised")
        .prints("a two-for-one split");
    run(&place, &["insights", "DEMO", "--to", "csv"]).ok();
    // Again, with a symbol that cannot be had: the others are there.
    run(&place, &["insights", "DEMO", "GONE", "--to", "csv"]).code(3).prints("GONE: unknown symbol");
    // With none that can be had the files stay as they are.
    run(&place, &["insights", "GONE", "--to", "csv"]).code(1).says("must not replace everything by less");
    let text = place.read("stockflow-data/fetched/insights.csv");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("innovativeness") && lines[1].contains("-0.04"), "{text}");
    let text = place.read("stockflow-data/fetched/insight_filings.csv");
    assert!(text.contains("DEMO,0000000000-24-000001,2024-02-20,10-K"), "{text}");
}

#[test]
fn a_query_over_the_lake_names_symbols() {
    let place = Place::empty();
    run(&place, &["fetch", "DEMO"]).ok();
    let query = "SELECT symbol FROM bars GROUP BY symbol";
    run(&place, &["quote", "--symbols-query", query]).ok().prints("| DEMO   | 60.21");
    run(&place, &["quote", "--symbols-query", "SELECT symbol FROM bars WHERE false"]).code(2).says("gives none");
    run(&place, &["quote", "--symbols-query", "SELECT symbol FROM bar"]).code(2).says("bar");
}

#[test]
fn quotes_symbols_and_actions_are_printed() {
    let place = Place::empty();
    run(&place, &["quote", "DEMO", "GONE"])
        .code(3)
        .prints("| DEMO   | 60.21 | USD      | 2024-03-28T20:00:00Z | 59.8")
        .says("unknown symbol");
    run(&place, &["symbols", "demo"]).ok().prints("| DEMO   | Demo Inc.").prints("| DEMO.L | Demo PLC");
    let said = run(&place, &["actions", "DEMO", "GONE"]).code(3).prints("dividend").prints("0.48").prints("split");
    assert!(!said.stdout.contains("close"), "no bars: {}", said.stdout);
    let said = run(&place, &["quote", "DEMO", "--json"]).ok();
    assert_eq!(said.json()["exit_code"], 0, "standard output belongs to the report");
}

#[test]
fn a_pipeline_file_names_the_endpoint() {
    let place = Place::empty();
    let source = format!("type = \"yahoo\"\nendpoint = \"quote\"\nsymbols = [\"DEMO\"]\nreplay = '{}'\n", recordings());
    let sink = "[[sink]]\nname = \"quotes\"\ntype = \"console\"\nformat = \"csv\"\ncolumns = [\"symbol\", \"price\"]\n";
    place.write("quotes.toml", &format!("name = \"quotes\"\n[source]\n{source}{sink}"));
    place.run(["run", "quotes.toml"]).ok().prints("symbol,price\nDEMO,60.21\n");
    place.write("bad.toml", &format!("name = \"quotes\"\n[source]\ninterval = \"1h\"\n{source}{sink}"));
    place.run(["validate", "bad.toml"]).code(2).says("`source.interval` is not known here");
    let wrong = format!("name = \"quotes\"\n[source]\n{source}{sink}").replace("\"quote\"", "\"qoute\"");
    place.write("wrong.toml", &wrong);
    place.run(["validate", "wrong.toml"]).code(2).says("did you mean `quote`?");
}

#[test]
fn wrong_calls_say_what_is_missing() {
    let place = Place::empty();
    place.run(["holders"]).code(2).says("SYMBOL");
    place.run(["symbols"]).code(2).says("TEXT");
    place.run(["quote", "A", "--replay", "nowhere"]).code(2).says("nowhere");
    place.run(["insights", "A", "--requests-per-second", "0"]).code(2).says("more than 0");
}
