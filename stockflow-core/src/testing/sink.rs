//! What every sink must do.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use super::data::{bars, bars_relation, rows_of, table_of};
use super::{Failure, Verdict, ensure, unexpected};
use crate::error::Result;
use crate::sink::{EpochRows, Fence, Idempotence, Sink, WriteMode};
use crate::token::{EpochToken, Generation, SinkId};

/// A sink under test. Each check gets a fresh place.
#[async_trait]
pub trait SinkCase: Debug + Send + Sync {
    /// A new, empty place to write to.
    async fn place(&self) -> Result<Box<dyn SinkPlace>>;
}

/// A place that a sink writes to.
#[async_trait]
pub trait SinkPlace: Debug + Send + Sync {
    /// A new handle on the place, as a restarted process would open it.
    async fn sink(&self) -> Result<Arc<dyn Sink>>;
    /// What a reader sees now; nothing if there is nothing yet.
    async fn read(&self) -> Result<Vec<RecordBatch>>;
}

/// The names of the checks.
pub const SINK_CHECKS: [&str; 10] = [
    "epoch_is_invisible_before_commit",
    "epoch_becomes_visible_whole",
    "token_is_held_after_commit",
    "token_is_not_told_before_commit",
    "repeated_epoch_changes_nothing",
    "abort_leaves_nothing",
    "leftovers_of_a_crash_are_removed",
    "older_generation_is_fenced",
    "empty_epoch_is_remembered",
    "higher_version_wins",
];

/// Runs every check; gives back what was not passed.
///
/// The rows are daily bars of two symbols. A sink that cannot do something (tokens without `Transactional`, a fence where it
/// says `Fence::None`) is not asked for it.
pub async fn check_sink(case: &dyn SinkCase) -> Vec<Failure> {
    let mut failures = Vec::new();
    for check in SINK_CHECKS {
        let verdict = match case.place().await {
            Ok(place) => run(check, place.as_ref()).await,
            Err(error) => Err(unexpected("making a place")(error)),
        };
        if let Err(reason) = verdict {
            failures.push(Failure { check, reason });
        }
    }
    failures
}

async fn run(check: &'static str, place: &dyn SinkPlace) -> Verdict {
    match check {
        "epoch_is_invisible_before_commit" => invisible_before_commit(place).await,
        "epoch_becomes_visible_whole" => visible_whole(place).await,
        "token_is_held_after_commit" => token_held(place).await,
        "token_is_not_told_before_commit" => token_not_told(place).await,
        "repeated_epoch_changes_nothing" => repeated(place).await,
        "abort_leaves_nothing" => abort(place).await,
        "leftovers_of_a_crash_are_removed" => leftovers(place).await,
        "older_generation_is_fenced" => fenced(place).await,
        "empty_epoch_is_remembered" => empty(place).await,
        "higher_version_wins" => versions(place).await,
        other => Err(format!("there is no check `{other}`")),
    }
}

fn id() -> SinkId {
    SinkId::new("conformance", "sink")
}

fn token(epoch: u64) -> EpochToken {
    EpochToken { epoch, hash: 1000 + epoch }
}

/// Bars of day `first` to `first + 2` of two symbols, in two partitions: the last batch is one of its own.
fn epoch_rows(first: i32) -> std::result::Result<EpochRows, String> {
    let part = |symbol: &str, price: f64| {
        bars(symbol, &[(first, price), (first + 1, price + 0.5), (first + 2, price + 1.0)], i64::from(first) + 1)
    };
    let batches = [part("AAA", 10.0), part("BBB", 20.0)].into_iter().collect::<Result<Vec<_>>>();
    batches.and_then(|batches| rows_of(bars_relation(), batches)).map_err(unexpected("making rows"))
}

async fn lines(rows: &EpochRows) -> std::result::Result<Vec<String>, String> {
    let batches = rows.frame().clone().collect().await.map_err(|error| error.to_string())?;
    table_of(&batches).map_err(unexpected("printing rows"))
}

async fn seen(place: &dyn SinkPlace) -> std::result::Result<Vec<String>, String> {
    let batches = place.read().await.map_err(unexpected("reading"))?;
    table_of(&batches).map_err(unexpected("printing rows"))
}

async fn opened(
    place: &dyn SinkPlace,
    generation: u64,
) -> std::result::Result<(Arc<dyn Sink>, Option<EpochToken>), String> {
    let sink = place.sink().await.map_err(unexpected("making the sink"))?;
    let token = sink.open(&id(), Generation(generation)).await.map_err(unexpected("open"))?;
    Ok((sink, token))
}

async fn write(sink: &dyn Sink, token: EpochToken, rows: &EpochRows) -> Verdict {
    let staged = sink.stage(&token, rows).await.map_err(unexpected("stage"))?;
    sink.commit(staged).await.map(drop).map_err(unexpected("commit"))
}

/// What a reader should see after these epochs.
async fn expected(sink: &dyn Sink, epochs: &[&EpochRows]) -> std::result::Result<Vec<String>, String> {
    let epochs = if sink.write_mode() == WriteMode::Overwrite {
        epochs.get(epochs.len().saturating_sub(1)..).unwrap_or_default()
    } else {
        epochs
    };
    let mut all = Vec::new();
    for rows in epochs {
        all.extend(lines(rows).await?);
    }
    all.sort();
    Ok(all)
}

fn same(found: &[String], expected: &[String]) -> Verdict {
    ensure(found == expected, || {
        let missing: Vec<&String> = expected.iter().filter(|line| !found.contains(line)).collect();
        let surplus: Vec<&String> = found.iter().filter(|line| !expected.contains(line)).collect();
        format!(
            "a reader should see {} rows and sees {}; missing: {missing:?}; surplus: {surplus:?}",
            expected.len(),
            found.len()
        )
    })
}

async fn invisible_before_commit(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    if sink.idempotence() != Idempotence::Transactional {
        return Ok(());
    }
    let first = epoch_rows(0)?;
    write(sink.as_ref(), token(1), &first).await?;
    let _staged = sink.stage(&token(2), &epoch_rows(10)?).await.map_err(unexpected("stage"))?;
    same(&seen(place).await?, &lines(&first).await?)
}

async fn visible_whole(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    let (first, second) = (epoch_rows(0)?, epoch_rows(10)?);
    write(sink.as_ref(), token(1), &first).await?;
    same(&seen(place).await?, &expected(sink.as_ref(), &[&first]).await?)?;
    write(sink.as_ref(), token(2), &second).await?;
    same(&seen(place).await?, &expected(sink.as_ref(), &[&first, &second]).await?)
}

async fn token_held(place: &dyn SinkPlace) -> Verdict {
    let (sink, before) = opened(place, 1).await?;
    ensure(before.is_none(), || format!("an empty place already holds {before:?}"))?;
    if sink.idempotence() != Idempotence::Transactional {
        return Ok(());
    }
    write(sink.as_ref(), token(1), &epoch_rows(0)?).await?;
    let (sink, held) = opened(place, 2).await?;
    ensure(held == Some(token(1)), || {
        format!("after epoch 1 a new handle should hold {} and holds {held:?}", token(1))
    })?;
    write(sink.as_ref(), token(2), &epoch_rows(10)?).await?;
    let (_, held) = opened(place, 3).await?;
    ensure(held == Some(token(2)), || format!("after epoch 2 a new handle should hold {} and holds {held:?}", token(2)))
}

async fn token_not_told(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    if sink.idempotence() != Idempotence::Transactional {
        return Ok(());
    }
    write(sink.as_ref(), token(1), &epoch_rows(0)?).await?;
    let _staged = sink.stage(&token(2), &epoch_rows(10)?).await.map_err(unexpected("stage"))?;
    let (_, held) = opened(place, 2).await?;
    ensure(held == Some(token(1)), || {
        format!("epoch 2 was only staged, so a new handle should hold {} and holds {held:?}", token(1))
    })
}

async fn repeated(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    let (first, second) = (epoch_rows(0)?, epoch_rows(10)?);
    write(sink.as_ref(), token(1), &first).await?;
    write(sink.as_ref(), token(2), &second).await?;
    if sink.idempotence() == Idempotence::None {
        return Ok(());
    }
    // A crash after the commit: the runner that comes next has staged before it could know.
    let (again, _) = opened(place, 2).await?;
    write(again.as_ref(), token(2), &second).await?;
    same(&seen(place).await?, &expected(again.as_ref(), &[&first, &second]).await?)
}

async fn abort(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    if sink.idempotence() != Idempotence::Transactional {
        return Ok(());
    }
    let (first, second) = (epoch_rows(0)?, epoch_rows(10)?);
    write(sink.as_ref(), token(1), &first).await?;
    let staged = sink.stage(&token(2), &second).await.map_err(unexpected("stage"))?;
    sink.abort(staged).await.map_err(unexpected("abort"))?;
    same(&seen(place).await?, &expected(sink.as_ref(), &[&first]).await?)?;
    write(sink.as_ref(), token(2), &second).await?;
    same(&seen(place).await?, &expected(sink.as_ref(), &[&first, &second]).await?)
}

async fn leftovers(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    let (first, second) = (epoch_rows(0)?, epoch_rows(10)?);
    write(sink.as_ref(), token(1), &first).await?;
    // The process dies here: what is staged is neither committed nor aborted.
    drop(sink.stage(&token(2), &epoch_rows(30)?).await.map_err(unexpected("stage"))?);
    let (next, _) = opened(place, 2).await?;
    write(next.as_ref(), token(2), &second).await?;
    same(&seen(place).await?, &expected(next.as_ref(), &[&first, &second]).await?)
}

async fn fenced(place: &dyn SinkPlace) -> Verdict {
    let (old, _) = opened(place, 1).await?;
    if old.fence() == Fence::None {
        return Ok(());
    }
    let first = epoch_rows(0)?;
    write(old.as_ref(), token(1), &first).await?;
    let staged = old.stage(&token(2), &epoch_rows(10)?).await.map_err(unexpected("stage"))?;
    let (_new, _) = opened(place, 2).await?;
    let late = old.commit(staged).await;
    ensure(late.is_err(), || "generation 1 committed although generation 2 had opened the sink".into())?;
    same(&seen(place).await?, &expected(old.as_ref(), &[&first]).await?)?;
    let fenced = late.err().is_some_and(|error| error.is_fenced());
    ensure(fenced, || "generation 1 was refused, but not with the error `Fenced`".into())
}

async fn empty(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    let first = epoch_rows(0)?;
    write(sink.as_ref(), token(1), &first).await?;
    if sink.write_mode() == WriteMode::Overwrite {
        return Ok(());
    }
    let nothing = rows_of(bars_relation(), vec![RecordBatch::new_empty(bars_relation().schema)])
        .map_err(unexpected("making rows"))?;
    write(sink.as_ref(), token(2), &nothing).await?;
    same(&seen(place).await?, &expected(sink.as_ref(), &[&first]).await?)?;
    if sink.idempotence() != Idempotence::Transactional {
        return Ok(());
    }
    let (_, held) = opened(place, 2).await?;
    ensure(held == Some(token(2)), || {
        format!("an epoch without rows counts as well: {} should be held, not {held:?}", token(2))
    })
}

async fn versions(place: &dyn SinkPlace) -> Verdict {
    let (sink, _) = opened(place, 1).await?;
    if sink.write_mode() != WriteMode::Merge {
        return Ok(());
    }
    let rows = |batches: Vec<Result<RecordBatch>>| {
        let batches = batches.into_iter().collect::<Result<Vec<_>>>();
        batches.and_then(|batches| rows_of(bars_relation(), batches)).map_err(unexpected("making rows"))
    };
    write(sink.as_ref(), token(1), &rows(vec![bars("AAA", &[(0, 10.0), (1, 11.0), (2, 12.0)], 5)])?).await?;
    // Day 0 is known better, day 1 as well as before, day 2 worse; day 3 is new.
    let second =
        vec![bars("AAA", &[(0, 20.0), (3, 23.0)], 6), bars("AAA", &[(1, 21.0)], 5), bars("AAA", &[(2, 22.0)], 4)];
    write(sink.as_ref(), token(2), &rows(second)?).await?;
    let stand = rows(vec![bars("AAA", &[(0, 20.0), (3, 23.0)], 6), bars("AAA", &[(1, 11.0), (2, 12.0)], 5)])?;
    let mut stand = lines(&stand).await?;
    stand.sort();
    same(&seen(place).await?, &stand)
}
