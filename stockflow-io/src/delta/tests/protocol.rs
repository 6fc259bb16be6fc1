//! Epochs, tokens, fences and restarts.

use stockflow_core::sink::{EpochRows, Fence, Idempotence, Sink};
use stockflow_core::token::Generation;

use super::super::{MaintainOptions, maintain};
use super::support::*;

fn one(close: f64) -> EpochRows {
    rows(&[bar("A", "2024-01-02", close, &format!("2024-02-{:02}", close as u32))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_commit_changes_nothing() {
    let lake = Lake::new();
    let sink = lake.sink();
    assert_eq!((sink.idempotence(), sink.fence()), (Idempotence::Transactional, Fence::Atomic));
    sink.open(&id(), Generation(1)).await.unwrap();
    let first = sink.stage(&token(1), &one(1.0)).await.unwrap();
    let second = sink.stage(&token(1), &one(1.0)).await.unwrap();
    sink.commit(first).await.unwrap();
    let objects = lake.objects("bars");
    assert_eq!(objects.len(), 2);
    sink.commit(second).await.unwrap();
    assert_eq!(lake.objects("bars").len(), 1, "the files of the second attempt are gone");
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0");
    assert_eq!(sink.open(&id(), Generation(1)).await.unwrap(), Some(token(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_attempt_leaves_nothing() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &one(1.0)).await;
    let kept = lake.objects("bars");
    drop(sink.stage(&token(2), &one(2.0)).await.unwrap());
    drop(sink);
    assert_eq!(lake.objects("bars").len(), 2);
    assert_eq!(lake.objects("bars_revisions").len(), 1);
    let sink = lake.sink();
    assert_eq!(sink.open(&id(), Generation(2)).await.unwrap(), Some(token(1)), "E-1 is held");
    assert_eq!(lake.objects("bars"), kept);
    assert_eq!(lake.objects("bars_revisions"), [""; 0]);
    write(&sink, 2, &one(2.0)).await.unwrap();
    drop(sink);
    let sink = lake.sink();
    assert_eq!(sink.open(&id(), Generation(3)).await.unwrap(), Some(token(2)), "E is held");
    assert_eq!(lake.objects("bars").len(), 2, "the replaced file belongs to an older version and stays");
    assert_eq!(lake.objects("bars_revisions").len(), 1);
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 2.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_revisions_and_table_is_made_good() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &one(1.0)).await;
    let staged = sink.stage(&token(2), &one(2.0)).await.unwrap();
    // What `commit` does first, and then the process is gone.
    {
        let mut attempt: super::super::attempt::Attempt = staged.into_payload().unwrap();
        let mut opened = super::super::open::open(
            &super::super::place::Place::parse(&lake.url("bars")).unwrap(),
            &id(),
            Generation(2),
            None,
        )
        .await
        .unwrap();
        let revisions = attempt.revisions.take().unwrap();
        // Opening has swept the files of the attempt away, as it should: stage anew.
        assert_eq!(lake.objects("bars_revisions").len(), 0);
        drop(revisions);
        let settings =
            super::super::attempt::Settings::new(super::super::place::Place::parse(&lake.url("bars")).unwrap());
        let mut attempt =
            super::super::attempt::Attempt::write(&settings, &mut opened, &token(2), &one(2.0)).await.unwrap();
        let revisions = attempt.revisions.take().unwrap();
        super::super::commit::commit_revisions(&mut opened, &token(2), attempt.id, &revisions).await.unwrap();
    }
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT close FROM t").await, "1.0");
    let sink = lake.sink();
    assert_eq!(sink.open(&id(), Generation(3)).await.unwrap(), Some(token(1)));
    assert_eq!(lake.objects("bars").len(), 1);
    write(&sink, 2, &one(2.0)).await.unwrap();
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT close FROM t").await, "1.0", "not doubled");
    assert_eq!(lake.objects("bars_revisions").len(), 1);
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 2.0");
}

/// A runner that slept within `open` (a suspended machine) must not take what a newer one has written for its own leftovers.
#[tokio::test(flavor = "multi_thread")]
async fn an_overtaken_open_deletes_nothing_of_the_newer_runner() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &one(1.0)).await;
    // The old runner has taken the table and sleeps before it sweeps.
    let mut slow =
        super::super::table::Table::new(super::super::place::Place::parse(&lake.url("bars")).unwrap(), &id());
    slow.refresh().await.unwrap();
    let new = lake.sink();
    new.open(&id(), Generation(3)).await.unwrap();
    write(&new, 2, &one(2.0)).await.unwrap();
    drop(new.stage(&token(3), &one(3.0)).await.unwrap());
    let before = lake.objects("bars");
    super::super::open::sweep(&slow, &id(), Generation(2)).await.unwrap();
    assert_eq!(lake.objects("bars"), before);
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 2.0");
}

/// Killed between revisions and table, and then what it had read is gone: another epoch comes in its place.
#[tokio::test(flavor = "multi_thread")]
async fn the_revisions_of_an_abandoned_epoch_are_withdrawn() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &rows(&[bar("A", "2024-01-02", 1.0, "2024-02-01"), bar("B", "2024-01-02", 1.0, "2024-02-01")]))
        .await;
    drop(sink);
    let place = super::super::place::Place::parse(&lake.url("bars")).unwrap();
    {
        let mut opened = super::super::open::open(&place, &id(), Generation(2), None).await.unwrap();
        let settings = super::super::attempt::Settings::new(place);
        let mut attempt =
            super::super::attempt::Attempt::write(&settings, &mut opened, &token(2), &one(2.0)).await.unwrap();
        let revisions = attempt.revisions.take().unwrap();
        super::super::commit::commit_revisions(&mut opened, &token(2), attempt.id, &revisions).await.unwrap();
    }
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT symbol, close FROM t").await, "A 1.0");
    let sink = lake.sink();
    sink.open(&id(), Generation(3)).await.unwrap();
    let other = stockflow_core::token::EpochToken { epoch: 2, hash: 99 };
    let staged = sink.stage(&other, &rows(&[bar("B", "2024-01-02", 5.0, "2024-02-03")])).await.unwrap();
    sink.commit(staged).await.unwrap();
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT symbol, close FROM t").await, "B 1.0");
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0 | B 2024-01-02 5.0");
    // Nothing that the tables list is ever swept away.
    let sink = lake.sink();
    sink.open(&id(), Generation(4)).await.unwrap();
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT symbol, close FROM t").await, "B 1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_runner_is_fenced() {
    for written_before in [false, true] {
        let lake = Lake::new();
        let (old, new) = (lake.sink(), lake.sink());
        if written_before {
            write_new(&old, 1, &one(1.0)).await;
        }
        old.open(&id(), Generation(1)).await.unwrap();
        let staged = old.stage(&token(2), &one(2.0)).await.unwrap();
        new.open(&id(), Generation(2)).await.unwrap();
        let error = old.commit(staged).await.unwrap_err();
        assert!(error.is_fenced(), "{error}");
        assert!(error.to_string().contains("generation 1 of pipeline `main` was replaced by generation 2"), "{error}");
        assert!(old.open(&id(), Generation(1)).await.unwrap_err().is_fenced(), "it cannot take the table back either");
        write(&new, 2, &one(3.0)).await.unwrap();
        assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 3.0");
    }
}

/// The fence is part of the commit itself: however the two runners are interleaved, an epoch of the older one never becomes visible
/// after the newer one has opened.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fence_holds_in_a_race() {
    for round in 0..12_u64 {
        let lake = Lake::new();
        let (old, new) = (lake.sink(), lake.sink());
        write_new(&old, 1, &one(1.0)).await;
        let staged = old.stage(&token(2), &one(2.0)).await.unwrap();
        let late = tokio::spawn(async move {
            tokio::task::yield_now().await;
            for _ in 0..round * 40 {
                tokio::task::yield_now().await;
            }
            old.commit(staged).await
        });
        let held = new.open(&id(), Generation(2)).await.unwrap();
        let committed = late.await.unwrap();
        match committed {
            Ok(_) => assert_eq!(held, Some(token(2)), "committed, so it was there before the newer one opened"),
            Err(error) => {
                assert!(error.is_fenced(), "{error}");
                assert_eq!(held, Some(token(1)));
            }
        }
        let now = closes(&lake.url("bars")).await;
        assert_eq!(now, if held == Some(token(2)) { "A 2024-01-02 2.0" } else { "A 2024-01-02 1.0" });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_that_create_the_table_at_once_agree() {
    for _ in 0..8 {
        let lake = Lake::new();
        let (a, b) = (lake.sink(), lake.sink());
        let (id_a, id_b) = (id(), id());
        let (first, second) = tokio::join!(a.open(&id_a, Generation(1)), b.open(&id_b, Generation(2)));
        assert!(
            first.is_ok_and(|held| held.is_none()) || lake.commits("bars") > 0,
            "refused only if the newer one was there"
        );
        assert_eq!(second.unwrap(), None);
        assert!(write(&a, 1, &one(5.0)).await.is_err(), "the older one");
        write(&b, 1, &one(1.0)).await.unwrap();
        assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_without_rows_commits_its_token() {
    let lake = Lake::new();
    let sink = lake.sink();
    let written = write_new(&sink, 1, &rows(&[])).await;
    assert_eq!((written.rows, written.bytes), (0, Some(0)));
    assert_eq!(query(&lake.url("bars"), "SELECT count(*) FROM t").await, "0");
    assert_eq!(sink.open(&id(), Generation(1)).await.unwrap(), Some(token(1)));
    write(&sink, 2, &rows(&[])).await.unwrap();
    assert_eq!(sink.open(&id(), Generation(1)).await.unwrap(), Some(token(2)));
    write(&sink, 3, &one(1.0)).await.unwrap();
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_removes_what_was_staged() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &one(1.0)).await;
    let (objects, commits) = (lake.objects("bars"), lake.commits("bars"));
    let staged = sink.stage(&token(2), &one(2.0)).await.unwrap();
    sink.abort(staged).await.unwrap();
    assert_eq!(lake.objects("bars"), objects);
    assert_eq!(lake.objects("bars_revisions"), [""; 0]);
    assert_eq!(lake.commits("bars"), commits);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_between_stage_and_commit_is_no_harm() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &one(1.0)).await;
    write(&sink, 2, &rows(&[bar("B", "2024-01-02", 7.0, "2024-02-01")])).await.unwrap();
    let staged = sink.stage(&token(3), &one(2.0)).await.unwrap();
    let report = maintain(lake.url("bars"), &MaintainOptions::default()).await.unwrap();
    assert_eq!(report.compacted.len(), 1, "the file that was to be rewritten is gone");
    sink.commit(staged).await.unwrap();
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 2.0 | B 2024-01-02 7.0");
    assert_eq!(query(&lake.url("bars_revisions"), "SELECT symbol, close FROM t").await, "A 1.0");
    assert_eq!(lake.sink().open(&id(), Generation(2)).await.unwrap(), Some(token(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_another_pipeline_wrote_meanwhile_are_seen() {
    let lake = Lake::new();
    let (sink, other) = (lake.sink(), lake.sink());
    write_new(&sink, 1, &rows(&[bar("B", "2024-01-02", 7.0, "2024-02-01")])).await;
    let theirs = stockflow_core::token::SinkId::new("other", "bars");
    other.open(&theirs, Generation(9)).await.unwrap();
    let staged = sink.stage(&token(2), &one(1.0)).await.unwrap();
    let foreign = other.stage(&token(5), &one(3.0)).await.unwrap();
    other.commit(foreign).await.unwrap();
    assert_eq!(sink.commit(staged).await.unwrap().rows, 0, "the other's row has the higher version");
    assert_eq!(closes(&lake.url("bars")).await, "A 2024-01-02 3.0 | B 2024-01-02 7.0");
    assert_eq!(lake.sink().open(&theirs, Generation(10)).await.unwrap(), Some(token(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_generation_cannot_open() {
    let lake = Lake::new();
    let sink = lake.sink();
    sink.open(&id(), Generation(57)).await.unwrap();
    let error = lake.sink().open(&id(), Generation(56)).await.unwrap_err();
    assert!(error.to_string().contains("generation 56 of pipeline `main` was replaced by generation 57"), "{error}");
    assert_eq!(lake.sink().open(&id(), Generation(57)).await.unwrap(), None, "of one generation the last one writes");
    assert!(write(&sink, 1, &one(1.0)).await.unwrap_err().is_fenced());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_removed_under_the_writer_is_named() {
    let lake = Lake::new();
    let sink = lake.sink();
    write_new(&sink, 1, &one(1.0)).await;
    std::fs::remove_dir_all(lake.folder.path().join("bars")).unwrap();
    let error = write(&sink, 2, &one(2.0)).await.unwrap_err();
    assert!(!error.is_retryable(), "{:?}", error.chain());
    assert_eq!(sink.open(&id(), Generation(1)).await.unwrap(), None);
}
