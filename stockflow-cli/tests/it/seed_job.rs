//! The seed's own job, held against a plain computation of the same; `scripts/test` holds it against PySpark.

use crate::place::{Place, repository};

fn run(place: &Place, input: &str) {
    let mut command =
        place.command(["run".as_ref(), repository().join("examples/pipelines/seed_job.toml").as_os_str()]);
    crate::place::Said::from(command.env("SEED_INPUT", input).env("SEED_OUTPUT", "out.parquet").output().unwrap()).ok();
}

#[test]
fn the_average_is_that_of_what_there_is_in_the_last_twenty_rows() {
    let place = Place::with_bars();
    // A row without volume is not part of anything.
    let text = place.read("examples/data/FB.csv");
    let text: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(idx, line)| {
            if idx == 5 { line.replacen(&line.split(',').nth(5).unwrap().to_owned(), "0", 1) } else { line.to_owned() }
        })
        .collect();
    place.write("FB.csv", &(text.join("\n") + "\n"));
    run(&place, "FB.csv");
    let rows = place
        .run([
            "sql",
            "SELECT date, close, \"MA_20\" AS ma FROM t ORDER BY date",
            "-f",
            "t=out.parquet",
            "--format",
            "ndjson",
        ])
        .ok();
    let rows: Vec<serde_json::Value> = rows.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 195, "one row of 196 has no volume");
    let closes: Vec<f64> = rows.iter().map(|row| row["close"].as_f64().unwrap()).collect();
    for (idx, row) in rows.iter().enumerate() {
        let window = &closes[idx.saturating_sub(19)..=idx];
        let wanted = window.iter().sum::<f64>() / window.len() as f64;
        let got = row["ma"].as_f64().unwrap();
        assert!((got - wanted).abs() <= 1e-9 * wanted, "row {idx}: {got} is not {wanted}");
    }
}

#[test]
fn the_output_is_overwritten() {
    let place = Place::with_bars();
    run(&place, "examples/data/*.csv");
    let count = |place: &Place| {
        place.run(["sql", "SELECT count(*) AS n FROM t", "-f", "t=out.parquet", "--format", "csv"]).ok().stdout
    };
    assert_eq!(count(&place), "n\n12154\n");
    std::fs::remove_file(place.path("examples/data/FB.csv")).unwrap();
    run(&place, "examples/data/*.csv");
    assert_eq!(count(&place), "n\n11958\n");
}
