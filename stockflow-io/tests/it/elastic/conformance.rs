//! The sink against the conformance kit, and two of them at once.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use stockflow_core::Result;
use stockflow_core::schema::bar_schema;
use stockflow_core::sink::Sink;
use stockflow_core::testing::{SinkCase, SinkPlace, bars, bars_relation, check_sink, rows_of};
use stockflow_core::token::{Generation, SinkId};
use stockflow_io::elastic::{ElasticSink, Refresh};

use super::server::{Place, place};
use crate::support::token;

type Make = fn(&Place) -> ElasticSink;

#[derive(Debug)]
struct Names {
    place: Place,
    make: Make,
}

#[async_trait]
impl SinkCase for Names {
    async fn place(&self) -> Result<Box<dyn SinkPlace>> {
        Ok(Box::new(Names { place: self.place.another(), make: self.make }))
    }
}

#[async_trait]
impl SinkPlace for Names {
    async fn sink(&self) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new((self.make)(&self.place)))
    }

    async fn read(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.place.read(&bar_schema()).await)
    }
}

const SINKS: [(&str, Make); 3] = [
    ("one index", |place| place.sink().with_index_settings([("number_of_shards", "2")])),
    ("months", |place| place.sink().with_monthly_indices()),
    ("a document a request, waiting for the refresh", |place| {
        place.sink().with_request_size(1).with_refresh(Refresh::WaitFor)
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_conforms() {
    let Some(place) = place("conformance") else { return };
    for (name, make) in SINKS {
        let names = Names { place: place.clone(), make };
        assert_eq!(check_sink(&names).await, Vec::new(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runners_only_the_newer_writes() {
    let Some(place) = place("fencing") else { return };
    let id = SinkId::new("main", "bars");
    let rows = |day: i32| rows_of(bars_relation(), vec![bars("AAA", &[(day, 1.0)], 1).unwrap()]).unwrap();
    for round in 1..=3_u64 {
        let (old, new) = (place.sink(), place.sink());
        old.open(&id, Generation(2 * round)).await.unwrap();
        let late = old.stage(&token(1000 + round), &rows(1000)).await.unwrap();
        new.open(&id, Generation(2 * round + 1)).await.unwrap();
        let staged = new.stage(&token(round), &rows(i32::try_from(round).unwrap())).await.unwrap();
        let (late, written) = tokio::join!(old.commit(late), new.commit(staged));
        assert!(late.unwrap_err().is_fenced());
        assert_eq!(written.unwrap().rows, 1);
        assert!(old.open(&id, Generation(2 * round)).await.unwrap_err().is_fenced());
    }
    assert_eq!(place.ids().await.len(), 3);
    // Of two of one generation the later counts, and the earlier finds out when it writes.
    let (first, second) = (place.sink(), place.sink());
    first.open(&id, Generation(100)).await.unwrap();
    let staged = first.stage(&token(9), &rows(9)).await.unwrap();
    second.open(&id, Generation(100)).await.unwrap();
    assert!(first.commit(staged).await.unwrap_err().is_fenced());
    assert!(first.open(&id, Generation(100)).await.unwrap_err().is_fenced());
}

#[tokio::test(flavor = "multi_thread")]
async fn sinks_that_make_the_same_index_at_once() {
    let Some(place) = place("racing creation") else { return };
    let write = |name: &'static str, symbol: &'static str| {
        let sink = place.sink();
        async move {
            sink.open(&SinkId::new("main", name), Generation(1)).await.unwrap();
            let rows = rows_of(bars_relation(), vec![bars(symbol, &[(0, 1.0)], 1).unwrap()]).unwrap();
            let staged = sink.stage(&token(1), &rows).await.unwrap();
            sink.commit(staged).await.unwrap();
        }
    };
    tokio::join!(write("a", "AAA"), write("b", "BBB"), write("c", "CCC"), write("d", "DDD"));
    assert_eq!(place.ids().await.len(), 4);
    assert_eq!(place.indices().await, [format!("{}-000001", place.index)]);
}
