//! Finding what was indexed.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use chrono::{DateTime, TimeZone, Utc};
use futures::TryStreamExt;
use serde_json::json;
use stockflow_core::testing::{bars, bars_relation, day, rows_of};
use stockflow_core::{Error, ErrorClass, Result};
use stockflow_io::elastic::{IndexSearch, SearchQuery, SortBy};

use super::server::{Place, place};
use crate::support::{open, write};

async fn found(place: &Place, query: &SearchQuery) -> Result<RecordBatch> {
    let stream = IndexSearch::new(place.options(), &place.index)?.search(query).await?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

fn closes(batch: &RecordBatch) -> Vec<f64> {
    batch["close"].as_primitive::<Float64Type>().values().to_vec()
}

fn sorted(by: &[&str]) -> Vec<SortBy> {
    by.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_the_server_gives_at_once_come_in_their_order() {
    let Some(place) = place("paging") else { return };
    let n = 12_345;
    let of = |symbol: &str, from: i32, to: i32| {
        let days: Vec<(i32, f64)> = (from..to).map(|n| (n - 10_000, f64::from(n % 7))).collect();
        bars(symbol, &days, 1_500_123).unwrap()
    };
    let sink = place.sink();
    open(&sink, 1).await;
    write(&sink, 1, &rows_of(bars_relation(), vec![of("B", 0, 5000), of("A", 5000, n)]).unwrap()).await;

    let all = found(&place, &SearchQuery::default()).await.unwrap();
    assert_eq!(all.num_rows(), 12_345);
    let names: Vec<String> = all.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected: Vec<String> = bars_relation().schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, expected, "in the order in which they were written");
    let symbols: Vec<&str> = all["symbol"].as_string::<i32>().iter().flatten().collect();
    let times = all["ts"].as_primitive::<TimestampMicrosecondType>().values();
    let keys: Vec<(&str, i64)> = symbols.iter().copied().zip(times.iter().copied()).collect();
    assert!(keys.is_sorted(), "by key");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 12_345);
    assert_eq!(all["as_of"].as_primitive::<TimestampMicrosecondType>().value(0), 1_500_123, "to the microsecond");
    assert_eq!(all["date"].data_type(), &DataType::Date32);

    // Many rows of one value, over the ends of pages.
    let by_close = SearchQuery { sort: sorted(&["-close"]), ..SearchQuery::default() };
    let rows = found(&place, &by_close).await.unwrap();
    assert_eq!(rows.num_rows(), 12_345);
    assert!(closes(&rows).windows(2).all(|pair| pair[0] >= pair[1]));

    for limit in [0, 1, 5000, 10_001, 99_999] {
        let query = SearchQuery { limit: Some(limit), ..SearchQuery::default() };
        let rows = found(&place, &query).await.unwrap().num_rows() as u64;
        assert_eq!(rows, limit.min(12_345));
    }
    // Nothing is left open at the server.
    let stats = place.tell("GET", "_nodes/stats/indices/search", serde_json::Value::Null).await;
    let open = stats["nodes"].as_object().unwrap().values().map(|node| &node["indices"]["search"]["open_contexts"]);
    for contexts in open {
        assert!(contexts.as_u64().unwrap() < 100, "{contexts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_together() {
    let Some(place) = place("conditions") else { return };
    let sink = place.sink().with_monthly_indices();
    open(&sink, 1).await;
    let of = |symbol: &str, price: f64| {
        bars(symbol, &[(0, price), (1, price + 1.0), (31, price + 2.0), (40, price + 3.0)], 1).unwrap()
    };
    write(&sink, 1, &rows_of(bars_relation(), vec![of("A", 10.0), of("B", 20.0), of("C", 30.0)]).unwrap()).await;
    let at = |n: i32| Utc.timestamp_micros(day(n)).single();
    let one = |symbol: &str| vec![symbol.to_owned()];
    for (name, query, expected) in [
        ("symbol", SearchQuery { symbols: one("B"), ..SearchQuery::default() }, vec![20.0, 21.0, 22.0, 23.0]),
        (
            "from and before",
            SearchQuery { symbols: one("A"), from: at(1), before: at(40), ..SearchQuery::default() },
            vec![11.0, 12.0],
        ),
        ("another interval", SearchQuery { intervals: one("5m"), ..SearchQuery::default() }, vec![]),
        (
            "in words",
            SearchQuery {
                text: Some("close:>22 provider:* OR symbol:C close:[30 TO 31]".into()),
                intervals: one("1d"),
                sort: sorted(&["-symbol", "close"]),
                ..SearchQuery::default()
            },
            vec![30.0, 31.0],
        ),
        (
            "sorted, some",
            SearchQuery { sort: sorted(&["-ts", "-symbol"]), limit: Some(4), ..SearchQuery::default() },
            vec![33.0, 23.0, 13.0, 32.0],
        ),
    ] {
        assert_eq!(closes(&found(&place, &query).await.unwrap()), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_searched_is_told() {
    let Some(place) = place("wrong searches") else { return };
    let text = |error: Error| {
        assert_eq!(error.class(), ErrorClass::Config, "{error:?}");
        error.chain().join(": ")
    };
    let absent = text(found(&place, &SearchQuery::default()).await.unwrap_err());
    assert!(absent.contains("there is no such index or alias; has the pipeline been run?"), "{absent}");
    let sink = place.sink();
    open(&sink, 1).await;
    write(&sink, 1, &rows_of(bars_relation(), vec![bars("A", &[(0, 1.0)], 1).unwrap()]).unwrap()).await;
    let unread = SearchQuery { text: Some("close:[1 TO".into()), ..SearchQuery::default() };
    let unread = text(found(&place, &unread).await.unwrap_err());
    assert!(unread.contains("HTTP 400") && unread.contains("close:[1 TO"), "{unread}");
    let sort = SearchQuery { sort: sorted(&["clos"]), ..SearchQuery::default() };
    assert!(text(found(&place, &sort).await.unwrap_err()).contains("no field `clos`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_somebody_else_made_is_searched_by_its_mapping() {
    let Some(place) = place("foreign index") else { return };
    let index = &place.index;
    for (id, document) in [
        ("1", json!({"at": 86_400_000, "price": 2, "tags": ["a", "b"], "deep": {"er": 1}, "text": "a b"})),
        ("2", json!({"at": "2024-01-02T03:04:05Z", "price": 1.5, "text": "b c"})),
    ] {
        let mut document = document;
        document["note"] = json!(null);
        if id == "1" {
            let mapping = json!({"mappings": {"properties": {"at": {"type": "date"}, "price": {"type": "double"}, "tags": {"type": "keyword"}}}});
            place.tell("PUT", index, mapping).await;
        }
        place.tell("PUT", &format!("{index}/_doc/{id}?refresh=true"), document).await;
    }
    let by_price = SearchQuery { sort: sorted(&["price"]), ..SearchQuery::default() };
    let rows = found(&place, &by_price).await.unwrap();
    let names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["at", "deep", "price", "tags", "text"]);
    let times = rows["at"].as_primitive::<TimestampMicrosecondType>();
    assert_eq!((times.value(1), rows["deep"].as_string::<i32>().value(1)), (86_400_000_000, "{\"er\":1}"));
    let from = DateTime::parse_from_rfc3339("2024-01-01T00:00:00Z").unwrap().with_timezone(&Utc);
    let late = SearchQuery { from: Some(from), text: Some("text:c".into()), ..SearchQuery::default() };
    assert_eq!(found(&place, &late).await.unwrap().num_rows(), 1);
}
