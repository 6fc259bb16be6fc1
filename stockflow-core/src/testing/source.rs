//! What every source must do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::prelude::SessionContext;

use super::data::table_of;
use super::{Failure, Verdict, ensure, unexpected};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::source::{EpochLimit, EpochPlan, Replay, ScanOutcome, Source};

/// A source under test. Each check gets a fresh place.
#[async_trait]
pub trait SourceCase: Debug + Send + Sync {
    /// A new, empty place to read from.
    async fn place(&self) -> Result<Box<dyn SourcePlace>>;
}

/// A place that a source reads from.
#[async_trait]
pub trait SourcePlace: Debug + Send + Sync {
    /// A new handle on the place, as a restarted process would open it.
    async fn source(&self) -> Result<Arc<dyn Source>>;
    /// Adds one more partition (a file, a topic's partition, a symbol) with `rows` rows that no earlier call has added.
    async fn add(&self, rows: usize) -> Result<()>;
    /// Adds one more partition with a good row and one that cannot be decoded; `false` if this source knows no such thing.
    async fn add_undecodable(&self) -> Result<bool> {
        Ok(false)
    }
}

/// The names of the checks.
pub const SOURCE_CHECKS: [&str; 10] = [
    "nothing_new_is_no_plan",
    "every_row_is_read_once",
    "same_plan_gives_the_same_rows",
    "plan_survives_a_restart",
    "reached_is_what_was_planned",
    "commit_keeps_what_is_new",
    "limits_are_kept",
    "skipped_partitions_stay_out",
    "everything_is_read_again",
    "undecodable_rows_are_rejects",
];

/// Runs every check; gives back what was not passed.
pub async fn check_source(case: &dyn SourceCase) -> Vec<Failure> {
    let mut failures = Vec::new();
    for check in SOURCE_CHECKS {
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

async fn run(check: &'static str, place: &dyn SourcePlace) -> Verdict {
    match check {
        "nothing_new_is_no_plan" => nothing_new(place).await,
        "every_row_is_read_once" => once(place).await,
        "same_plan_gives_the_same_rows" => same_rows(place).await,
        "plan_survives_a_restart" => restart(place).await,
        "reached_is_what_was_planned" => reached(place).await,
        "commit_keeps_what_is_new" => commit(place).await,
        "limits_are_kept" => limits(place).await,
        "skipped_partitions_stay_out" => skipped(place).await,
        "everything_is_read_again" => everything(place).await,
        "undecodable_rows_are_rejects" => undecodable(place).await,
        other => Err(format!("there is no check `{other}`")),
    }
}

/// Rows by relation as sorted lines, and how far the scan came.
type Read = (BTreeMap<String, Vec<String>>, Checkpoint);

async fn add(place: &dyn SourcePlace, rows: usize) -> Verdict {
    place.add(rows).await.map_err(unexpected("adding rows"))
}

async fn source(place: &dyn SourcePlace) -> std::result::Result<Arc<dyn Source>, String> {
    place.source().await.map_err(unexpected("making the source"))
}

async fn plan(source: &dyn Source, from: &Checkpoint) -> std::result::Result<Option<EpochPlan>, String> {
    source.plan(from, &EpochLimit::default()).await.map_err(unexpected("plan"))
}

async fn needed(source: &dyn Source, from: &Checkpoint) -> std::result::Result<EpochPlan, String> {
    plan(source, from).await?.ok_or_else(|| format!("something is new after {from}, but there is no plan"))
}

async fn scan(source: &dyn Source, plan: &EpochPlan) -> std::result::Result<Read, String> {
    scan_to_end(source, plan).await.map(|(rows, outcome)| (rows, outcome.reached))
}

async fn scan_to_end(
    source: &dyn Source,
    plan: &EpochPlan,
) -> std::result::Result<(BTreeMap<String, Vec<String>>, ScanOutcome), String> {
    let scan = source.scan(plan).await.map_err(unexpected("scan"))?;
    let mut rows = BTreeMap::new();
    for (name, table) in scan.relations {
        let batches: std::result::Result<Vec<RecordBatch>, _> = match SessionContext::new().read_table(table) {
            Ok(frame) => frame.collect().await,
            Err(error) => Err(error),
        };
        let batches = batches.map_err(|error| format!("reading the relation `{name}` gave an error: {error}"))?;
        rows.insert(name, table_of(&batches).map_err(unexpected("printing rows"))?);
    }
    let outcome = scan.end.outcome().await.map_err(unexpected("the scan's end"))?;
    Ok((rows, outcome))
}

fn count(rows: &BTreeMap<String, Vec<String>>) -> usize {
    rows.values().map(Vec::len).sum()
}

async fn nothing_new(place: &dyn SourcePlace) -> Verdict {
    add(place, 3).await?;
    let source = source(place).await?;
    let first = needed(source.as_ref(), &Checkpoint::new()).await?;
    let (_, reached) = scan(source.as_ref(), &first).await?;
    let again = plan(source.as_ref(), &reached).await?;
    ensure(again.is_none(), || {
        format!("everything was read up to {reached}, but there is a plan up to {:?}", again.map(|plan| plan.upto))
    })
}

async fn once(place: &dyn SourcePlace) -> Verdict {
    let source = source(place).await?;
    let mut from = Checkpoint::new();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rows in [3, 1, 5] {
        add(place, rows).await?;
        let plan = needed(source.as_ref(), &from).await?;
        let (found, reached) = scan(source.as_ref(), &plan).await?;
        ensure(count(&found) == rows, || {
            format!("{rows} rows were new after {from}, but {} were read", count(&found))
        })?;
        for (name, lines) in found {
            all.entry(name).or_default().extend(lines);
        }
        from = reached;
    }
    for (name, lines) in &mut all {
        lines.sort();
        let n_lines = lines.len();
        lines.dedup();
        ensure(lines.len() == n_lines, || {
            format!("relation `{name}`: {} rows were read twice", n_lines - lines.len())
        })?;
    }
    Ok(())
}

async fn same_rows(place: &dyn SourcePlace) -> Verdict {
    add(place, 4).await?;
    add(place, 2).await?;
    let source = source(place).await?;
    if source.replay() == Replay::BestEffort {
        return Ok(());
    }
    let plan = needed(source.as_ref(), &Checkpoint::new()).await?;
    let (first, _) = scan(source.as_ref(), &plan).await?;
    // What comes later is no part of the plan.
    add(place, 7).await?;
    let (second, _) = scan(source.as_ref(), &plan).await?;
    ensure(first == second, || {
        format!(
            "the source says `Exact`, but one plan gave {} rows first and {} rows then, or others",
            count(&first),
            count(&second)
        )
    })
}

async fn restart(place: &dyn SourcePlace) -> Verdict {
    add(place, 4).await?;
    let before = source(place).await?;
    if before.replay() == Replay::BestEffort {
        return Ok(());
    }
    let plan = needed(before.as_ref(), &Checkpoint::new()).await?;
    let (first, _) = scan(before.as_ref(), &plan).await?;
    let text = serde_json::to_string(&plan).map_err(|error| error.to_string())?;
    drop(before);
    let plan: EpochPlan = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let (second, _) = scan(source(place).await?.as_ref(), &plan).await?;
    ensure(first == second, || {
        format!("after a restart the plan gave {} rows instead of {}, or others", count(&second), count(&first))
    })
}

async fn reached(place: &dyn SourcePlace) -> Verdict {
    add(place, 4).await?;
    add(place, 2).await?;
    let source = source(place).await?;
    let plan = needed(source.as_ref(), &Checkpoint::new()).await?;
    let (_, reached) = scan(source.as_ref(), &plan).await?;
    ensure(reached == plan.upto, || {
        format!("every partition was read to its end, so {} should be reached, not {reached}", plan.upto)
    })
}

async fn commit(place: &dyn SourcePlace) -> Verdict {
    add(place, 4).await?;
    let source = source(place).await?;
    let plan = needed(source.as_ref(), &Checkpoint::new()).await?;
    let (_, reached) = scan(source.as_ref(), &plan).await?;
    add(place, 3).await?;
    source.commit(&reached).await.map_err(unexpected("commit"))?;
    let next = needed(source.as_ref(), &reached).await?;
    let (found, _) = scan(source.as_ref(), &next).await?;
    ensure(count(&found) == 3, || {
        format!("3 rows came before the commit and were not read yet, but {} were read after it", count(&found))
    })
}

async fn limits(place: &dyn SourcePlace) -> Verdict {
    for rows in [2, 3, 4] {
        add(place, rows).await?;
    }
    let source = source(place).await?;
    let limit = EpochLimit { max_partitions: Some(1), ..EpochLimit::default() };
    let mut from = Checkpoint::new();
    let mut total = 0;
    for epoch in 1..=3 {
        let plan = source.plan(&from, &limit).await.map_err(unexpected("plan"))?;
        let plan = plan.ok_or_else(|| format!("three partitions, one an epoch: epoch {epoch} should have a plan"))?;
        let moved = from.delta(&plan.upto).set.len();
        ensure(moved == 1, || format!("one partition an epoch is allowed, but epoch {epoch} plans {moved}"))?;
        let (found, reached) = scan(source.as_ref(), &plan).await?;
        total += count(&found);
        from = reached;
    }
    ensure(total == 9, || format!("9 rows in three partitions, but {total} were read"))
}

async fn skipped(place: &dyn SourcePlace) -> Verdict {
    add(place, 2).await?;
    let source = source(place).await?;
    let start = Checkpoint::new();
    let first = needed(source.as_ref(), &start).await?;
    let skip = start.delta(&first.upto).set.into_keys().collect();
    add(place, 3).await?;
    let limit = EpochLimit { skip, ..EpochLimit::default() };
    let plan = source.plan(&start, &limit).await.map_err(unexpected("plan"))?;
    let plan = plan.ok_or("one partition is skipped, but the other one should have a plan")?;
    let (found, reached) = scan(source.as_ref(), &plan).await?;
    ensure(count(&found) == 3, || {
        format!("the partition with 2 rows is skipped, the one with 3 is not, but {} rows were read", count(&found))
    })?;
    let rest = needed(source.as_ref(), &reached).await?;
    let (found, _) = scan(source.as_ref(), &rest).await?;
    ensure(count(&found) == 2, || {
        format!("a skipped partition is read by the next run: 2 rows, but {} were read", count(&found))
    })
}

async fn everything(place: &dyn SourcePlace) -> Verdict {
    add(place, 2).await?;
    let source = source(place).await?;
    if source.replay() == Replay::BestEffort {
        // What is gone cannot be read again.
        return Ok(());
    }
    let plan = needed(source.as_ref(), &Checkpoint::new()).await?;
    let (_, reached) = scan(source.as_ref(), &plan).await?;
    add(place, 3).await?;
    let limit = EpochLimit { everything: true, ..EpochLimit::default() };
    let plan = source.plan(&reached, &limit).await.map_err(unexpected("plan"))?;
    let plan = plan.ok_or("everything was asked for, but there is no plan")?;
    let (found, _) = scan(source.as_ref(), &plan).await?;
    ensure(count(&found) == 5, || {
        format!("everything is 5 rows, whatever the checkpoint says, but {} were read", count(&found))
    })
}

async fn undecodable(place: &dyn SourcePlace) -> Verdict {
    if !place.add_undecodable().await.map_err(unexpected("adding a row that cannot be decoded"))? {
        return Ok(());
    }
    let source = source(place).await?;
    let plan = needed(source.as_ref(), &Checkpoint::new()).await?;
    for _ in 0..2 {
        let (found, outcome) = scan_to_end(source.as_ref(), &plan).await?;
        ensure(count(&found) == 1 && outcome.rejects.len() == 1, || {
            format!(
                "one row can be decoded and one cannot, but {} rows and {} rejects came of them",
                count(&found),
                outcome.rejects.len()
            )
        })?;
        ensure(outcome.rejects.iter().all(|reject| !reject.reason.is_empty()), || "a reject has no reason".into())?;
        ensure(outcome.reached == plan.upto, || {
            format!("the rejected row was read, so {} should be reached, not {}", plan.upto, outcome.reached)
        })?;
    }
    Ok(())
}
