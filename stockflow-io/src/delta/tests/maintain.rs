//! Compaction and vacuum.

use std::time::Duration;

use stockflow_core::history::History;
use stockflow_core::sink::Sink;
use stockflow_core::token::Generation;

use super::super::{DeltaHistory, MaintainOptions, maintain};
use super::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn small_files_are_put_together_and_old_ones_removed() {
    let lake = Lake::new();
    let sink = lake.sink();
    sink.open(&id(), Generation(1)).await.unwrap();
    for epoch in 1..=6_u32 {
        let day = format!("2024-01-{:02}", epoch + 1);
        write(
            &sink,
            u64::from(epoch),
            &rows(&[bar("B", &day, f64::from(epoch), "2024-02-01"), bar("A", &day, 0.5, "2024-02-01")]),
        )
        .await
        .unwrap();
    }
    write(&sink, 7, &rows(&[bar("A", "2023-01-02", 9.0, "2024-02-01")])).await.unwrap();
    let before = closes(&lake.url("bars")).await;
    let pinned = DeltaHistory::new(lake.url("bars")).unwrap().version().await.unwrap().unwrap();
    let (objects, commits) = (lake.objects("bars"), lake.commits("bars"));

    let dry =
        maintain(lake.url("bars"), &MaintainOptions { dry_run: true, ..MaintainOptions::default() }).await.unwrap();
    assert_eq!(
        dry.compacted.iter().map(|done| (done.partition.as_str(), done.files_before)).collect::<Vec<_>>(),
        [("interval=1d/span=2024", 6)]
    );
    assert!(dry.compacted[0].bytes_before > 0);
    assert_eq!((lake.objects("bars"), lake.commits("bars")), (objects, commits), "a dry run changes nothing");

    let done = maintain(lake.url("bars"), &MaintainOptions::default()).await.unwrap();
    assert_eq!((done.compacted.len(), done.compacted[0].files_after, done.removed_files), (1, 1, 0));
    assert_eq!(closes(&lake.url("bars")).await, before);
    assert_eq!(lake.objects("bars").len(), 8, "the old files stay for seven days");
    let again = maintain(lake.url("bars"), &MaintainOptions::default()).await.unwrap();
    assert_eq!(again.compacted, []);

    // The writer goes on, and its token is still there.
    assert_eq!(write(&sink, 8, &rows(&[bar("A", "2024-01-02", 0.5, "2024-02-05")])).await.unwrap().rows, 0);
    assert_eq!(lake.sink().open(&id(), Generation(2)).await.unwrap(), Some(token(8)));

    let all = MaintainOptions { retention: Duration::ZERO, ..MaintainOptions::default() };
    let dry = maintain(lake.url("bars"), &MaintainOptions { dry_run: true, ..all.clone() }).await.unwrap();
    assert_eq!(dry.removed_files, 6);
    let done = maintain(lake.url("bars"), &all).await.unwrap();
    assert_eq!((done.removed_files, done.removed_bytes), (6, dry.removed_bytes));
    assert_eq!(lake.objects("bars").len(), 2);
    assert_eq!(closes(&lake.url("bars")).await, before);
    let history = DeltaHistory::new(lake.url("bars")).unwrap();
    let old = history.table(&pinned, None).await.unwrap();
    let gone = datafusion::prelude::SessionContext::new().read_table(old).unwrap().collect().await;
    assert!(gone.is_err(), "what was removed is an error, not an empty table");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writers_staged_files_are_not_removed() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &rows(&[bar("A", "2024-01-02", 1.0, "2024-02-01")])).await;
    let staged = sink.stage(&token(2), &rows(&[bar("A", "2024-01-03", 2.0, "2024-02-01")])).await.unwrap();
    let done = maintain(lake.url("bars"), &MaintainOptions { retention: Duration::ZERO, ..MaintainOptions::default() })
        .await
        .unwrap();
    assert_eq!(done.removed_files, 0);
    sink.commit(staged).await.unwrap();
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0 | A 2024-01-03 2.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compaction_beside_a_writer_loses_nothing() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &rows(&[bar("A", "2024-01-01", 1.0, "2024-02-01")])).await;
    let url = lake.url("bars");
    let keeper = tokio::spawn(async move {
        for _ in 0..8 {
            maintain(&url, &MaintainOptions::default()).await.unwrap();
        }
    });
    for epoch in 2..=20_u32 {
        // A new bar, and a correction of the first.
        let rows = rows(&[
            bar("A", &format!("2024-01-{epoch:02}"), f64::from(epoch), "2024-02-01"),
            bar("A", "2024-01-01", f64::from(epoch), &format!("2024-03-{epoch:02}")),
        ]);
        assert_eq!(write(&sink, u64::from(epoch), &rows).await.unwrap().rows, 2);
    }
    keeper.await.unwrap();
    assert_eq!(query(&lake.url("bars"), "SELECT count(*), count(DISTINCT ts), sum(close) FROM t").await, "20 20 229.0");
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT count(*), sum(close) FROM t").await, "19 190.0");
}

#[tokio::test]
async fn a_missing_table_is_named() {
    let lake = Lake::new();
    let error = maintain(lake.url("nothing"), &MaintainOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("there is no Delta table at"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_many_small_epochs_are_put_together_while_they_come() {
    let lake = Lake::new();
    let sink = lake.sink();
    sink.open(&id(), Generation(1)).await.unwrap();
    let (n_epochs, files) = (70_u32, super::super::tidy::FILES);
    for epoch in 1..=n_epochs {
        let day = format!("2024-{:02}-{:02}", 1 + epoch / 28, 1 + epoch % 28);
        write(&sink, u64::from(epoch), &rows(&[bar("A", &day, f64::from(epoch), "2024-06-01")])).await.unwrap();
    }
    let report =
        maintain(lake.url("bars"), &MaintainOptions { dry_run: true, ..MaintainOptions::default() }).await.unwrap();
    let n_files: u64 = report.compacted.iter().map(|part| part.files_before).sum();
    assert!(n_files < files as u64, "{n_files} files of {n_epochs} epochs");
    let all = query(&lake.url("bars"), "SELECT count(*) AS n, sum(close) AS s FROM t").await;
    assert_eq!(all, format!("{n_epochs} {:.1}", f64::from(n_epochs * (n_epochs + 1) / 2)));
    // A row that was put together with others is corrected like any other, and the token is still there.
    assert_eq!(write(&sink, 100, &rows(&[bar("A", "2024-01-02", 0.5, "2024-06-02")])).await.unwrap().rows, 1);
    assert!(closes(&lake.url("bars")).await.starts_with("A 2024-01-02 0.5 | A 2024-01-03 2.0"));
    assert_eq!(lake.sink().open(&id(), Generation(2)).await.unwrap(), Some(token(100)));
}
