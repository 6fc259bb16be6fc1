//! Crashes, signals, two runners, lost and restored checkpoints, changed definitions: nothing lost, nothing doubled.

use std::path::Path;
use std::time::Duration;

use crate::place::{Place, Said, TEMPLATE_LAKE, signal, wait_for};

/// What readers see, without what differs from run to run.
fn contents(place: &Place) -> Vec<serde_json::Value> {
    let mut rows = place.query("SELECT symbol, ts, close, volume FROM bars ORDER BY symbol, ts");
    rows.extend(place.query("SELECT symbol, ts, sma_20, macd_hist, rsi_14, obv FROM indicators ORDER BY symbol, ts"));
    rows.extend(place.query("SELECT symbol, rows FROM quality ORDER BY symbol"));
    rows
}

fn expected() -> Vec<serde_json::Value> {
    let place = Place::with_few_bars();
    place.run(["run"]).ok();
    contents(&place)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            std::fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

/// Records of the main job's log.
fn log_records(place: &Place) -> usize {
    std::fs::read_dir(place.path("stockflow-data/checkpoints/main/log")).map_or(0, Iterator::count)
}

#[test]
fn killed_at_any_time_it_goes_on_where_it_stood() {
    let expected = expected();
    let place = Place::with_few_bars();
    let mut killed = 0;
    for wait in [10, 60, 150, 300, 500, 800] {
        let mut child = place.start(["run"]);
        std::thread::sleep(Duration::from_millis(wait));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed > 0, "no run was still going on when it was killed");
    place.run(["run"]).ok();
    assert_eq!(contents(&place), expected);
    place.run(["run"]).ok().prints("nothing new");
}

#[test]
fn killed_after_its_intent_the_same_epoch_is_finished() {
    let place = Place::with_few_bars();
    let mut child = place.start(["run"]);
    // Claim and intent are written, the epoch runs.
    wait_for("the intent", || log_records(&place) >= 2);
    signal(&child, "KILL");
    child.wait().unwrap();
    let status = place.run(["status", "--json"]).ok().json();
    let report = place.run(["run", "--json"]).ok().json();
    if status["open_epoch"] == 1 {
        assert_eq!(report["epochs"][0]["resumed"], true, "{report:#}");
    }
    assert_eq!(contents(&place), expected());
}

#[test]
fn the_first_interrupt_leaves_whole_epochs_only() {
    let place = Place::with_few_bars();
    let child = place.start(["run"]);
    wait_for("the claim", || log_records(&place) >= 1);
    signal(&child, "INT");
    let said = Said::from(child.wait_with_output().unwrap());
    assert!(matches!(said.code, Some(0 | 1)), "{said:?}");
    assert!(said.stderr.contains("stopping"), "{said:?}");
    if said.code == Some(1) {
        assert!(said.stderr.contains("abandoned whole"), "{said:?}");
    }
    place.run(["run"]).ok();
    assert_eq!(contents(&place), expected());
}

#[test]
fn a_second_runner_fences_the_first() {
    let place = Place::with_few_bars();
    let first = place.start(["run"]);
    wait_for("the intent", || log_records(&place) >= 2);
    // Stopped in the middle, it wakes up when another one has taken over.
    signal(&first, "STOP");
    place.run(["run"]).ok();
    signal(&first, "CONT");
    let said = Said::from(first.wait_with_output().unwrap()).code(4);
    assert!(said.stderr.contains("fenced"), "{}", said.stderr);
    assert_eq!(contents(&place), expected());
}

#[test]
fn a_deleted_checkpoint_folder_is_noticed_and_rebuilt() {
    let place = Place::with_few_bars();
    place.run(["run"]).ok();
    let before = contents(&place);
    std::fs::remove_dir_all(place.path("stockflow-data/checkpoints")).unwrap();
    place.run(["run"]).code(2).says("--rebuild");
    assert_eq!(contents(&place), before, "a refused run changes nothing");
    place.run(["run", "--rebuild"]).ok();
    assert_eq!(contents(&place), before);
    place.run(["run"]).ok().prints("nothing new");
}

#[test]
fn a_restored_checkpoint_folder_is_noticed_and_rebuilt() {
    let place = Place::with_few_bars();
    place.run(["run"]).ok();
    copy(&place.path("stockflow-data/checkpoints"), &place.path("copy"));
    place.write(
        "examples/data/FB_later.csv",
        "Date,Open,High,Low,Close,Volume,Adj Close\n2013-03-04,27.8,28.1,27.4,27.7,32400700,27.7\n",
    );
    place.run(["run"]).ok();
    let before = contents(&place);
    std::fs::remove_dir_all(place.path("stockflow-data/checkpoints")).unwrap();
    copy(&place.path("copy"), &place.path("stockflow-data/checkpoints"));
    place.run(["run"]).code(2).says("--rebuild");
    place.run(["run", "--rebuild"]).ok();
    assert_eq!(contents(&place), before);
}

#[test]
fn a_changed_definition_is_refused_with_the_difference() {
    let place = Place::with_few_bars();
    place.run(["init", "p.toml"]).ok();
    place.run(["run", "p.toml"]).ok();
    let text = place.read("p.toml");
    for (change, named) in [
        (text.replace("\"rsi(14)\"", "\"rsi(10)\""), "rsi(10)"),
        (text.replace("\"rsi(14)\"", "\"rsi(14)\", \"cci(14)\""), "cci(14)"),
    ] {
        assert_ne!(change, text);
        place.write("p.toml", &change);
        place.run(["run", "p.toml"]).code(2).says(named).says("--rebuild");
    }
    place.run(["run", "p.toml", "--rebuild"]).ok();
    assert_eq!(
        place.query_in(TEMPLATE_LAKE, "SELECT cci_14 FROM indicators WHERE cci_14 IS NOT NULL LIMIT 1").len(),
        1
    );
    place.run(["run", "p.toml"]).ok().prints("nothing new");
}

#[test]
fn rewound_and_reset_pipelines_read_again_and_double_nothing() {
    let place = Place::with_few_bars();
    place.run(["run"]).ok();
    let before = contents(&place);
    place.run(["checkpoint", "show"]).ok().prints("FB.csv@");
    place.run(["checkpoint", "reset"]).ok().says("fences").prints("nothing has been read yet");
    place.run(["status"]).ok().prints("2 partitions");
    place.run(["run"]).ok();
    assert_eq!(contents(&place), before);
    place.run(["checkpoint", "rewind", "1"]).ok().prints("FB.csv@");
    place.run(["checkpoint", "rewind", "99"]).code(2).says("no epoch 99").says("the last ones are 4, 3, 2, 1");
    place.run(["run"]).ok().prints("nothing new");
    assert_eq!(contents(&place), before);
}
