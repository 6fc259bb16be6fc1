//! Recognises the interval of bars by the distance of their time stamps, and that of dates without a time of day.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::cast::{as_int64_array, as_string_array};
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::{cast, lit};
use datafusion::prelude::DataFrame;

use crate::error::Result;
use crate::transform::expr::{ascending, column, midnight, running};
use crate::transform::interval::{Interval, IntervalUnit};

/// The fewest distances that are believed.
const FEWEST: i64 = 3;

/// No two bars of a wider interval are nearer than this: a week with a holiday on its Monday is stamped a day later.
const LEAST_DAYS: i64 = 5;

/// How often each distance (seconds) occurs.
type Distances = BTreeMap<i64, i64>;

/// The interval of each symbol whose stamps are regular enough; reads the rows (`symbol`, `ts`).
///
/// A symbol's shortest distance counts if at least half of all its distances are equal to it, and there are three of them:
/// a wrong width would be a wrong key, so what is not sure is left out.
pub(super) async fn recognise(rows: DataFrame) -> Result<BTreeMap<String, Interval>> {
    let found = distances(rows).await?;
    Ok(found.into_iter().filter_map(|(symbol, distances)| width_of(&distances).map(|it| (symbol, it))).collect())
}

/// The interval of each symbol whose dates (`symbol`, `date`) are surely no daily ones: regular, and a week or more apart.
///
/// Everything else is daily: a few rows far from each other are what a correction brings.
pub(super) async fn recognise_dates(rows: DataFrame) -> Result<BTreeMap<String, Interval>> {
    let Some(rows) = sparse(rows).await? else { return Ok(BTreeMap::new()) };
    let found = distances(rows.select(vec![column("symbol"), midnight(column("date")).alias("ts")])?).await?;
    let wide = |distances: &Distances| distances.keys().all(|it| *it >= LEAST_DAYS * 86_400);
    let width = |distances: &Distances| width_of(distances).filter(|it| wide(distances) && *it > Interval::DAY);
    Ok(found.into_iter().filter_map(|(symbol, distances)| width(&distances).map(|it| (symbol, it))).collect())
}

/// The rows of symbols with fewer than a date every other day, which no daily series has; `None` without such a symbol.
///
/// One grouping tells, so that daily data need not be sorted for it.
async fn sparse(rows: DataFrame) -> Result<Option<DataFrame>> {
    let day = |date| cast(cast(date, DataType::Int32), DataType::Int64);
    let spans = rows.clone().aggregate(
        vec![column("symbol")],
        vec![
            count(lit(1_i64)).alias("n"),
            min(day(column("date"))).alias("from"),
            max(day(column("date"))).alias("to"),
        ],
    )?;
    let few =
        column("n").gt(lit(FEWEST)).and((column("to") - column("from")).gt_eq((column("n") - lit(1_i64)) * lit(2_i64)));
    let batches = spans.filter(few)?.select(vec![column("symbol")])?.collect().await?;
    let mut symbols = Vec::new();
    for batch in &batches {
        symbols.extend(as_string_array(batch.column(0))?.iter().flatten().map(lit));
    }
    if symbols.is_empty() { Ok(None) } else { Ok(Some(rows.filter(column("symbol").in_list(symbols, false))?)) }
}

async fn distances(rows: DataFrame) -> Result<BTreeMap<String, Distances>> {
    let before = running(lag(column("ts"), Some(1), None), &["symbol"], vec![ascending(column("ts"))])?;
    let micros = |expr| cast(expr, DataType::Int64);
    let batches = rows
        .select(vec![column("symbol"), micros(column("ts")).alias("at"), micros(before).alias("before")])?
        .select(vec![column("symbol"), ((column("at") - column("before")) / lit(1_000_000_i64)).alias("seconds")])?
        .filter(column("seconds").gt(lit(0_i64)))?
        .aggregate(vec![column("symbol"), column("seconds")], vec![count(lit(1_i64)).alias("n")])?
        .collect()
        .await?;
    let mut by_symbol: BTreeMap<String, Distances> = BTreeMap::new();
    for batch in &batches {
        collect(batch, &mut by_symbol)?;
    }
    Ok(by_symbol)
}

fn collect(batch: &RecordBatch, by_symbol: &mut BTreeMap<String, Distances>) -> Result<()> {
    let (symbols, seconds, n) =
        (as_string_array(batch.column(0))?, as_int64_array(batch.column(1))?, as_int64_array(batch.column(2))?);
    for row in (0..batch.num_rows()).filter(|row| symbols.is_valid(*row)) {
        by_symbol.entry(symbols.value(row).to_string()).or_default().insert(seconds.value(row), n.value(row));
    }
    Ok(())
}

fn width_of(distances: &Distances) -> Option<Interval> {
    let total: i64 = distances.values().sum();
    let (shortest, _) = distances.first_key_value()?;
    let (width, alike) = if *shortest < 20 * 3600 {
        (seconds(*shortest), distances.get(shortest).copied()?)
    } else {
        days(*shortest, distances)
    };
    width.filter(|_| total >= FEWEST && alike * 2 >= total)
}

fn seconds(n: i64) -> Option<Interval> {
    Interval::new(u32::try_from(n).ok()?, IntervalUnit::Second).ok()
}

/// Days, weeks, months: clocks change and months differ, so distances are compared by their class.
fn days(shortest: i64, distances: &Distances) -> (Option<Interval>, i64) {
    let class = class_of(shortest);
    let alike = distances.iter().filter(|(it, _)| class_of(**it) == class).map(|(_, n)| n).sum();
    (class, alike)
}

fn class_of(seconds: i64) -> Option<Interval> {
    match (seconds + 43_200) / 86_400 {
        1 => Some(Interval::DAY),
        // A week with a holiday on its Monday is stamped a day later.
        6..=8 => Some(Interval::WEEK),
        28..=31 => Some(Interval::MONTH),
        89..=92 => Interval::new(3, IntervalUnit::Month).ok(),
        365 | 366 => Interval::new(1, IntervalUnit::Year).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(distances: &[(i64, i64)], expected: Option<&str>) {
        let found = width_of(&distances.iter().copied().collect());
        assert_eq!(found.map(|it| it.to_string()).as_deref(), expected);
    }

    #[test]
    fn believes_what_is_regular() {
        check(&[(60, 389), (63_000, 1)], Some("1m"));
        check(&[(300, 77), (600, 2), (63_300, 1)], Some("5m"));
        check(&[(86_400, 4), (259_200, 1)], Some("1d"));
        check(&[(82_800, 1), (86_400, 40), (90_000, 1), (259_200, 10)], Some("1d"));
        check(&[(604_800, 50), (518_400, 2)], Some("1wk"));
        check(&[(2_678_400, 7), (2_592_000, 4), (2_419_200, 1)], Some("1mo"));
    }

    #[test]
    fn leaves_out_what_is_not_sure() {
        check(&[], None);
        check(&[(300, 2)], None);
        check(&[(60, 1), (300, 77)], None);
        check(&[(432_000, 9)], None);
    }
}
