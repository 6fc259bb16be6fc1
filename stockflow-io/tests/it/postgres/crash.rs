//! Crashes that the matrix has no cell for: in the middle of a COPY that does not end, and of the server between two calls of the sink.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use stockflow_core::ErrorClass;
use stockflow_core::relation::RelationSchema;
use stockflow_core::sink::{EpochRows, Sink};
use stockflow_core::testing::{bars, bars_relation, rows_of};

use super::server::{OwnServer, Place};
use crate::support::{open, token};

const SCHEMA: &str = "STOCKFLOW_TEST_POSTGRES_SCHEMA";

fn child_place() -> Option<Place> {
    let schema = std::env::var(SCHEMA).ok()?;
    let variable = |name: &str| std::env::var(format!("STOCKFLOW_TEST_POSTGRES_{name}")).unwrap();
    Some(Place { url: variable("URL"), password: variable("PASSWORD"), schema })
}

fn child(name: &str, place: &Place) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("postgres::crash::{name}"), "--nocapture"]);
    command.env("STOCKFLOW_TEST_POSTGRES_URL", &place.url).env(SCHEMA, &place.schema);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Rows without end.
async fn endless() -> EpochRows {
    let context = datafusion::prelude::SessionContext::new();
    let sql =
        "SELECT value AS id, 'a row that is long enough to take a while' AS name FROM generate_series(1, 1000000000)";
    let frame = context.sql(sql).await.unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    EpochRows::new(RelationSchema::new("rows", schema).with_key(["id"]), frame)
}

/// Not a test by itself: copies until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_copies() {
    let Some(place) = child_place() else { return };
    let sink = place.sink("rows");
    open(&sink, 1).await;
    sink.stage(&token(1), &endless().await).await.unwrap();
}

async fn until(place: &Place, what: &str, sql: &str) {
    for _ in 0..600 {
        if place.lines(sql).await == ["t"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not come about: {sql}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_a_copy_leaves_nothing() {
    // One of its own: there is nobody else's staging table in it.
    let Some(server) = OwnServer::start("kill -9 in a COPY") else { return };
    let place = server.place().await;
    let mut child = child("child_that_copies", &place).spawn().unwrap();
    let copying =
        "SELECT coalesce(sum(pg_relation_size(oid)), 0) > 1000000 FROM pg_class WHERE relname = 'stockflow_stage'";
    until(&place, "a COPY", copying).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.count("rows").await, 0);
    let next = place.sink("rows");
    assert_eq!(open(&next, 2).await, None);
    let context = datafusion::prelude::SessionContext::new();
    let frame = context.sql("SELECT CAST(1 AS BIGINT) AS id, 'a' AS name").await.unwrap();
    let relation = RelationSchema::new("rows", Arc::new(frame.schema().as_arrow().clone())).with_key(["id"]);
    let staged = next.stage(&token(1), &EpochRows::new(relation, frame)).await.unwrap();
    next.commit(staged).await.unwrap();
    assert_eq!(place.lines("SELECT id, name FROM rows").await, ["1|a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_in_between_loses_nothing() {
    let Some(server) = OwnServer::start("server killed") else { return };
    let place = server.place().await;
    let sink = place.sink("bars");
    let rows =
        |day: i32| rows_of(bars_relation(), vec![bars("AAA", &[(day, 1.0), (day + 1, 2.0)], 1).unwrap()]).unwrap();
    open(&sink, 1).await;
    crate::support::write(&sink, 1, &rows(0)).await;
    // Between stage and commit.
    let staged = sink.stage(&token(2), &rows(10)).await.unwrap();
    server.kill();
    let error = sink.commit(staged).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{}", error.chain().join(": "));
    let error = sink.open(&crate::support::sink_id(), stockflow_core::token::Generation(1)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{}", error.chain().join(": "));
    server.start_again();
    assert_eq!(open(&sink, 1).await, Some(token(1)), "what was committed is there");
    crate::support::write(&sink, 2, &rows(10)).await;
    assert_eq!(place.count("bars").await, 4);
    // In the middle of a COPY.
    let copying = {
        let place = place.clone();
        tokio::spawn(async move {
            let sink = place.sink("rows");
            open(&sink, 1).await;
            sink.stage(&token(1), &endless().await).await.unwrap_err()
        })
    };
    until(&place, "a COPY", "SELECT count(*) > 0 FROM pg_stat_progress_copy").await;
    server.kill();
    let error = copying.await.unwrap();
    assert_eq!(error.class(), ErrorClass::Transient, "{}", error.chain().join(": "));
    server.start_again();
    assert_eq!(open(&place.sink("bars"), 2).await, Some(token(2)));
    assert_eq!((place.count("bars").await, place.count("rows").await), (4, 0));
}
