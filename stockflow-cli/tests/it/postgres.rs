//! A pipeline from files into PostgreSQL, and the tables that it needs there.

use std::process::Command;

use crate::place::{Place, Said, leave_out};

/// The server of `scripts/services`, and a schema of the test's own.
pub(crate) struct Database {
    url: String,
    password: String,
    schema: String,
}

impl Database {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let variable = |name: &str| std::env::var(format!("STOCKFLOW_TEST_POSTGRES_{name}")).ok();
        let (Some(url), Some(password)) = (variable("URL"), variable("PASSWORD")) else {
            leave_out(test, "STOCKFLOW_TEST_POSTGRES_URL is not set, see scripts/services");
            return None;
        };
        let schema = format!("cli_{}_{}", test.replace(' ', "_"), std::process::id());
        let database = Self { url, password, schema };
        database.sql(&format!("CREATE SCHEMA {}", database.schema));
        Some(database)
    }

    /// What psql prints.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let mut command = Command::new("psql");
        command.args([&self.url, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let output = command.env("PGPASSWORD", &self.password).env("PGSSLMODE", "disable").output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.schema)
    }

    /// A pipeline of the bars in `examples/data`.
    pub(crate) fn pipeline(&self, place: &Place, more: &str) {
        let server = format!("url = '{}'\nsslmode = 'disable'\npassword = 'command:cat secret.txt'", self.url);
        place.write("secret.txt", &self.password);
        place.write(
            "p.toml",
            &format!(
                "name = 'pg'\n[source]\ntype = 'file'\npath = 'examples/data'\n\
                 [[transform]]\nname = 'normalized'\ntype = 'normalize'\n[[transform]]\nname = 'clean'\ntype = 'clean'\n\
                 [[sink]]\nname = 'stocks'\ntype = 'postgres'\n{server}\ntable = '{}'\nlayout = 'stocks'\n{more}\n\
                 [[sink]]\nname = 'bars'\ntype = 'postgres'\n{server}\ntable = '{}'\npartition = 'month'\n{more}\n\
                 [dead_letters]\ntype = 'postgres'\n{server}\ntable = '{}'\n{more}\n",
                self.table("stocks"),
                self.table("bars"),
                self.table("letters"),
            ),
        );
    }

    pub(crate) fn run<const N: usize>(&self, place: &Place, args: [&str; N]) -> Said {
        let said = place.run(args);
        assert!(!said.stdout.contains(&self.password) && !said.stderr.contains(&self.password), "{said:?}");
        said
    }
}

#[test]
fn files_become_tables_and_a_second_run_changes_nothing() {
    let Some(database) = Database::new("files become tables") else { return };
    let place = Place::with_few_bars();
    database.pipeline(&place, "");
    let said = database.run(&place, ["validate", "p.toml"]).ok();
    let said = said.prints("secret: sink[0].password comes from command `cat secret.txt`");
    assert_eq!(said.stdout.matches("exactly-once").count(), 3, "{}", said.stdout);
    database.run(&place, ["doctor", "p.toml"]).ok().prints("PostgreSQL 15").prints("secret sink[1].password");
    for _ in 0..2 {
        database.run(&place, ["run", "p.toml"]).ok();
        let count = |table: &str| database.sql(&format!("SELECT count(*) FROM {}", database.table(table)));
        assert_eq!(
            (count("stocks").as_str(), count("bars").as_str(), count("letters").as_str()),
            ("240\n", "240\n", "0\n")
        );
    }
    let row = database.sql(&format!(
        "SELECT close, volume FROM {} WHERE ticker = 'FB' AND date = '2012-05-21'",
        database.table("stocks")
    ));
    assert_eq!(row, "34.03|168192700\n");
    // A line that is no bar, with a byte that no text may have.
    place.write("examples/data/BAD.csv", "Date,Open,High,Low,Close,Volume\nno\0date,1,1,1,1,1\n2024-01-02,1,1,1,1,1\n");
    database.run(&place, ["run", "p.toml"]).code(3);
    assert_eq!(database.sql(&format!("SELECT count(*) FROM {}", database.table("letters"))), "1\n");
}

#[test]
fn tables_are_migrated_before_or_by_the_run() {
    let Some(database) = Database::new("migrate") else { return };
    let place = Place::with_few_bars();
    database.pipeline(&place, "create = false");
    database.run(&place, ["run", "p.toml"]).code(1).says("run `stockflow db migrate`");
    let said = database
        .run(&place, ["db", "migrate", "p.toml", "--check"])
        .code(1)
        .prints("CREATE TABLE")
        .prints("stockflow_tokens");
    assert_eq!(said.stdout.matches("steps are missing").count(), 3, "{}", said.stdout);
    database.run(&place, ["db", "migrate", "p.toml"]).ok().prints("steps done");
    database.run(&place, ["db", "migrate", "p.toml", "--check"]).ok().prints("up to date");
    database.run(&place, ["run", "p.toml"]).ok();
    let migrations = database.table("stockflow_migrations");
    let steps = database.sql(&format!("SELECT scope, max(version) FROM {migrations} GROUP BY 1 ORDER BY 1"));
    assert_eq!(steps, "bars|1\nletters|1\nstockflow|1\nstocks|3\n");
    let said = database.run(&place, ["db", "migrate", "p.toml", "--json"]).ok();
    assert_eq!(said.json()[0]["changes"].as_array().map(Vec::len), Some(0));

    let url = format!("{}?sslmode=disable", database.url);
    let args =
        ["db", "migrate", "--check", "--url", &url, "--password", "file:secret.txt", "--schema", &database.schema];
    database.run(&place, args).ok().prints("up to date");
    place.run(["db", "migrate"]).code(2).says("writes to no database");
}

#[test]
fn what_is_wrong_with_a_table_of_the_file_is_told() {
    let place = Place::empty();
    let file = |sink: &str| {
        place.write(
            "p.toml",
            &format!(
                "name = 'x'\n[source]\ntype = 'file'\npath = 'in'\n[[sink]]\nname = 's'\ntype = 'postgres'\n{sink}\n"
            ),
        );
        place.run(["validate", "p.toml"]).code(2)
    };
    let said =
        file("url = 'postgres://me:hunter2@h/d'\ntable = 't'").says("`sink[0].url` is wrong").says("holds a password");
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    file("url = 'postgres://me@h/d'\npassword = 'hunter2'\ntable = 't'").says("does not belong into a pipeline file");
    file("url = 'postgres://me@h/d'").says("`sink[0].table` is missing");
    file("url = 'postgres://me@h/d'\ntable = 't'\nsslmode = 'prefer'").says("disable, require, verify-full");
    file("url = 'postgres://me@h/d'\ntable = 't'\nclient_key = 'k'").says("belong together");
    file("url = 'postgres://me@h/d'\ntable = 't'\nlayout = 'stocks'\ncolumns = { a = 'b' }")
        .says("names the columns by itself");
    let two = "url = 'postgres://me@h/d'\ntable = 't'\n[[sink]]\nname = 'two'\ntype = 'postgres'\nurl = 'postgres://other@h:5432/d'\ntable = 't'";
    file(two).says("postgres://h:5432/d/t");
}

#[test]
fn a_table_is_a_source() {
    let Some(database) = Database::new("source") else { return };
    let place = Place::empty();
    let table = database.table("prices");
    database.sql(&format!(
        "CREATE TABLE {table} (id bigint GENERATED ALWAYS AS IDENTITY, ticker text, date date, open numeric(10,2), high numeric(10,2), low numeric(10,2), close numeric(10,2), volume bigint); \
         INSERT INTO {table} (ticker, date, open, high, low, close, volume) SELECT 'AAA', DATE '2024-01-01' + n, 1, 2, 0.5, 1.25, n FROM generate_series(1, 5) n"
    ));
    place.write("secret.txt", &database.password);
    place.write(
        "p.toml",
        &format!(
            "name = 'pg'\n[source]\ntype = 'postgres'\nurl = '{}'\nsslmode = 'disable'\npassword = 'file:secret.txt'\ntable = '{table}'\ncursor = 'id'\nimmutable = true\n\
             [[transform]]\nname = 'normalized'\ntype = 'normalize'\ninterval = '1d'\n[[transform]]\nname = 'clean'\ntype = 'clean'\n\
             [[sink]]\nname = 'bars'\ntype = 'delta'\npath = 'stockflow-data/bars'\n",
            database.url
        ),
    );
    database.run(&place, ["validate", "p.toml"]).ok().prints("secret: source.password comes from file `secret.txt`");
    database.run(&place, ["run", "p.toml"]).ok();
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE close = 1.25"), 5.0);
    database.sql(&format!("INSERT INTO {table} (ticker, date, open, high, low, close, volume) VALUES ('AAA', '2024-02-01', 1, 2, 0.5, 1.5, 9)"));
    database.run(&place, ["run", "p.toml"]).ok();
    assert_eq!(place.number("SELECT count(*) FROM bars"), 6.0);
    database.run(&place, ["status", "p.toml"]).ok();
}
