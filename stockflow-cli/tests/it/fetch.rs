//! `stockflow fetch`, from recordings.

use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::json;

fn recordings() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/recordings")
}

fn stockflow(folder: &std::path::Path) -> Command {
    let mut command = Command::cargo_bin("stockflow").unwrap();
    command.current_dir(folder).env_remove("STOCKFLOW_DATA_DIR");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn recorded_bars_come_into_the_lake_and_can_be_computed_with_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let output = stockflow(folder.path())
        .args(["fetch", "DEMO", "GONE", "--json", "--replay"])
        .arg(recordings())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["left_out"][0]["partition"], "GONE");
    assert!(report["left_out"][0]["reason"].as_str().unwrap().contains("may be delisted"), "{report}");

    let sql = "SELECT count(*) AS n, min(date) AS first, max(date) AS last, count(DISTINCT basis) AS b, max(rsi) < 100 AS r \
        FROM (SELECT *, rsi(close, 14) OVER (PARTITION BY symbol ORDER BY ts) AS rsi FROM bars)";
    let output = stockflow(folder.path()).args(["sql", sql, "--format", "csv"]).output().unwrap();
    assert_eq!(
        text(&output.stdout).lines().nth(1),
        Some("60,2024-01-02,2024-03-28,1,true"),
        "{}",
        text(&output.stderr)
    );
    // As traded: before the two-for-one split prices are twice what Yahoo gives.
    let sql = "SELECT close FROM bars WHERE date IN (DATE '2024-01-02') UNION ALL SELECT value FROM actions WHERE kind = 'dividend'";
    let output = stockflow(folder.path()).args(["sql", sql, "--format", "csv"]).output().unwrap();
    let mut values: Vec<String> = text(&output.stdout).lines().skip(1).map(str::to_owned).collect();
    values.sort();
    assert_eq!(values, ["0.48", "100.0"], "{}", text(&output.stderr));
    let sql = "SELECT symbol, kind, exchange, calendar, currency, sub_unit, time_zone, tick_size, first_trade_date, delisted_on FROM symbols";
    let output = stockflow(folder.path()).args(["sql", sql, "--format", "csv"]).output().unwrap();
    let rows: Vec<String> = text(&output.stdout).lines().skip(1).map(str::to_owned).collect();
    let expected = "DEMO,EQUITY,NMS,XNYS,USD,,America/New_York,0.01,2024-01-02,";
    assert_eq!(rows, [expected], "{}", text(&output.stderr));
    let output = stockflow(folder.path()).args(["chart", "DEMO", "-o", "demo.svg"]).output().unwrap();
    assert!(output.status.success() && folder.path().join("demo.svg").is_file(), "{}", text(&output.stderr));
}

#[test]
fn bars_go_to_files_and_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let output = stockflow(folder.path())
        .args(["fetch", "DEMO", "--since", "2024-03-25", "--to", "-", "--replay"])
        .arg(recordings())
        .output()
        .unwrap();
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(0), 5), "{lines:?} {}", text(&output.stderr));
    assert!(lines[1].starts_with("DEMO,1d,2024-03-25"), "{lines:?}");
    let output =
        stockflow(folder.path()).args(["fetch", "DEMO", "--to", "-", "--replay"]).arg(recordings()).output().unwrap();
    assert_eq!(text(&output.stdout).lines().count(), 61, "all rows, whatever a console shows otherwise");
    let output =
        stockflow(folder.path()).args(["fetch", "DEMO", "--to", "csv", "--replay"]).arg(recordings()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let actions = std::fs::read_to_string(folder.path().join("stockflow-data/fetched/actions.csv")).unwrap();
    assert_eq!(actions.lines().count(), 3, "{actions}");
}

#[test]
fn prices_in_pence_are_converted_and_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let body = json!({ "chart": { "error": null, "result": [{
        "meta": { "currency": "GBp", "symbol": "P.L", "exchangeName": "LSE", "exchangeTimezoneName": "Europe/London", "priceHint": 2 },
        "timestamp": [1_704_182_400, 1_704_268_800],
        "indicators": { "quote": [{ "open": [500, 510], "high": [500, 510], "low": [500, 510], "close": [500, 510], "volume": [1, 1] }] },
    }] } });
    let url = "https://query1.finance.yahoo.com/v8/finance/chart/P.L?interval=1d&period1=-2208988800&period2=1712000000&events=div%2Csplits%2CcapitalGains";
    let recording = json!({ "request": { "url": url }, "response": { "status": 200, "bodyJson": body } });
    std::fs::create_dir(folder.path().join("replies")).unwrap();
    std::fs::write(folder.path().join("replies/p.json"), recording.to_string()).unwrap();
    let output = stockflow(folder.path()).args(["fetch", "P.L", "--replay", "replies"]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(said.contains("yahoo: prices in GBp converted to GBP: 2 rows: P.L 2"), "{said}");
    let sql = "SELECT b.close, b.currency, s.sub_unit, s.sub_unit_factor, s.tick_size FROM bars b JOIN symbols s USING (symbol) ORDER BY ts";
    let output = stockflow(folder.path()).args(["sql", sql, "--format", "csv"]).output().unwrap();
    let rows: Vec<String> = text(&output.stdout).lines().skip(1).map(str::to_owned).collect();
    assert_eq!(rows, ["5.0,GBP,GBp,0.01,0.0001", "5.1,GBP,GBp,0.01,0.0001"], "{}", text(&output.stderr));
}

#[test]
fn a_lake_from_before_the_table_of_symbols_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    // What `fetch` put together before.
    let delta = |name: &str, relation: &str| {
        format!(
            "[[sink]]\nname = \"{name}\"\nrelation = \"{relation}\"\ntype = \"delta\"\npath = \"./stockflow-data/{name}\"\n"
        )
    };
    let pipeline = format!(
        "name = \"fetch-1d\"\nhistory = \"clean\"\n[source]\ntype = \"yahoo\"\nsymbols = [\"DEMO\"]\nto = \"2024-03-01\"\nreplay = {:?}\n\
        [[transform]]\nname = \"clean\"\ntype = \"clean\"\ninput = \"bars\"\n{}{}",
        recordings(),
        delta("bars", "clean"),
        delta("actions", "actions"),
    );
    std::fs::write(folder.path().join("before.toml"), pipeline).unwrap();
    let output = stockflow(folder.path()).args(["run", "before.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = stockflow(folder.path()).args(["fetch", "DEMO", "--replay"]).arg(recordings()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let sql = "SELECT symbol, count(*) AS n FROM bars JOIN symbols USING (symbol) GROUP BY symbol";
    let output = stockflow(folder.path()).args(["sql", sql, "--format", "csv"]).output().unwrap();
    assert_eq!(text(&output.stdout).lines().nth(1), Some("DEMO,60"), "{}", text(&output.stderr));
}

#[test]
fn wrong_calls_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, reason) in [
        (vec!["fetch"], "SYMBOL"),
        (vec!["fetch", "A", "--interval", "7m"], "Yahoo has no bars of `7m`"),
        (vec!["fetch", "A", "--range", "5x"], "no range"),
        (vec!["fetch", "A", "--replay", "nowhere"], "nowhere"),
        (vec!["fetch", "A", "--requests-per-second", "0"], "more than 0"),
    ] {
        let output = stockflow(folder.path()).args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(reason), "{arguments:?}: {}", text(&output.stderr));
    }
}
