//! The page in `docs/` against the catalogue.

use std::path::PathBuf;

use crate::indicator::{catalogue, docs};

#[test]
fn indicators_page_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/indicators.md");
    let page = docs::markdown();
    if std::env::var_os("STOCKFLOW_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(found == page, "docs/indicators.md is not what the catalogue gives: run this test with STOCKFLOW_BLESS=1");
}

#[test]
fn the_page_names_every_function() {
    let page = docs::markdown();
    for definition in catalogue() {
        assert!(page.contains(&format!("| `{}(", definition.sql_name)), "{}", definition.name);
        assert!(docs::describe(definition).contains(&definition.sql_example()), "{}", definition.name);
    }
}

#[test]
fn json_says_what_follows_from_the_definition() {
    let json = docs::json(catalogue().get("macd").unwrap()).unwrap();
    assert_eq!(json["lookback"], 33);
    assert_eq!(json["columns"], serde_json::json!(["macd", "macd_signal", "macd_hist"]));
    assert_eq!(json["parameters"][0]["domain"]["integer"]["default"], 12);
    assert_eq!(json["outputs"][1]["name"], "signal");
    assert_eq!(json["state"]["kind"], "recursive");
    assert_eq!(json["inputs"][0]["column"], "close");
}
