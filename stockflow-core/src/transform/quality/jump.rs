//! Changes of the close that are too large to be trade.

use datafusion::functions::expr_fn::abs;
use datafusion::functions_aggregate::expr_fn::{first_value, max};
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::{Expr, JoinType, lit};
use datafusion::prelude::DataFrame;

use super::{QUALITY_KEY, first_dates};
use crate::error::Result;
use crate::schema::Basis;
use crate::transform::expr::{ascending, column, columns, finite, running};

/// Usual splits, new shares for old ones; their inverses are usual as well.
const RATIOS: [(f64, f64); 16] = [
    (2.0, 1.0),
    (3.0, 1.0),
    (4.0, 1.0),
    (5.0, 1.0),
    (6.0, 1.0),
    (7.0, 1.0),
    (8.0, 1.0),
    (10.0, 1.0),
    (15.0, 1.0),
    (20.0, 1.0),
    (25.0, 1.0),
    (50.0, 1.0),
    (3.0, 2.0),
    (4.0, 3.0),
    (5.0, 2.0),
    (5.0, 4.0),
];

/// How far the open after a split lies from the last close on the new terms.
const NIGHT: f64 = 0.02;

/// `jumps`, `largest_jump`, its date, `splits` and `split_dates` of those symbols that have any.
pub(super) fn jumps(rows: &DataFrame, threshold: f64, known: Option<DataFrame>) -> Result<DataFrame> {
    let order = || vec![ascending(column("ts"))];
    let before = |name: &str| running(lag(column(name), Some(1), None), &QUALITY_KEY, order());
    let priced = rows.clone().filter(finite(column("close")).and(column("close").gt(lit(0.0))))?;
    let moves = priced.select(vec![
        column("symbol"),
        column("interval"),
        column("date"),
        column("basis"),
        column("open"),
        column("close"),
        column("adj_close"),
        before("close")?.alias("last_close"),
        before("adj_close")?.alias("last_adjusted"),
    ])?;
    let change = column("close") / column("last_close") - lit(1.0);
    let adjusted = column("adj_close") / column("last_adjusted") - lit(1.0);
    let moves = moves.select(vec![
        column("symbol"),
        column("interval"),
        column("date"),
        change.alias("change"),
        explained(adjusted, threshold).alias("explained"),
    ])?;
    let large = moves.filter(abs(column("change")).gt(lit(threshold)))?;
    let large = match known {
        None => large,
        Some(known) => {
            let joined =
                large.join(known, JoinType::Left, &["symbol", "date"], &["split_symbol", "split_date"], None)?;
            let explained = column("explained").or(column("split_symbol").is_not_null());
            joined.select(vec![
                column("symbol"),
                column("interval"),
                column("date"),
                column("change"),
                explained.alias("explained"),
            ])?
        }
    };
    let splits = first_dates(large.clone().filter(column("explained"))?, "splits", "split_dates")?;
    joined(unexplained(large.filter(Expr::Not(Box::new(column("explained"))))?)?, splits)
}

/// Whether a split is the likely reason. Never NULL.
fn explained(adjusted: Expr, threshold: f64) -> Expr {
    let given = finite(adjusted.clone());
    let by_adjusted = given.clone().and(abs(adjusted).lt_eq(lit(threshold)));
    let overnight = || column("open") / column("last_close");
    let near = |ratio: f64| overnight().gt(lit(ratio * (1.0 - NIGHT))).and(overnight().lt(lit(ratio * (1.0 + NIGHT))));
    let usual = RATIOS
        .iter()
        .flat_map(|(new, old)| [near(old / new), near(new / old)])
        .reduce(Expr::or)
        .unwrap_or_else(|| lit(false));
    let by_ratio = Expr::Not(Box::new(given)).and(column("basis").eq(lit(Basis::Raw.as_str()))).and(usual);
    by_adjusted.or(by_ratio).is_true()
}

fn unexplained(large: DataFrame) -> Result<DataFrame> {
    use datafusion::functions_aggregate::expr_fn::count;
    let widest = || vec![abs(column("change")).sort(false, false), column("date").sort(true, false)];
    Ok(large.aggregate(
        columns(QUALITY_KEY),
        vec![
            count(lit(1_i64)).alias("jumps"),
            first_value(column("change"), widest()).alias("largest_jump"),
            first_value(column("date"), widest()).alias("largest_jump_date"),
        ],
    )?)
}

fn joined(jumps: DataFrame, splits: DataFrame) -> Result<DataFrame> {
    use datafusion::logical_expr::cast;
    use datafusion::scalar::ScalarValue;
    let nothing = |value: ScalarValue| lit(value);
    let one = jumps.select(vec![
        column("symbol"),
        column("interval"),
        column("jumps"),
        column("largest_jump"),
        column("largest_jump_date"),
        cast(nothing(ScalarValue::Int64(None)), arrow::datatypes::DataType::Int64).alias("splits"),
        nothing(ScalarValue::Utf8(None)).alias("split_dates"),
    ])?;
    let other = splits.select(vec![
        column("symbol"),
        column("interval"),
        nothing(ScalarValue::Int64(None)).alias("jumps"),
        nothing(ScalarValue::Float64(None)).alias("largest_jump"),
        nothing(ScalarValue::Date32(None)).alias("largest_jump_date"),
        column("splits"),
        column("split_dates"),
    ])?;
    let names = ["jumps", "largest_jump", "largest_jump_date", "splits", "split_dates"];
    Ok(one.union(other)?.aggregate(columns(QUALITY_KEY), names.map(|it| max(column(it)).alias(it)).to_vec())?)
}
