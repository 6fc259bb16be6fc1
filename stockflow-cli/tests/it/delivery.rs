//! `docs/delivery.md` says what `stockflow validate` prints.

use std::collections::BTreeMap;

use crate::place::{Place, repository};

/// The table under "Guarantees": source, then sink and guarantee.
fn told() -> Vec<(String, BTreeMap<String, String>)> {
    let text = std::fs::read_to_string(repository().join("docs/delivery.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with("| source \\ sink |"));
    let sinks = cells(lines.next().unwrap());
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells = cells(line);
        let row = sinks.iter().skip(1).cloned().zip(cells.iter().skip(1).cloned()).collect();
        (cells[0].clone(), row)
    })
    .collect()
}

fn source(kind: &str) -> &'static str {
    match kind {
        "file" => "type = 'file'\npath = 'examples/data'\n",
        "kafka" => "type = 'kafka'\nbrokers = '127.0.0.1:1'\ntopic = 't'\nschema = 'bars'\nrelation = 'bars'\n",
        "postgres" => "type = 'postgres'\nurl = 'postgres://u@127.0.0.1:1/d'\ntable = 'bars'\n",
        "yahoo" => "type = 'yahoo'\nsymbols = ['DEMO']\n",
        other => unreachable!("docs/delivery.md names the source `{other}`"),
    }
}

fn sink(kind: &str) -> &'static str {
    match kind {
        "kafka" => "brokers = '127.0.0.1:1'\ntopic = 't'\n",
        "postgres" => "url = 'postgres://u@127.0.0.1:1/d'\ntable = 'bars'\n",
        "elasticsearch" => "url = 'http://127.0.0.1:1'\nindex = 'bars'\n",
        "delta" | "parquet" | "csv" | "ndjson" => "",
        "console" => "limit = 1\n",
        other => unreachable!("docs/delivery.md names the sink `{other}`"),
    }
}

#[test]
fn the_page_says_what_validate_prints() {
    let place = Place::with_few_bars();
    let told = told();
    assert_eq!(told.len(), 4, "{told:?}");
    // What a source of PostgreSQL gives is asked of the server: the pipeline below it is that of files.
    for (kind, row) in told.iter().filter(|(kind, _)| kind != "postgres") {
        let input = if kind == "file" { "input" } else { "bars" };
        let mut text = format!(
            "name = 'x'\n[source]\n{}[[transform]]\nname = 'normal'\ntype = 'normalize'\ninput = '{input}'\n\
             [[transform]]\nname = 'clean'\ntype = 'clean'\n",
            source(kind)
        );
        for name in row.keys() {
            let path = if matches!(name.as_str(), "delta" | "parquet" | "csv" | "ndjson") {
                format!("path = 'out/{name}'\n")
            } else {
                String::new()
            };
            text.push_str(&format!("[[sink]]\nname = '{name}'\ntype = '{name}'\n{path}{}", sink(name)));
        }
        place.write("p.toml", &text);
        let printed = place.run(["validate", "p.toml", "--json"]).ok().json();
        let printed: BTreeMap<String, String> = printed["sinks"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (it["name"].as_str().unwrap().to_owned(), it["guarantee"].as_str().unwrap().to_owned()))
            .collect();
        assert_eq!(*row, printed, "from `{kind}`");
    }
}
