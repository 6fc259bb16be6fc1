//! The sink against the conformance kit, and two of them at once.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use stockflow_core::Result;
use stockflow_core::schema::bar_schema;
use stockflow_core::sink::{Sink, WriteMode};
use stockflow_core::testing::{SinkCase, SinkPlace, bars, bars_relation, check_sink, rows_of};
use stockflow_core::token::{Generation, SinkId};
use stockflow_io::postgres::PostgresSink;

use super::server::{Place, place};
use crate::support::token;

type Make = fn(&Place) -> PostgresSink;

#[derive(Debug)]
struct Tables {
    place: Place,
    make: Make,
}

#[derive(Debug)]
struct Table {
    place: Place,
    make: Make,
}

#[async_trait]
impl SinkCase for Tables {
    async fn place(&self) -> Result<Box<dyn SinkPlace>> {
        let place = Place::new(self.place.url.clone(), self.place.password.clone()).await;
        Ok(Box::new(Table { place, make: self.make }))
    }
}

#[async_trait]
impl SinkPlace for Table {
    async fn sink(&self) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new((self.make)(&self.place)))
    }

    async fn read(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.place.read("bars", &bar_schema()).await)
    }
}

const SINKS: [(&str, Make); 4] = [
    ("merge", |place| place.sink("bars")),
    ("append", |place| place.sink("bars").with_mode(WriteMode::Append)),
    ("overwrite", |place| place.sink("bars").with_mode(WriteMode::Overwrite)),
    ("months", |place| place.sink("bars").with_monthly_partitions()),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms() {
    let Some(place) = place("conformance").await else { return };
    for (name, make) in SINKS {
        let tables = Tables { place: place.clone(), make };
        assert_eq!(check_sink(&tables).await, Vec::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runners_only_the_newer_writes_and_never_both() {
    let Some(place) = place("fencing").await else { return };
    let id = SinkId::new("main", "bars");
    let rows = |day: i32| rows_of(bars_relation(), vec![bars("AAA", &[(day, 1.0)], 1).unwrap()]).unwrap();
    for round in 1..=5_u64 {
        let (old, new) = (place.sink("bars"), place.sink("bars"));
        old.open(&id, Generation(2 * round)).await.unwrap();
        let late = old.stage(&token(1000 + round), &rows(1000)).await.unwrap();
        new.open(&id, Generation(2 * round + 1)).await.unwrap();
        let staged = new.stage(&token(round), &rows(i32::try_from(round).unwrap())).await.unwrap();
        let (late, written) = tokio::join!(old.commit(late), new.commit(staged));
        assert!(late.unwrap_err().is_fenced());
        assert_eq!(written.unwrap().rows, 1);
        assert!(old.stage(&token(7), &rows(7)).await.unwrap_err().is_fenced());
        assert!(old.open(&id, Generation(2 * round)).await.unwrap_err().is_fenced());
    }
    assert_eq!(place.count("bars").await, 5);
    let tokens = place.lines("SELECT sink, table_name, generation, epoch FROM stockflow_tokens").await;
    assert_eq!(tokens, ["main/bars|bars|11|5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sinks_that_make_the_same_table_at_once() {
    let Some(place) = place("racing creation").await else { return };
    let write = |name: &'static str, symbol: &'static str| {
        let sink = place.sink("bars");
        async move {
            sink.open(&SinkId::new("main", name), Generation(1)).await.unwrap();
            let rows = rows_of(bars_relation(), vec![bars(symbol, &[(0, 1.0)], 1).unwrap()]).unwrap();
            let staged = sink.stage(&token(1), &rows).await.unwrap();
            sink.commit(staged).await.unwrap();
        }
    };
    tokio::join!(write("a", "AAA"), write("b", "BBB"), write("c", "CCC"), write("d", "DDD"));
    assert_eq!(place.count("bars").await, 4);
    assert_eq!(place.count("stockflow_tokens").await, 4);
    let steps = place.lines("SELECT scope, version, name FROM stockflow_migrations ORDER BY 1, 2").await;
    let made = format!("bars|1|create table {}", place.table("bars"));
    assert_eq!(steps, [made.as_str(), "stockflow|1|create table stockflow_tokens"]);
}
