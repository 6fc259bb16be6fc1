//! The main job: no configuration, no server.

use std::collections::BTreeSet;

use crate::place::{Place, Said};

/// Rows of the five files.
const ROWS: f64 = 12154.0;

/// The last lines of a CSV file move to another one.
fn split_off(place: &Place, file: &str, n: usize, to: &str) {
    let text = place.read(file);
    let lines: Vec<&str> = text.lines().collect();
    let (head, tail) = lines.split_at(lines.len() - n);
    place.write(file, &(head.join("\n") + "\n"));
    place.write(to, &format!("{}\n{}\n", lines[0], tail.join("\n")));
}

/// All rows of a symbol's indicators, without what differs from run to run.
fn indicators(place: &Place, symbol: &str) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let rows = place.query(&format!("SELECT * FROM indicators WHERE symbol = '{symbol}' ORDER BY ts"));
    let plain = |row: serde_json::Value| {
        let mut row = row.as_object().unwrap().clone();
        row.remove("revision");
        row.remove("as_of");
        row
    };
    rows.into_iter().map(plain).collect()
}

/// Equal but for 1e-9 relative.
#[track_caller]
pub(crate) fn assert_same(
    got: &[serde_json::Map<String, serde_json::Value>],
    wanted: &[serde_json::Map<String, serde_json::Value>],
) {
    assert_eq!(got.len(), wanted.len());
    for (got, wanted) in got.iter().zip(wanted) {
        for (column, wanted) in wanted {
            match (got[column].as_f64(), wanted.as_f64()) {
                (Some(a), Some(b)) => {
                    assert!((a - b).abs() <= 1e-9 * b.abs().max(1e-12), "{column}: {a} is not {b} in {got:?}")
                }
                _ => assert_eq!(&got[column], wanted, "{column} in {got:?}"),
            }
        }
    }
}

#[track_caller]
fn one_epoch(said: &Said) -> serde_json::Value {
    let report = said.json();
    assert_eq!(report["epochs"].as_array().unwrap().len(), 1, "{report:#}");
    report["epochs"][0].clone()
}

fn rows_of(epoch: &serde_json::Value, sink: &str) -> u64 {
    epoch["sinks"].as_array().unwrap().iter().find(|it| it["sink"] == sink).unwrap()["rows"].as_u64().unwrap()
}

#[test]
fn runs_reports_draws_and_finds_nothing_new_the_second_time() {
    let place = Place::with_bars();
    let said = place.run(["run"]).ok();
    for wanted in [
        "total",
        "raw",
        "AAPL",
        "rsi_14",
        "sma_200",
        "stockflow-data/bars",
        "stockflow-data/indicators",
        "stockflow-data/quality",
        "exactly-once",
    ] {
        assert!(said.stdout.contains(wanted), "`{wanted}` is not in:\n{}", said.stdout);
    }
    for file in ["charts/AAPL.svg", "charts/AAPL.png"] {
        assert!(place.path("stockflow-data").join(file).metadata().unwrap().len() > 1000, "{file}");
    }
    assert_eq!(place.number("SELECT count(*) FROM bars"), ROWS);
    assert_eq!(place.number("SELECT count(DISTINCT (symbol, ts)) FROM indicators"), ROWS);
    assert_eq!(place.number("SELECT count(*) FROM quality"), 5.0);

    let before = place.query("SELECT symbol, ts, revision FROM indicators ORDER BY symbol, ts");
    place.run(["run"]).ok().prints("nothing new");
    let report = place.run(["run", "--json"]).ok().json();
    assert_eq!(report["up_to_date"], true, "{report:#}");
    assert_eq!(report["epochs"].as_array().unwrap().len(), 0);
    assert_eq!(place.query("SELECT symbol, ts, revision FROM indicators ORDER BY symbol, ts"), before);
}

#[test]
fn ten_later_bars_are_processed_alone_and_equal_a_full_run() {
    let whole = Place::with_bars();
    whole.run(["run"]).ok();
    let parts = Place::with_bars();
    split_off(&parts, "examples/data/AAPL.csv", 10, "later.csv");
    parts.run(["run"]).ok();
    std::fs::rename(parts.path("later.csv"), parts.path("examples/data/AAPL_later.csv")).unwrap();
    let epoch = one_epoch(&parts.run(["run", "--json"]).ok());
    assert_eq!(epoch["changed"], 10, "{epoch:#}");
    assert_eq!(epoch["fresh_symbols"], 1);
    assert_eq!(epoch["late_symbols"].as_array().unwrap().len(), 0);
    assert_eq!((rows_of(&epoch, "bars"), rows_of(&epoch, "indicators")), (10, 10));
    for symbol in ["AAPL", "IBM"] {
        assert_same(&indicators(&parts, symbol), &indicators(&whole, symbol));
    }
}

#[test]
fn a_corrected_bar_recomputes_its_symbol_alone_and_the_old_row_is_kept() {
    let place = Place::with_bars();
    place.run(["run"]).ok();
    let others = |place: &Place| {
        place.query("SELECT symbol, ts, revision FROM indicators WHERE symbol <> 'IBM' ORDER BY symbol, ts")
    };
    let (before, others_before) = (indicators(&place, "IBM"), others(&place));
    let old = place.query("SELECT close FROM bars WHERE symbol = 'IBM' AND date = '2012-06-01'")[0]["close"]
        .as_f64()
        .unwrap();

    let text = place.read("examples/data/IBM.csv");
    let line = text.lines().find(|line| line.starts_with("2012-06-01,")).unwrap();
    let mut fields: Vec<String> = line.split(',').map(str::to_owned).collect();
    fields[4] = format!("{}", fields[4].parse::<f64>().unwrap() * 0.999);
    place.write(
        "examples/data/IBM_correction.csv",
        &format!("{}\n{}\n", text.lines().next().unwrap(), fields.join(",")),
    );

    let epoch = one_epoch(&place.run(["run", "--json"]).ok());
    assert_eq!(epoch["changed"], 1, "{epoch:#}");
    assert_eq!(epoch["late_symbols"], serde_json::json!(["IBM"]));
    assert_eq!(others(&place), others_before, "other symbols were not touched");
    assert_eq!(place.number("SELECT count(*) FROM bars"), ROWS, "nothing is doubled");
    let revisions = place.query("SELECT symbol, date, close FROM bars_revisions");
    assert_eq!(revisions.len(), 1, "{revisions:?}");
    assert_eq!(revisions[0]["symbol"], "IBM");
    assert_eq!(revisions[0]["close"].as_f64().unwrap(), old);

    let after = indicators(&place, "IBM");
    assert_eq!(after.len(), before.len());
    let first = after.iter().zip(&before).position(|(after, before)| after != before).unwrap();
    assert!(after[first]["ts"].as_str().unwrap().starts_with("2012-06-01"), "{:?}", after[first]["ts"]);

    let fresh = Place::with_bars();
    std::fs::copy(place.path("examples/data/IBM_correction.csv"), fresh.path("examples/data/IBM_correction.csv"))
        .unwrap();
    // Within one epoch the later row wins, and the other one is a dead letter.
    fresh.run(["run"]).code(3).prints("conflict");
    assert_same(&after, &indicators(&fresh, "IBM"));
}

#[test]
fn the_json_report_has_its_fields() {
    let place = Place::with_few_bars();
    let report = place.run(["run", "--json"]).ok().json();
    let keys: BTreeSet<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "pipeline",
        "generation",
        "epochs",
        "up_to_date",
        "interrupted",
        "seconds",
        "complete",
        "dead_letters",
        "failed_symbols",
        "left_out",
        "basis",
        "places",
        "charts",
        "exit_code",
    ] {
        assert!(keys.contains(key), "{key} in {keys:?}");
    }
    assert_eq!(report["exit_code"], 0);
    assert_eq!(report["basis"], "total");
    let epoch = &report["epochs"][0];
    for key in [
        "epoch",
        "kind",
        "resumed",
        "now",
        "read",
        "changed",
        "sinks",
        "dead_letters",
        "first_dead_letters",
        "left_out",
        "notes",
        "steps",
    ] {
        assert!(!epoch[key].is_null(), "{key} in {epoch:#}");
    }
}

#[test]
fn another_data_folder_and_input_can_be_named() {
    let place = Place::with_few_bars();
    std::fs::rename(place.path("examples/data"), place.path("prices")).unwrap();
    place.run(["run"]).code(2).says("examples/data").says("--input");
    place.run(["run", "--input", "prices/*.csv", "--data-dir", "lake"]).ok();
    assert!(place.path("lake/bars/_delta_log").is_dir() && !place.path("stockflow-data").exists());
    place
        .run(["sql", "SELECT count(*) AS n FROM bars", "--data-dir", "lake", "--format", "csv"])
        .ok()
        .prints("n\n240\n");
}

#[test]
fn a_backfill_computes_its_bars_again_and_leaves_the_checkpoint() {
    let place = Place::with_few_bars();
    place.run(["run"]).ok();
    let checkpoint = place.run(["checkpoint", "show"]).ok().stdout;
    let before = indicators(&place, "FB");
    let said = place
        .run(["run", "--from", "2012-06-01", "--to", "2012-06-30", "--symbols", "FB", "--json"])
        .ok()
        .says("fences");
    let epoch = one_epoch(&said);
    assert_eq!(epoch["kind"], "backfill", "{epoch:#}");
    assert_same(&indicators(&place, "FB"), &before);
    assert_eq!(place.run(["checkpoint", "show"]).ok().stdout, checkpoint);
    assert_eq!(place.number("SELECT count(*) FROM bars"), 240.0);
}

#[test]
fn a_backfill_of_nonsense_is_refused_or_told() {
    let place = Place::with_few_bars();
    place.run(["run", "--symbols", ""]).code(2).says("a symbol is empty");
    let said = place.run(["run", "--from", "2012-06-02", "--to", "2012-06-01"]).code(2).says("is after");
    assert!(!said.stderr.contains("fences") && !place.path("stockflow-data").exists(), "nothing was claimed");
    place.run(["run"]).ok();
    let said = place.run(["run", "--symbols", "FB , fb,NOPE"]).ok();
    let said = said.prints("warning: backfill: fb: nothing was read of this symbol").prints("did you mean `FB`?");
    let said = said.prints("warning: backfill: NOPE: ");
    assert!(!said.stdout.contains("backfill: FB"), "{}", said.stdout);
}

#[test]
fn progress_comes_as_plain_lines_and_as_json() {
    let place = Place::with_few_bars();
    place.run(["run"]).ok().says("epoch 1");
    let place = Place::with_few_bars();
    let said = place.run(["run", "--log-format", "json"]).ok();
    let lines: Vec<serde_json::Value> = said
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| unreachable!("{error}: {line}")))
        .collect();
    assert!(lines.iter().any(|line| line["message"] == "epoch begins" && line["epoch"] == 1), "{lines:?}");
    let place = Place::with_few_bars();
    assert_eq!(place.run(["run", "--quiet"]).ok().stderr, "");
}
