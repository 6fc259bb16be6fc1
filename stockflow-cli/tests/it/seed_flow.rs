//! The walk through `docs/guide/seed_flow.md` with real servers: producer, batch and storage, each its own process and all in one.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::kafka::broker;
use crate::place::{Place, Said, leave_out, repository};
use crate::postgres::Database;

const FILES: [&str; 3] = ["producer.toml", "batch.toml", "storage.toml"];

/// The columns of `processed`, each so that text of one system equals that of another: for the lake and the index, and for SQL of PostgreSQL.
const INSTANTS: [&str; 3] = ["ts", "as_of", "revision"];
const TEXTS: [&str; 5] = ["symbol", "interval", "date", "currency", "basis"];
const NUMBERS: [&str; 11] =
    ["open", "high", "low", "close", "volume", "adj_close", "sma_20", "sma_50", "ema_20", "rsi_14", "atr_14"];

/// The flow's files in a folder of its own, with topics, a schema and an index of its own.
struct Flow {
    place: Place,
    database: Database,
    environment: Vec<(&'static str, String)>,
    index: String,
}

impl Flow {
    fn new(test: &str, place: Place) -> Option<Self> {
        let (brokers, database) = (broker(test)?, Database::new(test)?);
        let elastic = |name: &str| std::env::var(format!("STOCKFLOW_TEST_ELASTIC_{name}")).ok();
        let Some(url) = elastic("URL") else {
            leave_out(test, "STOCKFLOW_TEST_ELASTIC_URL is not set, see scripts/services");
            return None;
        };
        let own = format!("it-{}-{}", test.replace(' ', "-"), std::process::id());
        for file in FILES {
            let path = repository().join("examples/pipelines/seed_flow").join(file);
            let mut text = std::fs::read_to_string(path).unwrap();
            // The servers of the tests want a login.
            if let Some(((user, password), ca)) = elastic("USER").zip(elastic("PASSWORD")).zip(elastic("CA")) {
                place.write("elastic.txt", &password);
                let login = format!(
                    "user = '{user}'\npassword = 'file:elastic.txt'\nca = '{ca}'\nindex_settings = {{ number_of_replicas = '0' }}\n"
                );
                text = text.replace("type = \"elasticsearch\"\n", &format!("type = \"elasticsearch\"\n{login}"));
            }
            place.write(file, &text);
        }
        let environment = vec![
            ("STOCKFLOW_KAFKA", brokers),
            ("STOCKFLOW_POSTGRES_URL", database.url().to_owned()),
            ("STOCKFLOW_POSTGRES_PASSWORD", database.password().to_owned()),
            ("STOCKFLOW_ELASTIC_URL", url),
            ("SEED_RAW_TOPIC", format!("{own}-raw")),
            ("SEED_PROCESSED_TOPIC", format!("{own}-processed")),
            ("SEED_SCHEMA", database.schema().to_owned()),
            ("SEED_INDEX", own.clone()),
        ];
        Some(Self { place, database, environment, index: own })
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn command<const N: usize>(&self, args: [&str; N]) -> std::process::Command {
        let mut command = self.place.command(args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    fn run<const N: usize>(&self, args: [&str; N]) -> Said {
        Said::from(self.command(args).output().unwrap())
    }

    fn prepare(&self) {
        self.run(["topics", "apply", "producer.toml"]).ok();
        self.run(["topics", "apply", "batch.toml"]).ok();
        self.run(["db", "migrate", "storage.toml"]).ok();
        self.run(["db", "migrate", "--check", "storage.toml"]).ok();
    }

    /// How many rows one select has that the other has not, either way.
    fn difference(&self, left: &str, right: &str) -> i64 {
        let sql = format!(
            "SELECT (SELECT count(*) FROM ({left} EXCEPT {right})) + (SELECT count(*) FROM ({right} EXCEPT {left})) AS n"
        );
        let said = self.run(["sql", &sql, "-f", "found=found.parquet", "-f", "stored=stored.csv", "--json"]).ok();
        said.json()[0]["n"].as_i64().unwrap()
    }

    /// PostgreSQL, Elasticsearch and the lake have the same value in every column of every key; gives how many keys there are.
    #[track_caller]
    fn agree(&self) -> i64 {
        self.run(["search", "storage.toml", "-o", "found.parquet"]).ok();
        let sql = |instant: fn(&str) -> String, text: fn(&str) -> String| -> String {
            let columns = INSTANTS.iter().map(|it| instant(it)).chain(TEXTS.iter().map(|it| text(it)));
            columns.chain(NUMBERS.iter().map(|it| format!("\"{it}\""))).collect::<Vec<_>>().join(", ")
        };
        let stored = sql(
            |it| format!("(extract(epoch FROM \"{it}\") * 1000000)::bigint AS \"{it}\""),
            |it| format!("\"{it}\"::text AS \"{it}\""),
        );
        let table = self.database.table("processed");
        // What begins with values in every column shows its types.
        let csv = self.database.sql(&format!(
            "COPY (SELECT {stored} FROM {table} ORDER BY \"sma_50\" NULLS LAST) TO STDOUT (FORMAT csv, HEADER)"
        ));
        self.place.write("stored.csv", &csv);
        let instant = |it: &str| {
            format!("CAST(arrow_cast(\"{it}\", 'Timestamp(Microsecond, Some(\"UTC\"))') AS BIGINT) AS \"{it}\"")
        };
        let text = |it: &str| format!("CAST(\"{it}\" AS VARCHAR) AS \"{it}\"");
        let numbers: Vec<String> = NUMBERS.iter().map(|it| format!("CAST(\"{it}\" AS DOUBLE) AS \"{it}\"")).collect();
        let texts: Vec<String> = TEXTS.iter().map(|it| text(it)).collect();
        let instants: Vec<String> = INSTANTS.iter().map(|it| instant(it)).collect();
        let plain: Vec<String> = INSTANTS.iter().map(|it| format!("CAST(\"{it}\" AS BIGINT) AS \"{it}\"")).collect();
        let select = |instants: &[String], table: &str| {
            format!("SELECT {}, {}, {} FROM {table}", instants.join(", "), texts.join(", "), numbers.join(", "))
        };
        let lake = select(&instants, "seed_processed");
        assert_eq!(self.difference(&lake, &select(&instants, "found")), 0, "the lake and the index {}", self.index);
        assert_eq!(self.difference(&lake, &select(&plain, "stored")), 0, "the lake and PostgreSQL");
        let keys = "count(DISTINCT symbol || \"interval\" || CAST(ts AS VARCHAR))";
        let said =
            self.run(["sql", &format!("SELECT count(*) AS n, {keys} AS keys FROM seed_processed"), "--json"]).ok();
        let rows = said.json()[0]["n"].as_i64().unwrap();
        assert_eq!(said.json()[0]["keys"], rows, "each key once");
        let stocks = self.database.sql(&format!("SELECT count(*) FROM {}", self.database.table("stocks")));
        assert_eq!(stocks, format!("{rows}\n"));
        rows
    }
}

#[test]
fn each_pipeline_in_its_own_process() {
    let Some(flow) = Flow::new("seed flow", Place::with_few_bars()) else { return };
    flow.run(["run", "producer.toml"]).code(1).says("stockflow topics apply");
    flow.prepare();
    for _ in 0..2 {
        for file in FILES {
            flow.run(["run", file]).ok();
        }
        assert_eq!(flow.agree(), 240);
    }
    // A corrected bar computes its symbol again, everywhere; twice is once.
    let csv = flow.place.read("examples/data/FB.csv");
    let mut lines = csv.lines();
    let (header, first) = (lines.next().unwrap(), lines.next().unwrap());
    let cells: Vec<&str> = first.split(',').collect();
    flow.place.write(
        "examples/data/FB_2.csv",
        &format!("{header}\n{},{}\n", cells[0], vec!["77.5"; cells.len() - 1].join(",")),
    );
    for file in FILES {
        flow.run(["run", file]).ok();
    }
    assert_eq!(flow.agree(), 240);
    let stocks = flow.database.table("stocks");
    assert_eq!(flow.database.sql(&format!("SELECT count(*) FROM {stocks} WHERE close = 77.5")), "1\n");
    // What Yahoo says stands in the same topic, and the batch passes over what are no bars.
    let recordings = repository().join("examples/recordings").display().to_string();
    let topic = flow.environment.iter().find(|(name, _)| *name == "SEED_RAW_TOPIC").unwrap().1.clone();
    for command in ["fetch", "holders", "insights"] {
        flow.run([command, "DEMO", "--replay", &recordings, "--to", "kafka", "--topic", &topic]).ok();
    }
    for file in &FILES[1..] {
        flow.run(["run", file]).ok();
    }
    let rows = flow.agree();
    assert!(rows > 240, "{rows}");
    let found = flow.run(["search", "storage.toml", "--symbol", "DEMO", "--json"]).ok().json();
    assert_eq!(found.as_array().unwrap().len() as i64, rows - 240);
}

#[test]
fn all_in_one_process_by_one_command() {
    let Some(flow) = Flow::new("seed flow one process", Place::with_few_bars()) else { return };
    flow.prepare();
    flow.run(["run", "producer.toml", "batch.toml", "storage.toml"]).ok().says("epoch 1");
    assert_eq!(flow.agree(), 240);
    flow.run(["run", "producer.toml", "producer.toml"]).code(2).says("two of these pipelines are called");
    // Side by side until they are stopped: what one writes the next one reads.
    let mut running = flow
        .command(["run", "producer.toml", "batch.toml", "storage.toml", "--every", "200ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    flow.place.write(
        "examples/data/NEW.csv",
        "Date,Open,High,Low,Close,Volume\n2024-01-02,2,3,1,2,5\n2024-01-03,2,3,1,2,5\n",
    );
    let start = Instant::now();
    let stocks = flow.database.table("stocks");
    while flow.database.sql(&format!("SELECT count(*) FROM {stocks}")) != "242\n" {
        assert!(running.try_wait().unwrap().is_none(), "it has ended");
        assert!(start.elapsed() < Duration::from_secs(120), "the new bars did not come through");
        std::thread::sleep(Duration::from_millis(100));
    }
    let id = running.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let said = Said::from(running.wait_with_output().unwrap()).ok();
    for pipeline in ["seed_producer", "seed_batch", "seed_storage"] {
        assert!(said.stdout.contains(&format!("pipeline {pipeline}")), "{said:?}");
    }
    assert_eq!(flow.agree(), 242);
}

#[test]
fn five_years_of_505_symbols() {
    let shared = std::env::var_os("STOCKFLOW_SHARED").map(PathBuf::from).filter(|it| it.join("data/prices").is_dir());
    let Some(shared) = shared else {
        leave_out("seed flow over 619,040 rows", "needs STOCKFLOW_SHARED, a folder with data/prices");
        return;
    };
    let Some(flow) = Flow::new("seed flow 505", Place::empty()) else { return };
    let flow = flow.with("SEED_INPUT", shared.join("data/prices/all_stocks_5yr.csv.gz").display().to_string());
    flow.prepare();
    // Eleven rows lack prices, and twelve are out of their range or without volume: they are told, and the rest goes through.
    flow.run(["run", "producer.toml", "batch.toml", "storage.toml"]).code(3);
    let rows = flow.agree();
    assert!((619_000..619_040).contains(&rows), "{rows}");
}
