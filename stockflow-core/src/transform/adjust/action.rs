//! The factors of adjustment out of corporate actions.

use arrow::datatypes::DataType;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions::expr_fn::nanvl;
use datafusion::functions_aggregate::expr_fn::{last_value, sum};
use datafusion::functions_window::expr_fn::last_value as last_seen;
use datafusion::logical_expr::expr::{NullTreatment, Sort};
use datafusion::logical_expr::{Expr, ExprFunctionExt, JoinType, cast, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;

use super::{FACTOR, SHARES, STEP};
use crate::error::Result;
use crate::relation::{AS_OF, Relation};
use crate::schema::Basis;
use crate::transform::expr::{all_columns, ascending, column, columns, descending, require, running};
use crate::transform::udf::product;

const SERIES: [&str; 2] = ["symbol", "interval"];
/// Stands before the bars of its date: they are on the new terms already.
const ACTION: i32 = 0;
const BAR: i32 = 1;
/// What an event pays for a share.
const PAID: &str = "__paid";

/// The bars with the factor of their prices and that of their volume.
///
/// Bars and actions of a symbol are laid out as one series by date. Running products from the end give each bar the
/// actions after it.
pub(super) async fn factors(bars: DataFrame, actions: Relation, target: Basis) -> Result<DataFrame> {
    require(STEP, &actions, &["symbol", "date", "kind", "value", "numerator", "denominator"])?;
    let names: Vec<String> = bars.schema().fields().iter().map(|it| it.name().clone()).collect();
    let series = bars
        .clone()
        .aggregate(columns(SERIES), vec![])?
        .select(vec![column("symbol").alias("__symbol"), column("interval")])?;
    let events = by_date(actions)?.join(series, JoinType::Inner, &["symbol"], &["__symbol"], None)?;
    let laid_out = as_bars(&bars, events)?.union(with_events(&bars)?)?;
    let split_after = running(product(column("__split")), &SERIES, backwards())?;
    let rows = with(laid_out, "__shares_after", split_after)?;
    let is_on = |basis: Basis| column("basis").eq(lit(basis.as_str()));
    // What dividends and gains took out of bars that are on basis `total`, put back.
    let gross = when(is_on(Basis::Total), column("close") * column("__shares_after")).end()?;
    let rows = with(rows, "__gross", gross)?;
    let rows = with(rows, "__gross_before", running(newest_of("__gross")?, &SERIES, forwards())?)?;
    let rows = with(rows, "__given", column(PAID) * same_day_split() / column("__gross_before"))?;
    let rows = with(rows, "__given_after", running(sum(column("__given")), &SERIES, backwards())?)?;
    // Prices times this are as traded.
    let back = when(is_on(Basis::Split), column("__shares_after"))
        .when(
            is_on(Basis::Total),
            column("__shares_after") * (lit(1.0) + coalesce(vec![column("__given_after"), lit(0.0)])),
        )
        .otherwise(lit(1.0))?;
    let rows = with(rows, "__back", back)?;
    let rows = with(rows, "__traded", column("close") * column("__back"))?;
    let rows = with(rows, "__before", running(newest_of("__traded")?, &SERIES, forwards())?)?;
    let rows = with(rows, "__kept", kept()?)?;
    let rows = with(rows, "__kept_after", running(product(column("__kept")), &SERIES, backwards())?)?;
    let on_from_there = match target {
        Basis::Raw => lit(1.0),
        Basis::Split => lit(1.0) / column("__shares_after"),
        Basis::Total => column("__kept_after") / column("__shares_after"),
    };
    let factor = column("__back") * on_from_there;
    let shares = match target {
        Basis::Raw => when(is_on(Basis::Raw), lit(1.0)).otherwise(lit(1.0) / column("__shares_after"))?,
        Basis::Split | Basis::Total => when(is_on(Basis::Raw), column("__shares_after")).otherwise(lit(1.0))?,
    };
    let mut out = columns(names);
    out.extend([factor.alias(FACTOR), shares.alias(SHARES)]);
    Ok(rows.filter(column("__kind").eq(lit(BAR)))?.select(out)?)
}

/// One row a symbol and ex-date: the ratio of its splits and the sum of its payments.
fn by_date(actions: Relation) -> Result<DataFrame> {
    let number = |name: &str| cast(column(name), DataType::Float64);
    let text = |name: &str| cast(column(name), DataType::Utf8);
    // Of an action that was corrected the newest version counts.
    let known = if actions.has(AS_OF) { column(AS_OF) } else { lit(0_i64) };
    let rows = actions.frame.select(vec![
        text("symbol").alias("symbol"),
        cast(column("date"), DataType::Date32).alias("date"),
        text("kind").alias("kind"),
        number("value").alias("value"),
        number("numerator").alias("numerator"),
        number("denominator").alias("denominator"),
        known.alias("known"),
    ])?;
    let newest = |name: &str| last_value(column(name), vec![column("known").sort(true, true)]).alias(name);
    let rows = rows.aggregate(
        columns(["symbol", "date", "kind"]),
        vec![newest("value"), newest("numerator"), newest("denominator")],
    )?;
    let is = |kind: &str| column("kind").eq(lit(kind.to_string()));
    let ratio = when(is("split"), column("numerator") / column("denominator")).end()?;
    let paid = when(is("dividend").or(is("capital_gain")), column("value")).end()?;
    let rows = rows.select(vec![column("symbol"), column("date"), ratio.alias("ratio"), paid.alias("paid")])?;
    Ok(rows.aggregate(
        columns(["symbol", "date"]),
        vec![product(column("ratio")).alias("__split"), sum(column("paid")).alias("__paid")],
    )?)
}

/// The events in the columns of the bars.
fn as_bars(bars: &DataFrame, events: DataFrame) -> Result<DataFrame> {
    let mut out = Vec::new();
    for field in bars.schema().fields() {
        out.push(match field.name().as_str() {
            name @ ("symbol" | "interval" | "date") => column(name),
            name => lit(ScalarValue::try_from(field.data_type())?).alias(name),
        });
    }
    out.extend([lit(ACTION).alias("__kind"), column("__split"), column("__paid")]);
    Ok(events.select(out)?)
}

fn with_events(bars: &DataFrame) -> Result<DataFrame> {
    let nothing = || lit(ScalarValue::Float64(None));
    let mut out = all_columns(bars);
    out.extend([lit(BAR).alias("__kind"), nothing().alias("__split"), nothing().alias("__paid")]);
    Ok(bars.clone().select(out)?)
}

fn with(rows: DataFrame, name: &str, value: Expr) -> Result<DataFrame> {
    let mut out = all_columns(&rows);
    out.push(value.alias(name));
    Ok(rows.select(out)?)
}

/// The ratio of a split on an event's own date: what is paid is told on the terms after it.
fn same_day_split() -> Expr {
    coalesce(vec![column("__split"), lit(1.0)])
}

/// The last value that there was.
fn newest_of(name: &str) -> Result<Expr> {
    Ok(last_seen(column(name)).null_treatment(NullTreatment::IgnoreNulls).build()?)
}

/// The share of the price that an event leaves: NaN where that cannot be said, so that no bar before it gets a number.
fn kept() -> Result<Expr> {
    let paid = column(PAID) * same_day_split();
    let left = lit(1.0) - paid / column("__before");
    let sure = when(left.clone().gt(lit(0.0)), nanvl(left, lit(f64::NAN))).otherwise(lit(f64::NAN))?;
    // Without a bar before it an event changes nothing.
    Ok(when(column(PAID).is_not_null().and(column("__before").is_not_null()), sure).end()?)
}

fn forwards() -> Vec<Sort> {
    ["date", "__kind", "ts"].map(|it| ascending(column(it))).to_vec()
}

fn backwards() -> Vec<Sort> {
    ["date", "__kind", "ts"].map(|it| descending(column(it))).to_vec()
}
