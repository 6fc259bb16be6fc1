//! Takes prices to another basis: as traded, adjusted for splits, adjusted for dividends too.

mod action;

use arrow::datatypes::{DataType, Date32Type};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;
use datafusion::functions::expr_fn::{concat, nullif};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, cast, lit, when};
use datafusion::prelude::DataFrame;
use serde_json::json;

use super::expr::{all_columns, column, finite, require, shared};
use super::{Outputs, Scope, Transform, note_frame};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{AS_OF, REVISION, Relation, Relations};
use crate::schema::{BAR_KEY, Basis, PRICE_COLUMNS};

/// What the adjustment is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdjustBy {
    /// The ratio `adj_close / close` of each bar, as the provider gives it.
    Ratio,
    /// A relation (or a registered table) of corporate actions, by name.
    Actions(String),
}

/// Takes the prices of bars to another basis.
///
/// # Input
///
/// Bars. By the ratio they go from `raw` or `split` to `total`; by actions from any basis to any other, and back.
/// Bars that are on the wanted basis already stay as they are.
///
/// # Output
///
/// The same bars and columns with open, high, low and close multiplied by the bar's factor, and `basis` set.
/// `adj_close` stays as the provider gave it. Key `(symbol, interval, ts)`; version as the input's by the ratio (a new
/// ratio comes with a new `as_of`), `revision` by actions (an old bar changes when a new action is known).
///
/// # Formula
///
/// ```text
/// by the ratio    factor(t) = adj_close(t) / close(t)                                        (basis total)
/// by actions      S(t) = product of denominator / numerator over the splits with an ex-date after t
///                 D(t) = product of 1 - d · r / p over the dividends and gains with an ex-date after t
///                 factor(t) = S(t) for split, S(t) · D(t) for total
/// ```
///
/// `d` is the dividend per share on the ex-date's terms, `r` the ratio numerator / denominator of a split on the same date
/// (1 without one), `p` the last close as traded before the ex-date. With [`Adjust::as_of`] only actions count that were known then.
/// By actions the volume is divided by `S(t)`: one old share is several new ones. By the ratio it stays as traded, since the
/// ratio does not tell splits from dividends.
///
/// The way back divides by the same factors. Of bars on basis `total` they follow from the adjusted closes, since with
/// `x` = the last adjusted close before an ex-date, times the splits from it on,
///
/// ```text
/// 1 / D(t) = 1 + sum of d · r / x over the dividends and gains with an ex-date after t
/// ```
///
/// # Nulls
///
/// Where there is no factor (`adj_close` or `close` is NULL, zero or not finite; a dividend as large as the price) the four
/// prices are NULL, never left on another basis, and a note `adjust.no_factor` warns by symbol.
///
/// # Errors
///
/// [`Error::InvalidParameter`] for a basis that the method cannot give, [`Error::Schema`] if columns or the actions are
/// missing. Bars on a basis that cannot be taken to the wanted one fail the epoch (note `adjust.basis`).
#[derive(Debug, Clone)]
pub struct Adjust {
    target: Basis,
    by: AdjustBy,
    known: Option<Known>,
}

/// Which actions were known at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    at: DateTime<Utc>,
    strict: bool,
}

const STEP: &str = "adjust";
/// The factor of the prices while the transform works.
const FACTOR: &str = "__factor";
/// The factor of the volume.
const SHARES: &str = "__shares";

impl Default for Adjust {
    fn default() -> Self {
        Self::by_ratio()
    }
}

impl Adjust {
    /// To total return, by the ratio `adj_close / close`.
    pub fn by_ratio() -> Self {
        Self { target: Basis::Total, by: AdjustBy::Ratio, known: None }
    }

    /// To a basis, by a relation of corporate actions.
    pub fn by_actions(target: Basis, actions: impl Into<String>) -> Self {
        Self { target, by: AdjustBy::Actions(actions.into()), known: None }
    }

    /// The wanted basis.
    #[must_use]
    pub fn with_target(mut self, target: Basis) -> Self {
        self.target = target;
        self
    }

    /// By actions that were known at a moment only, so that a backtest does not see later ones.
    ///
    /// An action counts as known from the beginning of its ex-date (UTC) on, because most histories are loaded long after;
    /// with `strict` not before its `as_of` either. Of one that was corrected since, the input has the newest version: what
    /// stood there before is in the lake's `actions_at(t)`.
    #[must_use]
    pub fn as_of(mut self, at: DateTime<Utc>, strict: bool) -> Self {
        self.known = Some(Known { at, strict });
        self
    }

    /// The wanted basis.
    pub fn target(&self) -> Basis {
        self.target
    }

    fn check(&self) -> Result<()> {
        match (&self.by, self.target) {
            (AdjustBy::Ratio, _) if self.known.is_some() => Err(Error::parameter(
                STEP,
                "as_of",
                "the ratio `adj_close / close` holds every event up to the day on which it was fetched; name a relation of actions",
            )),
            (AdjustBy::Ratio, Basis::Split) => Err(Error::parameter(
                STEP,
                "basis",
                "`split` cannot be read from the ratio `adj_close / close`, which holds dividends too; choose `total`, or name a relation of actions",
            )),
            _ => Ok(()),
        }
    }

    /// The words of the bases that can be taken to the wanted one.
    fn accepted(&self) -> Vec<Expr> {
        let from: &[Basis] = match (&self.by, self.target) {
            (AdjustBy::Ratio, Basis::Raw) => &[Basis::Raw],
            (AdjustBy::Ratio, _) | (AdjustBy::Actions(_), _) => &[Basis::Raw, Basis::Split, Basis::Total],
        };
        from.iter().map(|it| lit(it.as_str())).collect()
    }

    /// The rows with the factors of their prices and volumes.
    async fn factors(&self, rows: DataFrame, inputs: &Relations, epoch: &EpochContext) -> Result<DataFrame> {
        match &self.by {
            AdjustBy::Ratio => {
                let ratio = column("adj_close") / nullif(column("close"), lit(0.0));
                let mut out = all_columns(&rows);
                out.extend([ratio.alias(FACTOR), lit(1.0).alias(SHARES)]);
                Ok(rows.select(out)?)
            }
            AdjustBy::Actions(name) => {
                let actions = match inputs.get(name) {
                    Ok(relation) => relation.frame.clone(),
                    Err(missing) => epoch.session.table(name.as_str()).await.map_err(|_| missing)?,
                };
                action::factors(rows, self.known_of(Relation::new(actions))?, self.target).await
            }
        }
    }
}

impl Adjust {
    /// The actions that were known.
    fn known_of(&self, actions: Relation) -> Result<Relation> {
        let Some(Known { at, strict }) = self.known else { return Ok(actions) };
        require(STEP, &actions, if strict { &["date", AS_OF] } else { &["date"] })?;
        let day = ScalarValue::Date32(Some(Date32Type::from_naive_date(at.date_naive())));
        let moment = ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into()));
        let mut is_known = cast(column("date"), DataType::Date32).lt_eq(lit(day));
        if strict {
            is_known = is_known.and(cast(column(AS_OF), moment.data_type()).lt_eq(lit(moment)));
        }
        let frame = actions.frame.clone().filter(is_known)?;
        Ok(actions.with_frame(frame))
    }
}

#[async_trait]
impl Transform for Adjust {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        self.check()?;
        let input = inputs.input()?;
        let mut needed = vec!["symbol", "interval", "ts", "date", "volume", "adj_close", "basis"];
        needed.extend(PRICE_COLUMNS);
        require(STEP, input, &needed)?;
        let rows = shared(epoch, input.frame.clone()).await?;
        let wrong = rows.clone().filter(column("basis").in_list(self.accepted(), true))?;
        let with_factors = self.factors(rows, inputs, epoch).await?;
        let unchanged = column("basis").eq(lit(self.target.as_str()));
        let usable = finite(column(FACTOR)).and(column(FACTOR).gt(lit(0.0)));
        let factor = when(unchanged.clone(), lit(1.0)).when(usable, column(FACTOR)).end()?;
        let factors = with_factors.with_column(FACTOR, factor)?;
        let schema = input.schema();
        let adjusted = schema.fields().iter().map(|field| {
            let name = field.name().as_str();
            Ok(match name {
                it if PRICE_COLUMNS.contains(&it) => (column(it) * column(FACTOR)).alias(it),
                "volume" => when(unchanged.clone(), column(name)).otherwise(column(name) * column(SHARES))?.alias(name),
                "basis" => lit(self.target.as_str()).alias(name),
                other => column(other),
            })
        });
        let frame = factors.clone().select(adjusted.collect::<Result<Vec<Expr>>>()?)?;
        let version = match self.by {
            AdjustBy::Ratio => input.version.clone(),
            AdjustBy::Actions(_) => Some(REVISION.into()),
        };
        let mut adjusted = Relation::new(frame).with_key(BAR_KEY).with_version(version);
        adjusted.unique = input.unique;
        let mut outputs = Outputs::one(adjusted);
        outputs.notes.push(self.wrong_basis(wrong)?);
        outputs.notes.push(no_factor(factors)?);
        Ok(outputs)
    }

    fn reads(&self) -> Vec<String> {
        match &self.by {
            AdjustBy::Ratio => Vec::new(),
            AdjustBy::Actions(name) => vec![name.clone()],
        }
    }

    fn scope(&self) -> Scope {
        match self.by {
            AdjustBy::Ratio => Scope::Row,
            AdjustBy::Actions(_) => Scope::Symbol,
        }
    }

    fn definition(&self) -> serde_json::Value {
        let by = match &self.by {
            AdjustBy::Ratio => json!("ratio"),
            AdjustBy::Actions(name) => json!({ "actions": name }),
        };
        let mut definition = json!({ "type": STEP, "target": self.target, "by": by });
        if let Some(Known { at, strict }) = self.known {
            definition["as_of"] = json!({ "at": at, "strict": strict });
        }
        definition
    }
}

impl Adjust {
    fn wrong_basis(&self, rows: DataFrame) -> Result<DataFrame> {
        let found = rows.aggregate(vec![column("symbol"), column("basis")], vec![count(lit(1_i64)).alias("n")])?;
        let by = if self.by == AdjustBy::Ratio { "the ratio" } else { "actions" };
        let text = concat(vec![
            lit("bars on basis `"),
            column("basis"),
            lit(format!("` cannot be taken to `{}` by {by}", self.target)),
        ]);
        note_frame(found, lit("adjust.basis"), column("symbol"), column("n"), lit("fail"), text)
    }
}

fn no_factor(rows: DataFrame) -> Result<DataFrame> {
    // A bar without a close has no price to adjust: that is no news.
    let lost = column(FACTOR).is_null().and(column("close").is_not_null());
    let found = rows.filter(lost)?.aggregate(vec![column("symbol")], vec![count(lit(1_i64)).alias("n")])?;
    let text = lit("bars have no factor of adjustment, so their adjusted prices are NULL");
    note_frame(found, lit("adjust.no_factor"), column("symbol"), column("n"), lit("warning"), text)
}

#[cfg(test)]
mod tests;
