//! `explain`, `status`, `doctor`, `lake`, `chart`, `init` and the example pipelines.

use crate::place::{Place, TEMPLATE_LAKE, repository};

#[test]
fn explain_shows_the_plan_of_each_step() {
    let place = Place::with_few_bars();
    let said = place.run(["explain"]).ok();
    for step in ["normalized", "bars", "quality", "adjusted", "indicators"] {
        assert!(said.stdout.contains(&format!("step {step}")), "{step} in {}", said.stdout);
    }
    said.prints("WindowAgg");
    place.run(["explain", "--step", "adjusted"]).ok().prints("Projection");
    place.run(["explain", "--step", "adjustd"]).code(2).says("did you mean `adjusted`?");
    assert!(!place.path("stockflow-data").exists(), "explain writes nothing");
}

#[test]
fn status_tells_the_last_epoch_and_what_comes_next() {
    let place = Place::with_few_bars();
    place.run(["status"]).ok().prints("none yet").prints("2 partitions");
    assert!(!place.path("stockflow-data").exists(), "status writes nothing");
    place.run(["run"]).ok();
    place.run(["status"]).ok().prints("last epoch   1").prints("nothing new").prints("bars: 240 rows");
    let status = place.run(["status", "--json"]).ok().json();
    assert_eq!(status["epoch"], 1);
    assert!(status["lag_seconds"].as_i64().unwrap() < 600, "{status:#}");
    place.write(
        "examples/data/FB_later.csv",
        "Date,Open,High,Low,Close,Volume,Adj Close\n2013-03-04,27.8,28.1,27.4,27.7,32400700,27.7\n",
    );
    place.run(["status"]).ok().prints("1 partitions").prints("FB_later.csv");
}

#[test]
fn doctor_checks_the_machine_and_the_pipeline() {
    let place = Place::with_few_bars();
    let said = place.run(["doctor"]).ok();
    for wanted in ["versions", "disk space", "checkpoint store", "source", "fence bars"] {
        assert!(said.stdout.contains(wanted), "{wanted} in {}", said.stdout);
    }
    assert!(!place.path("stockflow-data").exists(), "doctor leaves nothing behind");
    let checks = place.run(["doctor", "--json"]).ok().json();
    assert!(checks.as_array().unwrap().iter().all(|check| check["health"] != "failed"), "{checks:#}");
    place.write("blocked", "a file where a folder is wanted");
    place.run(["doctor", "--data-dir", "blocked/lake"]).code(1).prints("FAILED");
}

#[test]
fn maintenance_says_what_it_would_do_before_it_does_it() {
    let place = Place::with_few_bars();
    place.run(["run"]).ok();
    for day in 4..8 {
        place.write(
            &format!("examples/data/FB_{day}.csv"),
            &format!("Date,Open,High,Low,Close,Volume,Adj Close\n2013-03-0{day},27.8,28.1,27.4,27.7,32400700,27.7\n"),
        );
        place.run(["run"]).ok();
    }
    let files = |place: &Place| {
        walk(&place.path("stockflow-data/bars")).into_iter().filter(|name| name.ends_with(".parquet")).count()
    };
    let before = files(&place);
    let count = place.number("SELECT count(*) FROM bars");
    place.run(["lake", "maintain"]).ok().prints("bars").prints("would");
    assert_eq!(files(&place), before, "a dry run changes nothing");
    place.run(["lake", "maintain", "--apply", "--retain-hours", "0"]).ok();
    assert!(files(&place) < before, "{} is not below {before}", files(&place));
    assert_eq!(place.number("SELECT count(*) FROM bars"), count);
    place.run(["run"]).ok().prints("nothing new");
    place.write(
        "examples/data/FB_8.csv",
        "Date,Open,High,Low,Close,Volume,Adj Close\n2013-03-08,27.8,28.1,27.4,27.7,32400700,27.7\n",
    );
    place.run(["run"]).ok();
    assert_eq!(place.number("SELECT count(*) FROM bars"), count + 1.0);
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { names.extend(walk(&path)) } else { names.push(path.display().to_string()) }
    }
    names
}

#[test]
fn charts_are_drawn_from_the_lake() {
    let place = Place::with_few_bars();
    place.run(["chart", "FB"]).code(2).says("stockflow run");
    place.run(["run"]).ok();
    place.run(["chart", "FB", "--indicators", "sma(20),rsi(14),macd(12,26,9)", "-o", "fb.svg"]).ok();
    assert!(place.read("fb.svg").contains("<svg"));
    place.run(["chart", "FB", "-o", "fb.png"]).ok();
    assert!(std::fs::read(place.path("fb.png")).unwrap().starts_with(b"\x89PNG"));
    place.run(["chart", "FB", "--from", "2012-06-01", "--to", "2012-08-01"]).ok();
    assert!(place.path("stockflow-data/charts/FB.svg").exists() && place.path("stockflow-data/charts/FB.png").exists());
    place.run(["chart", "FBB"]).code(2).says("did you mean `FB`?");
    place.run(["chart", "FB", "--indicators", "smma(20)"]).code(2).says("smma");
    place.run(["chart", "FB", "--from", "2030-01-01"]).code(2).says("no bars");
    place.run(["chart", "FB", "-o", "fb.gif"]).code(2).says(".svg");
}

#[test]
fn the_template_of_init_runs() {
    let place = Place::with_few_bars();
    // The main job's tables lie beside its own.
    place.run(["run"]).ok();
    place.run(["init"]).ok().says("pipeline.toml").says(TEMPLATE_LAKE);
    place.run(["validate", "pipeline.toml"]).ok();
    place.run(["run", "pipeline.toml"]).ok();
    assert_eq!(place.query_in(TEMPLATE_LAKE, "SELECT * FROM bars").len(), 240);
    place.run(["run", "pipeline.toml"]).ok().prints("nothing new");
}

#[test]
fn the_example_pipelines_run() {
    let place = Place::with_bars();
    let example = |name: &str| repository().join("examples/pipelines").join(name).display().to_string();
    place.run(["run", &example("screener.toml")]).ok();
    place
        .run(["sql", "SELECT symbol FROM s ORDER BY symbol", "-f", "s=stockflow-data/signals.csv", "--format", "csv"])
        .ok()
        .prints("GOOG\nIBM\n");
    place.run(["run", &example("screener.toml")]).ok().prints("nothing new");
    place.run(["run", &example("weekly.toml")]).ok();
    assert!(place.number("SELECT count(*) FROM weekly") > 2000.0);
    assert!(place.number("SELECT count(*) FROM monthly") > 400.0);
    place.write("incoming/a.ndjson", "{\"ticker\":\"EURUSD\",\"date\":\"2024-01-02\",\"open\":1.1,\"high\":1.2,\"low\":1.0,\"last_price\":1.15,\"volume\":0}\n");
    place.run(["run", &example("ndjson_to_parquet.toml")]).ok();
    place.write("incoming/b.ndjson", "{\"ticker\":\"EURUSD\",\"date\":\"2024-01-03\",\"open\":1.1,\"high\":1.2,\"low\":1.0,\"last_price\":1.16,\"volume\":0}\n");
    place.run(["run", &example("ndjson_to_parquet.toml")]).ok();
    place
        .run([
            "sql",
            "SELECT symbol, count(*) AS n FROM t GROUP BY symbol",
            "-f",
            "t=stockflow-data/parquet_bars",
            "--format",
            "csv",
        ])
        .ok()
        .prints("EURUSD,2");
}
