//! `sql`: the lake's tables or named files, in every format.

use crate::place::Place;

#[test]
fn the_lake_and_all_functions_are_there() {
    let place = Place::with_few_bars();
    place.run(["sql", "SELECT * FROM bars"]).code(2).says("stockflow run");
    place.run(["run"]).ok();
    place
        .run(["sql", "SELECT symbol, count(*) AS n FROM bars GROUP BY symbol ORDER BY symbol"])
        .ok()
        .prints("symbol    n\n------  ---\nFB      120\nGOOG    120\n");
    let rows = place.query("SELECT symbol, ts, ta_sma(close, 3) OVER (PARTITION BY symbol ORDER BY ts) AS a FROM bars ORDER BY symbol, ts LIMIT 4");
    assert!(rows[1]["a"].is_null() && rows[2]["a"].is_f64(), "{rows:?}");
    place.run(["sql", "SELECT * FROM brs"]).code(2).says("`bars`");
    place.run(["sql", "SELEC 1"]).code(2);
    place.run(["sql", "DROP TABLE bars"]).code(2);
}

#[test]
fn files_are_tables() {
    let place = Place::empty();
    place.write("a.csv", "symbol,close\nA,1.5\nB,2.5\n");
    place.write("b.ndjson", "{\"symbol\":\"A\",\"n\":1}\n{\"symbol\":\"C\",\"n\":3}\n");
    place
        .run([
            "sql",
            "SELECT symbol, close, n FROM a JOIN b USING (symbol)",
            "-f",
            "a=a.csv",
            "-f",
            "b=b.ndjson",
            "--format",
            "csv",
        ])
        .ok()
        .prints("symbol,close,n\nA,1.5,1\n");
    place.run(["sql", "SELECT 1 FROM a", "-f", "a=none.csv"]).code(2).says("none.csv");
    place.run(["sql", "SELECT 1 FROM a", "-f", "a=a.xlsx"]).code(2);
}

#[test]
fn a_column_whose_first_value_comes_late_has_it() {
    let place = Place::empty();
    let (mut csv, mut ndjson) = (String::from("n,note\n"), String::new());
    for n in 0..3000 {
        csv.push_str(&format!("{n},\n"));
        ndjson.push_str(&format!("{{\"n\":{n},\"note\":null}}\n"));
    }
    place.write("a.csv", &format!("{csv}3000,late\n"));
    place.write("b.ndjson", &format!("{ndjson}{{\"n\":3000,\"note\":\"late\"}}\n"));
    place.write("c.csv", &format!("{csv}3000,1.5\n"));
    place.write("d.ndjson", &format!("{ndjson}{{\"n\":3000,\"note\":1.5}}\n"));
    for (file, value) in [("a.csv", "late"), ("b.ndjson", "late"), ("c.csv", "1.5"), ("d.ndjson", "1.5")] {
        let query = "SELECT n, note FROM t WHERE note IS NOT NULL AND note::text <> ''";
        let said = place.run(["sql", query, "-f", &format!("t={file}"), "--format", "csv"]).ok();
        said.prints(&format!("n,note\n3000,{value}\n"));
    }
}

#[test]
fn rows_come_in_every_format_and_into_files() {
    let place = Place::empty();
    let query = "SELECT * FROM (VALUES (1, 'a'), (2, NULL)) AS t(n, s)";
    place.run(["sql", query, "--format", "csv"]).ok().prints("n,s\n1,a\n2,\n");
    place.run(["sql", query, "--format", "ndjson"]).ok().prints("{\"n\":1,\"s\":\"a\"}\n{\"n\":2,\"s\":null}\n");
    assert_eq!(
        place.run(["sql", query, "--json"]).ok().json(),
        serde_json::json!([{"n": 1, "s": "a"}, {"n": 2, "s": null}])
    );
    for file in ["out.parquet", "out.csv", "out.ndjson"] {
        place.run(["sql", query, "-o", file]).ok();
        place
            .run(["sql", "SELECT sum(n) AS n FROM t", "-f", &format!("t={file}"), "--format", "csv"])
            .ok()
            .prints("n\n3\n");
    }
    place.run(["sql", query, "-o", "no/such/folder/x.csv"]).code(1).says("cannot be written");
    place.run(["sql", "SELECT 1/0 AS x", "-o", "half.csv"]).code(1);
    assert!(!place.path("half.csv").exists(), "a file appears when it is whole");
}

#[test]
fn a_query_can_come_from_standard_input() {
    let place = Place::empty();
    place.write("q.sql", "SELECT 42 AS answer");
    let mut command = place.command(["sql", "-", "--format", "csv"]);
    let said =
        crate::place::Said::from(command.stdin(std::fs::File::open(place.path("q.sql")).unwrap()).output().unwrap());
    said.ok().prints("answer\n42\n");
}

#[test]
fn a_folder_of_csv_is_a_table_and_its_delimiter_is_found() {
    let place = Place::empty();
    place.write("in/A.csv", "symbol;close\nA;1.5\n");
    place.write("in/B.csv", "symbol;close\nB;2.5\n");
    let sum =
        |path: &str| place.run(["sql", "SELECT sum(close) AS s FROM x", "-f", &format!("x={path}"), "--format", "csv"]);
    for path in ["in", "in/", "in/*.csv"] {
        sum(path).ok().prints("s\n4.0\n");
    }
    sum("in/B.csv").ok().prints("s\n2.5\n");
    place.write("in/C.ndjson", "{\"symbol\":\"C\",\"close\":3.5}\n");
    sum("in").code(2).says("several kinds").says("in/*.csv");
    place.write("empty/x.xlsx", "x");
    sum("empty").code(2).says("known ending");
}

#[test]
fn a_name_in_capitals_needs_no_quotes_and_is_given_once() {
    let place = Place::empty();
    place.write("a.csv", "n\n7\n");
    for query in ["SELECT n FROM MyT", "SELECT n FROM \"MyT\"", "SELECT n FROM myt"] {
        place.run(["sql", query, "-f", "MyT=a.csv", "--format", "csv"]).ok().prints("n\n7\n");
    }
    place.run(["sql", "SELECT 1 FROM a", "-f", "a=a.csv", "-f", "a=a.csv"]).code(2).says("`a` is named twice");
}
