//! Trading days on which a symbol has no bar.

use arrow::datatypes::DataType;
use datafusion::functions::expr_fn::date_part;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr, JoinType, cast, lit};
use datafusion::prelude::DataFrame;

use super::{QUALITY_KEY, first_dates};
use crate::error::Result;
use crate::transform::expr::{column, columns, whole};

/// `gaps` and `gap_dates` of those symbols that have any.
///
/// Each weekday of an interval's calendar (the days on which any symbol has a bar) is set beside each symbol that is active
/// then; who has none on a day that is one for at least half of the others has a gap.
pub(super) fn gaps(rows: &DataFrame) -> Result<DataFrame> {
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
    first_dates(seen.filter(missed)?, "gaps", "gap_dates")
}
