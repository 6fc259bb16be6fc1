//! What is wrong with a pipeline file is told with field, line and what to do.

use crate::place::{Place, repository};

/// The pipeline that `init` writes.
fn template(place: &Place) -> String {
    place.run(["init", "p.toml"]).ok();
    place.read("p.toml")
}

#[test]
fn a_typo_is_told_with_path_line_and_the_nearest_name() {
    let place = Place::with_few_bars();
    let text = template(&place);
    let line = text.lines().position(|line| line.starts_with("mode = ")).unwrap() + 1;
    place.write("p.toml", &text.replace("mode = ", "mdoe = "));
    for command in ["validate", "run", "explain", "status", "doctor"] {
        place
            .run([command, "p.toml"])
            .code(2)
            .says(&format!("p.toml:{line}: `mdoe` is not known here; did you mean `mode`?"));
    }
    assert!(!place.path("stockflow-data").exists(), "nothing ran");
}

#[test]
fn every_problem_is_told_at_once() {
    let place = Place::empty();
    place.write("p.toml", "name = 'x'\nmode = 'fulll'\nmax_dead_letters = -1\n[source]\ntype = 'flie'\npath = '${NOWHERE}'\n[[transform]]\nname = 'a'\ntype = 'sql'\n");
    let said = place.run(["validate", "p.toml"]).code(2);
    for wanted in [
        "p.toml:2: `mode` cannot be `fulll`; did you mean `full`?",
        "p.toml:3: `max_dead_letters` must be",
        "p.toml:5: `source.type` cannot be `flie`; did you mean `file`?",
        "p.toml:6: `source.path` needs the environment variable `NOWHERE`",
        "`transform[0].query` is missing",
        "`sink` is missing",
    ] {
        assert!(said.stderr.contains(wanted), "`{wanted}` is not in:\n{}", said.stderr);
    }
}

#[test]
fn a_missing_or_broken_file_is_told() {
    let place = Place::empty();
    place.run(["run", "none.toml"]).code(2).says("none.toml");
    place.write("broken.toml", "name = 'x'\nsource = {\n");
    place.run(["run", "broken.toml"]).code(2).says("broken.toml:").says("is not valid TOML");
    std::fs::write(place.path("binary.toml"), [0xff, 0xfe, 0x00]).unwrap();
    place.run(["run", "binary.toml"]).code(2).says("binary.toml");
}

#[test]
fn secrets_are_named_and_never_printed() {
    let place = Place::with_few_bars();
    let text = template(&place);
    place.write("p.toml", &format!("{text}\n[object_store]\nendpoint = 'http://127.0.0.1:1'\naccess_key_id = 'env:MY_KEY'\nsecret_access_key = 'file:key.txt'\n"));
    place.write("key.txt", "hunter2\n");
    let mut command = place.command(["validate", "p.toml"]);
    let said = crate::place::Said::from(command.env("MY_KEY", "hunter1").output().unwrap()).ok();
    assert!(
        said.stdout.contains("environment variable `MY_KEY`") && said.stdout.contains("file `key.txt`"),
        "{}",
        said.stdout
    );
    assert!(!said.stdout.contains("hunter") && !said.stderr.contains("hunter"));
    place.write("p.toml", &format!("{text}\n[object_store]\nsecret_access_key = 'hunter2'\n"));
    let said = place.run(["validate", "p.toml"]).code(2).says("env:NAME");
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
}

#[test]
fn every_example_is_valid_and_validate_reads_nothing() {
    let place = Place::empty();
    let folder = repository().join("examples/pipelines");
    let files = [folder.join("seed_flow"), folder].map(|folder| std::fs::read_dir(folder).unwrap());
    for file in files.into_iter().flatten().map(|file| file.unwrap().path()).filter(|file| file.is_file()) {
        let said = place.run([std::ffi::OsStr::new("validate"), file.as_os_str()]).ok();
        assert!(said.stdout.contains("once"), "{} has no guarantee:\n{}", file.display(), said.stdout);
    }
    assert_eq!(std::fs::read_dir(place.path(".")).unwrap().count(), 0, "validate leaves nothing behind");
}

#[test]
fn the_built_in_pipeline_is_the_one_in_the_examples() {
    let built_in = std::fs::read_to_string(repository().join("stockflow-cli/src/config/main.toml")).unwrap();
    let example = std::fs::read_to_string(repository().join("examples/pipelines/main.toml")).unwrap();
    assert_eq!(built_in, example, "copy one over the other");
}

#[test]
fn overwriting_with_only_what_is_new_is_refused() {
    let place = Place::with_few_bars();
    place.write("p.toml", "name = 'x'\nmode = 'incremental'\n[source]\ntype = 'file'\npath = 'examples/data/*.csv'\n[[transform]]\nname = 'bars'\ntype = 'normalize'\nsymbol = 'file-name'\n[[sink]]\nname = 'out'\ntype = 'parquet'\npath = 'out.parquet'\nwrite = 'overwrite'\n");
    place.run(["validate", "p.toml"]).code(2).says("overwrites").says("mode = \"full\"");
}

#[test]
fn asking_for_more_than_the_parts_give_is_refused() {
    let place = Place::with_few_bars();
    place.write("p.toml", "name = 'x'\nrequire = 'exactly-once'\n[source]\ntype = 'file'\npath = 'examples/data/*.csv'\n[[transform]]\nname = 'bars'\ntype = 'normalize'\nsymbol = 'file-name'\n[[sink]]\nname = 'out'\ntype = 'console'\n");
    place.run(["validate", "p.toml"]).code(2).says("exactly-once is required").says("at-least-once");
}

#[test]
fn init_does_not_overwrite() {
    let place = Place::empty();
    place.write("p.toml", "mine");
    place.run(["init", "p.toml"]).code(2).says("--force");
    assert_eq!(place.read("p.toml"), "mine");
    place.run(["init", "p.toml", "--force"]).ok();
    assert!(place.read("p.toml").contains("[source]"));
}

#[test]
fn what_cannot_run_is_not_valid() {
    let place = Place::empty();
    let text = "name = 'x'\nTOP\n[source]\ntype = 'file'\npath = 'in'\nSOURCE\n[[transform]]\nname = 'bars'\ntype = 'normalize'\nSTEP\n[[sink]]\nname = 'out'\ntype = 'parquet'\npath = 'out'\n";
    for (place_of, line, wanted) in [
        (
            "STEP",
            "columns = { clos = 'x' }",
            "`transform[0].columns` has `clos`, which is no column of a bar; did you mean `close`?",
        ),
        ("TOP", "store = ''", "`store` must not be empty"),
        ("TOP", "store = 'gs://bucket/x'", "`store` names no place: `gs` in `gs://bucket/x` is no known scheme"),
        ("TOP", "memory_mb = 0", "`memory_mb` must be a whole number from 1, not 0"),
        ("TOP", "threads = 100000", "`threads` must be a whole number from 1 to 256, not 100000"),
        ("TOP", "max_dead_letters = -1", "`max_dead_letters` must be a whole number from 0, not -1"),
        ("SOURCE", "delimiter = \"\\n\"", "`source.delimiter` cannot be `\\n`, which has a meaning of its own in CSV"),
    ] {
        let filled = text.replace(place_of, line);
        let filled = ["TOP", "SOURCE", "STEP"].iter().fold(filled, |text, empty| text.replace(empty, ""));
        place.write("p.toml", &filled);
        for command in ["validate", "run"] {
            place.run([command, "p.toml"]).code(2).says(wanted);
        }
    }
    place.write(
        "p.toml",
        &text.replace("'out'\n", "'gs://bucket/out'\n").replace("TOP", "").replace("SOURCE", "").replace("STEP", ""),
    );
    place.run(["validate", "p.toml"]).code(2).says("`sink[0].path` names no place");
}

#[test]
fn a_variable_is_set_only_if_the_environment_has_it() {
    let place = Place::empty();
    let said = place.run(["validate"]).ok().prints("STOCKFLOW_INPUT in source.path: not set");
    assert!(!said.stdout.contains("STOCKFLOW_DATA_DIR"), "{}", said.stdout);
    let said = place.command(["validate"]).env("STOCKFLOW_DATA_DIR", "lake").output().unwrap();
    let said = crate::place::Said::from(said).ok();
    assert!(
        said.stdout.lines().any(|line| line.contains("STOCKFLOW_DATA_DIR") && line.ends_with(": set")),
        "{}",
        said.stdout
    );
}

#[test]
fn an_appending_sink_without_history_is_told_what_once_does_not_cover() {
    let place = Place::empty();
    let text = "name = 'x'\n[source]\ntype = 'file'\npath = 'in'\n[[transform]]\nname = 'bars'\ntype = 'normalize'\n[[sink]]\nname = 'out'\ntype = 'parquet'\npath = 'out'\n";
    place.write("p.toml", text);
    place.run(["validate", "p.toml"]).ok().prints("note: sink `out` appends, and without a history a file that grows");
    let said = place.run(["validate"]).ok();
    assert!(!said.stdout.contains("without a history"), "{}", said.stdout);
}

/// A whole-file pipeline with `repair`, whose repairs and bars go to files.
fn repairing(options: &str) -> String {
    format!(
        "name = 'x'\nmode = 'full'\n[source]\ntype = 'file'\npath = 'bars/*.csv'\n[[transform]]\nname = 'bars'\ntype = 'normalize'\ninterval = '1d'\n[[transform]]\nname = 'mended'\ntype = 'repair'\n{options}\n[[sink]]\nname = 'mended'\ntype = 'csv'\nrelation = 'mended'\npath = 'mended.csv'\nwrite = 'overwrite'\n[[sink]]\nname = 'repairs'\ntype = 'csv'\nrelation = 'mended.repairs'\npath = 'repairs.csv'\nwrite = 'overwrite'\n"
    )
}

#[test]
fn the_options_of_repair_are_checked() {
    let place = Place::empty();
    for (options, wanted) in [
        ("rules = ['untis']", "`transform[1].rules` has `untis`, which is no rule of `repair`; did you mean `unit`?"),
        ("rules = ['unit']\nwithout = ['gap']", "is one of `rules` and `without`, not both"),
        ("calendar = 'XNYS'\nexchange_column = 'mic'", "is one of `calendar` and `exchange_column`, not both"),
        ("calender = 'XNYS'", "`transform[1].calender` is not known here; did you mean `calendar`?"),
    ] {
        place.write("p.toml", &repairing(options));
        place.run(["validate", "p.toml"]).code(2).says(wanted);
    }
}

#[test]
fn repairs_go_to_a_sink_of_their_own() {
    let place = Place::empty();
    let row = |day: u32| {
        let price = if day == 9 { 0.5 } else { 50.0 + f64::from(day % 3) };
        format!("AAA,2024-01-{day:02},{price},{price},{price},{price},1000\n")
    };
    std::fs::create_dir_all(place.path("bars")).unwrap();
    let rows: String = (2..20).filter(|day| ![6, 7, 13, 14].contains(day)).map(row).collect();
    place.write("bars/aaa.csv", &format!("Symbol,Date,Open,High,Low,Close,Volume\n{rows}"));
    // The 15th is a holiday in New York.
    place.write("p.toml", &repairing("without = ['split']\ncalendar = 'XNYS'"));
    place.run(["run", "p.toml"]).ok();
    let repairs = place.read("repairs.csv");
    assert_eq!(repairs.lines().count(), 1 + 4 + 1, "{repairs}");
    assert!(
        repairs.contains("close,1,2024-01-09,unit,") && repairs.contains("row,1,2024-01-15,calendar,"),
        "{repairs}"
    );
    let mended = place.read("mended.csv");
    assert!(mended.lines().count() == 1 + 13 && !mended.contains("2024-01-15"), "{mended}");
}
