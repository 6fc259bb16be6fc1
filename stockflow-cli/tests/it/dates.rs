//! `--since`, `--until` and `--range`.

use crate::place::{Place, Said, repository};

fn run(place: &Place, args: &[&str]) -> Said {
    let recordings = repository().join("examples/recordings").display().to_string();
    place.run(args.iter().copied().map(str::to_owned).chain(["--replay".to_owned(), recordings]))
}

#[test]
fn dates_in_the_wrong_order_are_a_wrong_usage() {
    let place = Place::empty();
    for command in ["fetch", "actions"] {
        run(&place, &[command, "DEMO", "--since", "2024-03-01", "--until", "2024-02-01"])
            .code(2)
            .says("`--since` 2024-03-01, which is later than `--until` 2024-02-01")
            .says("exchange the two dates");
        run(&place, &[command, "DEMO", "--range", "5d", "--until", "2024-02-01"])
            .code(2)
            .says("which is later than `--until` 2024-02-01");
    }
    let text = "name = 'p'\n[source]\ntype = 'yahoo'\nsymbols = ['A']\nfrom = '2024-03-01'\nto = '2024-02-01'\n";
    place.write("p.toml", &format!("{text}[[sink]]\ntype = 'console'\nrelation = 'bars'\n"));
    place.run(["validate", "p.toml"]).code(2).says("`source.to` 2024-02-01 is earlier than `from` 2024-03-01");
    assert!(!place.path("stockflow-data").exists());
}

#[test]
fn actions_end_with_the_last_date() {
    let place = Place::empty();
    let all = run(&place, &["actions", "DEMO"]).ok().prints("| dividend ").prints("| split ").stdout;
    let date_of = |kind: &str| {
        let line = all.lines().find(|line| line.contains(&format!("| {kind} "))).unwrap();
        line.split('|').nth(2).unwrap().trim().to_owned()
    };
    let mut dates = [date_of("dividend"), date_of("split")];
    dates.sort();
    let [first, second] = dates;
    let some = run(&place, &["actions", "DEMO", "--until", &first]).ok().stdout;
    assert!(some.contains(&first) && !some.contains(&second), "{some}");
    // Into the lake, and the rest of them with the next call.
    run(&place, &["actions", "DEMO", "--until", &first, "--to", "lake"]).ok();
    assert_eq!(place.number("SELECT count(*) FROM actions"), 1.0);
    run(&place, &["actions", "DEMO", "--to", "lake"]).ok();
    assert_eq!(place.number("SELECT count(*) FROM actions"), 2.0);
    // Prices as traded need all of them, and their table beside the bars has them all.
    let place = Place::empty();
    run(&place, &["fetch", "DEMO", "--until", &first]).ok();
    assert_eq!(place.number("SELECT count(*) FROM actions"), 2.0);
}
