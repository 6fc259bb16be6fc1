//! No output is an input, and no two outputs share a place: refused before anything is read or written.

use crate::place::Place;

const BARS: &str =
    "Date,Open,High,Low,Close,Volume,Adj Close\n2020-01-02,1,2,0.5,1,10,1\n2020-01-03,1,2,0.5,1.5,10,1.5\n";

/// A pipeline from `source`, with these sinks and what else is said.
fn pipeline(source: &str, more: &str) -> String {
    format!(
        "name = 'own'\n{}\n[source]\ntype = 'file'\npath = '{source}'\n[[transform]]\nname = 'bars'\ntype = 'normalize'\nsymbol = 'file-name'\n{}",
        more.split("---").nth(1).unwrap_or_default(),
        more.split("---").next().unwrap_or_default()
    )
}

fn sink(name: &str, kind: &str, path: &str, more: &str) -> String {
    format!("[[sink]]\nname = '{name}'\ntype = '{kind}'\npath = '{path}'\n{more}\n")
}

#[track_caller]
fn refused(source: &str, more: &str, fields: [&str; 2]) {
    let place = Place::empty();
    place.write("in/FB.csv", BARS);
    place.write("p.toml", &pipeline(source, more));
    for command in ["validate", "run"] {
        let said = place.run([command, "p.toml"]).code(2).says("next:");
        for field in fields {
            assert!(said.stderr.contains(field), "{field} in {}", said.stderr);
        }
    }
    assert_eq!(place.read("in/FB.csv"), BARS, "the user's file is as it was");
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 2, "nothing was written");
}

#[test]
fn a_sink_never_overwrites_what_the_source_reads() {
    let overwrite = |path: &str| format!("{}---mode = 'full'", sink("out", "csv", path, "write = 'overwrite'"));
    refused("in", &overwrite("in/FB.csv"), ["`sink[0].path` (`in/FB.csv`)", "`source.path` (`in`)"]);
    refused("in/*.csv", &overwrite("./in/result.csv"), ["`sink[0].path` (`./in/result.csv`)", "`source.path`"]);
    refused("in/FB.csv", &overwrite("in/FB.csv"), ["`sink[0].path`", "`source.path`"]);
}

#[test]
fn nothing_is_written_into_the_folder_that_is_read() {
    refused("in", &sink("out", "csv", "in", ""), ["`sink[0].path` (`in`)", "`source.path` (`in`)"]);
    refused("in", &sink("out", "delta", "in/lake", ""), ["`sink[0].path` (`in/lake`)", "`source.path`"]);
    let letters = "[dead_letters]\ntype = 'ndjson'\npath = 'in/refused'\n";
    refused("in", &(sink("out", "csv", "out", "") + letters), ["`dead_letters.path` (`in/refused`)", "`source.path`"]);
    let store = sink("out", "csv", "out", "") + "---store = 'in/store'";
    refused("in", &store, ["`store` (`in/store`)", "`source.path`"]);
    refused(
        ".",
        &sink("out", "console", "", "").replace("path = ''", ""),
        ["by default `./stockflow-data/checkpoints/own`", "`source.path`"],
    );
    refused("out/bars/*.parquet", &sink("out", "delta", "out", ""), ["`source.path`", "`sink[0].path` (`out`)"]);
}

#[cfg(unix)]
#[test]
fn a_link_hides_nothing() {
    let place = Place::empty();
    place.write("in/FB.csv", BARS);
    std::os::unix::fs::symlink(place.path("in"), place.path("link")).unwrap();
    let sink = format!("{}---mode = 'full'", sink("out", "csv", "link/FB.csv", "write = 'overwrite'"));
    place.write("p.toml", &pipeline("in/*.csv", &sink));
    place.run(["run", "p.toml"]).code(2).says("`sink[0].path` (`link/FB.csv`)");
    assert_eq!(place.read("in/FB.csv"), BARS);
}

#[test]
fn an_output_that_the_glob_does_not_match_is_fine() {
    let place = Place::empty();
    place.write("in/FB.csv", BARS);
    let sink = format!("{}---mode = 'full'", sink("out", "parquet", "in/all.parquet", "write = 'overwrite'"));
    place.write("p.toml", &pipeline("in/*.csv", &sink));
    place.run(["run", "p.toml"]).ok();
    place.run(["run", "p.toml"]).ok().prints("nothing new");
}

#[test]
fn the_main_job_does_not_read_its_own_lake() {
    let place = Place::empty();
    place.write("FB.csv", BARS);
    for input in [".", "**/*", "./"] {
        let said = place.run(["run", "--input", input]).code(2);
        said.says("`./stockflow-data`").says("--data-dir").says("prices/*.csv");
    }
    assert!(!place.path("stockflow-data").exists(), "nothing ran");
    place.run(["run", "--input", "*.csv"]).ok();
    place.run(["run", "--input", "*.csv"]).ok().prints("nothing new");
}

#[test]
fn two_outputs_need_two_places() {
    let two = |first: &str, second: &str| sink("a", "delta", first, "") + &sink("b", "delta", second, "");
    refused("in", &two("lake/t", "./lake/t/"), ["`sink[1].path` (`./lake/t/`)", "`sink[0].path` (`lake/t`)"]);
    refused("in", &two("lake/t", "lake/t/b"), ["`sink[1].path` (`lake/t/b`) lies within", "`sink[0].path`"]);
    refused(
        "in",
        &two("lake/t", "lake/t_revisions"),
        ["`sink[1].path`", "the revisions (`lake/t_revisions`) of `sink[0].path`"],
    );
    let store = sink("a", "parquet", "lake/t", "") + "---store = 'lake/t'";
    refused("in", &store, ["`store` (`lake/t`)", "`sink[0].path`"]);
}
