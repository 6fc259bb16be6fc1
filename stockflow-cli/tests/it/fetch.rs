//! `stockflow fetch`, from recordings.

use std::path::PathBuf;

use assert_cmd::Command;

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
