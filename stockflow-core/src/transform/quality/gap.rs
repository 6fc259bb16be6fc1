//! Trading days on which a symbol has no bar.

use arrow::datatypes::DataType;
use datafusion::functions::expr_fn::date_part;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::{Expr, JoinType, cast, lit};
use datafusion::prelude::DataFrame;

use super::{QUALITY_KEY, first_dates};
use crate::error::Result;
use crate::transform::expr::{ascending, column, columns, running, whole};
use crate::transform::interval::Interval;
use crate::transform::udf::{missing_sessions, part_of, width};

/// `gaps` and `gap_dates` of those symbols that have any.
///
/// `exchange` says whose calendar counts; without it, and for bars wider than a day, the other symbols say which days do.
pub(super) fn gaps(rows: &DataFrame, exchange: Option<Expr>) -> Result<DataFrame> {
    let missed = match exchange {
        None => missed_by_others(rows)?,
        Some(exchange) => {
            let of_a_day = width(column("interval")).eq(lit(Interval::DAY.to_string()));
            let narrow = of_a_day.or(part_of(column("interval"), Interval::DAY)).is_true();
            let wide = rows.clone().filter(Expr::Not(Box::new(narrow.clone())))?;
            missed_sessions(&rows.clone().filter(narrow)?, exchange)?.union(missed_by_others(&wide)?)?
        }
    };
    first_dates(missed, "gaps", "gap_dates")
}

/// `symbol`, `interval` and `date` of every session of an exchange between two bars that follow each other.
fn missed_sessions(rows: &DataFrame, exchange: Expr) -> Result<DataFrame> {
    let days =
        rows.clone().aggregate(columns(["symbol", "interval", "date"]), vec![max(exchange).alias("exchange")])?;
    let before = running(lag(column("date"), Some(1), None), &QUALITY_KEY, vec![ascending(column("date"))])?;
    let days = days.select(vec![
        column("symbol"),
        column("interval"),
        column("date"),
        column("exchange"),
        before.alias("before"),
    ])?;
    let missing = missing_sessions(column("exchange"), column("before"), column("date"));
    let missed = days.select(vec![column("symbol"), column("interval"), missing.alias("date")])?;
    Ok(missed.filter(column("date").is_not_null())?.unnest_columns(&["date"])?)
}

/// `symbol`, `interval` and `date` of every bar that others have and a symbol has not.
///
/// Each weekday of an interval's calendar (the days on which any symbol has a bar) is set beside each symbol that is active
/// then; who has none on a day that is one for at least half of the others has a gap.
fn missed_by_others(rows: &DataFrame) -> Result<DataFrame> {
    let days = rows.clone().aggregate(columns(["symbol", "interval", "date"]), vec![])?;
    let active = days
        .clone()
        .aggregate(columns(QUALITY_KEY), vec![min(column("date")).alias("from"), max(column("date")).alias("to")])?;
    let weekday = cast(date_part(lit("dow"), column("date")), DataType::Int32);
    let calendar = days
        .clone()
        .filter(weekday.clone().gt(lit(0)).and(weekday.lt(lit(6))))?
        .aggregate(columns(["interval", "date"]), vec![])?;
    let calendar = calendar.select(vec![column("interval").alias("cal_interval"), column("date")])?;
    let expected = active.join(calendar, JoinType::Inner, &["interval"], &["cal_interval"], None)?;
    let expected = expected.filter(column("date").gt_eq(column("from")).and(column("date").lt_eq(column("to"))))?;
    let expected = expected.select(columns(["symbol", "interval", "date"]))?;
    let held = days.select(vec![
        column("symbol").alias("held"),
        column("interval").alias("held_interval"),
        column("date").alias("held_date"),
    ])?;
    let seen = expected.join(
        held,
        JoinType::Left,
        &["symbol", "interval", "date"],
        &["held", "held_interval", "held_date"],
        None,
    )?;
    let by_day = ["interval", "date"];
    let on_day = |of: Expr| whole(count(of), &by_day, vec![]);
    let seen = seen.select(vec![
        column("symbol"),
        column("interval"),
        column("date"),
        column("held"),
        on_day(lit(1_i64))?.alias("active"),
        on_day(column("held"))?.alias("present"),
    ])?;
    // The symbol itself is active and absent: the others are one less, and all that are present are among them.
    let others = column("active") - lit(1_i64);
    let missed =
        column("held").is_null().and(others.clone().gt(lit(0_i64))).and((column("present") * lit(2_i64)).gt_eq(others));
    Ok(seen.filter(missed)?.select(columns(["symbol", "interval", "date"]))?)
}
