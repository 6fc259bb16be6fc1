//! Tells how good the bars of each symbol are.

mod gap;
mod jump;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions::expr_fn::concat_ws;
use datafusion::functions_aggregate::expr_fn::{count, count_distinct, max, min};
use datafusion::logical_expr::{Expr, ExprFunctionExt, JoinType, cast, lit, when};
use datafusion::prelude::DataFrame;
use serde_json::json;

use super::exchange::Exchange;
use super::expr::{column, columns, finite, require, shared};
use super::udf::required;
use super::{Outputs, Scope, Transform};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{REVISION, Relation, Relations};
use crate::schema::PRICE_COLUMNS;

/// What names a row of the quality relation.
pub const QUALITY_KEY: [&str; 2] = ["symbol", "interval"];

/// Tells how good the bars of each symbol are: one row a symbol and interval.
///
/// # Input
///
/// Bars on one basis.
///
/// # Output
///
/// | column | type | meaning |
/// |---|---|---|
/// | `symbol`, `interval` | Utf8 | the key |
/// | `basis` | Utf8 | of the prices; `mixed` if there are several |
/// | `rows` | Int64 | bars |
/// | `first_date`, `last_date` | Date32 | of the first and last bar |
/// | `gaps` | Int64 | trading days without any bar |
/// | `gap_dates` | Utf8 | the first five of them; NULL without gaps |
/// | `duplicates` | Int64 | rows whose key is another row's too, beyond the first |
/// | `zero_volume` | Int64 | bars with a volume of zero |
/// | `null_prices` | Int64 | bars with a price that is NULL or not finite |
/// | `jumps` | Int64 | changes of the close beyond the threshold that no split explains |
/// | `largest_jump` | Float64 | the largest of them, as a ratio (-0.5: fell by half); NULL without |
/// | `largest_jump_date` | Date32 | its date |
/// | `splits` | Int64 | changes beyond the threshold that a split explains |
/// | `split_dates` | Utf8 | the first five of them; NULL without |
/// | `verdict` | Utf8 | `ok`, or what was found: `gaps,jumps` |
///
/// Key `(symbol, interval)`, version `revision`.
///
/// # Gaps
///
/// With [`Quality::with_calendar`] or [`Quality::with_exchange_column`]: a day of trade of the exchange between the first and
/// the last bar, on which there is no bar. In years that the calendar does not know nothing is a gap. So it is for bars of a
/// day and less; wider ones are counted as without a calendar:
///
/// Without a calendar: a weekday on which at least half of the other active symbols of the interval have a bar
/// and this one has none. A symbol is active from its first to its last bar; with no other symbol active there is no gap.
/// Intraday bars count by date only.
///
/// # Jumps
///
/// A change of the close from one bar to the next by more than the threshold (default 0.25). A split explains it if a split
/// is known for the date ([`Quality::with_actions`]); else if the adjusted close did not change by more than the threshold;
/// else, where no adjusted close is given and prices are raw, if the change from the last close to the open is within 2 % of
/// a usual split ratio (2:1, 3:2, 1:10 …).
///
/// # Errors
///
/// [`Error::Schema`] if a column is missing, [`Error::InvalidParameter`] for a threshold that is not above zero or an exchange
/// whose calendar is not known.
#[derive(Debug, Clone)]
pub struct Quality {
    threshold: f64,
    actions: Option<String>,
    exchange: Option<Exchange>,
}

impl Default for Quality {
    fn default() -> Self {
        Self { threshold: 0.25, actions: None, exchange: None }
    }
}

const STEP: &str = "quality";

impl Quality {
    /// With the default threshold.
    pub fn new() -> Self {
        Self::default()
    }

    /// The change of a close that counts as a jump, as a ratio.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Reads known splits from a relation or a registered table of actions.
    #[must_use]
    pub fn with_actions(mut self, actions: impl Into<String>) -> Self {
        self.actions = Some(actions.into());
        self
    }

    /// Counts gaps by the calendar of one exchange, which is that of all symbols: `XNYS`, `NYSE`, `24/7`, or whatever
    /// [`Calendar::of`](crate::market::Calendar::of) finds.
    #[must_use]
    pub fn with_calendar(mut self, exchange: impl Into<String>) -> Self {
        self.exchange = Some(Exchange::Given(exchange.into()));
        self
    }

    /// Counts gaps by the calendar of the exchange that a text column of the bars names.
    ///
    /// Where it is NULL, or names an exchange that no calendar is known for, nothing is a gap.
    #[must_use]
    pub fn with_exchange_column(mut self, column: impl Into<String>) -> Self {
        self.exchange = Some(Exchange::Column(column.into()));
        self
    }

    async fn splits(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Option<DataFrame>> {
        let Some(name) = &self.actions else { return Ok(None) };
        let actions = match inputs.get(name) {
            Ok(relation) => relation.frame.clone(),
            Err(missing) => epoch.session.table(name.as_str()).await.map_err(|_| missing)?,
        };
        require(STEP, &Relation::new(actions.clone()), &["symbol", "date", "kind"])?;
        let splits = actions.filter(column("kind").eq(lit("split")))?;
        let text = cast(column("symbol"), DataType::Utf8);
        Ok(Some(
            splits
                .select(vec![text.alias("split_symbol"), cast(column("date"), DataType::Date32).alias("split_date")])?
                .distinct()?,
        ))
    }
}

#[async_trait]
impl Transform for Quality {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        if !(self.threshold.is_finite() && self.threshold > 0.0) {
            return Err(Error::parameter(
                STEP,
                "threshold",
                format!("{} is not a finite number above zero", self.threshold),
            ));
        }
        if let Some(exchange) = &self.exchange {
            exchange.check(STEP)?;
        }
        let input = inputs.input()?;
        let mut needed = vec!["symbol", "interval", "ts", "date", "volume", "adj_close", "basis"];
        needed.extend(PRICE_COLUMNS);
        if let Some(exchange) = &self.exchange {
            exchange.need(&mut needed);
        }
        require(STEP, input, &needed)?;
        let exchange = self.exchange.as_ref().map(Exchange::expr);
        let rows = shared(epoch, input.frame.clone().select(columns(needed))?).await?;
        let all = named(counts(&rows)?, "")?;
        let gaps = named(gap::gaps(&rows, exchange)?, "gap_")?;
        let jumps = named(jump::jumps(&rows, self.threshold, self.splits(inputs, epoch).await?)?, "jump_")?;
        let all = all.join(gaps, JoinType::Left, &QUALITY_KEY, &["gap_symbol", "gap_interval"], None)?;
        let all = all.join(jumps, JoinType::Left, &QUALITY_KEY, &["jump_symbol", "jump_interval"], None)?;
        let report = Relation::new(all.select(report()?)?).with_key(QUALITY_KEY).with_version(Some(REVISION.into()));
        Ok(Outputs::one(report.with_unique_keys()))
    }

    fn reads(&self) -> Vec<String> {
        self.actions.iter().cloned().collect()
    }

    fn scope(&self) -> Scope {
        Scope::Everything
    }

    fn definition(&self) -> serde_json::Value {
        let mut definition = json!({ "type": STEP, "threshold": self.threshold, "actions": self.actions });
        // Only where it is given: pipelines without a calendar stay the same ones.
        if let Some(exchange) = &self.exchange {
            exchange.define(&mut definition);
        }
        definition
    }
}

/// What can be counted without looking at neighbours.
fn counts(rows: &DataFrame) -> Result<DataFrame> {
    let some = |condition: Expr| count(lit(1_i64)).filter(condition).build();
    let broken = PRICE_COLUMNS
        .iter()
        .map(|it| Expr::Not(Box::new(finite(column(*it)))))
        .reduce(Expr::or)
        .unwrap_or_else(|| lit(false));
    Ok(rows.clone().aggregate(
        columns(QUALITY_KEY),
        vec![
            count(lit(1_i64)).alias("rows"),
            count_distinct(column("ts")).alias("keys"),
            min(column("date")).alias("first_date"),
            max(column("date")).alias("last_date"),
            min(column("basis")).alias("least_basis"),
            max(column("basis")).alias("greatest_basis"),
            some(column("volume").eq(lit(0.0)))?.alias("zero_volume"),
            some(broken)?.alias("null_prices"),
        ],
    )?)
}

/// The same columns under names of their own, so that a join does not mix them up.
fn named(rows: DataFrame, prefix: &str) -> Result<DataFrame> {
    let names: Vec<String> = rows.schema().fields().iter().map(|it| it.name().clone()).collect();
    Ok(rows.select(
        names
            .into_iter()
            .map(|name| {
                let own = if QUALITY_KEY.contains(&name.as_str()) { format!("{prefix}{name}") } else { name.clone() };
                column(name).alias(own)
            })
            .collect::<Vec<_>>(),
    )?)
}

/// The columns of the relation out of the joined parts.
fn report() -> Result<Vec<Expr>> {
    let counted = |name: &str| required(coalesce(vec![column(name), lit(0_i64)])).alias(name);
    let basis =
        when(column("least_basis").eq(column("greatest_basis")), column("least_basis")).otherwise(lit("mixed"))?;
    let duplicates = column("rows") - column("keys");
    let found =
        |name: &str, value: Expr| -> Result<Expr> { Ok(when(value.gt(lit(0_i64)), lit(name.to_string())).end()?) };
    let words = vec![
        found("gaps", column("gaps"))?,
        found("duplicates", duplicates.clone())?,
        found("null_prices", column("null_prices"))?,
        found("jumps", column("jumps"))?,
        // An instrument without volume never has any: that alone is no finding.
        when(column("zero_volume").gt(lit(0_i64)).and(column("zero_volume").lt(column("rows"))), lit("zero_volume"))
            .end()?,
    ];
    let words = concat_ws(lit(","), words);
    let verdict = when(words.clone().eq(lit("")), lit("ok")).otherwise(words)?;
    Ok(vec![
        column("symbol"),
        column("interval"),
        basis.alias("basis"),
        column("rows"),
        column("first_date"),
        column("last_date"),
        counted("gaps"),
        column("gap_dates"),
        required(duplicates).alias("duplicates"),
        column("zero_volume"),
        column("null_prices"),
        counted("jumps"),
        column("largest_jump"),
        column("largest_jump_date"),
        counted("splits"),
        column("split_dates"),
        verdict.alias("verdict"),
    ])
}

/// The first dates as text: `2020-01-02, 2020-01-03, …`.
fn first_dates(rows: DataFrame, count_as: &str, dates_as: &str) -> Result<DataFrame> {
    use datafusion::functions_window::expr_fn::row_number;
    let place = super::expr::running(row_number(), &QUALITY_KEY, vec![super::expr::ascending(column("date"))])?;
    let rows = rows.select(vec![column("symbol"), column("interval"), column("date"), place.alias("place")])?;
    let shown = |n: u64| when(column("place").eq(lit(n)), cast(column("date"), DataType::Utf8)).end();
    let first = [1_u64, 2, 3, 4, 5]
        .into_iter()
        .map(|n| Ok(max(shown(n)?).alias(format!("d{n}"))))
        .collect::<Result<Vec<_>>>()?;
    let mut out = vec![count(lit(1_i64)).alias(count_as)];
    out.extend(first);
    let rows = rows.aggregate(columns(QUALITY_KEY), out)?;
    let more = when(column(count_as).gt(lit(5_i64)), lit("…")).end()?;
    let mut shown: Vec<Expr> = (1..=5).map(|n| column(format!("d{n}"))).collect();
    shown.push(more);
    Ok(rows.select(vec![
        column("symbol"),
        column("interval"),
        column(count_as),
        concat_ws(lit(", "), shown).alias(dates_as),
    ])?)
}

#[cfg(test)]
mod tests;
