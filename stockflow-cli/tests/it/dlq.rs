//! `dlq`: what was refused is listed, shown, replayed once it is mended, and removed.

use serde_json::Value;

use crate::kafka::broker;
use crate::place::Place;
use crate::postgres::Database;

/// Four lines that nobody takes: a fractional volume, a high below the low, a date of another order, a line cut off.
const LINES: &str = "Date,Open,High,Low,Close,Volume\n\
    2024-01-02,1,2,1,1.5,100\n\
    2024-01-03,1,2,1,1.25,100.5\n\
    2024-01-04,1,2,3,1.5,100\n\
    31/01/2024,1,2,1,1.75,100\n\
    2024-01-08,1,2\n";

fn pipeline(place: &Place, volume: &str, order: &str, rules: &str) {
    place.write(
        "p.toml",
        &format!(
            "name = 'p'\n[source]\ntype = 'file'\npath = 'in'\ntypes = {{ Volume = '{volume}' }}\n\
             [[transform]]\nname = 'normalized'\ntype = 'normalize'\ndate_order = '{order}'\n\
             [[transform]]\nname = 'bars'\ntype = 'clean'\nrules = {{ {rules} }}\n\
             [[sink]]\nname = 'lake'\ntype = 'delta'\npath = 'stockflow-data/bars'\n\
             [[sink]]\nname = 'copy'\ntype = 'ndjson'\npath = 'copy'\n\
             [dead_letters]\ntype = 'ndjson'\npath = 'letters'\n"
        ),
    );
}

fn refused() -> Place {
    let place = Place::empty();
    place.write("in/AAA.csv", LINES);
    pipeline(&place, "integer", "month-first", "");
    place.run(["run", "p.toml"]).code(3);
    place
}

fn mend(place: &Place) {
    pipeline(place, "number", "day-first", "range = 'off', inside = 'off'");
}

/// Dates in the lake, rows of the folder that appends, rows of the dead-letter sink.
fn seen(place: &Place) -> (Vec<String>, f64, f64) {
    let dates = place.query("SELECT CAST(date AS text) AS date FROM bars ORDER BY 1");
    let rows = |folder: &str| {
        let said = place.run(["sql", "SELECT count(*) AS n FROM t", "-f", &format!("t={folder}"), "--json"]).ok();
        said.json()[0]["n"].as_f64().unwrap()
    };
    (dates.iter().map(|row| row["date"].as_str().unwrap().to_owned()).collect(), rows("copy"), rows("letters"))
}

fn list(place: &Place, more: &[&str]) -> Value {
    place.run([&["dlq", "list", "p.toml", "--json"], more].concat()).ok().json()
}

#[test]
fn letters_are_listed_by_what_is_asked_for_and_counted_by_reason() {
    let place = refused();
    let all = list(&place, &[]);
    assert_eq!((all["letters"].as_array().unwrap().len(), all["more"].as_bool()), (4, Some(false)));
    let by = |name: &str| all["letters"].as_array().unwrap().iter().filter(|it| it["refused_by"] == name).count();
    assert_eq!((by("source"), by("step")), (2, 2));
    assert_eq!(all["reasons"]["# fields where the header has #"], 1, "{all:#}");
    let n = |more: &[&str]| list(&place, more)["letters"].as_array().unwrap().len();
    assert_eq!(n(&["--connector", "file"]), 2);
    assert_eq!(n(&["--connector", "normalized,bars"]), 2);
    assert_eq!(n(&["--symbol", "AAA", "--reason", "RANGE"]), 1);
    assert_eq!((n(&["--epoch", "1"]), n(&["--epoch", "2"]), n(&["--symbol", "BBB"])), (4, 0, 0));
    let few = list(&place, &["--limit", "1"]);
    assert_eq!((few["letters"].as_array().unwrap().len(), few["more"].as_bool()), (1, Some(true)));
    place.run(["dlq", "list", "p.toml"]).ok().prints("AAA.csv@3").prints("4 letters").prints("step bars");
    place.run(["dlq", "list", "p.toml", "--epoch", "9"]).ok().prints("no such open dead letters");
}

#[test]
fn a_letter_is_shown_whole() {
    let place = refused();
    let letters = list(&place, &["--connector", "bars"]);
    let id = letters["letters"][0]["id"].as_str().unwrap().to_owned();
    let said = place.run(["dlq", "show", &id[..10], "p.toml"]).ok();
    said.prints("refused by  step bars").prints("\"low\": 3.0").prints("state       open");
    let shown = place.run(["dlq", "show", &id, "p.toml", "--json"]).ok().json();
    assert_eq!((shown["payload"]["low"].as_f64(), shown["id"].as_str()), (Some(3.0), Some(id.as_str())));
    let letters = list(&place, &["--reason", "fields where"]);
    let id = letters["letters"][0]["id"].as_str().unwrap().to_owned();
    place.run(["dlq", "show", &id, "p.toml"]).ok().prints("2024-01-08,1,2").prints("00000000  32 30 32 34");
    place.run(["dlq", "show", "zzz", "p.toml"]).code(2).says("no dead letter `zzz`").says("dlq list");
    place.run(["dlq", "show", "", "p.toml"]).code(2).says("4 dead letters");
}

#[test]
fn mended_lines_are_rows_exactly_once_and_the_others_stay() {
    let place = refused();
    assert_eq!(seen(&place), (vec!["2024-01-02".into()], 1.0, 4.0));
    let before = list(&place, &[]);
    let said = place.run(["dlq", "replay", "p.toml"]).code(3);
    said.says("fences").prints("0 letters went through").prints("4 were refused again");
    assert_eq!(list(&place, &[]), before, "the same letters");
    assert_eq!(seen(&place), (vec!["2024-01-02".into()], 1.0, 4.0));

    mend(&place);
    place.run(["dlq", "replay", "p.toml"]).code(2).says("--mended");
    place
        .run(["dlq", "replay", "p.toml", "--mended"])
        .code(3)
        .prints("3 letters went through")
        .prints("1 were refused again");
    let whole = (["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-31"].map(str::to_owned).to_vec(), 4.0, 4.0);
    assert_eq!(seen(&place), whole);
    let closes = place.query("SELECT close FROM bars WHERE date = '2024-01-03'");
    assert_eq!(closes[0]["close"], 1.25);
    let open = list(&place, &[]);
    assert_eq!(open["letters"].as_array().unwrap().len(), 1);
    assert_eq!(open["letters"][0]["position"], "6");
    let all = list(&place, &["--all"]);
    let replayed = all["letters"].as_array().unwrap().iter().filter(|letter| letter["replayed"].is_u64()).count();
    assert_eq!(replayed, 3, "{all:#}");

    let report = place.run(["dlq", "replay", "p.toml", "--json"]).code(3).json();
    assert_eq!((report["replayed"].as_u64(), report["refused_again"].as_u64()), (Some(0), Some(1)), "{report:#}");
    assert_eq!(seen(&place), whole, "once more changes nothing");
    place.run(["run", "p.toml"]).ok().prints("nothing new");
    place.run(["dlq", "replay", "p.toml", "--connector", "bars"]).ok().prints("no such open dead letters");
}

#[test]
fn a_file_that_is_gone_is_told() {
    let place = refused();
    std::fs::remove_file(place.path("in/AAA.csv")).unwrap();
    let said = place.run(["dlq", "replay", "p.toml", "--connector", "file"]).code(3);
    said.prints("its file is gone").prints("0 letters went through");
    assert_eq!(list(&place, &[])["letters"].as_array().unwrap().len(), 4);
}

#[test]
fn letters_are_removed_only_if_somebody_says_so() {
    let place = refused();
    place.run(["dlq", "purge", "p.toml"]).code(2).says("no terminal").says("--yes");
    assert_eq!(list(&place, &[])["letters"].as_array().unwrap().len(), 4);
    let said = place.run(["dlq", "purge", "p.toml", "--connector", "file", "--yes"]).ok();
    said.prints("removed 2 letters of 1 epochs").prints("letters) stay");
    assert_eq!(list(&place, &["--all"])["letters"].as_array().unwrap().len(), 2);
    let said = place.run(["dlq", "purge", "p.toml", "--yes", "--json"]).ok().json();
    assert_eq!((said["removed"].as_u64(), said["copies_left_in"].as_str()), (Some(2), Some("letters")));
    place.run(["dlq", "list", "p.toml", "--all"]).ok().prints("no such dead letters");
    place.run(["run", "p.toml"]).ok().prints("nothing new");
}

#[test]
fn a_pipeline_that_remembers_nothing_has_no_letters() {
    let place = Place::empty();
    place.write("in/AAA.csv", LINES);
    pipeline(&place, "integer", "month-first", "");
    place.run(["dlq", "list", "p.toml"]).ok().prints("no such open dead letters");
    place.write("p.toml", &place.read("p.toml").replace("name = 'p'\n", "name = 'p'\nstore = 'memory'\n"));
    place.run(["dlq", "list", "p.toml"]).code(2).says("in memory");
}

#[test]
fn what_a_narrow_table_refused_goes_in_once_it_is_widened() {
    let Some(database) = Database::new("replay into tables") else { return };
    let place = Place::with_few_bars();
    database.pipeline(&place, "");
    database.run(&place, ["db", "migrate", "p.toml"]).ok();
    let (bars, letters) = (database.table("bars"), database.table("letters"));
    database.sql(&format!("ALTER TABLE {bars} ALTER COLUMN symbol TYPE varchar(2)"));
    database.run(&place, ["run", "p.toml"]).code(3);
    let count = |table: &str| database.sql(&format!("SELECT count(*) FROM {table}")).trim().to_owned();
    assert_eq!((count(&bars), count(&letters)), ("120".into(), "120".into()));
    let again = database.run(&place, ["dlq", "replay", "p.toml"]).code(3);
    again.prints("120 were refused again");
    assert_eq!((count(&bars), count(&letters)), ("120".into(), "120".into()));
    database.sql(&format!("ALTER TABLE {bars} ALTER COLUMN symbol TYPE text"));
    database.run(&place, ["dlq", "replay", "p.toml", "--connector", "bars"]).ok().prints("120 letters went through");
    let of = |symbol: &str| {
        database.sql(&format!("SELECT count(*), sum(close)::numeric(20,6) FROM {bars} WHERE symbol = '{symbol}'"))
    };
    let expected = |symbol: &str| {
        database.sql(&format!(
            "SELECT count(*), sum(close)::numeric(20,6) FROM {} WHERE ticker = '{symbol}'",
            database.table("stocks")
        ))
    };
    assert_eq!((of("GOOG"), of("FB")), (expected("GOOG"), expected("FB")));
    assert_eq!((count(&bars), count(&letters)), ("240".into(), "120".into()));
    database.run(&place, ["dlq", "replay", "p.toml"]).ok().prints("no such open dead letters");
    database.run(&place, ["run", "p.toml"]).ok().prints("nothing new");
}

#[test]
fn poison_messages_are_rows_once_the_decoder_takes_them() {
    let Some(brokers) = broker("replay of messages") else { return };
    let place = Place::empty();
    let topic = format!("it-dlq-{}", std::process::id());
    place.write(
        "raw/a.csv",
        "symbol,ts,close,note\nA,2024-01-02T00:00:00Z,1.5,\nB,2024-01-02T00:00:00Z,2.5,odd\nA,2024-01-03T00:00:00Z,3.5,\n",
    );
    place.write(
        "in.toml",
        &format!(
            "name = '{topic}-in'\n[source]\ntype = 'file'\npath = 'raw'\n\
             [[transform]]\nname = 'rows'\ntype = 'sql'\nquery = 'SELECT symbol, ts, close, note FROM input'\n\
             [[sink]]\nname = 'raw'\ntype = 'kafka'\nbrokers = '{brokers}'\ntopic = '{topic}'\npartitions = 2\n"
        ),
    );
    let out = |more: &str| {
        place.write(
            "p.toml",
            &format!(
                "name = '{topic}-out'\n[source]\ntype = 'kafka'\nbrokers = '{brokers}'\ntopic = '{topic}'\n\
                 types = {{ symbol = 'text', ts = 'timestamp', close = 'number' }}\n{more}\n\
                 [[sink]]\nname = 'rows'\ntype = 'ndjson'\npath = 'rows'\n"
            ),
        );
    };
    place.run(["topics", "apply", "in.toml"]).ok();
    place.run(["run", "in.toml"]).ok();
    out("");
    place.run(["run", "p.toml"]).code(3);
    let letters = list(&place, &[]);
    let letter = &letters["letters"][0];
    assert_eq!((letter["connector"].as_str(), letter["symbol"].as_str()), (Some("kafka"), Some("B")), "{letters:#}");
    let id = letter["id"].as_str().unwrap();
    let said = place.run(["dlq", "show", id, "p.toml"]).ok();
    said.prints(&format!("topic       {topic}"))
        .prints("header kind")
        .prints("\"note\":\"odd\"")
        .prints("00000000  7b 22");
    place.run(["dlq", "replay", "p.toml"]).code(3).prints("1 were refused again");
    out("unknown_fields = 'ignore'");
    place.run(["dlq", "replay", "p.toml"]).code(2).says("--mended");
    place.run(["dlq", "replay", "p.toml", "--mended"]).ok().prints("1 letters went through");
    let rows = || {
        let sql = "SELECT symbol, close FROM t ORDER BY close";
        place.run(["sql", sql, "-f", "t=rows", "--format", "csv"]).ok().stdout
    };
    assert_eq!(rows(), "symbol,close\nA,1.5\nB,2.5\nA,3.5\n");
    place.run(["dlq", "replay", "p.toml"]).ok().prints("no such open dead letters");
    place.run(["run", "p.toml"]).ok().prints("nothing new");
    assert_eq!(rows(), "symbol,close\nA,1.5\nB,2.5\nA,3.5\n");
}

/// The pipeline of [`refused`] with another dead-letter sink.
fn refused_into(sink: &str) -> Place {
    let place = Place::empty();
    place.write("in/AAA.csv", LINES);
    pipeline(&place, "integer", "month-first", "");
    let (head, _) =
        place.read("p.toml").split_once("[dead_letters]").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    place.write("p.toml", &format!("{head}[dead_letters]\n{sink}\n"));
    place
}

#[test]
fn any_sink_takes_dead_letters() {
    let count = |place: &Place| {
        let sql = "SELECT count(*) AS n, count(DISTINCT reason) AS reasons FROM t WHERE pipeline = 'p' AND epoch = 1";
        let rows = place.run(["sql", sql, "-f", "t=letters", "--json"]).ok().json();
        (rows[0]["n"].as_u64(), rows[0]["reasons"].as_u64())
    };
    for kind in ["csv", "parquet", "ndjson", "delta"] {
        let place = refused_into(&format!("type = '{kind}'\npath = 'letters'"));
        place.run(["run", "p.toml"]).code(3);
        assert_eq!(count(&place), (Some(4), Some(4)), "{kind}");
        place.run(["dlq", "replay", "p.toml"]).code(3);
        assert_eq!(count(&place), (Some(4), Some(4)), "{kind}");
    }
    let place = refused_into("type = 'console'");
    place.run(["run", "p.toml"]).code(3).prints("AAA.csv").prints("2024-01-08,1,2");
    // Without one, too, they are kept.
    let place = refused_into("type = 'console'");
    place.write("p.toml", place.read("p.toml").split_once("[dead_letters]").unwrap().0);
    place.run(["run", "p.toml"]).code(3);
    assert_eq!(list(&place, &[])["letters"].as_array().unwrap().len(), 4);
}

#[test]
fn a_topic_takes_dead_letters() {
    let Some(brokers) = broker("dead letters into a topic") else { return };
    let topic = format!("it-letters-{}", std::process::id());
    let place = refused_into(&format!("type = 'kafka'\nbrokers = '{brokers}'\ntopic = '{topic}'\npartitions = 1"));
    place.run(["topics", "apply", "p.toml"]).ok();
    place.run(["run", "p.toml"]).code(3);
    place.write(
        "out.toml",
        &format!(
            "name = 'out'\n[source]\ntype = 'kafka'\nbrokers = '{brokers}'\ntopic = '{topic}'\nunknown_fields = 'ignore'\n\
             types = {{ connector = 'text', position = 'text', reason = 'text', payload = 'text' }}\n\
             [[sink]]\nname = 'rows'\ntype = 'ndjson'\npath = 'rows'\n"
        ),
    );
    place.run(["run", "out.toml"]).ok();
    let rows =
        place.run(["sql", "SELECT count(*) AS n, count(DISTINCT reason) AS r FROM t", "-f", "t=rows", "--json"]).ok();
    assert_eq!((rows.json()[0]["n"].as_u64(), rows.json()[0]["r"].as_u64()), (Some(4), Some(4)));
}
