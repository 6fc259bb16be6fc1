//! Takes out what is no bar, and says so.

mod duplicate;
mod rule;

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::functions::expr_fn::concat;
use datafusion::functions_aggregate::expr_fn::{count, max, min};
use datafusion::logical_expr::{Expr, ExprFunctionExt, cast, lit, when};
use datafusion::prelude::DataFrame;
use datafusion::scalar::ScalarValue;
use serde_json::json;

pub use rule::{Action, Rule};

use super::expr::{column, columns, require};
use super::normalize::columns::SOURCE_SEQ;
use super::udf::{required, row_json};
use super::{Outputs, Scope, Transform, note_frame, reject_frame_with};
use crate::context::EpochContext;
use crate::error::{Error, Result};
use crate::relation::{AS_OF, Relation, Relations};
use crate::schema::{BAR_KEY, bar_schema};

/// The helper column that holds the broken rule's name.
const BROKEN: &str = "__broken";

/// Takes out what is no bar, rule by rule, and counts it by symbol.
///
/// # Input
///
/// Bars as [`Normalize`](super::Normalize) gives them. `source_seq` (the position in the source) decides between rows of
/// one key and is taken away.
///
/// # Output
///
/// The bars that break no rule, with the input's columns; one bar a key. Key `(symbol, interval, ts)`, version `as_of`.
///
/// # Rules
///
/// See [`Rule`]: each can be switched off, drop the row, make it a dead letter, or fail the epoch. By default forming bars,
/// bars without volume, duplicates and superseded bars are dropped, and everything else is a dead letter.
/// The comparisons of open, high, low and close allow for `tolerance` (1e-6, relative to the price compared with).
///
/// The rules of one row come first: a broken correction does not push out a good bar. Of the rows of one key that are left,
/// the highest `as_of` stays, then the later position.
///
/// # Volume
///
/// Indices, currency pairs and funds have none, so a zero is no fault there. They are known by their names, in upper and
/// lower case (`^GSPC`, `SPX`, `I:SPX`, `DX-Y.NYB`; pairs of ISO 4217 currencies and metals such as `EURUSD`, `EUR/USD`,
/// `FX:EURUSD`, `EURUSD=X`, `USDJPY.FX`; `VFIAX`, `0P000071W8.TO`), or by [`Clean::with_symbol_without_volume`]. By the name
/// and not by the rows: a share that is not traded for a day would else be kept if that day is an epoch, and dropped if it
/// is a part of one. A symbol that loses all its rows is a warning that says so. A NULL volume means that the source gives
/// none, and passes unless [`Clean::with_volume_required`] says otherwise.
///
/// # Notes
///
/// `clean.<rule>` by symbol with the first and last date; `clean.volume_exempt` for zero volumes that were let pass;
/// `clean.lost`, a warning, for a symbol that lost all its rows.
///
/// # Errors
///
/// [`Error::Schema`] if a column of the bar is missing; [`Error::InvalidParameter`] for a rule that cannot be switched off
/// and for limits out of range.
#[derive(Debug, Clone)]
pub struct Clean {
    actions: BTreeMap<Rule, Action>,
    tolerance: f64,
    largest_price: f64,
    largest_volume: f64,
    volume_required: bool,
    without_volume: Vec<String>,
}

impl Default for Clean {
    fn default() -> Self {
        Self {
            actions: Rule::ALL.into_iter().map(|rule| (rule, rule.default_action())).collect(),
            tolerance: 1e-6,
            // A share of Berkshire Hathaway costs less than a million; an index in hyperinflation comes to 1e9.
            largest_price: 1e12,
            largest_volume: 1e18,
            volume_required: false,
            without_volume: Vec::new(),
        }
    }
}

const STEP: &str = "clean";

impl Clean {
    /// All rules with their default actions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what happens to rows that break a rule.
    #[must_use]
    pub fn with_rule(mut self, rule: Rule, action: Action) -> Self {
        self.actions.insert(rule, action);
        self
    }

    /// How far open and close may lie outside of low..high, relative to the price compared with.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The largest price that is believed (default 1e12).
    #[must_use]
    pub fn with_largest_price(mut self, price: f64) -> Self {
        self.largest_price = price;
        self
    }

    /// Whether a NULL volume breaks the volume rule, as in SQL's `WHERE volume > 0`.
    #[must_use]
    pub fn with_volume_required(mut self, required: bool) -> Self {
        self.volume_required = required;
        self
    }

    /// Names a symbol that has no volume.
    #[must_use]
    pub fn with_symbol_without_volume(mut self, symbol: impl Into<String>) -> Self {
        self.without_volume.push(symbol.into());
        self
    }

    /// What happens to rows that break a rule.
    pub fn action(&self, rule: Rule) -> Action {
        self.actions.get(&rule).copied().unwrap_or_else(|| rule.default_action())
    }

    fn check(&self) -> Result<()> {
        if self.action(Rule::Date) == Action::Off {
            return Err(Error::parameter(
                STEP,
                "rule `date`",
                "symbol, interval, time and date are the key of a bar; the rule cannot be off, choose drop, dead_letter or fail",
            ));
        }
        let positive = |name: &str, value: f64, zero: bool| {
            let fits = value.is_finite() && (value > 0.0 || (zero && value == 0.0));
            if fits {
                Ok(())
            } else {
                Err(Error::parameter(STEP, name, format!("{value} is not a finite number above zero")))
            }
        };
        positive("tolerance", self.tolerance, true)?;
        positive("largest_price", self.largest_price, false)
    }

    /// The name of the first rule that a row breaks by itself; NULL if it breaks none.
    fn broken(&self) -> Result<Expr> {
        let mut asked = Rule::ALL.into_iter().filter(|it| it.is_of_one_row() && self.action(*it) != Action::Off);
        let Some(first) = asked.next() else { return Ok(lit(ScalarValue::Utf8(None))) };
        let mut cases = when(first.broken(self), lit(first.as_str()));
        for rule in asked {
            cases = cases.when(rule.broken(self), lit(rule.as_str()));
        }
        Ok(cases.end()?)
    }

    /// The dead letters among marked rows.
    fn refused(&self, rows: &DataFrame, place: &str) -> Result<Option<DataFrame>> {
        let rules: Vec<Rule> = Rule::ALL.into_iter().filter(|it| self.action(*it) == Action::DeadLetter).collect();
        let mut named = rules.iter().copied();
        let Some(first) = named.next() else { return Ok(None) };
        let mut reasons = when(column(BROKEN).eq(lit(first.as_str())), first.reason());
        for rule in named {
            reasons = reasons.when(column(BROKEN).eq(lit(rule.as_str())), rule.reason());
        }
        let of_these = column(BROKEN).in_list(rules.iter().map(|it| lit(it.as_str())).collect(), false);
        let reason = concat(vec![column(BROKEN), lit(": "), reasons.end()?]);
        let payload = row_json(bar_schema().fields());
        let text = |name: &str| {
            datafusion::functions::core::expr_fn::coalesce(vec![cast(column(name), DataType::Utf8), lit("?")])
        };
        let position = concat(vec![text("symbol"), lit("|"), text("interval"), lit("|"), text("ts")]);
        Ok(Some(reject_frame_with(
            rows.clone().filter(of_these)?,
            lit(place),
            position,
            column("symbol"),
            reason,
            payload,
        )?))
    }

    /// Counts of marked rows by rule and symbol.
    fn counts(&self, rows: &DataFrame) -> Result<DataFrame> {
        let found = rows.clone().filter(column(BROKEN).is_not_null())?.aggregate(
            vec![column(BROKEN), column("symbol")],
            vec![count(lit(1_i64)).alias("n"), min(column("date")).alias("first"), max(column("date")).alias("last")],
        )?;
        let names = |action: Action| {
            Rule::ALL.into_iter().filter(|it| self.action(*it) == action).map(|it| lit(it.as_str())).collect::<Vec<_>>()
        };
        let of = |action: Action| column(BROKEN).in_list(names(action), false);
        let level = when(of(Action::Fail), lit("fail")).otherwise(lit("info"))?;
        let done = when(of(Action::DeadLetter), lit("refused"))
            .when(of(Action::Fail), lit("not allowed"))
            .otherwise(lit("dropped"))?;
        let date = |name: &str| {
            datafusion::functions::core::expr_fn::coalesce(vec![cast(column(name), DataType::Utf8), lit("?")])
        };
        let span = when(column("first").eq(column("last")), date("first")).otherwise(concat(vec![
            date("first"),
            lit(" to "),
            date("last"),
        ]))?;
        let found = found.select(vec![
            column(BROKEN),
            column("symbol"),
            column("n"),
            level.alias("level"),
            concat(vec![done, lit(": "), span]).alias("text"),
        ])?;
        note_frame(
            found,
            concat(vec![lit("clean."), column(BROKEN)]),
            column("symbol"),
            column("n"),
            column("level"),
            column("text"),
        )
    }

    /// Zero volumes that were let pass, by symbol.
    fn exempt(&self, rows: &DataFrame) -> Result<DataFrame> {
        let passed = column(BROKEN).is_null().and(column("volume").eq(lit(0.0)));
        let found =
            rows.clone().filter(passed)?.aggregate(vec![column("symbol")], vec![count(lit(1_i64)).alias("n")])?;
        note_frame(
            found,
            lit("clean.volume_exempt"),
            column("symbol"),
            column("n"),
            lit("info"),
            lit("an instrument without volume, by its name: its zero volumes were let pass"),
        )
    }
}

/// Symbols that lost all their rows.
fn lost(rows: &DataFrame) -> Result<DataFrame> {
    let kept = count(lit(1_i64)).filter(column(BROKEN).is_null()).build()?;
    let found = rows.clone().aggregate(
        vec![column("symbol")],
        vec![count(lit(1_i64)).alias("n"), kept.alias("kept"), min(column(BROKEN)).alias("rule")],
    )?;
    let found = found.filter(column("kept").eq(lit(0_i64)).and(column("symbol").is_not_null()))?;
    let remedy = lit("`; if it is an instrument without volume, name it in `symbols_without_volume`");
    let remedy = when(column("rule").eq(lit(Rule::Volume.as_str())), remedy).otherwise(lit("`"))?;
    let text = concat(vec![lit("lost all of its rows in this epoch, some by the rule `"), column("rule"), remedy]);
    note_frame(found, lit("clean.lost"), column("symbol"), column("n"), lit("warning"), text)
}

#[async_trait]
impl Transform for Clean {
    async fn apply(&self, inputs: &Relations, epoch: &EpochContext) -> Result<Outputs> {
        self.check()?;
        let input = inputs.input()?;
        let schema = bar_schema();
        let bar: Vec<&str> = schema.fields().iter().map(|it| it.name().as_str()).collect();
        require(STEP, input, &bar)?;
        // Rows are passed on, refused and counted: judged once.
        let rows = epoch.share(input.frame.clone().with_column(BROKEN, self.broken()?)?).await?;
        let parted = duplicate::part(epoch, rows.clone().filter(column(BROKEN).is_null())?).await?;
        let mut kept = parted.single;
        let mut marked = vec![rows.clone()];
        if let Some(several) = parted.several {
            let switched_off = [Rule::Duplicate, Rule::Superseded, Rule::Conflict]
                .into_iter()
                .filter(|it| self.action(*it) == Action::Off);
            let switched_off = switched_off.map(|it| lit(it.as_str())).collect();
            let stays = column(BROKEN).is_null().or(column(BROKEN).in_list(switched_off, false));
            kept = kept.union(several.clone().filter(stays.clone())?)?;
            marked.push(several.filter(Expr::Not(Box::new(stays.is_true())))?);
        }
        let mut kept = bars(kept)?;
        kept.unique =
            [Rule::Duplicate, Rule::Superseded, Rule::Conflict].iter().all(|it| self.action(*it) != Action::Off);
        let mut outputs = Outputs::one(kept);
        for rows in &marked {
            outputs.rejects.extend(self.refused(rows, inputs.input_name())?);
            outputs.notes.push(self.counts(rows)?);
        }
        if self.action(Rule::Volume) != Action::Off {
            outputs.notes.push(self.exempt(&rows)?);
        }
        outputs.notes.push(lost(&rows)?);
        Ok(outputs)
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn definition(&self) -> serde_json::Value {
        let actions: BTreeMap<Rule, Action> = Rule::ALL.into_iter().map(|rule| (rule, self.action(rule))).collect();
        json!({
            "type": STEP,
            "rules": actions,
            "tolerance": self.tolerance,
            "largest_price": self.largest_price,
            "volume_required": self.volume_required,
            "without_volume": self.without_volume,
        })
    }
}

/// The rows without the helper columns, with the key declared to be there.
fn bars(rows: DataFrame) -> Result<Relation> {
    let schema = bar_schema();
    let own = rows.schema().fields().iter().map(|it| it.name().clone()).filter(|it| it != BROKEN && it != SOURCE_SEQ);
    let out: Vec<Expr> = own
        .map(|name| match schema.field_with_name(&name) {
            Ok(field) if field.is_nullable() => cast(column(&name), field.data_type().clone()).alias(name),
            Ok(field) => required(cast(column(&name), field.data_type().clone())).alias(name),
            Err(_) => column(name),
        })
        .collect();
    let out = rows.select(out)?;
    let order: Vec<String> = schema.fields().iter().map(|it| it.name().clone()).collect();
    let extra: Vec<String> =
        out.schema().fields().iter().map(|it| it.name().clone()).filter(|it| !order.contains(it)).collect();
    let out = out.select(columns(order.into_iter().chain(extra)))?;
    Ok(Relation::new(out).with_key(BAR_KEY).with_version(Some(AS_OF.into())))
}

#[cfg(test)]
mod tests;
