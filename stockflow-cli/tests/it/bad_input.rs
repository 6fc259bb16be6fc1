//! Bad input gives a clear error or dead letters: never a panic, never rows that are silently skipped or doubled.

use std::io::Write;

use crate::place::{Place, Said, TEMPLATE_LAKE};

const HEADER: &str = "Date,Open,High,Low,Close,Volume,Adj Close\n";

/// `n` good bars from the 2nd of January 2020 on, without weekends.
fn bars(n: usize) -> String {
    let mut text = HEADER.to_owned();
    let mut day = chrono::NaiveDate::from_ymd_opt(2020, 1, 2).unwrap();
    for idx in 0..n {
        let price = 100.0 + idx as f64;
        text.push_str(&format!("{day},{price},{},{},{price},1000,{price}\n", price + 1.0, price - 1.0));
        day = day.succ_opt().unwrap();
        while chrono::Datelike::weekday(&day).number_from_monday() > 5 {
            day = day.succ_opt().unwrap();
        }
    }
    text
}

fn run(files: &[(&str, &str)]) -> (Place, Said) {
    let place = Place::empty();
    for (name, text) in files {
        place.write(&format!("in/{name}"), text);
    }
    let said = place.run(["run", "--input", "in/*"]);
    (place, said)
}

fn n_bars(place: &Place, symbol: &str) -> f64 {
    place.number(&format!("SELECT count(*) FROM bars WHERE symbol = '{symbol}'"))
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::empty();
    place.write("in/AAPL.csv", &bars(3));
    let said = place.run(["run", "--input", "in/APPL.csv"]);
    assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
    assert!(said.stderr.contains("APPL.csv") && said.stderr.contains("next:"), "{}", said.stderr);
}

#[test]
fn a_broken_row_in_the_middle_is_a_dead_letter_with_its_line() {
    let mut lines: Vec<String> = bars(10).lines().map(str::to_owned).collect();
    lines[5] = "2020-01-08,104,105".into();
    let (place, said) = run(&[("X.csv", &(lines.join("\n") + "\n"))]);
    said.code(3).prints("X.csv@6").prints("dead letters");
    assert_eq!(n_bars(&place, "X"), 9.0);
    let letters: Vec<_> = walk(&place.path("stockflow-data/dead_letters"));
    assert!(letters.iter().any(|text| text.contains("2020-01-08,104,105")), "{letters:?}");
}

fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(walk(&path))
        } else {
            texts.push(String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned())
        }
    }
    texts
}

#[test]
fn a_truncated_gzip_is_left_out_as_a_whole_and_tried_again() {
    let place = Place::empty();
    place.write("in/GOOD.csv", &bars(5));
    let mut packed = flate2(&bars(400));
    let whole = packed.clone();
    packed.truncate(packed.len() / 2);
    std::fs::write(place.path("in/BAD.csv.gz"), &packed).unwrap();
    place.run(["run", "--input", "in/*"]).code(3).prints("BAD.csv.gz");
    assert_eq!((n_bars(&place, "GOOD"), n_bars(&place, "BAD")), (5.0, 0.0), "nothing of the broken file");
    std::fs::write(place.path("in/BAD.csv.gz"), &whole).unwrap();
    place.run(["run", "--input", "in/*"]).ok();
    assert_eq!(n_bars(&place, "BAD"), 400.0);
}

/// Gzip by the program: what users have.
fn flate2(text: &str) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn a_file_of_another_kind_is_told() {
    let place = Place::empty();
    place.write("in/GOOD.csv", &bars(5));
    place.write("in/BAD.parquet", "this is no Parquet file");
    place.run(["run", "--input", "in/*"]).code(3).prints("BAD.parquet");
    assert_eq!(n_bars(&place, "GOOD"), 5.0);
}

#[test]
fn parquet_with_other_types_is_read_or_refused() {
    let place = Place::empty();
    place.write("x.csv", &bars(5));
    place.run(["sql", "SELECT CAST(\"Date\" AS varchar) AS \"Date\", CAST(\"Open\" AS varchar) AS \"Open\", \"High\", \"Low\", \"Close\", \"Volume\" FROM x", "-f", "x=x.csv", "-o", "T.parquet"]).ok();
    std::fs::create_dir(place.path("in")).unwrap();
    std::fs::rename(place.path("T.parquet"), place.path("in/T.parquet")).unwrap();
    place.run(["run", "--input", "in/*"]).ok();
    assert_eq!(n_bars(&place, "T"), 5.0, "numbers in text are numbers");
}

#[test]
fn empty_files_and_headers_alone_give_no_rows() {
    let (place, said) = run(&[("A.csv", ""), ("B.csv", HEADER), ("C.csv", &bars(3))]);
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
    assert_eq!(place.number("SELECT count(*) FROM bars"), 3.0);
}

#[test]
fn a_symbol_with_one_bar_has_nulls() {
    let (place, said) = run(&[("ONE.csv", &bars(1)), ("TWO.csv", &bars(30))]);
    said.ok();
    let rows = place.query("SELECT sma_20, rsi_14 FROM indicators WHERE symbol = 'ONE'");
    assert_eq!(rows, [serde_json::json!({"sma_20": null, "rsi_14": null})]);
}

#[test]
fn odd_prices_are_counted_by_symbol_and_rule() {
    let mut text = bars(20);
    for (day, prices) in [
        ("2020-03-02", "0,0,0,0,100,0"),
        ("2020-03-03", "NaN,1,1,1,100,1"),
        ("2020-03-04", "-5,-4,-6,-5,100,-5"),
        ("2020-03-05", "5,4,6,5,100,5"),
        ("2020-03-06", "1e308,1e308,1e308,1e308,100,1e308"),
    ] {
        text.push_str(&format!("{day},{prices}\n"));
    }
    let (place, said) = run(&[("ODD.csv", &text)]);
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
    assert!(said.stdout.contains("bars: "), "the rules are counted: {}", said.stdout);
    let kept = place.number("SELECT count(*) FROM bars WHERE date >= '2020-03-01'");
    assert!(kept <= 2.0, "at most the zero and the huge price are bars: {kept}");
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE NOT (high >= low) OR close < 0"), 0.0);
}

#[test]
fn dates_in_five_forms_are_read_and_nonsense_is_a_dead_letter() {
    let row = |date: &str| format!("{HEADER}{date},100,101,99,100,1000,100\n");
    let (place, said) = run(&[
        ("A.csv", &row("2020-01-02")),
        ("B.csv", &row("20200102")),
        ("C.csv", &row("01/02/2020")),
        ("D.csv", &row("2-Jan-2020")),
        ("E.csv", &row("2020-01-02T00:00:00Z")),
        ("F.csv", &format!("{}someday,100,101,99,100,1000,100\n", bars(3))),
    ]);
    said.code(3).prints("someday");
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE date = '2020-01-02'"), 6.0);
}

#[test]
fn of_duplicate_keys_the_later_row_wins() {
    let (place, said) = run(&[("D.csv", &format!("{}2020-01-02,50,51,49,50,1000,50\n", bars(3)))]);
    assert!(matches!(said.code, Some(0 | 3)), "{said:?}");
    let rows = place.query("SELECT close FROM bars WHERE date = '2020-01-02'");
    assert_eq!(rows, [serde_json::json!({"close": 50.0})]);
}

#[test]
fn more_dead_letters_than_allowed_fail_before_anything_is_visible() {
    let place = Place::empty();
    let broken: String = (0..20).map(|idx| format!("someday{idx},1,2,0.5,1,10,1\n")).collect();
    place.write("in/X.csv", &format!("{}{broken}", bars(5)));
    place.run(["init", "p.toml"]).ok();
    let text = place.read("p.toml");
    let limit = text.lines().find(|line| line.starts_with("max_dead_letters")).unwrap();
    place.write("p.toml", &text.replace(limit, "max_dead_letters = 10"));
    let mut command = place.command(["run", "p.toml", "--input", "in/*"]);
    Said::from(command.output().unwrap()).code(1).says("max_dead_letters").says("someday");
    place.run(["sql", "SELECT * FROM bars", "--data-dir", TEMPLATE_LAKE]).code(2);
}

#[test]
fn epochs_before_the_one_that_fails_stand_and_are_told() {
    let place = Place::empty();
    place.write("in/A.csv", &bars(5));
    place.write("in/B.csv", &format!("{HEADER}someday,1,2,0.5,1,10,1\n"));
    place.run(["init", "p.toml"]).ok();
    place.write("p.toml", &format!("max_partitions = 1\n{}", place.read("p.toml")));
    let said = place.run(["run", "p.toml", "--input", "in/*"]).code(1).says("someday");
    said.says("epoch 1 was committed before and stands: 5 bars");
    assert_eq!(place.query_in(TEMPLATE_LAKE, "SELECT * FROM bars WHERE symbol = 'A'").len(), 5);
}

#[test]
fn only_bad_rows_fail_before_anything_is_visible() {
    let (_, said) = run(&[("X.csv", &format!("{HEADER}someday,1,2,0.5,1,10,1\n"))]);
    said.code(1).says("someday");
}

#[test]
fn a_missing_column_is_told_with_those_that_are_there() {
    let (_, said) = run(&[("X.csv", "Date,Open,High,Low\n2020-01-02,1,2,0.5\n")]);
    said.code(1).says("close").says("`Low`");
}

#[test]
fn numbers_with_a_decimal_comma_are_read_as_they_are_written() {
    let place = Place::empty();
    place.write("in/X.csv", "Datum;Eroeffnung;Hoch;Tief;Schluss;Umsatz\n02.01.2024;1.010;1.100;1.000;1.050;1.000\n03.01.2024;1.010,5;1.100;1.000;1.050;1.000\n");
    let text = "name = 'x'\nhistory = 'bars'\n[source]\ntype = 'file'\npath = 'in/*.csv'\n[[transform]]\nname = 'bars'\ntype = 'normalize'\nsymbol = 'file-name'\ninterval = '1d'\ndecimal_comma = true\ncolumns = { date = 'Datum', open = 'Eroeffnung', high = 'Hoch', low = 'Tief', close = 'Schluss', volume = 'Umsatz' }\n[[sink]]\nname = 'bars'\ntype = 'delta'\npath = 'stockflow-data/bars'\n";
    place.write("p.toml", text);
    place.run(["run", "p.toml"]).ok();
    let rows = place.query("SELECT open, high, volume FROM bars ORDER BY ts");
    assert_eq!(
        rows,
        [
            serde_json::json!({"open": 1010.0, "high": 1100.0, "volume": 1000.0}),
            serde_json::json!({"open": 1010.5, "high": 1100.0, "volume": 1000.0})
        ]
    );
}

#[test]
fn an_empty_folder_is_no_beginning() {
    let place = Place::empty();
    std::fs::create_dir(place.path("in")).unwrap();
    place.run(["run", "--input", "in"]).code(1).says("`in` is empty").says("next:");
    place.write("in/.keep", "");
    place.run(["run", "--input", "in"]).code(1);
    place.write("in/AAPL.csv", &bars(3));
    place.run(["run", "--input", "in"]).ok();
    std::fs::remove_file(place.path("in/AAPL.csv")).unwrap();
    std::fs::remove_file(place.path("in/.keep")).unwrap();
    place.run(["run", "--input", "in"]).ok().prints("nothing new");
}

#[test]
fn skipped_files_are_told() {
    let place = Place::empty();
    for name in ["AAPL.csv", "_AAPL.csv", "GOOG.txt", "IBM.CSV.bz2", ".keep"] {
        place.write(&format!("in/{name}"), &bars(3));
    }
    let said = place.run(["run", "--input", "in"]).ok();
    let told = said.stdout.lines().find(|line| line.starts_with("skipped: ")).unwrap();
    for name in ["_AAPL.csv", "GOOG.txt", "IBM.CSV.bz2"] {
        assert!(told.contains(&format!("`{name}` (")), "{told}");
    }
    assert!(!told.contains(".keep"), "{told}");
    place.run(["status", "--input", "in"]).ok().prints("skipped: `GOOG.txt`");
    let report = place.run(["run", "--input", "in", "--json"]).ok().json();
    assert_eq!(report["skipped"].as_array().unwrap().len(), 3, "{report:#}");
    assert_eq!(place.run(["status", "--input", "in", "--json"]).ok().json()["skipped"].as_array().unwrap().len(), 3);
}

#[test]
fn symbols_without_an_adjusted_close_are_told_once_with_what_to_set() {
    let place = Place::empty();
    for symbol in ["A", "B", "C"] {
        place.write(
            &format!("in/{symbol}.csv"),
            "Date,Open,High,Low,Close,Volume\n2020-01-02,1,2,0.5,1,10\n2020-01-03,1,2,0.5,1.1,10\n",
        );
    }
    let said = place
        .run(["run", "--input", "in"])
        .ok()
        .prints("3 symbols have bars without an adjusted close")
        .prints("to = \"raw\"");
    assert_eq!(
        said.stdout.lines().filter(|line| line.contains("no factor of adjustment")).count(),
        1,
        "{}",
        said.stdout
    );
    said.prints("the bars are kept as they came (raw)");
}
