//! The server of `scripts/services`, and servers of a test's own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, SchemaRef};
use stockflow_io::postgres::{PostgresOptions, PostgresSink};
use stockflow_io::secret::Secret;
use tokio_postgres::{Client, NoTls};

use crate::support::left_out;

/// Where a server is, and a schema of the test's own in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) password: String,
    pub(crate) schema: String,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("STOCKFLOW_TEST_POSTGRES_{name}")).ok()
}

/// A file that the server's set-up has left: a certificate, a key.
pub(crate) fn file(name: &str) -> PathBuf {
    variable(name).unwrap().into()
}

/// A new schema in the server that the environment names; `None` without one.
pub(crate) async fn place(test: &str) -> Option<Place> {
    let (Some(url), Some(password)) = (variable("URL"), variable("PASSWORD")) else {
        left_out(&format!("PostgreSQL, {test}: STOCKFLOW_TEST_POSTGRES_URL is not set, see scripts/services"));
        return None;
    };
    Some(Place::new(url, password).await)
}

impl Place {
    pub(crate) async fn new(url: String, password: String) -> Self {
        let schema = format!("t_{}", uuid::Uuid::new_v4().simple());
        let place = Self { url, password, schema };
        place.run(&format!("CREATE SCHEMA {}", place.schema)).await;
        place
    }

    /// How the connector reaches it: without TLS, unless told otherwise.
    pub(crate) fn options(&self) -> PostgresOptions {
        let url = format!("{}?sslmode=disable", self.url);
        PostgresOptions::parse(&url).unwrap().with_password(Secret::new(&self.password))
    }

    pub(crate) fn table(&self, name: &str) -> String {
        format!("{}.{name}", self.schema)
    }

    pub(crate) fn sink(&self, table: &str) -> PostgresSink {
        PostgresSink::new(self.options(), &self.table(table)).unwrap()
    }

    /// A client of the test's own.
    pub(crate) async fn client(&self) -> Client {
        let mut config: tokio_postgres::Config = self.url.parse().unwrap();
        config.password(&self.password);
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Statements in the test's schema.
    pub(crate) async fn run(&self, sql: &str) {
        let sql = format!("SET search_path = {}, public; {sql}", self.schema);
        self.client().await.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// A query's rows as lines of text, columns separated by `|`.
    pub(crate) async fn lines(&self, sql: &str) -> Vec<String> {
        let sql = format!("SET search_path = {}, public; {sql}", self.schema);
        let messages = self.client().await.simple_query(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let mut lines = Vec::new();
        for message in messages {
            if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
                let cells: Vec<&str> = (0..row.len()).map(|idx| row.get(idx).unwrap_or("NULL")).collect();
                lines.push(cells.join("|"));
            }
        }
        lines
    }

    pub(crate) async fn count(&self, table: &str) -> usize {
        self.lines(&format!("SELECT count(*) FROM {table}")).await[0].parse().unwrap()
    }

    /// What a reader sees of a table in columns of a schema; nothing if there is no table.
    pub(crate) async fn read(&self, table: &str, schema: &SchemaRef) -> Vec<RecordBatch> {
        let client = self.client().await;
        let exists = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&self.table(table)]).await.unwrap();
        if !exists.get::<_, bool>(0) {
            return Vec::new();
        }
        let column = |field: &arrow::datatypes::FieldRef| match field.data_type() {
            DataType::Date32 => format!("\"{0}\" - DATE '1970-01-01'", field.name()),
            DataType::Timestamp(..) => format!("(extract(epoch FROM \"{0}\") * 1000000)::bigint", field.name()),
            _ => format!("\"{}\"", field.name()),
        };
        let columns: Vec<String> = schema.fields().iter().map(column).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), self.table(table));
        let rows = client.query(&sql, &[]).await.unwrap();
        let arrays = schema.fields().iter().enumerate().map(|(idx, field)| -> ArrayRef {
            match field.data_type() {
                DataType::Utf8 => {
                    Arc::new(rows.iter().map(|row| row.get::<_, Option<String>>(idx)).collect::<StringArray>())
                }
                DataType::Float64 => {
                    Arc::new(rows.iter().map(|row| row.get::<_, Option<f64>>(idx)).collect::<Float64Array>())
                }
                DataType::Int64 => {
                    Arc::new(rows.iter().map(|row| row.get::<_, Option<i64>>(idx)).collect::<Int64Array>())
                }
                DataType::Boolean => {
                    Arc::new(rows.iter().map(|row| row.get::<_, Option<bool>>(idx)).collect::<BooleanArray>())
                }
                DataType::Date32 => {
                    Arc::new(rows.iter().map(|row| row.get::<_, Option<i32>>(idx)).collect::<Date32Array>())
                }
                DataType::Timestamp(..) => Arc::new(
                    rows.iter()
                        .map(|row| row.get::<_, Option<i64>>(idx))
                        .collect::<TimestampMicrosecondArray>()
                        .with_timezone("UTC"),
                ),
                other => panic!("the test reads no {other}"),
            }
        });
        vec![RecordBatch::try_new(Arc::clone(schema), arrays.collect()).unwrap()]
    }
}

/// A server of a test's own, which it may kill. Only where the environment has one, so that nothing is installed by a test.
pub(crate) struct OwnServer {
    folder: tempfile::TempDir,
}

impl OwnServer {
    pub(crate) fn start(test: &str) -> Option<Self> {
        if variable("URL").is_none() {
            left_out(&format!("PostgreSQL, {test}: STOCKFLOW_TEST_POSTGRES_URL is not set, see scripts/services"));
            return None;
        }
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let server = Self { folder };
        server.services("up");
        Some(server)
    }

    fn services(&self, command: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let output = Command::new(script)
            .args([command, "postgres"])
            .env("STOCKFLOW_SERVICES_DIR", self.folder.path())
            .env("STOCKFLOW_POSTGRES_FSYNC", "on")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/services {command} postgres: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn kill(&self) {
        self.services("kill");
    }

    pub(crate) fn start_again(&self) {
        self.services("up");
    }

    /// What `scripts/services env` says of it.
    fn value(&self, name: &str) -> String {
        let start = format!("export STOCKFLOW_TEST_POSTGRES_{name}=");
        self.services("env").lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
    }

    /// A file that its set-up has left.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.value(name).into()
    }

    pub(crate) async fn place(&self) -> Place {
        Place::new(self.value("URL"), self.value("PASSWORD")).await
    }

    /// From now on it shows new connections a certificate that has run out. `scripts/services` knows it no more, either.
    pub(crate) async fn show_expired_certificate(&self, place: &Place) {
        let root = Place { url: place.url.replace("stockflow@", "postgres@"), ..place.clone() };
        let client = root.client().await;
        let [certificate, key] = ["EXPIRED_CERT", "EXPIRED_KEY"].map(|name| self.value(name));
        for (setting, path) in [("ssl_cert_file", &certificate), ("ssl_key_file", &key)] {
            client.batch_execute(&format!("ALTER SYSTEM SET {setting} = '{path}'")).await.unwrap();
        }
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while root.lines("SHOW ssl_key_file").await != [key.as_str()] {
            assert!(Instant::now() < end, "the server keeps its certificate");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Not asserted: a panic here would hide the test's own.
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");
        let _ =
            Command::new(script).args(["down", "postgres"]).env("STOCKFLOW_SERVICES_DIR", self.folder.path()).output();
    }
}
