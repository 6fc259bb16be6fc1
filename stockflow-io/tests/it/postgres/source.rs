//! Reading tables and queries: what is new, side by side, with filters on the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use stockflow_core::checkpoint::Checkpoint;
use stockflow_core::source::{EpochLimit, Replay, Source};
use stockflow_core::testing::{SourceCase, SourcePlace, check_source};
use stockflow_core::{ErrorClass, Result};
use stockflow_io::postgres::PostgresSource;

use super::server::{Place, place};
use crate::bad_input;
use crate::support::{check_table, read, read_from};

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One position for each symbol.
    BySymbol,
    /// The same, and what is read may change.
    Mutable,
}

#[derive(Debug)]
struct Tables(Place, Kind);

#[derive(Debug)]
struct Table {
    place: Place,
    kind: Kind,
    added: AtomicUsize,
}

#[async_trait]
impl SourceCase for Tables {
    async fn place(&self) -> Result<Box<dyn SourcePlace>> {
        let place = Place::new(self.0.url.clone(), self.0.password.clone()).await;
        place.run("CREATE TABLE t (symbol text, id bigint GENERATED ALWAYS AS IDENTITY, close float8)").await;
        Ok(Box::new(Table { place, kind: self.1, added: AtomicUsize::new(0) }))
    }
}

#[async_trait]
impl SourcePlace for Table {
    async fn source(&self) -> Result<Arc<dyn Source>> {
        let source = PostgresSource::table(self.place.options(), &self.place.table("t"))?
            .with_cursor("id")
            .with_partition_by("symbol");
        Ok(match self.kind {
            Kind::BySymbol => Arc::new(source.with_immutable_rows()),
            Kind::Mutable => Arc::new(source),
        })
    }

    async fn add(&self, rows: usize) -> Result<()> {
        let symbol = self.added.fetch_add(1, Ordering::SeqCst);
        let sql =
            format!("INSERT INTO t (symbol, close) SELECT 'S{symbol}', n / 7.0 FROM generate_series(1, {rows}) n");
        self.place.run(&sql).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_conforms() {
    let Some(place) = place("source conformance").await else { return };
    for kind in [Kind::BySymbol, Kind::Mutable] {
        assert_eq!(check_source(&Tables(place.clone(), kind)).await, Vec::new(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_read_as_documented() {
    let Some(place) = place("source types").await else { return };
    place
        .run(
            "CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN price AS numeric(20, 4); \
             CREATE TABLE t (a boolean, b smallint, c integer, d bigint, e real, f float8, g price, h text, i varchar(5), j mood, \
                k bytea, l date, m timestamp, n timestamptz, o time, p jsonb, q json); \
             INSERT INTO t VALUES (true, -1, 2, 3, 1.5, 0.1, -12345.6789, 'é', 'ab', 'bad', '\\x00ff', '2024-02-29', \
                '2024-01-02 03:04:05.678901', '2024-01-02 03:04:05+02', '23:59:59', '{\"x\": [1]}', '[2]'), \
                (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'infinity', NULL, '-infinity', NULL, NULL, NULL)",
        )
        .await;
    let source = PostgresSource::table(place.options(), &place.table("t")).unwrap().with_relation("input");
    let found = read(&source, "SELECT * FROM input ORDER BY b NULLS LAST").await;
    check_table(
        &found.table,
        &[
            "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q",
            "true|-1|2|3|1.5|0.1|-12345.6789|é|ab|bad|00ff|2024-02-29|2024-01-02T03:04:05.678901|2024-01-02T01:04:05Z|23:59:59|{\"x\": [1]}|[2]",
            "||||||||||||||||",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_reads_what_is_new_in_pieces_of_a_size() {
    let Some(place) = place("cursor").await else { return };
    place.run("CREATE TABLE t AS SELECT n::bigint AS id, 'x' || n AS name FROM generate_series(1, 100) n; INSERT INTO t VALUES (NULL, 'never')").await;
    let source = || {
        PostgresSource::table(place.options(), &place.table("t"))
            .unwrap()
            .with_relation("input")
            .with_cursor("id")
            .with_immutable_rows()
            .with_connections(3)
    };
    assert_eq!(source().replay(), Replay::Exact);
    let sql = "SELECT count(*) AS n, min(id) AS low, max(id) AS high FROM input";
    let mut from = Checkpoint::new();
    let limit = EpochLimit { max_rows: Some(40), ..EpochLimit::default() };
    for expected in ["40|1|40", "40|41|80", "20|81|100"] {
        let found = read_from(&source(), &from, &limit, sql).await.unwrap();
        check_table(&found.table, &["n|low|high", expected]);
        from = found.outcome.reached;
    }
    assert_eq!(from.to_string(), "{input@100}");
    assert!(read_from(&source(), &from, &limit, sql).await.is_none());
    place.run("INSERT INTO t VALUES (101, 'new')").await;
    let found = read_from(&source(), &from, &limit, "SELECT name FROM input").await.unwrap();
    check_table(&found.table, &["name", "new"]);
    // A run's target holds although more has come.
    let upto = EpochLimit { upto: Some(Checkpoint::new().with("input", "50")), ..EpochLimit::default() };
    let found = read_from(&source(), &Checkpoint::new(), &upto, sql).await.unwrap();
    check_table(&found.table, &["n|low|high", "50|1|50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_as_a_cursor_leave_the_newest_rows_for_later() {
    let Some(place) = place("lag").await else { return };
    place
        .run("CREATE TABLE t (at timestamptz, n int); INSERT INTO t VALUES (now() - interval '2 hours', 1), (now() - interval '1 hour', 2), (now(), 3)")
        .await;
    let source =
        PostgresSource::table(place.options(), &place.table("t")).unwrap().with_cursor("at").with_relation("input");
    let late = source.with_lag(Duration::from_secs(60));
    let found = read(&late, "SELECT n FROM input ORDER BY n").await;
    check_table(&found.table, &["n", "1", "2"]);
    assert!(read_from(&late, &found.outcome.reached, &EpochLimit::default(), "SELECT n FROM input").await.is_none());
    let number = PostgresSource::table(place.options(), &place.table("t"))
        .unwrap()
        .with_cursor("n")
        .with_lag(Duration::from_secs(1));
    let error = number.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err();
    assert!(error.to_string().contains("`n` is no point in time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_filtered_and_cut() {
    let Some(place) = place("pushdown").await else { return };
    place.run("CREATE TABLE t AS SELECT n AS id, 'S' || n % 10 AS symbol, n / 3.0::float8 AS close, DATE '2024-01-01' + n AS day FROM generate_series(1, 1000) n").await;
    let query = format!("SELECT * FROM {} -- all of it", place.table("t"));
    let source = PostgresSource::query(place.options(), query);
    let plan = source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap().unwrap();
    let scan = source.scan(&plan).await.unwrap();
    let context = SessionContext::new();
    context.register_table("input", Arc::clone(&scan.relations["input"])).unwrap();
    let sql = "SELECT id FROM input WHERE symbol = 'S3' AND close > 100 AND day < DATE '2025-01-01' ORDER BY id";
    let frame = context.sql(sql).await.unwrap();
    check_table(&frame.to_string().await.unwrap(), &["id", "303", "313", "323", "333", "343", "353", "363"]);
    let limited = context.sql("SELECT symbol FROM input LIMIT 3").await.unwrap();
    assert_eq!(limited.count().await.unwrap(), 3);
    assert_eq!(
        context
            .sql("SELECT count(*) AS n FROM input")
            .await
            .unwrap()
            .to_string()
            .await
            .unwrap()
            .matches("1000")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cursor_nothing_is_new_while_nobody_writes() {
    let Some(server) = super::server::OwnServer::start("snapshots") else { return };
    let place = server.place().await;
    place.run("CREATE TABLE t AS SELECT 1 AS n").await;
    let source = PostgresSource::table(place.options(), &place.table("t")).unwrap().with_relation("input");
    assert_eq!(source.replay(), Replay::BestEffort);
    let found = read(&source, "SELECT n FROM input").await;
    let reached = found.outcome.reached;
    assert!(source.plan(&reached, &EpochLimit::default()).await.unwrap().is_none());
    place.run("INSERT INTO t VALUES (2)").await;
    let found = read_from(&source, &reached, &EpochLimit::default(), "SELECT n FROM input ORDER BY n").await.unwrap();
    check_table(&found.table, &["n", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told() {
    let Some(place) = place("source errors").await else { return };
    place.run("CREATE TABLE t (id bigint, tags text[], lasts interval)").await;
    let plan = |source: PostgresSource| async move {
        source.plan(&Checkpoint::new(), &EpochLimit::default()).await.unwrap_err()
    };
    let error = plan(PostgresSource::table(place.options(), &place.table("t")).unwrap()).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(
        error.to_string().contains("`tags` (_text), `lasts` (interval)")
            && error.to_string().contains("cast them to text"),
        "{error}"
    );
    bad_input::told("postgres source", "type that is not read", &error);
    let error = plan(PostgresSource::table(place.options(), &place.table("nothing")).unwrap()).await;
    assert!(error.chain().join(": ").contains("42P01"), "{error:?}");
    bad_input::told("postgres source", "table missing", &error);
    let error = plan(PostgresSource::query(place.options(), "SELEC 1")).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.chain().join(": ").contains("syntax error"), "{error:?}");
    bad_input::told("postgres source", "query that is no SQL", &error);
    let error = plan(PostgresSource::query(place.options(), format!("SELECT price FROM {}", place.table("t")))).await;
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.chain().join(": ").contains("42703"), "{error:?}");
    bad_input::told("postgres source", "column missing in a query", &error);
    let query = format!("SELECT id FROM {}", place.table("t"));
    let error = plan(PostgresSource::query(place.options(), query).with_cursor("updated_at")).await;
    assert!(
        error.to_string().contains("`cursor` names `updated_at`, which is not there; choose one of `id`"),
        "{error}"
    );
    bad_input::told("postgres source", "column missing", &error);
}
