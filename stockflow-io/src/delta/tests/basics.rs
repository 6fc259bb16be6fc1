//! Writing, reading back, repeating.

use stockflow_core::history::History;
use stockflow_core::schema::bar_schema;
use stockflow_core::sink::Sink;
use stockflow_core::token::Generation;

use super::super::{DeltaHistory, open_table};
use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_is_read_as_it_was_written() {
    let lake = Lake::new();
    let sink = lake.sink();
    assert_eq!(sink.open(&id(), Generation(1)).await.unwrap(), None);
    let history = DeltaHistory::new(lake.url("bars")).unwrap();
    assert_eq!(history.version().await.unwrap(), None);
    let bars = rows(&[
        bar("IBM", "2024-01-03", 3.0, "2024-02-01"),
        bar("AAPL", "2023-12-29", 1.0, "2024-02-01"),
        bar("AAPL", "2024-01-02", 2.0, "2024-02-01"),
    ]);
    let staged = sink.stage(&token(1), &bars).await.unwrap();
    assert_eq!(history.version().await.unwrap(), None, "nothing is visible before the commit");
    let written = sink.commit(staged).await.unwrap();
    assert_eq!(written.rows, 3);
    assert_eq!(closes(&lake.url("bars")).await, "AAPL 2023-12-29 1.0 | AAPL 2024-01-02 2.0 | IBM 2024-01-03 3.0");
    let objects = lake.objects("bars");
    assert_eq!(objects.len(), 2);
    assert!(objects[0].contains("/interval=1d/span=2023/"), "{objects:?}");
    let table = open_table(lake.url("bars")).await.unwrap();
    let types = |schema: &arrow::datatypes::Schema| {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
    };
    assert_eq!(types(&table.schema()), types(&bar_schema()));
    let version = history.version().await.unwrap().unwrap();
    assert!(written.location.ends_with(&format!("bars@{version}")), "{written:?}");
    assert_eq!(sink.open(&id(), Generation(1)).await.unwrap(), Some(token(1)));
    assert_eq!(lake.sink().open(&id(), Generation(2)).await.unwrap(), Some(token(1)));
}
