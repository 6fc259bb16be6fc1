//! The same on a real S3 server, where there is one.

use std::io::Write;

use stockflow_core::history::History;
use stockflow_core::sink::Sink;
use stockflow_core::token::Generation;

use super::super::{DeltaHistory, DeltaSink, MaintainOptions, maintain};
use super::support::*;

/// A new table's URL; `None`, and noted, if no server is named.
fn table(test: &str) -> Option<String> {
    match (std::env::var("STOCKFLOW_S3_ENDPOINT"), std::env::var("STOCKFLOW_S3_BUCKET")) {
        (Ok(_), Ok(bucket)) => Some(format!("s3://{bucket}/delta-{test}-{:x}/bars", super::super::token::nonce())),
        _ => {
            if let Ok(file) = std::env::var("STOCKFLOW_LEFT_OUT_FILE") {
                let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
                writeln!(
                    file,
                    "left out: Delta on S3, {test}: STOCKFLOW_S3_ENDPOINT and STOCKFLOW_S3_BUCKET are not set"
                )
                .unwrap();
            }
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_corrections_and_restarts() {
    let Some(url) = table("epochs") else { return };
    let sink = DeltaSink::new(&url).unwrap();
    write_new(&sink, 1, &rows(&[bar("A", "2024-01-02", 1.0, "2024-02-01"), bar("B", "2023-01-02", 2.0, "2024-02-01")]))
        .await;
    drop(sink.stage(&token(2), &rows(&[bar("A", "2024-01-02", 9.0, "2024-02-02")])).await.unwrap());
    let sink = DeltaSink::new(&url).unwrap();
    assert_eq!(sink.open(&id(), Generation(2)).await.unwrap(), Some(token(1)));
    write(&sink, 2, &rows(&[bar("A", "2024-01-02", 3.0, "2024-02-02")])).await.unwrap();
    write(&sink, 3, &rows(&[bar("A", "2024-01-03", 4.0, "2024-02-02")])).await.unwrap();
    assert_eq!(closes(&url).await, "A 2024-01-02 3.0 | A 2024-01-03 4.0 | B 2023-01-02 2.0");
    assert_eq!(query(&format!("{url}_revisions"), "SELECT symbol, close FROM t").await, "A 1.0");
    let done = maintain(&url, &MaintainOptions::default()).await.unwrap();
    assert_eq!(done.compacted.len(), 1);
    let history = DeltaHistory::new(&url).unwrap();
    let version = history.version().await.unwrap().unwrap();
    let rows = history.table(&version, Some(&["B".to_owned()])).await.unwrap();
    assert_eq!(datafusion::prelude::SessionContext::new().read_table(rows).unwrap().count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence() {
    let Some(url) = table("fence") else { return };
    let (old, new) = (DeltaSink::new(&url).unwrap(), DeltaSink::new(&url).unwrap());
    old.open(&id(), Generation(1)).await.unwrap();
    let staged = old.stage(&token(1), &rows(&[bar("A", "2024-01-02", 1.0, "2024-02-01")])).await.unwrap();
    assert_eq!(new.open(&id(), Generation(2)).await.unwrap(), None);
    assert!(old.commit(staged).await.unwrap_err().is_fenced());
    write(&new, 1, &rows(&[bar("A", "2024-01-02", 2.0, "2024-02-01")])).await.unwrap();
    assert_eq!(closes(&url).await, "A 2024-01-02 2.0");
}
